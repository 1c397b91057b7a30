"""Footers of Parquet files: what it takes to copy column chunks from one file to another without decoding them.

Pages are never looked at. What a footer holds besides places in the file is written as it was read, whether this
version knows it or not; `parquet_groups` says what is dropped.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.formats.parquet_groups import EXTENSION, RowGroup, read_group, reading
from fastroute.batch.formats.thrift import (
    BINARY,
    I32,
    I64,
    LIST,
    STRUCT,
    Fields,
    MalformedError,
    Reader,
    encode_binary,
    encode_integer,
    encode_struct,
    encode_structs,
)
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MAGIC = b"PAR1"
_ENCRYPTED = b"PARE"
MAX_FOOTER_BYTES = 256 << 20

# Numbers of the fields in parquet.thrift: of FileMetaData, SchemaElement and KeyValue.
_VERSION, _SCHEMA, _ROWS, _GROUPS, _METADATA, _CREATED_BY, _ORDERS, _ENCRYPTION, _SIGNING_KEY = range(1, 10)
_ELEMENT_TYPE, _ELEMENT_CHILDREN = 1, 5
_PAIR_KEY, _PAIR_VALUE = 1, 2
_DROPPED = (_ENCRYPTION, _SIGNING_KEY, EXTENSION)

# ColumnOrder's first member, an empty struct: as the type says.
_DEFAULT_ORDER = encode_struct({1: (STRUCT, encode_struct({}))})


@dataclass(frozen=True, slots=True)
class Footer:
    """What a Parquet file says of itself. Safe to use from several threads.

    Attributes
    ----------
    groups : tuple of RowGroup
    rows : int
    columns : int
        Number of leaf columns, which is that of a row group's chunks.
    metadata : mapping of bytes to bytes
        Key-value metadata; without a value: empty.
    created_by : str
        The program that wrote the file, as it says; empty if it does not.
    uncopyable : str or None
        Why the column chunks can't be copied byte for byte, to follow the file's name and a colon.
    schema : tuple of bytes
        The elements of the schema, encoded; the first is the root.
    """

    groups: tuple[RowGroup, ...]
    rows: int
    columns: int
    metadata: Mapping[bytes, bytes]
    created_by: str
    uncopyable: str | None
    schema: tuple[bytes, ...] = field(repr=False)
    _fields: Fields = field(repr=False)  # FileMetaData without what follows and without row groups
    _pairs: tuple[tuple[bytes, bytes], ...] = field(repr=False)  # keys, and KeyValue structs
    _orders: tuple[bytes, ...] | None = field(repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether that is because columns are encrypted, or may be."""
        return self.uncopyable is not None and "encrypted" in self.uncopyable

    @classmethod
    def read(cls, stream: BinaryIO, name: str) -> Footer:
        """Read the footer at the end of a file.

        Parameters
        ----------
        stream : binary file
            Must be seekable; its position is changed.
        name : str
            What messages call the file.

        Raises
        ------
        DataError
            No Parquet file, one cut short or damaged, or one whose footer is encrypted or above `MAX_FOOTER_BYTES`.
        """
        size = stream.seek(0, os.SEEK_END)
        if size < 12:
            raise DataError(f"{name}: not a Parquet file: {size} bytes, the least is 12")
        head = _exactly(stream, 0, 4, name)
        tail = _exactly(stream, size - 8, 8, name)
        length, magic = int.from_bytes(tail[:4], "little"), tail[4:]
        if magic == _ENCRYPTED:
            raise DataError(f"{name}: a Parquet file whose footer is encrypted")
        if head != MAGIC:
            raise DataError(f"{name}: not a Parquet file: it begins with {head!r}, not with {MAGIC!r}")
        if magic != MAGIC:
            raise DataError(f"{name}: no Parquet file, or one cut short: it ends with {magic!r}, not with {MAGIC!r}")
        if length > min(size - 12, MAX_FOOTER_BYTES):
            raise DataError(
                f"{name}: the Parquet footer takes {length} bytes as it says, of a file of {size} bytes; "
                f"the most is {MAX_FOOTER_BYTES}"
            )
        start = size - 8 - length
        return cls.parsed(_exactly(stream, start, length, name), name, start)

    @classmethod
    def parsed(cls, data: bytes, name: str, start: int | None = None) -> Footer:
        """Parse a footer without its length and magic number.

        Parameters
        ----------
        data : bytes
        name : str
            What messages call the file.
        start : int, optional
            Where the footer begins in the file: column chunks must end there. Not checked by default.

        Raises
        ------
        DataError
            Malformed.
        """
        with reading(name, "Parquet footer"):
            return _read_footer(Reader(data), start)


def assembled(
    base: Footer,
    added: Footer | None,
    groups: Iterable[RowGroup],
    *,
    metadata: Mapping[bytes, bytes] = MappingProxyType({}),
) -> bytes:
    """Make the end of a Parquet file, from the footer on: Thrift, its length and the magic number.

    Readers judge a file's statistics, and version 2 of data pages, by the program that wrote it. `base`'s is kept, so
    what is added should have data pages of version 1.

    Parameters
    ----------
    base : Footer
        Gives schema, metadata, version and the name of the program that wrote the file.
    added : Footer, optional
        Its columns follow those of `base`; their names must be new.
    groups : iterable of RowGroup
        Where the chunks of all columns are in the new file.
    metadata : mapping of bytes to bytes
        Entries that replace those of `base` with the same key, or are appended.

    Raises
    ------
    InvalidArgumentError
        A row group has not as many chunks as the schema has leaf columns, or the footer is too large.
    """
    columns = base.columns + (added.columns if added else 0)
    encoded: list[bytes] = []
    rows = 0
    for index, group in enumerate(groups):
        if len(group.chunks) != columns:
            raise InvalidArgumentError(
                f"groups: row group {index} has {len(group.chunks)} column chunks, the schema has {columns} columns"
            )
        encoded.append(group.numbered(index).encoded())
        rows += group.rows
    fields = {number: field for number, field in base._fields.items() if number not in _DROPPED}
    schema = _joined_schemas(base.schema, added.schema if added else ())
    fields[_SCHEMA] = LIST, encode_structs(len(schema), schema)
    fields[_ROWS] = I64, encode_integer(rows)
    fields[_GROUPS] = LIST, encode_structs(len(encoded), encoded)
    if pairs := _replaced_pairs(base._pairs, metadata):
        fields[_METADATA] = LIST, encode_structs(len(pairs), pairs)
    # Not as many as columns: nobody can tell whose they are, and statistics mean nothing without them.
    if base._orders is not None and len(base._orders) == base.columns:
        orders = [*base._orders]
        if added:
            orders += added._orders or [_DEFAULT_ORDER] * added.columns
        fields[_ORDERS] = LIST, encode_structs(len(orders), orders)
    thrift = encode_struct(fields)
    if len(thrift) > MAX_FOOTER_BYTES:
        raise InvalidArgumentError(f"groups: a footer of {len(thrift)} bytes, the most is {MAX_FOOTER_BYTES}")
    return thrift + len(thrift).to_bytes(4, "little") + MAGIC


def _read_footer(reader: Reader, start: int | None) -> Footer:
    groups: list[RowGroup] = []
    schema: tuple[tuple[bytes, ...], int] | None = None
    pairs: tuple[tuple[bytes, bytes, bytes], ...] = ()
    orders: tuple[bytes, ...] | None = None
    fields: Fields = {}
    flaw = None
    for number, kind in reader.fields():
        if number == _GROUPS:
            for index in range(reader.structs(kind)):
                group, why = read_group(reader)
                groups.append(group)
                if why and not flaw:
                    flaw = f"row group {index}, {why}"
            fields[number] = kind, b""
        elif number == _SCHEMA:
            schema = _read_schema(reader, kind)
        elif number == _METADATA:
            pairs = tuple(_read_pair(reader) for _ in range(reader.structs(kind)))
        elif number == _ORDERS:
            orders = tuple(_raw_struct(reader) for _ in range(reader.structs(kind)))
        else:
            fields[number] = kind, reader.raw(kind)
    if schema is None or not fields.keys() >= {_VERSION, _ROWS, _GROUPS}:
        raise MalformedError("no version, schema, number of rows or row groups")
    rows = _integer(fields, _ROWS, I64)
    created_by = _text(fields, _CREATED_BY)
    if _ENCRYPTION in fields:  # before what follows from it: a signature after the footer, and hidden columns
        flaw = "columns are encrypted, or the footer is signed"
    elif reader.at < len(reader.data):
        flaw = flaw or "bytes follow the footer"
    flaw = flaw or _flaw_of_writer(created_by) or _flaw_of_groups(groups, rows, schema[1])
    return Footer(
        groups=tuple(groups),
        rows=rows,
        columns=schema[1],
        metadata=MappingProxyType({key: value for key, value, _ in reversed(pairs)}),
        created_by=created_by,
        uncopyable=flaw or _flaw_of_places(groups, start),
        _fields=fields,
        schema=schema[0],
        _pairs=tuple((key, pair) for key, _, pair in pairs),
        _orders=orders,
    )


def _read_schema(reader: Reader, kind: int) -> tuple[tuple[bytes, ...], int]:
    """Read a list of SchemaElement structs, a tree in depth-first order; return them and the number of leaves."""
    elements: list[bytes] = []
    leaves = 0
    wanted = 1
    for _ in range(reader.structs(kind)):
        start = reader.at
        children = 0
        leaf = False
        for number, found in reader.fields():
            if number == _ELEMENT_CHILDREN:
                children = reader.integer(found, I32)
            else:
                leaf = leaf or number == _ELEMENT_TYPE
                reader.skip(found)
        if children < 0 or wanted == 0 or (leaf and children):
            raise MalformedError("a schema that is no tree")
        wanted += children - 1
        leaves += leaf
        elements.append(reader.data[start : reader.at])
    if wanted:
        raise MalformedError("a schema that is no tree")
    return tuple(elements), leaves


def _read_pair(reader: Reader) -> tuple[bytes, bytes, bytes]:
    """Read a KeyValue struct; return key, value, and the struct as it is encoded."""
    start = reader.at
    key: bytes | None = None
    value = b""
    for number, kind in reader.fields():
        if number == _PAIR_KEY:
            key = reader.binary(kind)
        elif number == _PAIR_VALUE:
            value = reader.binary(kind)
        else:
            reader.skip(kind)
    if key is None:
        raise MalformedError("metadata without a key")
    return key, value, reader.data[start : reader.at]


def _raw_struct(reader: Reader) -> bytes:
    return reader.raw(STRUCT)


def _flaw_of_writer(created_by: str) -> str | None:
    """Name what a program that wrote the file is known to do wrong."""
    # PARQUET-816: the header of the dictionary was not counted.
    name, _, version = created_by.partition(" version ")
    if name == "parquet-mr" and _version(version) < (1, 2, 9):
        return "parquet-mr before 1.2.9 wrote wrong sizes of column chunks"
    # The dictionary was not counted up to 0.1.4; the version was not told before 0.6.
    if created_by.startswith("fastparquet-python version 1.0.0 "):
        return "early versions of fastparquet wrote wrong sizes of column chunks"
    return None


def _version(text: str) -> tuple[int, ...]:
    found = re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})", text, re.ASCII)
    return tuple(map(int, found.groups())) if found else (0, 0, 0)


def _flaw_of_groups(groups: Sequence[RowGroup], rows: int, columns: int) -> str | None:
    """Name a contradiction between row groups and what the footer says of the file."""
    for index, group in enumerate(groups):
        if len(group.chunks) != columns:
            return f"row group {index} has {len(group.chunks)} column chunks, the schema has {columns} columns"
    found = sum(group.rows for group in groups)
    return None if found == rows else f"row groups have {found} rows, the footer says {rows}"


def _flaw_of_places(groups: Sequence[RowGroup], end: int | None) -> str | None:
    """Name a column chunk that lies outside of the file's data, which end at `end`, or in another."""
    places = sorted(chunk for group in groups for chunk in group.chunks if chunk[1])
    if not places:
        return None
    last = len(MAGIC)
    for start, length in places:
        if start < last:
            return f"column chunks overlap, or one begins in the file's head, at byte {start}"
        last = start + length
    if end is not None and last > end:
        return f"a column chunk ends at byte {last}, the data at byte {end}"
    return None


def _joined_schemas(base: tuple[bytes, ...], added: tuple[bytes, ...]) -> list[bytes]:
    """Return the elements of `base` and of `added` under the root of `base`."""
    if not added:
        return list(base)
    root, other = Reader(base[0]).struct(), Reader(added[0]).struct()
    children = sum(_integer(fields, _ELEMENT_CHILDREN, I32) for fields in (root, other))
    root[_ELEMENT_CHILDREN] = I32, encode_integer(children)
    return [encode_struct(root), *base[1:], *added[1:]]


def _replaced_pairs(pairs: Sequence[tuple[bytes, bytes]], metadata: Mapping[bytes, bytes]) -> list[bytes]:
    """Return KeyValue structs with the entries of `metadata` in the places of those with their keys, or at the end."""
    left = dict(metadata)
    kept: list[bytes] = []
    for key, pair in pairs:
        if key in left:
            kept.append(_encode_pair(key, left.pop(key)))
        elif key not in metadata:
            kept.append(pair)
    return kept + [_encode_pair(key, value) for key, value in left.items()]


def _encode_pair(key: bytes, value: bytes) -> bytes:
    return encode_struct({_PAIR_KEY: (BINARY, encode_binary(key)), _PAIR_VALUE: (BINARY, encode_binary(value))})


def _integer(fields: Fields, number: int, wanted: int) -> int:
    """Return an integer field, or 0 where there is none."""
    if number not in fields:
        return 0
    kind, value = fields[number]
    return Reader(value).integer(kind, wanted)


def _text(fields: Fields, number: int) -> str:
    if number not in fields:
        return ""
    kind, value = fields[number]
    return Reader(value).binary(kind).decode(errors="replace")


def _exactly(stream: BinaryIO, start: int, length: int, name: str) -> bytes:
    """Read `length` bytes from `start`: a stream may give fewer at a time."""
    stream.seek(start)
    parts: list[bytes] = []
    while length > 0:
        part = stream.read(length)
        if not part:
            raise DataError(f"{name}: became shorter while it was read")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
