"""Where rows come from and go to: files and the standard streams."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from fastroute.batch.compression import compression_of, decompressed
from fastroute.errors import DataError, FastrouteError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STANDARD = "-"
_COPY_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """An input that has been opened.

    Attributes
    ----------
    name : str
        What messages call it.
    stream : binary file
        Its content, decompressed.
    size : int or None
        Bytes of the content, where known.
    stored : int or None
        Bytes of the file, where it is one.
    consumed : callable
        Gives the bytes of the file that were read; None for a stream and a pipe.
    """

    name: str
    stream: BinaryIO
    size: int | None
    stored: int | None
    consumed: Callable[[], int | None]


def check_endpoints(source: str, target: str, *, overwrite: bool) -> None:
    """Refuse an input or an output that can't serve, before anything is read or created.

    Raises
    ------
    InvalidArgumentError
        The input is not there or a folder; the output is a folder, is the input, exists and `overwrite` is
        false, or its folder is not there.
    """
    reading, writing = _status(source, sys.stdin), _status(target, sys.stdout)
    if source != STANDARD:
        if reading is None:
            raise InvalidArgumentError(f"{source}: there is no such file")
        if stat.S_ISDIR(reading.st_mode):
            raise InvalidArgumentError(f"{source}: expected a file, found a folder")
    if writing is None:
        folder = Path(target).parent
        if target != STANDARD and not folder.is_dir():
            raise InvalidArgumentError(f"{target}: there is no folder {str(folder)!r} to write it to")
        return
    if stat.S_ISDIR(writing.st_mode):
        raise InvalidArgumentError(f"{target}: expected a file to write, found a folder")
    if not stat.S_ISREG(writing.st_mode):
        return
    if reading is not None and os.path.samestat(reading, writing):
        raise InvalidArgumentError(f"{target}: the output is the input; write to another file")
    if target != STANDARD and not overwrite:
        raise InvalidArgumentError(f"{target}: the output exists; pass --overwrite to replace it")


def refuse_irregular(path: str) -> None:
    """Raise DataError if a path is no regular file: opening a pipe could wait for ever."""
    found = _status(path, None)
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: expected a file, found {_kind_of(found)}")


@contextmanager
def open_source(path: str, *, seekable: bool) -> Iterator[Source]:
    """Open a path, or standard input for "-"; what is compressed, as its name tells, is decompressed.

    Parameters
    ----------
    path : str
    seekable : bool
        Whether the format jumps about in the file. A pipe, or what a compressed file holds, is then copied to a
        temporary file first.
    """
    if path == STANDARD:
        with _seekable(sys.stdin.buffer, "stdin", wanted=seekable) as stream:
            yield Source("stdin", stream, _size(stream), _size(stream), lambda: None)
        return
    compression = compression_of(path)
    with _opened(path) as file:
        stored = _size(file)
        consumed = (lambda: None) if stored is None else file.tell  # a pipe with a name has no place
        if compression is None:
            with _seekable(file, path, wanted=seekable) as stream:
                yield Source(path, stream, _size(stream), stored, stream.tell if stream.seekable() else lambda: None)
            return
        consumed = file.tell if file.seekable() else lambda: None
        with decompressed(file, compression, path) as content, _seekable(content, path, wanted=seekable) as stream:
            yield Source(path, stream, _size(stream) if stream is not content else None, stored, consumed)


@contextmanager
def open_target(path: str) -> Iterator[BinaryIO]:
    """Open a path so that it appears complete or not at all, or standard output for "-"."""
    from fastroute.artifact import atomic_file

    if path != STANDARD:
        with atomic_file(path) as stream:
            yield stream
        return
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FastrouteError(f"stdout: can't be written: {error.strerror or error}") from error


def _opened(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error


@contextmanager
def _seekable(stream: BinaryIO, name: str, *, wanted: bool) -> Iterator[BinaryIO]:
    """Give the stream, or where it can't seek and that is wanted, a temporary file of what it holds."""
    if not wanted or stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile(prefix="fastroute-") as copy:
        try:
            while chunk := stream.read(_COPY_CHUNK):
                copy.write(chunk)
            copy.seek(0)
        except OSError as error:
            raise DataError(f"{name}: can't be copied to a temporary file: {error.strerror or error}") from error
        yield cast("BinaryIO", copy)


def _status(path: str, standard: object) -> os.stat_result | None:
    """Return the status of a path, or of the file behind a standard stream; None where there is none."""
    try:
        if path == STANDARD:
            return os.fstat(standard.fileno())  # type: ignore[attr-defined]
        return Path(path).stat()
    except (OSError, ValueError):
        return None


def _kind_of(status: os.stat_result) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def _size(stream: BinaryIO) -> int | None:
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
