"""Compressed files: which a path names, reading through all their members, writing whole members.

A member is what gzip calls one: a stretch of bytes that is a whole file by itself, a stream of bzip2 or xz, a frame
of zstd. Files may be several of them, one after the other, as `cat`, `pigz` and a run that goes on make them.
"""

from __future__ import annotations

import importlib
import io
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from typing_extensions import Self

KINDS = ("gzip", "zstd", "bz2", "xz")
_BY_SUFFIX = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
# What a member begins with; zstd also has 16 kinds of frames that hold nothing and are skipped.
_SIGNATURES = {
    "gzip": (b"\x1f\x8b",),
    "zstd": (b"\x28\xb5\x2f\xfd", *(bytes((0x50 + i, 0x2A, 0x4D, 0x18)) for i in range(16))),
    "bz2": (b"BZh",),
    "xz": (b"\xfd7zXZ\0",),
}
_PADDED = ("gzip", "xz")  # zeros may stand after a member: of tapes, or to fill a block
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 6  # gzip's own default, as are the levels of bz2 (9) and xz (6)
# The most that a file may ask for its dictionary; zstd's own limit is half of it, and `xz -9` asks for 65 MiB.
_XZ_MEMORY = 256 << 20

_READ = 1 << 20
_BUFFER = 1 << 20
_STEP = 128 << 10  # bytes into or out of a decompressor at a time
# A member's first step is small, since what is behind its end is copied: else many small members cost their square.
_FIRST_STEP = 4 << 10
_WRITE = 256 << 10


def compression_of(path: str) -> str | None:
    """Return the compression that the path's last suffix names, in any case.

    Returns
    -------
    str or None
        "gzip" for .gz, "zstd" for .zst, "bz2" for .bz2, "xz" for .xz; None for any other.
    """
    suffix = Path(path).suffix
    return _BY_SUFFIX.get(suffix.lower()) if path.endswith(suffix) else None


def without_compression(path: str) -> str:
    """Return the path without the suffix of `compression_of`: "log.jsonl" for "log.jsonl.gz"."""
    return path if compression_of(path) is None else path[: -len(Path(path).suffix)]


def decompressed(stream: BinaryIO, kind: str, name: str) -> io.BufferedReader:
    """Return the content of a compressed stream, which is read and decompressed as far as it is asked for.

    Members are read through, one after the other. Every checksum that the format has is checked; a zstd frame may
    have none, and then not every damage can be told.

    Parameters
    ----------
    stream : binary file
        At the beginning of the compressed bytes. Need not be seekable; stays open.
    kind : str
        One of `KINDS`.
    name : str
        What messages call the input.

    Returns
    -------
    io.BufferedReader
        Not seekable. Holds a few MiB whatever the content is, besides the dictionary of zstd (at most 128 MiB) and
        of xz (256 MiB). For one thread at a time. Closing it leaves `stream` open.

        Its reads raise DataError where the data is not of this kind, cut short, damaged, or followed by something
        else, with the bytes of content that were sound, and where `stream` can't be read; later reads raise it
        again. Content that came before is handed out first, to within `_STEP` bytes. A file that was cut
        just behind a member looks whole, as to every tool. A file of no bytes is cut short.

    Raises
    ------
    InvalidArgumentError
        No such kind.
    MissingDependencyError
        zstd, before Python 3.14 and without pyarrow; or a Python that was built without bz2 or lzma.
    """
    _check_kind(kind)
    source = _Source(stream, kind, name)
    if kind == "zstd" and _python_zstd() is None:
        return io.BufferedReader(_ArrowContent(source), _BUFFER)
    return io.BufferedReader(_Content(source, *_decoder(kind)), _BUFFER)


class Compressor:
    """Compresses what is written to it into `sink`, in members.

    The bytes depend on nothing but what is written, `end_member` and the versions of the libraries: no time and no
    file name. Members have a checksum, but for those of zstd before Python 3.14: Arrow writes none, and damage to them
    may go unnoticed. The end of a ``with`` block closes it; an exception leaves its last member incomplete instead.
    One that is never closed writes no more than it had. For one thread at a time.

    Parameters
    ----------
    sink : binary file
        Need not be seekable; stays open.
    kind : str
        One of `KINDS`.

    Raises
    ------
    InvalidArgumentError, MissingDependencyError
        As `decompressed`.
    """

    def __init__(self, sink: BinaryIO, kind: str) -> None:
        _check_kind(kind)
        self._sink = sink
        self._new_encoder = _encoder(kind)
        self._encoder: _Encoder | None = None
        self._pending: list[bytes] = []
        self._size = 0
        self._members = 0
        self._closed = False

    def write(self, data: bytes) -> int:
        """Take in bytes, which may stay in memory until the member ends; return how many."""
        self._refuse_if_closed()
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _WRITE:
            self._compress_pending()
        return len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write each of `lines`, adding nothing between them."""
        for line in lines:
            self.write(line)

    def end_member(self) -> None:
        """Complete what was written: the bytes that the sink has got are then a whole file.

        What is written later begins a new member. Without a write since the last end nothing happens, but that the
        first member of all may be empty: a file of no bytes is not one.
        """
        self._refuse_if_closed()
        self._compress_pending()
        if self._encoder is None and self._members:
            return
        encoder = self._encoder or self._new_encoder()
        self._encoder = None
        self._sink.write(encoder.flush())
        self._members += 1

    def close(self) -> None:
        """End the member and take no more; the sink stays open. May be called again."""
        if not self._closed:
            self.end_member()
            self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        self._closed = True

    def _compress_pending(self) -> None:
        if not self._size:
            return
        if self._encoder is None:
            self._encoder = self._new_encoder()
        data = b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        self._sink.write(self._encoder.compress(data))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ValueError("write to a Compressor that is closed")


class _Decoder(Protocol):
    """Decompresses one member, as the standard library's classes do."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Encoder(Protocol):
    """Compresses one member."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


class _Source:
    """Compressed bytes, and how their content is spoken of in errors."""

    closed = False  # for Arrow

    def __init__(self, stream: BinaryIO, kind: str, name: str) -> None:
        self._stream = stream
        self.kind = kind
        self._name = name
        self._ahead = b""
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end."""
        if self._at == len(self._ahead):
            self._ahead, self._at = self._read_stream(), 0
        piece = self._ahead[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def unread(self, count: int) -> None:
        """Give back the last bytes of the last read."""
        self._at -= count

    def begins_member(self, content: int, *, first: bool) -> bool:
        """Tell whether a member begins here, or, behind others with `content` bytes, the data ends.

        Raises
        ------
        DataError
            Neither: other data, or too little to tell.
        """
        if not first and self.kind in _PADDED:
            self._skip_zeros()
        signatures = _SIGNATURES[self.kind]
        head = self._peek(len(signatures[0]))
        if head.startswith(signatures):
            return True
        if head and not any(signature.startswith(head) for signature in signatures):
            what = f"data that begins with {head!r}"
            if first:
                raise DataError(f"{self._name}: expected {self.kind} data, found {what}")
            raise self.damaged(content, f"expected another member or the end, found {what}")
        if head or first:
            raise self.cut_short(content)
        return False

    def cut_short(self, content: int) -> DataError:
        """Return the error of data that ends too early."""
        return DataError(f"{self._name}: {self.kind} data cut short after {content} bytes of content")

    def damaged(self, content: int, reason: object) -> DataError:
        """Return the error of data that can't be decompressed."""
        return DataError(f"{self._name}: {self.kind} data damaged after {content} bytes of content: {reason}")

    def close(self) -> None:
        """Leave the stream open: it is the caller's."""

    def _skip_zeros(self) -> None:
        while self._peek(1) == b"\0":
            rest = self._ahead[self._at :]
            self._at = len(self._ahead) - len(rest.lstrip(b"\0"))

    def _peek(self, size: int) -> bytes:
        while len(self._ahead) - self._at < size and (more := self._read_stream()):
            self._ahead, self._at = self._ahead[self._at :] + more, 0
        return self._ahead[self._at : self._at + size]

    def _read_stream(self) -> bytes:
        try:
            return self._stream.read(_READ)
        except OSError as error:
            raise DataError(f"{self._name}: can't be read: {error.strerror or error}") from error


class _RawContent(io.RawIOBase):
    """What is common to both ways of reading: content is counted, and an error is raised again."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._count = 0
        self._error: DataError | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill as much of a buffer as comes at once; 0 at the end."""
        if self._error is not None:
            raise self._error
        try:
            size = self._fill(buffer)
        except DataError as error:
            self._error = error
            raise
        self._count += size
        return size

    def _fill(self, buffer: Any) -> int:
        raise NotImplementedError


class _Content(_RawContent):
    """Content of members, each of which a new decoder reads."""

    def __init__(
        self, source: _Source, new_decoder: Callable[[], _Decoder], errors: tuple[type[Exception], ...]
    ) -> None:
        super().__init__(source)
        self._new_decoder = new_decoder
        self._errors = errors
        self._decoder: _Decoder | None = None
        self._step = _FIRST_STEP
        self._first = True

    def _fill(self, buffer: Any) -> int:
        content = b""
        while not content:
            if self._decoder is None and not self._begin_member():
                return 0
            content = self._decode(min(len(buffer), _STEP))
        buffer[: len(content)] = content
        return len(content)

    def _begin_member(self) -> bool:
        if not self._source.begins_member(self._count, first=self._first):
            return False
        self._first = False
        self._decoder = self._new_decoder()
        self._step = _FIRST_STEP
        return True

    def _decode(self, at_most: int) -> bytes:
        decoder = self._decoder
        assert decoder is not None
        piece = b""
        if decoder.needs_input:
            piece = self._source.read(self._step)
            self._step = min(2 * self._step, _STEP)
            if not piece:
                raise self._source.cut_short(self._count)
        try:
            content = decoder.decompress(piece, at_most)
        except self._errors as error:
            raise self._source.damaged(self._count, error) from error
        if decoder.eof:
            self._source.unread(len(decoder.unused_data))
            self._decoder = None
        return content


class _ArrowContent(_RawContent):
    """Content of zstd frames by way of Arrow, which reads through them itself."""

    def __init__(self, source: _Source) -> None:
        super().__init__(source)
        self._arrow = _arrow_with_zstd()
        self._stream = self._arrow.CompressedInputStream(self._arrow.PythonFile(source, "r"), "zstd")
        self._begun = False

    def _fill(self, buffer: Any) -> int:
        if not self._begun:
            self._source.begins_member(0, first=True)
            self._begun = True
        try:
            # What Arrow read before it finds damage is lost with it, so it is asked for little at a time.
            return int(self._stream.readinto(memoryview(buffer)[:_STEP]))
        except (self._arrow.ArrowException, OSError) as error:
            if "Truncated" in str(error):
                raise self._source.cut_short(self._count) from error
            raise self._source.damaged(self._count, error) from error


class _Inflate:
    """zlib's decompressor of one gzip member with the interface of the others."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_GZIP_FORMAT)
        self.eof = False
        self.needs_input = True
        self.unused_data = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        content = self._zlib.decompress(data or self._zlib.unconsumed_tail, max_length)
        self.eof = self._zlib.eof
        self.needs_input = not self._zlib.unconsumed_tail
        self.unused_data = self._zlib.unused_data
        return content


class _ArrowFrame:
    """Compresses one zstd frame by way of Arrow."""

    def __init__(self, arrow: Any) -> None:
        # Arrow ends a frame when it forgets the stream too: then it goes nowhere, as the sink is not in its reach.
        self._done: list[bytes] = []
        self._stream = arrow.CompressedOutputStream(arrow.PythonFile(_Parts(self._done), "w"), "zstd")

    def compress(self, data: bytes) -> bytes:
        self._stream.write(data)
        return self._taken()

    def flush(self) -> bytes:
        self._stream.close()
        return self._taken()

    def _taken(self) -> bytes:
        data = b"".join(self._done)
        self._done.clear()
        return data


class _Parts:
    """The file that Arrow writes to: parts of a frame on their way to the sink."""

    closed = False

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def close(self) -> None:
        """Nothing to close."""


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise InvalidArgumentError(f"kind: found {kind!r}, allowed: {', '.join(KINDS)}")


def _decoder(kind: str) -> tuple[Callable[[], _Decoder], tuple[type[Exception], ...]]:
    """Return what makes a decoder of one member, and what it raises on bad data."""
    if kind == "gzip":
        return _Inflate, (zlib.error,)
    if kind == "bz2":
        return _standard("bz2").BZ2Decompressor, (OSError, ValueError)
    if kind == "xz":
        lzma = _standard("lzma")
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY), (lzma.LZMAError,)
    zstd = _python_zstd()
    return zstd.ZstdDecompressor, (zstd.ZstdError,)


def _encoder(kind: str) -> Callable[[], _Encoder]:
    """Return what makes an encoder of one member."""
    if kind == "gzip":
        return lambda: zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    if kind == "bz2":
        return _standard("bz2").BZ2Compressor  # type: ignore[no-any-return]
    if kind == "xz":
        return _standard("lzma").LZMACompressor  # type: ignore[no-any-return]
    zstd = _python_zstd()
    if zstd is not None:
        return lambda: zstd.ZstdCompressor(options={zstd.CompressionParameter.checksum_flag: 1})
    arrow = _arrow_with_zstd()
    return lambda: _ArrowFrame(arrow)


def _standard(module: str) -> Any:
    """Import a module of the standard library that a build of Python may lack."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"this Python was built without its module {module}") from error


def _python_zstd() -> Any:
    """Return the standard library's zstd, or None before Python 3.14 and where it was built without it."""
    try:
        return importlib.import_module("compression.zstd") if sys.version_info >= (3, 14) else None
    except ImportError:
        return None


def _arrow_with_zstd() -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependencyError(
            "zstd needs Python 3.14 or pyarrow, which is not installed: pip install 'fastroute[batch]'"
        ) from error
    if not pa.Codec.is_available("zstd"):
        raise MissingDependencyError("zstd needs Python 3.14 or a pyarrow that was built with zstd")
    return pa
