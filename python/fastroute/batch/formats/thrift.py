"""Thrift's compact protocol, as far as footers of Parquet files need it.

A struct is read as its fields' types and encoded values. A value's encoding does not depend on where it stands,
so what is of no interest, or unknown to this version, is written again byte for byte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Types of fields and elements. A field's type says whether it is true or false; an element of either type is a byte.
TRUE, FALSE, I8, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(1, 14)

Fields = dict[int, tuple[int, bytes]]
"""Type and encoded value of each field of a struct."""

_FIXED_BYTES = {TRUE: 1, FALSE: 1, I8: 1, DOUBLE: 8, UUID: 16}
_BITS = {I16: 16, I32: 32, I64: 64}
_VARINT_BYTES = 10
_TOO_LONG = f"an integer of more than {_VARINT_BYTES} bytes"
_MAX_FIELD = 32767
# Thrift's own limit in C++. A footer of Parquet has a depth of about ten.
_MAX_DEPTH = 64
# Arrow's limit. A struct takes a byte at least, and an object of Python many more.
_MAX_STRUCTS = 1_000_000


class MalformedError(Exception):
    """Bytes are not what the protocol allows. Not for users: it has no name of a file."""


class Reader:
    """Reads encoded values one after another.

    All methods raise MalformedError, or IndexError where the bytes end too early.

    Parameters
    ----------
    data : bytes
    """

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def fields(self) -> Iterator[tuple[int, int]]:
        """Yield id and type of each field of a struct; its value must have been read before the next is asked for."""
        field = seen = 0
        while header := self.data[self.at]:
            self.at += 1
            if header > 15:
                field += header >> 4
            else:
                number, self.at = _varint(self.data, self.at)
                field = _unzigzag(number)
            if not 0 < field <= _MAX_FIELD or seen >> field & 1:
                raise MalformedError(f"field {field} occurs twice, or is no number of a field")
            seen |= 1 << field
            yield field, header & 15
        self.at += 1

    def struct(self) -> Fields:
        """Return all fields of a struct."""
        return {field: (kind, self.raw(kind)) for field, kind in self.fields()}

    def raw(self, kind: int) -> bytes:
        """Return a field's value as it is encoded."""
        start = self.at
        self.skip(kind)
        return self.data[start : self.at]

    def skip(self, kind: int) -> None:
        """Skip a field's value."""
        if kind not in (TRUE, FALSE):
            self.at = _end(self.data, self.at, kind, 0)

    def integer(self, kind: int, wanted: int) -> int:
        """Return an integer of type `wanted`; `kind` is the type found."""
        _check_kind(kind, wanted)
        number, self.at = _varint(self.data, self.at)
        if number >> _BITS[wanted]:
            raise MalformedError(f"an integer of more than {_BITS[wanted]} bits")
        return _unzigzag(number)

    def binary(self, kind: int) -> bytes:
        """Return a string's bytes; `kind` is the type found."""
        _check_kind(kind, BINARY)
        length, start = _varint(self.data, self.at)
        self.skip(kind)
        return self.data[start : start + length]

    def strings(self, kind: int) -> list[bytes]:
        """Return the strings of a list; `kind` is the type found."""
        _check_kind(kind, LIST)
        element, count, self.at = _list_header(self.data, self.at)
        return [self.binary(element) for _ in range(count)]

    def structs(self, kind: int) -> int:
        """Return how many structs follow in a list of structs; `kind` is the type found."""
        _check_kind(kind, LIST)
        element, count, self.at = _list_header(self.data, self.at)
        if count:
            _check_kind(element, STRUCT)
        if count > _MAX_STRUCTS:
            raise MalformedError(f"a list of {count} structs, the most is {_MAX_STRUCTS}")
        return count


def encode_integer(value: int) -> bytes:
    """Encode a signed integer of any type but I8."""
    return _encode_varint((value << 1) ^ (value >> 63))


def encode_binary(value: bytes) -> bytes:
    """Encode a string."""
    return _encode_varint(len(value)) + value


def encode_structs(count: int, structs: Iterable[bytes]) -> bytes:
    """Encode a list of `count` structs that are encoded already."""
    header = bytes([count << 4 | STRUCT]) if count < 15 else bytes([0xF0 | STRUCT]) + _encode_varint(count)
    return header + b"".join(structs)


def encode_struct(fields: Mapping[int, tuple[int, bytes]]) -> bytes:
    """Encode a struct, its fields in ascending order."""
    parts = []
    last = 0
    for field in sorted(fields):
        kind, value = fields[field]
        step = field - last
        parts.append(bytes([step << 4 | kind]) if step < 16 else bytes([kind]) + encode_integer(field))
        parts.append(value)
        last = field
    parts.append(b"\0")
    return b"".join(parts)


def _end(data: bytes, at: int, kind: int, depth: int) -> int:
    """Return where the value of type `kind` ends that begins at `at`."""
    if kind in _BITS:
        end = at + 1
        while data[end - 1] > 127:
            end += 1
            if end > at + _VARINT_BYTES:
                raise MalformedError(_TOO_LONG)
    elif kind == BINARY:
        length, at = _varint(data, at)
        end = at + length
    elif kind in _FIXED_BYTES:
        end = at + _FIXED_BYTES[kind]
    elif depth == _MAX_DEPTH:
        raise MalformedError(f"nested more than {_MAX_DEPTH} deep")
    elif kind == STRUCT:
        end = _struct_end(data, at, depth + 1)
    elif kind in (LIST, SET):
        element, count, at = _list_header(data, at)
        end = _elements_end(data, at, (element,), count, depth + 1)
    elif kind == MAP:
        end = _map_end(data, at, depth + 1)
    else:
        raise MalformedError(f"no type {kind}")
    if end > len(data):
        raise IndexError
    return end


def _struct_end(data: bytes, at: int, depth: int) -> int:
    while header := data[at]:
        at += 1
        if header < 16:
            at = _end(data, at, I16, depth)
        kind = header & 15
        if kind not in (TRUE, FALSE):
            at = _end(data, at, kind, depth)
    return at + 1


def _map_end(data: bytes, at: int, depth: int) -> int:
    count, at = _varint(data, at)
    if count == 0:
        return at
    kinds = data[at]
    return _elements_end(data, at + 1, (kinds >> 4, kinds & 15), count, depth)


def _elements_end(data: bytes, at: int, kinds: tuple[int, ...], count: int, depth: int) -> int:
    """Return where `count` elements end, each of which has values of these types."""
    if count > len(data) - at:  # each takes a byte at least
        raise IndexError
    if len(kinds) == 1 and kinds[0] in _FIXED_BYTES:
        return at + count * _FIXED_BYTES[kinds[0]]
    for _ in range(count):
        for kind in kinds:
            at = _end(data, at, kind, depth)
    return at


def _list_header(data: bytes, at: int) -> tuple[int, int, int]:
    """Return type and number of a list's elements, and where they begin."""
    header = data[at]
    count, at = header >> 4, at + 1
    if count == 15:
        count, at = _varint(data, at)
    if count > len(data) - at:
        raise IndexError
    return header & 15, count, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned integer, and where it ends."""
    number = data[at]
    at += 1
    if number < 128:
        return number, at
    number &= 127
    for shift in range(7, 7 * _VARINT_BYTES, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise MalformedError(_TOO_LONG)


def _encode_varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _unzigzag(number: int) -> int:
    return number >> 1 ^ -(number & 1)


def _check_kind(found: int, wanted: int) -> None:
    if found != wanted:
        raise MalformedError(f"a value of type {found} where one of type {wanted} belongs")
