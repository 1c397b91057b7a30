"""Scored logs in Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastroute.batch.formats.parquet import import_pyarrow
from fastroute.batch.rows import BadRow, UnusableRowError
from fastroute.errors import DataError
from fastroute.reporting.rows import Columns, Labels, ScoredRows, group_label, label_of
from fastroute.reporting.text import check_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["ParquetScores"]

_BATCH_ROWS = 65_536
_READ_BUFFER = 1 << 20


class ParquetScores:
    """Reads the columns of one Parquet file that are asked for, and no others.

    Parameters
    ----------
    stream : binary file
        Must be seekable.
    name : str
        What messages call the input.
    columns : Columns

    Raises
    ------
    DataError
        Not a Parquet file, a damaged one, no such column, or one of a type that can't serve.
    MissingDependencyError
        pyarrow is not installed.
    """

    unit = "rows"

    def __init__(self, stream: BinaryIO, name: str, columns: Columns) -> None:
        self._arrow = import_pyarrow()
        self._name = name
        self._columns = columns
        try:
            self._file = self._arrow.parquet.ParquetFile(stream, buffer_size=_READ_BUFFER, pre_buffer=False)
        except (self._arrow.ArrowException, OSError) as error:
            raise DataError(f"{name}: not a readable Parquet file: {_first_line(error)}") from error
        schema = self._file.schema_arrow
        check_names(name, schema.names, columns)
        kinds = self._arrow.types
        found = schema.field(columns.score).type
        if not (kinds.is_floating(found) or kinds.is_integer(found)):
            raise DataError(f"{name}: column {columns.score!r}: expected numbers, found {found}")
        for column in (columns.model, columns.group):
            if column is not None and column in schema.names:
                self._check_label(column, schema.field(column).type)
        self._has_model = columns.model in schema.names
        self._has_group = columns.group in schema.names

    @property
    def total(self) -> int:
        """Number of rows."""
        return int(self._file.metadata.num_rows)

    def batches(self) -> Iterator[ScoredRows]:
        """Read the rows in batches."""
        columns = self._columns
        wanted = [
            columns.score,
            columns.group if self._has_group else None,
            columns.model if self._has_model else None,
        ]
        names = list(dict.fromkeys(name for name in wanted if name is not None))
        position = 0
        try:
            for rows in self._file.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
                position += rows.num_rows
                yield self._batch(rows, position)
        except (self._arrow.ArrowException, OSError) as error:
            raise DataError(f"{self._name}: damaged after row {position}: {_first_line(error)}") from error

    def _check_label(self, column: str, found: Any) -> None:
        kinds = self._arrow.types
        if kinds.is_dictionary(found):
            found = found.value_type
        if kinds.is_nested(found) or kinds.is_binary(found) or kinds.is_large_binary(found):
            raise DataError(f"{self._name}: column {column!r}: expected strings, numbers or times, found {found}")

    def _batch(self, rows: Any, position: int) -> ScoredRows:
        first = position - rows.num_rows + 1
        cells = rows.column(self._columns.score)
        values = cells.cast(self._arrow.float64(), safe=False).to_numpy(zero_copy_only=False)  # nulls become NaN
        good = (values >= 0) & (values <= 1)
        bad: dict[int, str] = {}
        for row in np.flatnonzero(~good).tolist():
            found = f"{values[row]:.9g}" if cells[row].is_valid else "null"
            bad[row] = f"column {self._columns.score!r}: expected a number from 0 to 1, found {found}"
        groups = None if self._columns.group is None else self._groups(rows, bad)
        if bad:
            good = np.ones(len(values), np.bool_)
            good[list(bad)] = False
        models = self._models(rows)
        return ScoredRows(
            values[good].astype(np.float32),
            None if models is None else Labels(models.codes[good], models.values),
            None if groups is None else Labels(groups.codes[good], groups.values),
            tuple(BadRow(self._name, first + row, None, bad[row]) for row in sorted(bad)),
            position,
        )

    def _models(self, rows: Any) -> Labels | None:
        if self._columns.model is None:
            return None
        if not self._has_model:
            return Labels(np.zeros(rows.num_rows, np.int64), [None])
        codes, cells = self._coded(rows.column(self._columns.model))
        return Labels(codes, [label_of(cell) for cell in cells])

    def _groups(self, rows: Any, bad: dict[int, str]) -> Labels:
        """Labels of the groups; rows whose cell stands for none are added to `bad`."""
        codes, cells = self._group_cells(rows)
        labels: list[str | None] = []
        for code, cell in enumerate(cells):
            try:
                labels.append(group_label(self._columns, cell))
            except UnusableRowError as problem:  # noqa: PERF203
                labels.append(None)
                for row in np.flatnonzero(codes == code).tolist():
                    bad.setdefault(row, str(problem))
        return Labels(codes, labels)

    def _group_cells(self, rows: Any) -> tuple[NDArray[np.int64], list[object]]:
        if not self._has_group:
            return np.zeros(rows.num_rows, np.int64), [self._columns.partition]
        column = rows.column(self._columns.group)
        return self._coded(self._days(column) if self._columns.by_day else column)

    def _coded(self, column: Any) -> tuple[NDArray[np.int64], list[object]]:
        """Return (rows,) codes and what they stand for; numbers and texts as they are, other types as texts."""
        kinds = self._arrow.types
        if kinds.is_dictionary(column.type) and not kinds.is_string(column.type.value_type):
            column = column.dictionary_decode()
        if not kinds.is_dictionary(column.type):
            as_is = (kinds.is_string, kinds.is_large_string, kinds.is_integer, kinds.is_floating, kinds.is_boolean)
            if not any(is_kind(column.type) for is_kind in as_is):
                column = column.cast(self._arrow.string())
            column = column.dictionary_encode()
        cells = _plain(self._arrow, column.dictionary)
        codes = column.indices.fill_null(len(cells)).to_numpy(zero_copy_only=False).astype(np.int64)
        return codes, [*cells, None]

    def _days(self, column: Any) -> Any:
        """Give times as ISO days, in UTC where they have a zone; leave all else as it is."""
        kinds = self._arrow.types
        if kinds.is_dictionary(column.type):
            column = column.dictionary_decode()
        if kinds.is_timestamp(column.type) and column.type.tz is not None:
            column = column.cast(self._arrow.timestamp(column.type.unit, "UTC"))
            column = column.cast(self._arrow.timestamp(column.type.unit))
        if kinds.is_timestamp(column.type) or kinds.is_date(column.type):
            return column.cast(self._arrow.date32()).cast(self._arrow.string())
        return column


def _plain(arrow: Any, values: Any) -> list[object]:
    try:
        found: list[object] = values.to_pylist()
    except UnicodeDecodeError:  # readers and writers of Parquet do not check that strings are UTF-8
        found = [cell.decode(errors="replace") for cell in values.cast(arrow.large_binary()).to_pylist()]
    return found


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
