"""Reading, scoring and writing at once: whichever fails or is interrupted, all end, and nothing stays open."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.batch.interrupted_runs import SavedRouter

from fastroute.batch import score_log
from fastroute.errors import ArtifactError, DataError

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files")
MIB = 1 << 20
LARGE_ROW = b'{"prompt": "' + b"x" * (3 * MIB) + b'"}\n'

# Interrupts runs at random moments, and looks after each whether anything is left.
INTERRUPTS = """
import faulthandler, gc, os, random, shutil, signal, sys, threading
from pathlib import Path
from tests.batch.interrupted_runs import SavedRouter, small_batches
from fastroute.batch import score_log

faulthandler.dump_traceback_later(100, exit=True)  # a deadlock
small_batches()
source, target = Path(sys.argv[1]), Path(sys.argv[2])
given = {"on_error": "skip", "checkpoint": 2000, "resume": True}

def interrupt(*_):
    raise KeyboardInterrupt

def files():
    return {number for number in range(3, 200) if os.path.lexists(f"/proc/self/fd/{number}")}

signal.signal(signal.SIGALRM, interrupt)
score_log(source, target, SavedRouter(), **given)
whole = target.read_bytes()
held = files()
interrupts = completed = lost = 0
random.seed(int(sys.argv[3]))
for name in target.parent.glob("out*"):
    name.unlink()
while interrupts < int(sys.argv[4]):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0005, 0.02))
        score_log(source, target, SavedRouter(), **given)
        signal.setitimer(signal.ITIMER_REAL, 0)
        completed += 1
        assert target.read_bytes() == whole
        for name in target.parent.glob("out*"):
            name.unlink()
    except KeyboardInterrupt:
        interrupts += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    gc.collect()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("fastroute")]
    assert not left, left
    # Python can be interrupted between opening a file and taking hold of it.
    for descriptor in files() - held:
        lost += 1
        os.close(descriptor)
score_log(source, target, SavedRouter(), **given)
assert target.read_bytes() == whole
assert lost <= interrupts // 4, lost  # each run opens many more files
print(interrupts, completed)
"""


def held() -> tuple[int, list[str]]:
    gc.collect()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("fastroute")]
    return len(list(Path("/proc/self/fd").iterdir())), names


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = held()
    yield
    assert held() == before


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        file.writelines([LARGE_ROW] * 40)  # more than may wait between any two stages
    return path


class Slow(SavedRouter):
    """Waits, and fails if it is to."""

    def __init__(self, fails_after: int = 99) -> None:
        self.left = fails_after

    def score(self, prompts: list[str]) -> Any:
        self.left -= 1
        if self.left < 0:
            time.sleep(0.2)  # until the reader can't go on
            raise RuntimeError("router")
        return super().score(prompts)


def slowly(call: Any, failing_after: int = 10**9) -> Any:
    left = failing_after

    def write(descriptor: int, data: Any) -> int:
        nonlocal left
        if len(data) > MIB:
            left -= 1
            time.sleep(0.1)
            if left < 0:
                raise OSError(28, "No space left on device")
        return call(descriptor, data)

    return write


def test_a_router_that_fails_while_the_reader_waits(tmp_path: Path, log: Path) -> None:
    with pytest.raises(RuntimeError, match="router"):
        score_log(log, tmp_path / "out.jsonl", Slow(2), memory=32 * MIB)


def test_reading_that_fails_while_the_writer_works(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.write_bytes(LARGE_ROW * 3 + b"bad\n" + LARGE_ROW * 20)
    monkeypatch.setattr(os, "write", slowly(os.write))
    with pytest.raises(DataError, match="row 4 "):
        score_log(log, tmp_path / "out.jsonl", Slow(), memory=32 * MIB)


def test_writing_that_fails_while_the_others_wait(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", slowly(os.write, 3))
    with pytest.raises(ArtifactError, match=r"out.jsonl: can't be written: No space left on device"):
        score_log(log, tmp_path / "out.jsonl", Slow(), memory=32 * MIB)


def test_rows_that_are_larger_than_what_may_wait(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(LARGE_ROW.replace(b"x" * MIB, b"x" * 6 * MIB) * 6)
    assert score_log(source, tmp_path / "out.jsonl", SavedRouter(), memory=32 * MIB, checkpoint=1).rows == 6
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 6


def test_no_thread_can_be_started(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        score_log(log, tmp_path / "out.jsonl", SavedRouter())
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_interrupts_at_random_moments(tmp_path: Path, checkout: Path, suffix: str) -> None:
    from tests.batch.interrupted_runs import jsonl, parquet

    source = tmp_path / f"in{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
        parquet(source, 2000, 20)
    else:
        source.write_bytes(jsonl(2000))
    (tmp_path / "to").mkdir()
    command = [sys.executable, "-c", INTERRUPTS, source, tmp_path / "to" / f"out{suffix}", "7", "60"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout.split()[0]) == 60
