"""Logs of gigabytes, scored by processes whose peak memory is taken.

``python -m benchmarks.large_logs -o benchmarks/results/large-logs.json [--quick] [--folder DIR]``, from the checkout,
in an environment that has fastroute with ``[batch]``. ``--quick`` takes seconds and shows that it works.

One log has every prompt of the data pack, again and again, to 5 million rows; the others are 1 GB and 4 GB of prompts
drawn from them, with an identifier and a user, in each format. Each is scored in a process of its own, which says what
memory it had before the first row and at most.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.results import machine
from fastroute.artifact import atomic_file

CHECKOUT = Path(__file__).resolve().parents[1]
DATA = CHECKOUT.parent / "shared" / "data"
GROUP = 100_000
SEED = 20240626

# A warm-up run of a few rows, so that modules, router and Arrow are part of the base.
PROBE = """
import json, sys
from pathlib import Path
import fastroute
from fastroute.batch import score_log
def memory(key):
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith(key)) / 1024
source, target, small, names = sys.argv[1:]
routers = {name: fastroute.load(name) for name in names.split(",")}
router = routers if len(routers) > 1 else next(iter(routers.values()))
score_log(small, small + ".scored", router, overwrite=True, format=Path(source).suffixes[0].lstrip("."))
base = memory("VmRSS")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
summary = score_log(source, target, router)
print(json.dumps({
    "rows": summary.rows, "skipped": summary.skipped, "seconds": summary.seconds, "base_mib": base,
    "peak_mib": memory("VmHWM"), "strong": {r.label or names: r.strong_rows for r in summary.routers},
}))
"""


def main() -> int:
    """Make the logs, score them, write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--folder", type=Path, help="where the logs are made (default: a temporary folder)")
    parser.add_argument("--quick", action="store_true", help="logs of megabytes")
    args = parser.parse_args()
    prompts = all_prompts()
    scale = 1000 if args.quick else 1
    load = os.getloadavg()[0]
    measured = []
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for name, log, names in logs(Path(folder), prompts, scale):
            row = {"log": name, "bytes": log.stat().st_size, "routers": names, **measure(log, names)}
            print(json.dumps(row), file=sys.stderr)
            measured.append(row)
            log.unlink()
    made = {
        "format": "fastroute.large-logs/1",
        "command": f"python -m benchmarks.large_logs -o {args.output}{' --quick' if args.quick else ''}",
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "machine": {**machine(), "load": [round(each, 2) for each in (load, os.getloadavg()[0])]},
        "prompts": len(prompts),
        "mean_bytes": sum(len(prompt.encode()) for prompt in prompts) / len(prompts),
        "logs": measured,
    }
    with atomic_file(args.output) as stream:
        stream.write((json.dumps(made, indent=1) + "\n").encode())
    return 0


def all_prompts() -> list[str]:
    """Every prompt of the data pack, each once."""
    found: set[str] = set()
    for name in ("outcomes", "preferences", "judge_scores"):
        found.update(pq.read_table(DATA / f"{name}.parquet", columns=["prompt"])["prompt"].to_pylist())
    return sorted(found)


def logs(folder: Path, prompts: list[str], scale: int) -> Iterator[tuple[str, Path, list[str]]]:
    """Yield each log: what it is, the file, the routers to score it with."""
    every = folder / "every.parquet"
    write_parquet(every, prompts, 5_000_000 // scale, "zstd", in_order=True)
    yield "every prompt, 5,000,000 rows, zstd", every, ["experts"]
    write_parquet(every, prompts, 5_000_000 // scale, "zstd", in_order=True)
    yield "the same, two routers", every, ["experts", "mf"]
    row = sum(len(prompt.encode()) for prompt in prompts) // len(prompts) + 25
    for size in (1, 4):
        rows = size * 10**9 // row // scale
        for suffix in (".parquet", ".jsonl", ".csv", *([".jsonl.gz"] if size == 1 else [])):
            log = folder / f"log{suffix}"
            if suffix == ".parquet":
                write_parquet(log, prompts, rows, "none")
            else:
                write_text(log, prompts, rows)
            yield f"{size} GB {suffix}", log, ["experts"]


def write_parquet(log: Path, prompts: list[str], rows: int, codec: str, *, in_order: bool = False) -> None:
    """Write a log in row groups of 100,000."""
    rng = random.Random(SEED)
    texts = pa.array(prompts)
    schema = pa.schema([("id", pa.int64()), ("user", pa.string()), ("prompt", pa.string())])
    with pq.ParquetWriter(log, schema, compression=codec) as writer:
        for start in range(0, rows, GROUP):
            count = min(GROUP, rows - start)
            which = range(start, start + count) if in_order else (rng.randrange(len(prompts)) for _ in range(count))
            taken = texts.take(pa.array([index % len(prompts) for index in which]))
            users = [f"user{rng.randrange(10_000)}" for _ in range(count)]
            writer.write_table(pa.table([range(start, start + count), users, taken], schema=schema))


def write_text(log: Path, prompts: list[str], rows: int) -> None:
    """Write a log of text, by the name's format, compressed by the tool where the name says so."""
    if log.suffix == ".gz":
        with log.open("wb") as file:
            packer = subprocess.Popen(["gzip", "-1"], stdin=subprocess.PIPE, stdout=file, text=True)
            assert packer.stdin is not None
            write_lines(packer.stdin, log.with_suffix("").suffix, prompts, rows)
            packer.stdin.close()
            assert packer.wait() == 0
        return
    with log.open("w", encoding="utf-8") as file:
        write_lines(file, log.suffix, prompts, rows)


def write_lines(file: TextIO, suffix: str, prompts: list[str], rows: int) -> None:
    """Write rows of .jsonl or .csv."""
    rng = random.Random(SEED)
    if suffix == ".csv":
        file.write("id,user,prompt\n")
        quoted = ['"' + prompt.replace('"', '""') + '"' for prompt in prompts]
    else:
        quoted = [json.dumps(prompt) for prompt in prompts]
    form = "{},user{},{}\n" if suffix == ".csv" else '{{"id": {}, "user": "user{}", "prompt": {}}}\n'
    for row in range(rows):
        file.write(form.format(row, rng.randrange(10_000), quoted[rng.randrange(len(quoted))]))


def measure(log: Path, names: list[str]) -> dict[str, Any]:
    """Score a log in a process of its own."""
    suffix = "".join(log.suffixes)
    small = log.with_name(f"small{suffix}")
    if suffix == ".parquet":
        write_parquet(small, ["a", "few", "prompts"], 100, "zstd")
    else:
        write_text(small, ["a", "few", "prompts"], 100)
    target = log.with_name(f"scored{suffix}")
    command = [sys.executable, "-c", PROBE, str(log), str(target), str(small), ",".join(names)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    result["output_bytes"] = target.stat().st_size
    for path in log.parent.glob("scored*"):
        path.unlink()
    return result


if __name__ == "__main__":
    sys.exit(main())
