"""A report's memory does not depend on the number of rows, nor on the number of groups."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import sys
from pathlib import Path
from fastroute.reporting import report

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))

small, large = sys.argv[1:]
assert report(small, by="user").rows == 100_000
before = peak()
assert report(large, by="user").rows == 400_000
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(("name", "most_mb"), [("log.csv", 24), ("log.jsonl", 24), ("log.parquet", 60)])
def test_memory_does_not_grow_with_the_log(written, tmp_path, name, most_mb):
    random = np.random.default_rng(0)
    paths = []
    for rows in (100_000, 400_000):
        users = [f"user {number}" for number in range(rows)]  # a value per row
        paths.append(written(f"{rows}-{name}", random.random(rows), user=users))
    run = subprocess.run([sys.executable, "-c", SCRIPT, *paths], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) / 1024 < most_mb
