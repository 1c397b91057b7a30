"""Folders and regular files through descriptors, so that nothing can be swapped under the reader's feet."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.errors import (
    ArtifactCorruptError,
    ArtifactError,
    ArtifactNotFoundError,
    InvalidArgumentError,
    InvalidTypeError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# O_NONBLOCK: opening a FIFO must not wait for a writer. It changes nothing for a regular file.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


def checked_path(path: Any, argument: str = "path") -> Path:
    """Path of an argument that may be `str` or `os.PathLike[str]`, or a typed error."""
    try:
        text = os.fspath(path)
    except TypeError:
        text = None
    if not isinstance(text, str):
        raise InvalidTypeError(f"{argument}: {type(path).__name__} is not a path; give a str or a Path")
    if not text or "\0" in text:
        raise InvalidArgumentError(f"{argument}: {text!r} is empty or holds a NUL")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{argument}: {text!r} can't be encoded for this file system") from None
    return Path(text)


def unreadable(error: OSError, source: str) -> ArtifactError:
    """Typed error of a failed open or read of `source`."""
    if error.errno == errno.ENOENT:
        return ArtifactNotFoundError(f"{source}: not found")
    if error.errno == errno.ELOOP:
        return ArtifactCorruptError(f"{source}: is a symbolic link; the files of an artifact may not be links")
    return ArtifactError(f"{source}: can't be read: {error.strerror}")


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Descriptor of a folder, which may be reached through symbolic links."""
    descriptor = os.open(path, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_subfolder(parent: int, name: str) -> Iterator[int]:
    """Descriptor of a folder inside another; no link is followed."""
    descriptor = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(folder: int, name: str, *, source: str) -> Iterator[tuple[int, int]]:
    """Descriptor and size in bytes of a regular file of a folder; links and devices are refused."""
    try:
        descriptor = os.open(name, _READ, dir_fd=folder)
    except OSError as error:
        raise unreadable(error, source) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ArtifactCorruptError(f"{source}: is not a regular file")
        yield descriptor, status.st_size
    finally:
        os.close(descriptor)


def read_exactly(descriptor: int, size: int, *, source: str) -> bytes:
    """Read `size` bytes into owned memory. A memory map would kill the process when the file is cut."""
    parts = []
    missing = size
    while missing:
        try:
            part = os.read(descriptor, missing)
        except OSError as error:
            raise unreadable(error, source) from error
        if not part:
            raise ArtifactCorruptError(f"{source}: cut short while it was read, {missing} of {size} bytes missing")
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of `data`, however little one call takes."""
    left = memoryview(data).cast("B")
    while left.nbytes:
        written = os.write(descriptor, left)
        if written <= 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        left = left[written:]


def write_new_file(folder: int, name: str, data: bytes) -> None:
    """Create a file that was not there, write it and see it reach the disk."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(name, flags, 0o666, dir_fd=folder)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_flat_folder(parent: int, name: str) -> None:
    """Remove a folder that holds files only; does nothing where there is none."""
    with suppress(FileNotFoundError):
        with opened_subfolder(parent, name) as folder:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
            for entry in names:
                os.unlink(entry, dir_fd=folder)
        os.rmdir(name, dir_fd=parent)
