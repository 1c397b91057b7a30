"""Scorecard 17: the k-th write, fsync or rename fails, for every k. Old or new, complete, and no litter."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastroute.artifact import ROUTER, atomic, atomic_file, read_artifact, write_artifact
from fastroute.errors import ArtifactError

SYSTEM_CALLS = ["open", "mkdir", "write", "fsync", "fchmod", "rename", "replace"]
MOST_CALLS = 60


class Fault:
    """Counts the calls that change the disk and lets the k-th one fail, or all that need space from there."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at, self.calls = kind, at, 0

    def strikes(self, name: str) -> bool:
        self.calls += 1
        if self.kind == "disk stays full" and self.calls > self.at:
            return name in ("open", "mkdir", "write", "fsync")  # a full disk still renames
        return self.calls == self.at

    def wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        if name == "fsync":

            def call(_: int) -> None:
                """Counted, not run: the disk is not under test."""

        def run(*arguments: Any, **keywords: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return call(*arguments, **keywords)
            if not self.strikes(name):
                return call(*arguments, **keywords)
            if self.kind == "interrupt":
                raise KeyboardInterrupt
            if self.kind == "short write" and name == "write":
                return call(arguments[0], bytes(arguments[1])[: max(1, len(arguments[1]) // 2)])
            if self.kind == "short write":
                return call(*arguments, **keywords)
            if self.kind == "short write, then full" and name == "write":
                call(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            code = errno.EIO if self.kind == "EIO" else errno.ENOSPC
            raise OSError(code, os.strerror(code))

        return run


KINDS = ["EIO", "ENOSPC", "disk stays full", "short write", "short write, then full", "interrupt"]


@pytest.fixture
def inject(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault, bool], None]:
    def patch(fault: Fault, exchange: bool) -> None:
        for name in SYSTEM_CALLS:
            monkeypatch.setattr(os, name, fault.wrapped(name, getattr(os, name)))
        if exchange:
            wrapped = fault.wrapped("exchange", atomic.exchange_names)
            monkeypatch.setattr(atomic, "exchange_names", wrapped)
        else:
            monkeypatch.setattr(atomic, "exchange_names", lambda *_: False)

    return patch


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save(folder: Path, note: str) -> None:
    files = {"weights.safetensors": note.encode() * 50, "note.txt": note.encode()}
    write_artifact(folder, format=ROUTER, manifest={"kind": "mf", "name": "n", "note": note}, files=files)


def note(folder: Path) -> str | None:
    """The note of the complete artifact at a path; None where there is nothing at all."""
    if not folder.exists():
        return None
    artifact = read_artifact(folder, format=ROUTER)
    assert artifact.files["note.txt"].decode() == artifact.manifest["note"]
    return str(artifact.manifest["note"])


def run(write: Callable[[], None], fault: Fault) -> BaseException | None:
    try:
        write()
    except (ArtifactError, KeyboardInterrupt) as error:
        return error
    return None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("older", "exchange"),
    [(None, True), ("old", True), ("old", False), ("empty folder", True)],
    ids=["nothing there", "exchange", "renames", "empty folder"],
)
def test_saving_an_artifact(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inject: Callable[[Fault, bool], None],
    kind: str,
    older: str | None,
    exchange: bool,
) -> None:
    failures = 0
    for at in range(1, MOST_CALLS):
        parent = tmp_path / str(at)
        parent.mkdir()
        target = parent / "router"
        if older == "old":
            save(target, "old")
        elif older:
            target.mkdir()
        fault = Fault(kind, at)
        with monkeypatch.context():
            inject(fault, exchange)
            error = run(lambda target=target: save(target, "new"), fault)
        monkeypatch.undo()
        found = None if target.is_dir() and not names(target) else note(target)
        assert found == ((older if older == "old" else None) if error else "new"), (at, error)
        assert names(parent) in ([], ["router"])
        if error is not None:
            failures += 1
            assert isinstance(error, KeyboardInterrupt) == (kind == "interrupt")
            assert kind == "interrupt" or str(error).startswith(f"{target}: can't be written: ")
        if fault.calls < at:
            break
    else:
        pytest.fail("more calls than expected: raise MOST_CALLS")
    assert at > 10
    assert failures == (0 if kind == "short write" else at - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("older", [None, b"old" * 1000])
def test_writing_one_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    inject: Callable[[Fault, bool], None],
    kind: str,
    older: bytes | None,
) -> None:
    new = [b"line\n" * 100, b"x" * 400_000, b"end"]

    def write(target: Path) -> None:
        with atomic_file(target) as stream:
            for part in new:
                stream.write(part)

    failures = 0
    for at in range(1, MOST_CALLS):
        parent = tmp_path / str(at)
        parent.mkdir()
        target = parent / "out"
        if older is not None:
            target.write_bytes(older)
        fault = Fault(kind, at)
        with monkeypatch.context():
            inject(fault, True)
            error = run(lambda target=target: write(target), fault)
        monkeypatch.undo()
        found = target.read_bytes() if target.exists() else None
        if error is None:
            assert found == b"".join(new)
        else:
            failures += 1
            # The last fsync comes after the rename: the new file is there, and said not to be durable.
            assert found in (older, b"".join(new))
            assert isinstance(error, KeyboardInterrupt) == (kind == "interrupt")
            assert kind == "interrupt" or str(error).startswith(f"{target}: can't be written: ")
        assert names(parent) in ([], ["out"])
        if fault.calls < at:
            break
    else:
        pytest.fail("more calls than expected: raise MOST_CALLS")
    assert at > 5
    assert failures == (0 if kind == "short write" else at - 1)


def test_an_older_folder_that_cannot_be_put_back_is_pointed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inject: Callable[[Fault, bool], None]
) -> None:
    """Every rename fails after the first of three: the one state in which the name is left empty."""
    save(tmp_path / "router", "old")
    renames: list[str] = []
    rename = os.rename

    def once(*arguments: Any, **keywords: Any) -> None:
        renames.append(arguments[1])
        if len(renames) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(*arguments, **keywords)

    monkeypatch.setattr(os, "rename", once)
    monkeypatch.setattr(atomic, "exchange_names", lambda *_: False)
    with pytest.raises(ArtifactError, match=r"could not be put back .* under the name ") as caught:
        save(tmp_path / "router", "new")
    assert names(tmp_path) == [renames[0]]
    assert str(caught.value).endswith(renames[0])
    assert note(tmp_path / renames[0]) == "old"


def recorded(monkeypatch: pytest.MonkeyPatch, write: Callable[[], None]) -> list[str]:
    """The calls that change the disk, in order; consecutive writes as one."""
    calls: list[str] = []

    def wrapped(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            if name != "write" or calls[-1:] != ["write"]:
                calls.append(name)
            return call(*arguments, **keywords)

        return run

    with monkeypatch.context() as patch:
        for name in ("write", "fsync", "rename", "replace"):
            patch.setattr(os, name, wrapped(name, getattr(os, name)))
        patch.setattr(atomic, "exchange_names", wrapped("exchange", atomic.exchange_names))
        write()
    return calls


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges names here")
def test_everything_reaches_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each_file = ["write", "fsync"] * 3
    target = tmp_path / "router"
    calls = recorded(monkeypatch, lambda: save(target, "old"))
    assert calls == [*each_file, "fsync", "rename", "fsync"]
    calls = recorded(monkeypatch, lambda: save(target, "new"))
    assert calls == [*each_file, "fsync", "exchange", "fsync"]

    def write() -> None:
        with atomic_file(tmp_path / "out") as stream:
            stream.write(b"line\n")

    assert recorded(monkeypatch, write) == ["write", "fsync", "replace", "fsync"]
