"""Scorecard 16: links, pipes, devices and folders in place of files; files that change under the reader."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastroute.artifact import ROUTER, read_artifact, safetensors
from fastroute.errors import ArtifactCorruptError, ArtifactError, ArtifactNotFoundError

FILES = ["router.json", "weights.safetensors"]


def put_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def put_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def put_looping_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def put_link_to_a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to(os.devnull)


def put_link_to_a_secret(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def put_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


LINK = "is a symbolic link; the files of an artifact may not be links"
DISGUISES = [
    (put_link, LINK),
    (put_dangling_link, LINK),
    (put_looping_link, LINK),
    (put_link_to_a_device, LINK),
    (put_link_to_a_secret, LINK),
    (put_fifo, "is not a regular file"),
    (put_folder, "is not a regular file"),
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("disguise", "fragment"), DISGUISES, ids=lambda case: getattr(case, "__name__", ""))
def test_it_is_refused_at_once(router_folder: Path, name: str, disguise: Callable[[Path], None], fragment: str) -> None:
    disguise(router_folder / name)
    with pytest.raises(ArtifactCorruptError, match=f"{name}: {fragment}"):
        read_artifact(router_folder, format=ROUTER)


@pytest.mark.parametrize("name", FILES)
def test_a_socket(router_folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (router_folder / name).unlink()
    monkeypatch.chdir(router_folder)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        with pytest.raises(ArtifactError, match=name):
            read_artifact(router_folder, format=ROUTER)


@pytest.mark.parametrize("name", FILES)
def test_a_device(router_folder: Path, name: str) -> None:
    (router_folder / name).unlink()
    try:
        os.mknod(router_folder / name, 0o20666, os.makedev(1, 5))  # zeros without end
        (router_folder / name).open("rb").close()
    except OSError:
        pytest.skip("this user may not make devices")
    with pytest.raises(ArtifactCorruptError, match=f"{name}: is not a regular file"):
        read_artifact(router_folder, format=ROUTER)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_may_not_be_read(router_folder: Path, name: str) -> None:
    (router_folder / name).chmod(0)
    if os.access(router_folder / name, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(ArtifactError, match=f"{name}: can't be read: Permission denied"):
        read_artifact(router_folder, format=ROUTER)


def test_a_link_that_loops_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "r").symlink_to("r")
    with pytest.raises(ArtifactCorruptError, match="r: is a symbolic link"):
        read_artifact(tmp_path / "r", format=ROUTER)


def test_a_name_too_long_for_the_system(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="can't be read: File name too long"):
        read_artifact(tmp_path / ("x" * 300), format=ROUTER)


def test_no_descriptor_is_leaked(router_folder: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("this system has no /proc/self/fd")
    read_artifact(router_folder, format=ROUTER)
    before = len(list(folder.iterdir()))
    (router_folder / "note.txt").write_bytes(b"b note")
    for _ in range(50):
        with pytest.raises(ArtifactCorruptError):
            read_artifact(router_folder, format=ROUTER)
    assert len(list(folder.iterdir())) == before


class TestChangesUnderTheReader:
    def test_what_was_loaded_is_owned(self, router_folder: Path) -> None:
        artifact = read_artifact(router_folder, format=ROUTER)
        arrays = safetensors.decode(artifact.files["weights.safetensors"], source="w")
        before = {name: array.copy() for name, array in arrays.items()}
        path = router_folder / "weights.safetensors"
        with path.open("r+b") as stream:
            stream.write(b"\xff" * path.stat().st_size)
        os.truncate(path, 10)
        os.truncate(path, 0)
        path.unlink()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, before[name])

    @pytest.mark.parametrize("left", [0, 1, 100])
    def test_a_file_cut_after_its_size_was_seen(
        self, router_folder: Path, monkeypatch: pytest.MonkeyPatch, left: int
    ) -> None:
        path = router_folder / "weights.safetensors"
        refused = pytest.raises(ArtifactCorruptError, match="cut short while it was read")
        with before_reads_of(path, monkeypatch, lambda: os.truncate(path, left)), refused:
            read_artifact(router_folder, format=ROUTER)

    def test_a_file_overwritten_after_its_size_was_seen(
        self, router_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = router_folder / "weights.safetensors"
        other = bytes(path.stat().st_size)
        refused = pytest.raises(ArtifactCorruptError, match=r"weights\.safetensors: SHA-256 is")
        with before_reads_of(path, monkeypatch, lambda: path.write_bytes(other)), refused:
            read_artifact(router_folder, format=ROUTER)

    def test_a_file_replaced_or_deleted_after_it_was_opened_is_still_read(
        self, router_folder: Path, monkeypatch: pytest.MonkeyPatch, weights: bytes
    ) -> None:
        path = router_folder / "weights.safetensors"
        with before_reads_of(path, monkeypatch, path.unlink):
            assert read_artifact(router_folder, format=ROUTER).files[path.name] == weights
        with pytest.raises(ArtifactNotFoundError):
            read_artifact(router_folder, format=ROUTER)

    def test_a_read_that_fails_is_named(self, router_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise OSError(5, "Input/output error")

        path = router_folder / "weights.safetensors"
        refused = pytest.raises(ArtifactError, match=r"weights\.safetensors: can't be read: Input/output")
        with before_reads_of(path, monkeypatch, fail), refused:
            read_artifact(router_folder, format=ROUTER)

    def test_a_read_in_small_pieces_is_put_together(self, router_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = read_artifact(router_folder, format=ROUTER)
        read = os.read
        monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 7)))
        assert read_artifact(router_folder, format=ROUTER) == whole


@contextmanager
def before_reads_of(path: Path, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> Iterator[None]:
    """Do something once, between the opening of a file and the first read of its bytes."""
    wanted, read, done = path.stat(), os.read, []

    def wrapped(descriptor: int, size: int) -> bytes:
        if not done and os.path.samestat(os.fstat(descriptor), wanted):
            done.append(True)
            act()
        return read(descriptor, size)

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", wrapped)
        yield
    assert done, "the file was never read"
