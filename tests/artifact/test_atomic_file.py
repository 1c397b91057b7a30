"""One file, complete or not at all."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from fastroute.artifact import atomic_file
from fastroute.errors import ArtifactError, InvalidTypeError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_complete_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    with atomic_file(target) as stream:
        stream.write(b"one\n")
        stream.write(b"two\n" * 200_000)
        assert not target.exists()
    assert target.read_bytes() == b"one\n" + b"two\n" * 200_000
    assert names(tmp_path) == ["out.jsonl"]


def fail_after_writing(stream: BinaryIO, failure: type[BaseException]) -> None:
    stream.write(b"x" * 1_000_000)
    raise failure


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("older", [None, b"older"])
def test_a_failing_block_changes_nothing(tmp_path: Path, failure: type[BaseException], older: bytes | None) -> None:
    target = tmp_path / "out"
    if older is not None:
        target.write_bytes(older)
    with pytest.raises(failure), atomic_file(target) as stream:
        fail_after_writing(stream, failure)
    assert (target.read_bytes() if target.exists() else None) == older
    assert len(names(tmp_path)) == (older is not None)


def test_an_error_of_the_block_itself_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="input"), atomic_file(tmp_path / "out"):
        (tmp_path / "input").read_bytes()
    assert not names(tmp_path)


def test_a_new_file_follows_the_umask_and_an_older_mode_is_kept(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "new"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o600)
    with atomic_file(tmp_path / "new"):
        pass
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"older")
    (tmp_path / "link").symlink_to("real")
    with atomic_file(tmp_path / "link") as stream:
        stream.write(b"newer")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"newer"


def test_a_text_wrapper_that_closes_the_stream_loses_nothing(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "out") as stream, io.TextIOWrapper(stream, encoding="utf-8") as text:
        text.write("größer\n")
    assert (tmp_path / "out").read_text(encoding="utf-8") == "größer\n"


def device(folder: Path, minor: int) -> Path:
    """A memory device of one's own: a mistake in the code under test must not reach those in /dev."""
    path = folder / "device"
    try:
        os.mknod(path, 0o20666, os.makedev(1, minor))
        path.open("rb").close()
    except OSError:
        pytest.skip("this user may not make devices")
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the numbers of devices are Linux's")
def test_a_device_is_written_not_replaced(tmp_path: Path) -> None:
    null = device(tmp_path, 3)
    with atomic_file(null) as stream:
        stream.write(b"gone")
    assert stat.S_ISCHR(null.stat().st_mode)
    assert names(tmp_path) == ["device"]


@pytest.mark.skipif(sys.platform != "linux", reason="the numbers of devices are Linux's")
@pytest.mark.parametrize("data", [b"x" * 1_000_000, b"small: fails when the block ends"])
def test_a_full_device_is_named(tmp_path: Path, data: bytes) -> None:
    full = device(tmp_path, 7)
    refused = pytest.raises(ArtifactError, match="device: can't be written: No space left")
    with refused, atomic_file(full) as stream:
        stream.write(data)
    assert names(tmp_path) == ["device"]


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    with atomic_file(tmp_path / "pipe") as stream:
        stream.write(b"through")
    reader.join(10)
    assert received == [b"through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_reader_that_went_away_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    refused = pytest.raises(ArtifactError, match="pipe: can't be written: Broken pipe")
    with refused, atomic_file(tmp_path / "pipe") as stream:
        os.close(reader)
        stream.write(b"x" * 1_000_000)


FILE_SIZE_LIMIT = """
import resource, sys
from pathlib import Path
from fastroute.artifact import ROUTER, atomic_file, write_artifact
from fastroute.errors import ArtifactError
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder = Path(sys.argv[1])
for write in ("file", "folder"):
    try:
        if write == "file":
            with atomic_file(folder / "out") as stream:
                stream.write(b"x" * 150_000)
        else:
            write_artifact(folder / "r", format=ROUTER, manifest={"kind": "mf", "name": "n"},
                           files={"w": b"x" * 150_000})
    except ArtifactError as error:
        print(error)
"""


def test_a_limit_set_by_the_system_is_reported_and_cleaned_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [f"{tmp_path / name}: can't be written: File too large" for name in ("out", "r")]
    assert not names(tmp_path)


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="can't be written: Is a directory"), atomic_file(tmp_path):
        pass


def test_a_missing_parent(tmp_path: Path) -> None:
    refused = pytest.raises(ArtifactError, match="nowhere does not exist; create it first")
    with refused, atomic_file(tmp_path / "nowhere" / "out"):
        pass


def test_a_path_of_another_type() -> None:
    bad: Any = 3
    with pytest.raises(InvalidTypeError, match=r"^path: int"), atomic_file(bad):
        pass
