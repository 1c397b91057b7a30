"""Small runs of every kind with many checkpoints, and a process that kills them at each call that changes the disk.

``python -m tests.batch.interrupted_runs FOLDER SCENARIO`` prints how many runs it has killed, as JSON.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastroute.artifact import atomic
from fastroute.batch import ScoreSummary, rows, score_log

CALLS = ["open", "mkdir", "write", "fsync", "ftruncate", "rename", "replace", "unlink", "rmdir", "chmod"]
BATCH_ROWS = 32
MOST_CALLS = 400


class SavedRouter:
    """Scores a prompt by its length, and is known by a hash as a saved router is."""

    kind = "length"
    artifact = "5" * 64
    strong = "large"
    weak = "small"
    threshold = 0.5

    def score(self, prompts: list[str]) -> NDArray[np.float32]:
        return np.array([len(prompt) % 100 / 100 for prompt in prompts], np.float32)


@dataclass(frozen=True)
class Scenario:
    """A run: what makes its inputs in a folder and returns the source, the output's name, the options."""

    make: Callable[[Path], Path]
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    older: Callable[[Path, Path], None] | None = None

    def run(self, source: Path, folder: Path, **options: Any) -> ScoreSummary:
        """Run it, with the output in `folder`."""
        given: dict[str, Any] = {"on_error": "skip", "checkpoint": 1} | self.options | options
        return score_log(source, folder / self.target, SavedRouter(), **given)


def prompt(row: int) -> str:
    return f"{row} " + "é" * (row * 7 % 90)


def jsonl(rows: int, first: int = 0) -> bytes:
    """Every 29th row is broken, and some lines are blank."""
    lines = [
        json.dumps({"row": row, "prompt": prompt(row)}) if row % 29 != 5 else f'{{"row": {row}, "prompt": nul}}'
        for row in range(first, first + rows)
    ]
    return "\n".join(line + "\n" * (row % 10 == 3) for row, line in enumerate(lines)).encode() + b"\n"


def csv(rows: int) -> bytes:
    lines = [f'{row},"{prompt(row)}\nnext ""line"""' if row % 31 != 7 else f"{row},too,many" for row in range(rows)]
    return "\r\n".join(["row,prompt", *lines]).encode() + b"\r\n"


def parquet(path: Path, rows: int, groups: int, *, decoded: bool = False, bad: int = 70) -> Path:
    """Every `bad`-th row has no prompt; `decoded` is for columns that Arrow would not write as they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "row": list(range(rows)),
        "prompt": [None if row % bad == bad - 1 else prompt(row) for row in range(rows)],
        "tags": [["a", str(row)] for row in range(rows)],
    }
    size = -(-rows // groups)
    pq.write_table(pa.table(columns), path, row_group_size=size, use_compliant_nested_type=not decoded)
    return path


def _file(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def _partitions(folder: Path) -> Path:
    root = folder / "log"
    for day in ("day=1", "day=2"):
        (root / day).mkdir(parents=True)
    (root / "day=1" / "a.jsonl").write_bytes(jsonl(40))
    (root / "day=1" / "cut.jsonl.gz").write_bytes(gzip.compress(jsonl(60), mtime=0)[:-100])
    (root / "day=2" / "gone.jsonl").symlink_to("nowhere")
    parquet(root / "day=2" / "c.parquet", 60, 2, bad=25)
    return root


def _two_files(folder: Path) -> Path:
    root = folder / "log"
    (root / "day=2").mkdir(parents=True)
    (root / "a.jsonl").write_bytes(jsonl(40))
    (root / "day=2" / "gone.jsonl").symlink_to("nowhere")
    return root


def _older_file(source: Path, folder: Path) -> None:
    scenario = SCENARIOS["overwriting a file"]
    older = source.with_name("older.jsonl")
    older.write_bytes(b"bad\n" + jsonl(40, first=900))
    scenario.run(older, folder, overwrite=False)


def _older_folder(source: Path, folder: Path) -> None:
    older = source.with_name("older")
    (older / "day=0").mkdir(parents=True, exist_ok=True)
    (older / "day=0" / "a.jsonl").write_bytes(b"bad\n" + jsonl(40, first=900))
    SCENARIOS["overwriting a folder"].run(older, folder, overwrite=False)


SCENARIOS = {
    "jsonl": Scenario(_file("in.jsonl", jsonl(110)), "out.jsonl"),
    "jsonl, nothing left out": Scenario(
        _file("in.jsonl", b'{"prompt": "hi"}\n' * 100), "out.jsonl", {"on_error": "fail"}
    ),
    "csv": Scenario(_file("in.csv", csv(110)), "out.csv"),
    "jsonl.gz": Scenario(_file("in.jsonl.gz", gzip.compress(jsonl(128), mtime=0)), "out.jsonl.gz"),
    "parquet": Scenario(lambda folder: parquet(folder / "in.parquet", 200, 4), "out.parquet"),
    "parquet, decoded": Scenario(lambda folder: parquet(folder / "in.parquet", 200, 4, decoded=True), "out.parquet"),
    "partitions": Scenario(_partitions, "out"),
    "overwriting a file": Scenario(
        _file("in.jsonl", b'{"prompt": "hi"}\n' * 70), "out.jsonl", {"overwrite": True}, _older_file
    ),
    "overwriting a folder": Scenario(_two_files, "out", {"overwrite": True}, _older_folder),
}
# A run that replaces something may go on without being told so again.
RESUMED = {"resume": True, "overwrite": False}


def small_batches() -> None:
    """Let every batch, and with it every checkpoint, be of few rows."""
    rows.MAX_BATCH_ROWS = BATCH_ROWS  # type: ignore[misc]


def contents(folder: Path) -> dict[str, bytes]:
    """What is below a folder, but for the identity of each run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            found[name] = _manifest(data) if name.endswith("manifest.json") else data
    return found


def _manifest(data: bytes) -> bytes:
    values = json.loads(data)
    for key in ("id", "overwrites", "drops_rows"):
        values.pop(key, None)
    return json.dumps(values).encode()


def told(summary: ScoreSummary) -> tuple[Any, ...]:
    """What a run says that does not depend on when it was interrupted."""
    routers = [router.strong_rows for router in summary.routers]
    return summary.rows, summary.skipped, summary.lost, summary.first_skipped, summary.rejects is None, routers


def outputs(found: dict[str, bytes], target: str) -> dict[str, bytes]:
    """The output itself, without what is beside it or on the way to it."""
    return {name: data for name, data in found.items() if name == target or name.startswith(f"{target}/")}


def kill_at(at: int) -> None:
    """Let this process be killed at its `at`-th call that changes the disk; half-way through, if it writes."""
    calls = 0

    def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            if name != "open" or arguments[1] & os.O_CREAT:
                calls += 1
                if calls == at:
                    if name == "write":
                        call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return None if name == "fsync" else call(*arguments, **keywords)

        return run

    for name in CALLS:
        setattr(os, name, wrapped(name, getattr(os, name)))
    atomic.exchange_names = wrapped("exchange", atomic.exchange_names)


def forked(run: Callable[[], object]) -> int:
    """Call a function in a child; 0 when it returned, 9 when it was killed, 1 when it raised."""
    child = os.fork()
    if not child:
        code = 1
        try:
            run()
            code = 0
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def kill_everywhere(folder: Path, scenario: Scenario) -> int:
    """Kill a run at every call, its successor at another, and compare what the third one completes."""
    small_batches()
    for name in ("in", "whole", "before"):
        (folder / name).mkdir(parents=True)
    source = scenario.make(folder / "in")
    if scenario.older is not None:
        scenario.older(source, folder / "before")
        shutil.copytree(folder / "before", folder / "whole", dirs_exist_ok=True)
    summary = scenario.run(source, folder / "whole")
    before, whole = contents(folder / "before"), contents(folder / "whole")
    allowed = [outputs(before, scenario.target), outputs(whole, scenario.target)]

    def killed(place: Path, at: int, **options: Any) -> int:
        def run() -> None:
            kill_at(at)
            scenario.run(source, place, **options)

        code = forked(run)
        assert code in (0, signal.SIGKILL), f"call {at}: failed"
        found = outputs(contents(place), scenario.target)
        assert found in allowed, f"call {at}: the output is neither the old one nor the new one"
        return int(code == signal.SIGKILL)

    kills = 0
    for at in range(1, MOST_CALLS):
        place = folder / str(at)
        shutil.copytree(folder / "before", place)
        if not killed(place, at):
            return kills
        kills += 1 + killed(place, at * 7 % 40 + 1, resume=True)
        last = RESUMED if at % 2 and any(place.glob("*.partial/run.json")) else {"resume": True}
        code = forked(lambda place=place, last=last: _complete(scenario, source, place, last, told(summary)))
        assert code == 0, f"call {at}: could not be gone on with"
        assert contents(place) == whole, f"call {at}: {sorted(contents(place))} differs from {sorted(whole)}"
        shutil.rmtree(place)
    raise AssertionError("more calls than expected: raise MOST_CALLS")


def _complete(scenario: Scenario, source: Path, place: Path, options: dict[str, Any], expected: object) -> None:
    found = told(scenario.run(source, place, **options))
    assert found == expected, f"{found} instead of {expected}"


if __name__ == "__main__":
    print(json.dumps({"kills": kill_everywhere(Path(sys.argv[1]), SCENARIOS[sys.argv[2]])}))
