"""A report's memory does not depend on the number of rows, of groups or of files."""

from __future__ import annotations

import gzip
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


FILES = """
import sys
from pathlib import Path
from fastroute.reporting import report

def peak():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmHWM"))

few, many = sys.argv[1:]
assert report(few, by="user").files == 5
before = peak()
assert report(many, by="user").files == 150
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(("name", "most_mb"), [("log.csv", 12), ("log.csv.gz", 12), ("log.parquet", 40)])
def test_memory_does_not_grow_with_the_files(written, tmp_path, name, most_mb):
    random = np.random.default_rng(0)
    users = [f"user {number % 500}" for number in range(10_000)]
    path = written(name.removesuffix(".gz"), random.random(10_000), user=users)
    content = gzip.compress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    for folder, files in (("few", 5), ("many", 150)):
        (tmp_path / folder).mkdir()
        for number in range(files):
            (tmp_path / folder / f"{number}-{name}").write_bytes(content)
    folders = [tmp_path / "few", tmp_path / "many"]
    run = subprocess.run([sys.executable, "-c", FILES, *folders], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) / 1024 < most_mb
