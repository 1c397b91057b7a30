"""Protobuf's wire format, read strictly: spans of bytes, nothing copied, nothing guessed.

What protobuf's own parser forgives (unknown groups, lengths that go beyond their message, varints that are longer
than they need to be) is refused: two parsers that differ on a file are how a check is passed by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Field", "WireReader"]

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_MOST_FIELDS = 4_000_000  # seconds of reading; a graph of a hundred layers has some 200,000
_WIDTH = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """A field of a message: its number, wire type, value (of a varint), and where its bytes are."""

    number: int
    wire: int
    value: int
    begin: int
    end: int


class WireReader:
    """Fields of nested messages of one file.

    Parameters
    ----------
    raw
        The file.
    source
        Its name, for messages.
    """

    def __init__(self, raw: bytes, source: str) -> None:
        self._raw, self._source, self._left = raw, source, _MOST_FIELDS

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self._raw)

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """Fields of the message at these bytes, in the order of the file.

        Raises
        ------
        DataError
            They are no protobuf message.
        """
        at = begin
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise self.fault(f"more than {_MOST_FIELDS} fields")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            if number == 0 or number >= 1 << 29:
                raise self.fault(f"field number {number} at byte {at}; it is no ONNX file, or a damaged one")
            value, start = 0, at
            if wire == VARINT:
                value, at = self._varint(at, end)
            elif wire == BYTES:
                length, start = self._varint(at, end)
                at = start + length
            elif wire in _WIDTH:
                at += _WIDTH[wire]
            else:
                raise self.fault(f"wire type {wire} at byte {at}; it is no ONNX file, or a damaged one")
            if at > end:
                raise self.fault(f"field {number} at byte {start} goes {at - end} bytes beyond its message")
            yield Field(number, wire, value, start, at)

    def text(self, field: Field) -> str:
        """Text of a field."""
        try:
            return self._raw[field.begin : field.end].decode()
        except UnicodeDecodeError:
            raise self.fault(f"field {field.number} at byte {field.begin} is no text in UTF-8") from None

    def bytes(self, field: Field) -> memoryview:
        """Bytes of a field; no copy."""
        return memoryview(self._raw)[field.begin : field.end]

    def integers(self, field: Field) -> list[int]:
        """Signed 64-bit integers of a field: one, or packed ones."""
        if field.wire == VARINT:
            return [_signed(field.value)]
        found, at = [], field.begin
        while at < field.end:
            value, at = self._varint(at, field.end)
            found.append(_signed(value))
        return found

    def fault(self, what: str) -> DataError:
        """Error that names the file."""
        return DataError(f"{self._source}: {what}")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 70:
            byte = self._raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64 or (byte == 0 and shift):
                    break
                return value, at
            shift += 7
        raise self.fault(f"an integer at byte {at} is cut short or longer than 64 bits; no ONNX file, or a damaged one")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
