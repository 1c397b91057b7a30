"""Where the bytes of an output go: a file that grows and can be parted, or a stream."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from fastroute.artifact.atomic import reported
from fastroute.batch.compression import Compressor
from fastroute.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["FileSink", "StreamSink", "sync_folder"]

_BUFFER = 1 << 20


class StreamSink:
    """Bytes for a stream, compressed on the way where asked for."""

    def __init__(self, stream: BinaryIO, compression: str | None = None) -> None:
        self._stream = stream
        self._compressor = None if compression is None else Compressor(stream, compression)
        self._written = 0

    def write(self, data: bytes, /) -> int:
        """Take in bytes."""
        (self._compressor or self._stream).write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        """Return how many bytes were taken in."""
        return self._written

    def complete(self) -> None:
        """End what compression has begun."""
        if self._compressor is not None:
            self._compressor.close()


class FileSink(StreamSink):
    """A file that grows.

    Parameters
    ----------
    path : Path
    shown : Path
        What messages call it.
    compression : str, optional
    length : int
        Bytes that are there already, from which it goes on; what is there besides is cut off.

    Raises
    ------
    ArtifactError
        The operating system refused; so do the methods.
    DataError
        The file is shorter than `length`.
    """

    def __init__(self, path: Path, shown: Path, compression: str | None = None, length: int = 0) -> None:
        self._shown = shown
        self._begun_at = length
        with reported(shown):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            self._file = io.BufferedWriter(_Growing(descriptor, shown), _BUFFER)
            try:
                self._cut(path, length)
            except BaseException:
                self.close()
                raise
        super().__init__(self._file, compression)
        self._written = length

    def _cut(self, path: Path, length: int) -> None:
        descriptor = self._file.fileno()
        found = os.fstat(descriptor).st_size
        if found < length:
            raise DataError(f"{path}: expected at least {length} bytes, as the journal says, found {found}")
        os.ftruncate(descriptor, length)
        os.lseek(descriptor, length, os.SEEK_SET)
        if not length:
            sync_folder(path.parent)  # a journal that speaks of the file must not outlive its name

    def commit(self) -> int:
        """Put on disk what was written, so that it is a whole part, and return the file's length."""
        self.complete()
        with reported(self._shown):
            self._file.flush()
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size

    def complete(self) -> None:
        """End what compression has begun; more may follow."""
        # Where nothing was added to what is there, there is nothing to end, and no empty member to make a file of.
        if self._compressor is not None and not self._written == self._begun_at > 0:
            self._compressor.end_member()

    def close(self) -> None:
        """Close the file; what was not committed may be lost."""
        with suppress(ArtifactError):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sync_folder(folder: Path) -> None:
    """Put on disk which names a folder has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Growing(io.FileIO):
    """Unbuffered writer whose failures name the output."""

    def __init__(self, descriptor: int, shown: Path) -> None:
        super().__init__(descriptor, "wb")
        self._shown = shown

    def write(self, data: object) -> int:
        with reported(self._shown):
            return os.write(self.fileno(), data)  # type: ignore[arg-type]
