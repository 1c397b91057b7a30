"""How many rows of a Parquet file to decode at a time: a footer tells their mean size, which may hide large ones.

Arrow decodes a number of rows, whatever their size. A text that many rows share is stored once, in the dictionary page
of its column chunk, and so does not show in the chunk's size; nor do a thousand long texts beside a million short ones.
The headers of the pages tell of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastroute.batch.formats.thrift import I32, STRUCT, Fields, MalformedError, Reader
from fastroute.batch.rows import MAX_BATCH_BYTES, MAX_BATCH_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from fastroute.batch.formats.parquet_groups import RowGroup

__all__ = ["decoding_rows", "gathered"]

# A page has a mean too: few enough rows that there is memory where they are larger than that.
_MAX_ROWS = 256
_MAX_BYTES = 4 * MAX_BATCH_BYTES
_MIN_ROWS_BESIDE = 16  # where a few pages have much larger rows than the others, which should not take for ever
_HEADER_BYTES = 4 << 10
_MAX_PAGES = 10_000
# Numbers of the fields in parquet.thrift, of PageHeader; in the headers of the three kinds 1 is the number of values.
_SIZE, _STORED, _DATA, _DICTIONARY, _DATA_2 = 2, 3, 5, 7, 8
_VALUES = 1


def decoding_rows(group: RowGroup | None, columns: Sequence[str] | None, read: Callable[[int, int], bytes]) -> int:
    """Return how many rows of a row group to decode at a time, for about `MAX_BATCH_BYTES`.

    Parameters
    ----------
    group : RowGroup or None
        None where the footer could not be read.
    columns : sequence of str or None
        Those that are decoded, None for all.
    read : callable
        Returns up to so many bytes of the file, from a place on.
    """
    described = () if group is None else group.described()
    if group is None or not described:
        return _MAX_ROWS
    chunks = list(zip(described, group.chunks, strict=True))
    if columns is not None:
        own = [(chunk, place) for chunk, place in chunks if any(_is_of(chunk.path, name) for name in columns)]
        chunks = own or chunks
    rows = max(1, group.rows)
    mean = sum(chunk.size for chunk, _ in chunks) // rows
    shared = largest = 0
    for chunk, (start, length) in chunks:
        per_row = -(-chunk.values // rows)
        for page in _pages(start, start + length, read):
            if page.is_dictionary:
                shared += page.mean * per_row
            else:
                largest = max(largest, page.mean * per_row)
    beside = max(_MIN_ROWS_BESIDE, _MAX_BYTES // max(1, largest))
    return max(1, min(_MAX_ROWS, beside, MAX_BATCH_BYTES // max(1, mean), MAX_BATCH_BYTES // max(1, shared)))


def gathered(batches: Iterator[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield consecutive batches together, as many as are no more than `MAX_BATCH_ROWS` and `MAX_BATCH_BYTES`."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        if held and (rows + batch.num_rows > MAX_BATCH_ROWS or size + batch.nbytes > MAX_BATCH_BYTES):
            yield held
            held, rows, size = [], 0, 0
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
    if held:
        yield held


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of a column chunk, and the mean size of its values in bytes."""

    is_dictionary: bool
    mean: int


def _is_of(path: str, column: str) -> bool:
    """Whether a leaf is of a column, whose name may have dots too."""
    return path == column or path.startswith(f"{column}.")


def _pages(place: int, end: int, read: Callable[[int, int], bytes]) -> Iterator[_Page]:
    """Yield the pages of a chunk, up to one whose header can't be read: it may be encrypted, or very long."""
    try:
        for _ in range(_MAX_PAGES):
            if place >= end:
                return
            reader = Reader(read(place, _HEADER_BYTES))
            header = reader.struct()
            place += reader.at + max(0, _integer(header, _STORED))
            for number in (_DATA, _DICTIONARY, _DATA_2):
                kind, page = header.get(number, (0, b""))
                if kind == STRUCT:
                    values = _integer(Reader(page).struct(), _VALUES)
                    yield _Page(number == _DICTIONARY, max(0, _integer(header, _SIZE)) // max(1, values))
    except (MalformedError, LookupError):
        return


def _integer(fields: Fields, number: int) -> int:
    kind, value = fields[number]
    return Reader(value).integer(kind, I32)
