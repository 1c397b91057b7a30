"""Lines of a binary stream, each of bounded length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.rows import MAX_ROW_BYTES, Mark
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
_NOT_UTF8 = {
    b"\xff\xfe": "UTF-16 text; convert it first, for example with: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it first, for example with: iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "gzip data; give the file a name that ends in .gz, or decompress it first",
    b"\x28\xb5\x2f\xfd": "zstd data; give the file a name that ends in .zst, or decompress it first",
    b"PAR1": "a Parquet file; pass --format parquet",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line with its terminator; `raw` is None where the line is longer than `MAX_ROW_BYTES`."""

    number: int
    raw: bytes | None


class Lines:
    """Iterates over the lines of `stream` and counts what it has read.

    Attributes
    ----------
    has_bom : bool
        Whether the stream began with a UTF-8 byte order mark; it is not part of the first line.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._number = 0
        self._position = 0
        self.has_bom = False

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._position

    @property
    def number(self) -> int:
        """Lines read so far."""
        return self._number

    def mark(self, rows: int) -> Mark:
        """Return the place after the last line, before which there are `rows` rows."""
        return Mark(rows, self._number, self._position)

    def go_to(self, mark: Mark) -> None:
        """Go on at a later place, which need not be read again where the stream can seek.

        Raises
        ------
        DataError
            The stream ends before it.
        """
        left = mark.offset - self._position
        if self._stream.seekable():
            self._stream.seek(left, 1)
        else:
            while left > 0:
                skipped = len(self._stream.read(min(left, _CHUNK)))
                if not skipped:
                    raise DataError(f"{self._name}: expected at least {mark.offset} bytes, found {mark.offset - left}")
                left -= skipped
        self._number = mark.lines
        self._position = mark.offset

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        raw = self._read(MAX_ROW_BYTES + 1)
        if not raw:
            raise StopIteration
        self._number += 1
        if len(raw) > MAX_ROW_BYTES:
            self._skip_rest(raw)
            return Line(self._number, None)
        if self._number == 1:
            raw = self._without_signature(raw)
        return Line(self._number, raw)

    def _without_signature(self, raw: bytes) -> bytes:
        for signature, what in _NOT_UTF8.items():
            if raw.startswith(signature):
                raise DataError(f"{self._name}: expected UTF-8 text, found {what}")
        self.has_bom = raw.startswith(_BOM)
        return raw.removeprefix(_BOM)

    def _skip_rest(self, raw: bytes) -> None:
        while raw and not raw.endswith(b"\n"):
            raw = self._read(_CHUNK)

    def _read(self, limit: int) -> bytes:
        try:
            raw = self._stream.readline(limit)
        except OSError as error:
            raise DataError(f"{self._name}: can't be read: {error.strerror or error}") from error
        self._position += len(raw)
        return raw


def too_long() -> str:
    """Return the reason for which a line or record longer than `MAX_ROW_BYTES` is a bad row."""
    return f"longer than {MAX_ROW_BYTES >> 20} MiB, the most that one row may have"
