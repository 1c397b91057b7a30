"""Row groups of Parquet footers: where their column chunks are, at other places, with other columns beside.

What is said of a row group besides places in the file is written as it was read, whether this version knows it
or not. Dropped are references to what is not copied: page indexes, Bloom filters and extensions (field 32767 may be
another form of the same, with places in the old file).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fastroute.batch.formats.thrift import (
    I16,
    I32,
    I64,
    LIST,
    STRUCT,
    Fields,
    MalformedError,
    Reader,
    encode_integer,
    encode_struct,
    encode_structs,
)
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Where programs that this version does not know keep what they add to a struct.
EXTENSION = 32767
_MAX_ORDINAL = 32767

# Numbers of the fields in parquet.thrift: of RowGroup, ColumnChunk and ColumnMetaData.
_COLUMNS, _BYTES, _ROWS, _, _START, _COMPRESSED, _ORDINAL = range(1, 8)
_CHUNK_PATH, _CHUNK_START, _CHUNK_META = range(1, 4)
_CHUNK_CRYPTO, _CHUNK_ENCRYPTED = 8, 9
_META_VALUES, _META_COMPRESSED, _META_DATA, _META_INDEX, _META_DICTIONARY = 5, 7, 9, 10, 11

_CHUNK_INDEXES = (4, 5, 6, 7)
_META_BLOOM = (14, 15)
_CHUNK_DROPPED = (_CHUNK_PATH, *_CHUNK_INDEXES, _CHUNK_CRYPTO, _CHUNK_ENCRYPTED, EXTENSION)
_META_DROPPED = (*_META_BLOOM, EXTENSION)
_NOWHERE = I64, encode_integer(0)


_META_PATH, _META_CODEC, _META_UNCOMPRESSED = 3, 4, 6
_CODECS = ("none", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4")  # by their numbers; the last is LZ4_RAW


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a footer says of a column chunk besides its place.

    Attributes
    ----------
    path : str
        Names from the root, with dots between them.
    codec : str
        As Arrow calls it.
    values, size : int
        Number of values, and their bytes without compression.
    """

    path: str
    codec: str
    values: int
    size: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """What a footer says of a row group. Safe to use from several threads.

    Attributes
    ----------
    rows : int
    chunks : tuple of (int, int)
        First byte in the file, and length in bytes, of each leaf column's chunk; its dictionary is part of it.
    """

    rows: int
    chunks: tuple[tuple[int, int], ...]
    _columns: bytes = field(repr=False)  # ColumnChunk structs, one after another
    _rest: bytes = field(repr=False)  # RowGroup without them

    @classmethod
    def decoded(cls, data: bytes, name: str) -> RowGroup:
        """Decode what `encoded` returned.

        Raises
        ------
        DataError
            Not a row group; the message begins with `name`.
        """
        reader = Reader(data)
        with reading(name, "row group"):
            group, _ = read_group(reader)
            if reader.at < len(data):
                raise MalformedError("bytes follow it")
        return group

    def described(self) -> tuple[Chunk, ...]:
        """Return what is said of the chunks, nothing where that can't be understood.

        Arrow's own words for it would end the process where they are damaged.
        """
        reader = Reader(self._columns)
        try:
            return tuple(_described(reader.struct()) for _ in self.chunks)
        except (MalformedError, IndexError):
            return ()

    def encoded(self) -> bytes:
        """Return the row group as Thrift."""
        fields = Reader(self._rest).struct()
        fields[_COLUMNS] = LIST, encode_structs(len(self.chunks), [self._columns])
        return encode_struct(fields)

    def numbered(self, ordinal: int) -> RowGroup:
        """Return the row group as number `ordinal` of its file, from 0, if it has a number and that fits 16 bits."""
        rest = Reader(self._rest).struct()
        if rest.pop(_ORDINAL, None) and ordinal <= _MAX_ORDINAL:
            rest[_ORDINAL] = I16, encode_integer(ordinal)
        return replace(self, _rest=encode_struct(rest))

    def relocated(self, starts: Sequence[int]) -> RowGroup:
        """Return the row group with chunk i beginning at byte `starts[i]`.

        Raises
        ------
        InvalidArgumentError
            Not as many starts as chunks.
        """
        if len(starts) != len(self.chunks):
            raise InvalidArgumentError(f"starts: {len(starts)} values for {len(self.chunks)} column chunks")
        reader = Reader(self._columns)
        columns = b"".join(
            _relocated_chunk(reader, *chunk, start) for chunk, start in zip(self.chunks, starts, strict=True)
        )
        rest = Reader(self._rest).struct()
        rest.pop(EXTENSION, None)
        if rest.pop(_START, None) and starts:
            rest[_START] = I64, encode_integer(min(starts))
        chunks = tuple((start, length) for (_, length), start in zip(self.chunks, starts, strict=True))
        return RowGroup(self.rows, chunks, columns, encode_struct(rest))

    def joined(self, other: RowGroup) -> RowGroup:
        """Return the row group with the columns of `other` after its own.

        Raises
        ------
        InvalidArgumentError
            The row groups differ in their number of rows.
        """
        if self.rows != other.rows:
            raise InvalidArgumentError(f"other: a row group of {other.rows} rows beside one of {self.rows}")
        rest = Reader(self._rest).struct()
        others = Reader(other._rest).struct()
        rest[_BYTES] = I64, _encode_sum(_i64(rest, _BYTES), _i64(others, _BYTES))
        if _COMPRESSED in rest:
            compressed = sum(length for _, length in other.chunks)
            rest[_COMPRESSED] = I64, _encode_sum(_i64(rest, _COMPRESSED), compressed)
        if not self.chunks and _START in others:
            rest[_START] = others[_START]
        return RowGroup(self.rows, self.chunks + other.chunks, self._columns + other._columns, encode_struct(rest))


@contextmanager
def reading(name: str, what: str) -> Iterator[None]:
    """Say what is malformed in the words of a user: `name` of the file, and `what` of it is read."""
    try:
        yield
    except MalformedError as error:
        raise DataError(f"{name}: malformed {what}: {error}") from error
    except IndexError as error:  # the reader looks at bytes without asking first whether they are there
        raise DataError(f"{name}: malformed {what}: it ends too early") from error


def read_group(reader: Reader) -> tuple[RowGroup, str | None]:
    """Read a RowGroup struct; return it, and why its column chunks can't be copied."""
    chunks: list[tuple[int, int]] = []
    columns: bytes | None = None
    rest: Fields = {}
    flaw = None
    for number, kind in reader.fields():
        if number == _COLUMNS:
            count = reader.structs(kind)
            start = reader.at
            for index in range(count):
                first, length, why = _read_chunk(reader)
                chunks.append((first, length))
                if why and not flaw:
                    flaw = f"column {index} {why}"
            columns = reader.data[start : reader.at]
        else:
            rest[number] = kind, reader.raw(kind)
    rows = _i64(rest, _ROWS, "row group")
    if columns is None or rows < 0 or _i64(rest, _BYTES, "row group") < 0:
        raise MalformedError("a row group without columns, or with a negative size")
    for optional in (_START, _COMPRESSED):
        if optional in rest:
            _i64(rest, optional, "row group")
    return RowGroup(rows, tuple(chunks), columns, encode_struct(rest)), flaw


def _described(fields: Fields) -> Chunk:
    """Return what is said of a column chunk."""
    if _CHUNK_META not in fields:
        raise MalformedError("a column chunk without metadata")
    meta = Reader(fields[_CHUNK_META][1]).struct()
    if not {_META_PATH, _META_CODEC} <= meta.keys():
        raise MalformedError("a column chunk without path or codec")
    kind, value = meta[_META_CODEC]
    codec = Reader(value).integer(kind, I32)
    if not 0 <= codec < len(_CODECS):
        raise MalformedError(f"unknown codec {codec}")
    path = ".".join(name.decode(errors="replace") for name in Reader(meta[_META_PATH][1]).strings(meta[_META_PATH][0]))
    return Chunk(path, _CODECS[codec], _i64(meta, _META_VALUES), _i64(meta, _META_UNCOMPRESSED))


def _read_chunk(reader: Reader) -> tuple[int, int, str | None]:
    """Read a ColumnChunk struct; return its first byte, its length, and why it can't be copied."""
    place: tuple[int, int, str | None] = 0, 0, "is described elsewhere in the file"
    elsewhere = None
    for number, kind in reader.fields():
        if number == _CHUNK_META:
            if kind != STRUCT:
                raise MalformedError("a column chunk's metadata that are no struct")
            place = _read_place(reader)
        elif number == _CHUNK_PATH:
            if reader.binary(kind):
                elsewhere = "lies in another file"
        elif number == _CHUNK_START:
            reader.integer(kind, I64)
        else:
            if number in (_CHUNK_CRYPTO, _CHUNK_ENCRYPTED):
                elsewhere = "is encrypted"
            reader.skip(kind)
    return place[0], place[1], elsewhere or place[2]


def _read_place(reader: Reader) -> tuple[int, int, str | None]:
    """Read a ColumnMetaData struct; return as `_read_chunk` does."""
    found: dict[int, int] = {}
    for number, kind in reader.fields():
        if number in (_META_VALUES, _META_COMPRESSED, _META_DATA, _META_INDEX, _META_DICTIONARY):
            found[number] = reader.integer(kind, I64)
        else:
            reader.skip(kind)
    try:
        values, length, data = found[_META_VALUES], found[_META_COMPRESSED], found[_META_DATA]
    except KeyError as error:
        raise MalformedError(f"a column chunk's metadata without field {error}") from error
    dictionary = found.get(_META_DICTIONARY, 0)
    # No page begins at zero: some writers say that where there is no dictionary, or nothing but one.
    pages = [data]
    if dictionary > 0:
        pages = [dictionary] if data == values == 0 else [data, dictionary]
    start = min(pages)
    flaw = None
    if start < 0 or length < 0:
        flaw = "lies before the file"
    elif length == 0:
        flaw = "has values in no bytes" if values else None
    elif max(pages) >= start + length:
        flaw = "has pages outside of its bytes"
    return start, length, flaw


def _relocated_chunk(reader: Reader, old: int, length: int, new: int) -> bytes:
    """Read a ColumnChunk struct, whose bytes began at `old`; return it encoded as if they did at `new`."""
    chunk: Fields = {}
    for number, kind in reader.fields():
        if number in _CHUNK_DROPPED:
            reader.skip(kind)
        elif number == _CHUNK_META:
            meta = reader.struct()
            for dropped in _META_DROPPED:
                meta.pop(dropped, None)
            for offset in (_META_DATA, _META_INDEX, _META_DICTIONARY):
                _shift(meta, offset, old, length, new)
            meta.setdefault(_META_DATA, _NOWHERE)
            chunk[number] = kind, encode_struct(meta)
        else:
            chunk[number] = kind, reader.raw(kind)
    # Some writers put the place of the first page here, others that of a copy of the metadata, which is not copied.
    _shift(chunk, _CHUNK_START, old, length, new)
    chunk.setdefault(_CHUNK_START, _NOWHERE)
    return encode_struct(chunk)


def _shift(fields: Fields, number: int, old: int, length: int, new: int) -> None:
    """Move an offset within a chunk to the chunk's new place; drop one to elsewhere."""
    if number in fields:
        offset = _i64(fields, number) - old
        del fields[number]
        if offset == 0 or 0 < offset < length:
            fields[number] = I64, encode_integer(new + offset)


def _encode_sum(size: int, added: int) -> bytes:
    """Encode a sum of sizes, at the most what 64 bits hold: a damaged footer may say that already."""
    return encode_integer(min(size + added, (1 << 63) - 1))


def _i64(fields: Fields, number: int, what: str = "struct") -> int:
    if number not in fields:
        raise MalformedError(f"a {what} without field {number}")
    kind, value = fields[number]
    return Reader(value).integer(kind, I64)
