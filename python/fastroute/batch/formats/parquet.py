"""Parquet: record batches of prompts, and of whole rows where these are needed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastroute.batch.arrow import TextColumn, is_dictionary, is_text, kept_rows, reason_of
from fastroute.batch.formats.parquet_footers import Footer
from fastroute.batch.formats.parquet_int96 import has_int96, with_all_dates
from fastroute.batch.formats.parquet_steps import decoding_rows, gathered
from fastroute.batch.formats.parquet_writing import (
    CopyingWriter,
    DecodingWriter,
    InputBytes,
    ParquetCopier,
    codecs_of,
    footer_of,
)
from fastroute.batch.rows import (
    START,
    AddedColumns,
    BadRow,
    Batch,
    Mark,
    Sink,
    Texts,
    UnusableRowError,
    name_columns,
)
from fastroute.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    import pyarrow as pa
    from numpy.typing import NDArray

    from fastroute.batch.prompts import PromptColumn

_READ_BUFFER = 1 << 20
# Scores are held until the row group ends.
_MAX_HELD_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class ArrowRows:
    """Payload of a batch of whole rows: its good ones, and whether the input's row group ends with it."""

    table: pa.Table
    ends_group: bool


@dataclass(frozen=True, slots=True)
class GroupRows:
    """Payload of a batch of prompts alone: which rows of a row group these are, and which of them are good."""

    group: int
    good: NDArray[np.bool_] | None  # None for all
    rows: int
    ends_group: bool


class ParquetReader:
    """Reads one Parquet file.

    Parameters
    ----------
    stream : binary file
        Must be seekable.
    name : str
        What messages call the input.
    column : PromptColumn
        The prompt's column: string, large_string, string_view or a dictionary of one of them; with a turn also lists of
        structs or maps.
    added : AddedColumns
    whole_rows : bool
        Whether all columns are read. Where false, the others' bytes may be copied as they are by the writer.
    drops_rows : bool
        Whether rows may have to be left out, without which copying may be possible and with it not.

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

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        column: PromptColumn,
        added: AddedColumns,
        *,
        whole_rows: bool = True,
        drops_rows: bool = True,
    ) -> None:
        self._arrow = import_pyarrow()
        self._stream = stream
        self._name = name
        self._column = column
        self._added = added
        # A plain buffered read holds one page at a time; pre-buffering would hold whole column chunks.
        options = {"buffer_size": _READ_BUFFER, "pre_buffer": False}
        try:
            self._file = self._arrow.parquet.ParquetFile(stream, **options)
        except (self._arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(f"{name}: not a readable Parquet file: {_first_line(error)}") from error
        self._schema = self._file.schema_arrow
        self._check_columns()
        self._is_dictionary = is_dictionary(self._schema.field(column.name).type)
        footer = self._known = self._read_footer()
        self._footer = None if whole_rows or footer is None else self._copyable(footer, drops_rows=drops_rows)
        # A writer may be at work when the stream is closed already.
        self._bytes = None if self._footer is None else InputBytes.of(stream)
        if self._bytes is None:
            self._footer = None
            self._file = with_all_dates(self._file, stream, **options)
            self._schema = self._file.schema_arrow

    @property
    def total(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    def batches(self, start: Mark = START) -> Iterator[Batch[Any]]:
        """Read the rows in batches, none of which spans two row groups."""
        columns = None if self._footer is None else [self._column.name]
        end = 0
        position = start.rows
        try:
            for group in range(self._file.num_row_groups):
                begin, end = end, end + self._file.metadata.row_group(group).num_rows
                if end <= start.rows:
                    continue
                decoded = self._decoded(group, columns, max(0, start.rows - begin))
                # rows of a dictionary do not tell their size
                for parts in ([part] for part in decoded) if self._is_dictionary else gathered(decoded):
                    first_row, position = position + 1, position + sum(part.num_rows for part in parts)
                    yield self._batch(parts, first_row, group, ends_group=position == end)
        except (self._arrow.ArrowException, OSError) as error:
            raise DataError(f"{self._name}: damaged after row {position}: {_first_line(error)}") from error

    def writer(self, sink: Sink, carried: Sequence[str] | None = None) -> CopyingWriter | DecodingWriter:
        """Give a writer with this file's schema, metadata and codecs."""
        if self._footer is None or self._bytes is None:
            codecs = codecs_of(self._known)
            return DecodingWriter(sink, self._schema, self._added, codecs, carried)
        return CopyingWriter(
            sink,
            self._bytes,
            self._footer,
            name=self._name,
            column=self._column.name,
            added=self._added,
            carried=carried,
        )

    @contextmanager
    def copier(self, sink: BinaryIO) -> Iterator[ParquetCopier]:
        """Give a writer of the same columns; it is completed when the block is."""
        copier = ParquetCopier(sink, self._schema, codecs_of(self._known))
        try:
            yield copier
            copier.complete()
        except BaseException:
            copier.abandon()
            raise

    def _check_columns(self) -> None:
        names, name = self._schema.names, self._column.name
        self._added.refuse_clash(names, self._name)
        if name not in names:
            raise DataError(
                f"{self._name}: no column {name!r}; the file has {name_columns(names)} (choose one with --column)"
            )
        if names.count(name) > 1:
            raise DataError(f"{self._name}: {names.count(name)} columns are named {name!r}")
        found = self._schema.field(name).type
        if self._column.turn is None and not is_text(found):
            raise DataError(f"{self._name}: column {name!r}: expected strings, found {found}")
        if self._column.turn is not None and not is_text(found) and not self._arrow.types.is_nested(found):
            raise DataError(f"{self._name}: column {name!r}: expected message lists, found {found}")

    def _read_footer(self) -> Footer | None:
        try:
            self._stream.fileno()
            footer = Footer.read(self._stream, self._name)
        except (DataError, OSError):  # limits that are not those of Arrow, which has read the file; or no file
            return None
        if footer.encrypted:  # of which Arrow would end the process when it is asked for more
            raise DataError(f"{self._name}: has encrypted columns; decrypt the file first")
        return footer

    def _copyable(self, footer: Footer, *, drops_rows: bool) -> Footer | None:
        """Return the footer if column chunks can be copied."""
        if footer.uncopyable is not None:
            return None
        held = max((group.rows for group in footer.groups), default=0) * 6 * len(self._added.pairs)
        if held > _MAX_HELD_BYTES:
            return None
        # A row group that loses rows is written anew, beside others that are copied: their columns must be the same.
        if drops_rows:
            alike = footer_of(self._schema, int96=has_int96(self._file))
            if footer.schema[1:] != alike.schema[1:]:
                return None
        return footer

    def _decoded(self, group: int, columns: list[str] | None, left_out: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a row group, few at a time and without the first `left_out`."""
        known = None if self._known is None else self._known.groups[group]
        step = decoding_rows(known, columns, self._read_at)
        for found in self._file.iter_batches(step, row_groups=[group], columns=columns):
            rows = found.slice(min(left_out, found.num_rows))
            left_out -= found.num_rows - rows.num_rows
            if rows.num_rows:
                yield rows

    def _read_at(self, place: int, size: int) -> bytes:
        self._stream.seek(place)  # Arrow seeks before it reads
        return self._stream.read(size)

    def _batch(self, parts: list[pa.RecordBatch], first_row: int, group: int, *, ends_group: bool) -> Batch[Any]:
        rows = self._arrow.Table.from_batches(parts)
        column = _joined(rows.column(self._column.name))
        texts, found = self._texts(column) if self._column.turn is None else self._turns(column)
        bad = tuple(BadRow(self._name, first_row + row, None, reason) for row, reason in found)
        good = None
        if bad:
            good = np.ones(rows.num_rows, np.bool_)
            good[[row for row, _ in found]] = False
        mark = Mark(first_row + rows.num_rows - 1)
        if self._footer is not None:
            return Batch(texts, GroupRows(group, good, rows.num_rows, ends_group), bad, mark, column.nbytes)
        table = rows if good is None else kept_rows(rows, good)
        return Batch(texts, ArrowRows(table, ends_group), bad, mark, rows.nbytes)

    def _texts(self, column: Any) -> tuple[Texts, list[tuple[int, str]]]:
        """Return the good prompts, and the others' rows with the reasons."""
        if is_dictionary(column.type) and len(column.dictionary) > len(column):
            column = column.dictionary_decode()  # rather than read more values than there are rows
        # Readers and writers of Parquet do not check that strings are UTF-8.
        texts = TextColumn(column, self._name).texts(0, len(column))
        bad = [(row, f"column {self._column.name!r}: {reason_of(byte)}") for row, byte in texts.bad()]
        return texts.good() if bad else texts, bad

    def _turns(self, column: Any) -> tuple[list[str], list[tuple[int, str]]]:
        """Return the turns to score, and the rows that have none."""
        prompts, bad = [], []
        for row in range(len(column)):
            try:
                prompts.append(self._turn(column[row]))
            except UnusableRowError as problem:  # noqa: PERF203 - one bad row must not take others with it
                bad.append((row, str(problem)))
        return prompts, bad

    def _turn(self, cell: Any) -> str:
        try:
            return self._column.of_value(cell.as_py())
        except UnicodeDecodeError as error:
            raise UnusableRowError(f"column {self._column.name!r}: invalid UTF-8 at byte {error.start + 1}") from None


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


def _joined(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array; Arrow makes more than one only of more than 2 GiB."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
