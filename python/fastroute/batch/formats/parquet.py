"""Parquet: record batches with two columns appended; schema, metadata, row groups and codec stay."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastroute.batch.arrow import TextColumn, is_dictionary, is_text, models_of, reason_of
from fastroute.batch.rows import (
    MAX_BATCH_BYTES,
    MAX_BATCH_ROWS,
    AddedColumns,
    BadRow,
    Batch,
    name_columns,
)
from fastroute.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    import pyarrow as pa
    from numpy.typing import NDArray

    from fastroute.batch.scoring import Choices

# A row group is written when the input's ends, or at this size: row groups may be larger than memory.
MAX_GROUP_BYTES = 64 << 20
_READ_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """Payload of a Parquet batch: its good rows, and whether the input's row group ends with it."""

    table: pa.Table
    ends_group: bool


class ParquetReader:
    """Reads one Parquet file.

    Parameters
    ----------
    stream : binary file
        Must be seekable.
    name : str
        What messages call the input.
    column : str
        Name of the prompt's column: string, large_string, string_view or a dictionary of one of them.
    added : AddedColumns

    Raises
    ------
    DataError
        Not a Parquet file, a damaged one, no such column, or one of another type.
    InvalidArgumentError
        The file has one of the added columns already.
    MissingDependencyError
        pyarrow is not installed.
    """

    unit = "rows"

    def __init__(self, stream: BinaryIO, name: str, column: str, added: AddedColumns) -> None:
        self._arrow = import_pyarrow()
        self._name = name
        self._column = column
        self._added = added
        try:
            # A plain buffered read holds one page at a time; pre-buffering would hold whole column chunks.
            self._file = self._arrow.parquet.ParquetFile(stream, buffer_size=_READ_BUFFER, pre_buffer=False)
        except (self._arrow.ArrowException, OSError) as error:
            raise DataError(f"{name}: not a readable Parquet file: {_first_line(error)}") from error
        self._schema = self._file.schema_arrow
        self._check_columns()

    @property
    def total(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    def batches(self) -> Iterator[Batch[ArrowRows]]:
        """Read the rows in batches, none of which spans two row groups."""
        position = 0
        try:
            for group in range(self._file.num_row_groups):
                end = position + self._file.metadata.row_group(group).num_rows
                for rows in self._file.iter_batches(self._batch_rows(group), row_groups=[group]):
                    first_row = position + 1
                    position += rows.num_rows
                    yield self._batch(rows, first_row, ends_group=position == end)
        except (self._arrow.ArrowException, OSError) as error:
            raise DataError(f"{self._name}: damaged after row {position}: {_first_line(error)}") from error

    @contextmanager
    def writer(self, sink: BinaryIO) -> Iterator[ParquetWriter]:
        """Give a writer with this file's schema, metadata and codecs; it is completed when the block is."""
        writer = ParquetWriter(sink, self._schema, self._added, _codecs(self._file.metadata))
        try:
            yield writer
            writer.complete()
        except BaseException:
            writer.abandon()
            raise

    @contextmanager
    def copier(self, sink: BinaryIO) -> Iterator[ParquetCopier]:
        """Give a writer of the same columns; otherwise as `writer`."""
        copier = ParquetCopier(sink, self._schema, _codecs(self._file.metadata))
        try:
            yield copier
            copier.complete()
        except BaseException:
            copier.abandon()
            raise

    def _check_columns(self) -> None:
        names = self._schema.names
        self._added.refuse_clash(names, self._name)
        if self._column not in names:
            raise DataError(
                f"{self._name}: no column {self._column!r}; the file has {name_columns(names)} "
                "(choose one with --column)"
            )
        if names.count(self._column) > 1:
            raise DataError(f"{self._name}: {names.count(self._column)} columns are named {self._column!r}")
        found = self._schema.field(self._column).type
        if not is_text(found):
            raise DataError(f"{self._name}: column {self._column!r}: expected strings, found {found}")

    def _batch_rows(self, group: int) -> int:
        """Return how many rows of a row group make a batch of `MAX_BATCH_BYTES`, going by their mean size."""
        meta = self._file.metadata.row_group(group)
        row_bytes = max(1, meta.total_byte_size // max(1, meta.num_rows))
        return int(max(1, min(MAX_BATCH_ROWS, MAX_BATCH_BYTES // row_bytes)))

    def _batch(self, rows: pa.RecordBatch, first_row: int, *, ends_group: bool) -> Batch[ArrowRows]:
        column = rows.column(self._column)
        if is_dictionary(column.type) and len(column.dictionary) > len(column):
            column = column.dictionary_decode()  # rather than read more values than there are rows
        # Readers and writers of Parquet do not check that strings are UTF-8.
        texts = TextColumn(column, self._name).texts(0, len(column))
        found = texts.bad()
        bad = tuple(
            BadRow(self._name, first_row + row, None, f"column {self._column!r}: {reason_of(byte)}")
            for row, byte in found
        )
        runs = [rows]
        if bad:  # slices, since Arrow's filter does not know every type
            good = np.ones(rows.num_rows, np.bool_)
            good[[row for row, _ in found]] = False
            runs = [rows.slice(start, end - start) for start, end in _runs(good.tolist())]
            texts = texts.good()
        table = self._arrow.Table.from_batches(runs, rows.schema)
        return Batch(texts, ArrowRows(table, ends_group), bad, first_row + rows.num_rows - 1)


class _GroupWriter:
    """Writes tables of one schema, row group by row group."""

    def __init__(self, sink: BinaryIO, schema: pa.Schema, compression: str | dict[str, str]) -> None:
        self._arrow = import_pyarrow()
        self._sink = _ForwardOnly(sink)
        self._writer = self._arrow.parquet.ParquetWriter(self._sink, schema, compression=compression)
        self._group: list[pa.Table] = []
        self._group_bytes = 0

    def add(self, rows: pa.Table, *, ends_group: bool) -> None:
        """Write these rows, at the latest when their row group ends."""
        if rows.num_rows:
            self._group.append(rows)
            self._group_bytes += rows.nbytes
        if ends_group or self._group_bytes >= MAX_GROUP_BYTES:
            self._end_group()

    def _end_group(self) -> None:
        if self._group:
            table = self._arrow.concat_tables(self._group)
            self._writer.write_table(table, row_group_size=table.num_rows)
        self._group = []
        self._group_bytes = 0

    def complete(self) -> None:
        """Write what is left, and the footer."""
        self._end_group()
        self._writer.close()

    def abandon(self) -> None:
        """Close without a footer: Arrow's writer would complete the file even when it is deleted."""
        self._sink.cut()
        self._writer.close()


class ParquetWriter(_GroupWriter):
    """Writes the rows of one Parquet file with two more columns, row group by row group.

    Parameters
    ----------
    sink : binary file
        Need not be seekable.
    schema : pyarrow.Schema
        The input's schema, with its metadata.
    added : AddedColumns
    compression : str or dict
        Codec of all columns, or of each.
    """

    def __init__(
        self, sink: BinaryIO, schema: pa.Schema, added: AddedColumns, compression: str | dict[str, str]
    ) -> None:
        arrow = import_pyarrow()
        self._schema = schema.append(arrow.field(added.score, arrow.float32(), nullable=False))
        self._schema = self._schema.append(arrow.field(added.model, arrow.string(), nullable=False))
        if isinstance(compression, dict):
            codec = next(iter(compression.values()))
            compression = compression | {added.score: codec, added.model: codec}
        super().__init__(sink, self._schema, compression)

    def write(self, batch: Batch[ArrowRows], scores: NDArray[np.float32], models: Choices) -> None:
        """Write the rows of `batch`, at the latest when their row group ends."""
        rows = batch.payload.table
        columns = [
            *rows.columns,
            self._arrow.array(scores, self._arrow.float32()),
            models_of(models),
        ]
        scored = self._arrow.Table.from_arrays(columns, schema=self._schema)
        self.add(scored, ends_group=batch.payload.ends_group)


class ParquetCopier(_GroupWriter):
    """Writes some of the rows of one Parquet file as they are."""

    def write(self, batch: Batch[ArrowRows], keep: NDArray[np.bool_]) -> None:
        """Write the rows to keep, at the latest when their row group ends."""
        rows = batch.payload.table
        runs = [rows.slice(start, end - start) for start, end in _runs(keep.tolist())]
        kept = self._arrow.concat_tables(runs) if runs else rows.slice(0, 0)
        self.add(kept, ends_group=batch.payload.ends_group)


class _ForwardOnly:
    """What Arrow's writer needs of a file: a pipe has no `tell`, and a failed run gets no footer."""

    closed = False

    def __init__(self, sink: BinaryIO) -> None:
        self._sink: BinaryIO | None = sink
        self._written = 0

    def write(self, data: bytes) -> int:
        if self._sink is not None:
            self._sink.write(data)
        self._written += len(data)
        return len(data)

    def tell(self) -> int:
        return self._written

    def flush(self) -> None:
        if self._sink is not None:
            self._sink.flush()

    def cut(self) -> None:
        """Let nothing through from now on."""
        self._sink = None

    def close(self) -> None:
        """Leave the sink open: it is the caller's."""


def import_pyarrow() -> ModuleType:
    """Import pyarrow with its Parquet module, or raise MissingDependencyError."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet files need pyarrow, which is not installed: pip install 'fastroute[batch]'"
        ) from error
    return pa  # type: ignore[no-any-return]


def _runs(wanted: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yield start and end of each run of true values."""
    for is_wanted, run in groupby(range(len(wanted)), key=wanted.__getitem__):
        if is_wanted:
            indices = list(run)
            yield indices[0], indices[-1] + 1


def _codecs(metadata: Any) -> str | dict[str, str]:
    """Return the codec of the first row group's columns: one name, or one for each where they differ."""
    if metadata.num_row_groups == 0 or metadata.num_columns == 0:
        return "snappy"
    group = metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    codecs = {column.path_in_schema: _codec(column.compression) for column in columns}
    names = set(codecs.values())
    return names.pop() if len(names) == 1 else codecs


def _codec(name: str) -> str:
    return "none" if name == "UNCOMPRESSED" else name.lower()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
