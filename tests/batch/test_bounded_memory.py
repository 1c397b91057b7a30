"""200,000 rows are scored in memory that does not depend on their number."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = 200_000
WORDS = " ".join(f"word{i}" for i in range(60))

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")

# Peak memory of this program alone: what a child inherits from its parent would hide in getrusage.
PRELUDE = """
import sys
from pathlib import Path
import numpy as np
from fastroute.batch import score_log

class Halves:
    strong, weak, threshold = "S", "W", 0.5
    def score(self, prompts):
        return np.full(len(prompts), 0.25, np.float32)

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))
"""

SCRIPT = f"""{PRELUDE}
small, large, suffix = sys.argv[1:]
memory = 32 << 20
assert score_log(small, small + ".out" + suffix, Halves(), memory=memory).rows == 5_000
before = peak()
assert score_log(large, large + ".out" + suffix, Halves(), memory=memory).rows == 200_000
print(peak() - before)
"""

ENDLESS_LINE = f"""{PRELUDE}
source, suffix = sys.argv[1:]
before = peak()
summary = score_log(source, source + ".out" + suffix, Halves(), on_error="skip")
assert "longer than" in summary.first_skipped[-1].reason
print(peak() - before)
"""


FOLDER = f"""{PRELUDE}
folder, target = sys.argv[1:]
before = peak()
summary = score_log(folder, target, Halves(), memory=32 << 20)
assert (summary.files, summary.rows) == (60, 120_000)
print(peak() - before)
"""

SHARED_TEXT = f"""{PRELUDE}
import pyarrow.parquet  # takes memory of its own
source, reads_arrow = sys.argv[1:]
router = Halves()
router.reads_arrow = reads_arrow == "yes"
before = peak()
assert score_log(source, source + ".out.parquet", router, memory=32 << 20, overwrite=True).rows == 20_000
print(peak() - before)
"""


def write_rows(path: Path, count: int) -> None:
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        table = pa.table({"id": range(count), "prompt": [f"{i} {WORDS}" for i in range(count)]})
        pq.write_table(table, path, row_group_size=count, use_dictionary=False)
        return
    kind = next(suffix for suffix in path.suffixes if suffix in (".jsonl", ".csv"))
    row = {".jsonl": '{"id": %d, "prompt": "%s"}\n', ".csv": '%d,"%s"\n'}[kind]
    with gzip.open(path, "wt", 1) if path.suffix == ".gz" else path.open("w") as file:
        if kind == ".csv":
            file.write("id,prompt\n")
        file.writelines(row % (i, f"{i} {WORDS}") for i in range(count))


def run_script(script: str, *args: object) -> float:
    run = subprocess.run([sys.executable, "-c", script, *args], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return int(run.stdout) / 1024


@needs_proc
@pytest.mark.parametrize(("suffix", "limit_mb"), [(".jsonl", 24), (".csv", 24), (".jsonl.gz", 24), (".parquet", 160)])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix, limit_mb):
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    write_rows(small, 5_000)
    write_rows(large, ROWS)
    assert run_script(SCRIPT, small, large, suffix) < limit_mb


@needs_proc
@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_nor_with_a_line_that_never_ends(tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    source.write_bytes(b"prompt\n")
    os.truncate(source, 1 << 29)
    assert run_script(ENDLESS_LINE, source, suffix) < 200


@needs_proc
def test_nor_with_the_number_of_files(tmp_path):
    for i in range(60):
        (tmp_path / "in" / f"part={i}").mkdir(parents=True)
        write_rows(tmp_path / "in" / f"part={i}" / "rows.jsonl", 2_000)
    assert run_script(FOLDER, tmp_path / "in", tmp_path / "out") < 80


@needs_proc
@pytest.mark.parametrize("store_schema", [True, False])
@pytest.mark.parametrize("reads_arrow", ["yes", "no"])
def test_nor_with_a_long_text_that_is_stored_once(tmp_path, store_schema, reads_arrow):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), ["x y" * 33_333])
    pq.write_table(pa.table({"prompt": shared}), tmp_path / "in.parquet", store_schema=store_schema)  # 2 GB of texts
    assert run_script(SHARED_TEXT, tmp_path / "in.parquet", reads_arrow) < 240
