"""Tables in memory: the prompts are read where they lie, and the table comes back with two columns more."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.batch.arrow import TextColumn, is_text, models_of, reason_of
from fastroute.batch.rows import AddedColumns, name_columns
from fastroute.batch.scoring import Choices, score_texts
from fastroute.errors import DataError, InvalidTypeError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import pyarrow as pa
    from numpy.typing import NDArray

    from fastroute.batch.scoring import Scorer
    from fastroute.policies import Threshold

__all__ = ["TableScoring"]

_ROWS = 1 << 16  # scored between two looks at signals
_MODEL_ROWS = 1 << 20  # in one array of names, whose offsets have 32 bits
_ALLOWED = "a pyarrow Table or RecordBatch, a pandas or polars DataFrame, or what has __arrow_c_stream__"


@dataclass(frozen=True, slots=True)
class TableScoring:
    """How tables are scored: `fastroute.score_table` describes the fields, and what `score` takes, gives and raises."""

    router: Scorer
    column: str
    added: AddedColumns
    policy: Threshold

    def __post_init__(self) -> None:
        if not isinstance(self.column, str):
            raise InvalidTypeError(f"column: found {type(self.column).__name__}, allowed: the name of a column")

    def score(self, table: Any) -> Any:
        """Score a table's prompts."""
        arrow = _import_pyarrow()
        if isinstance(table, arrow.Table):
            return self._table(arrow, table)
        if isinstance(table, arrow.RecordBatch):
            return self._record_batch(arrow, table)
        if _is_frame_of("polars", table):
            return self._polars(arrow, table)
        if _is_frame_of("pandas", table):
            return self._pandas(arrow, table)
        return self._table(arrow, _imported(arrow, table))

    def _table(self, arrow: ModuleType, table: Any) -> Any:
        scores, models = self._scores_of(self._found(table))
        parts = [
            models_of(Choices(models.strong, models.weak, models.wants_strong[start : start + _MODEL_ROWS]))
            for start in range(0, len(models), _MODEL_ROWS)
        ]
        score, model = self._fields(arrow)
        table = table.append_column(score, arrow.array(scores, arrow.float32()))
        return table.append_column(model, arrow.chunked_array(parts, arrow.string()))

    def _record_batch(self, arrow: ModuleType, batch: Any) -> Any:
        scores, models = self._scores_of(self._found(batch))
        score, model = self._fields(arrow)
        columns = [*batch.columns, arrow.array(scores, arrow.float32()), models_of(models)]
        return arrow.RecordBatch.from_arrays(columns, schema=batch.schema.append(score).append(model))

    def _polars(self, arrow: ModuleType, frame: Any) -> Any:
        import polars as pl

        self._check_names(frame.columns)
        scores, models = self._scores_of(_converted(arrow, frame, self.column))
        new = {self.added.score: scores, self.added.model: models_of(models)}
        return frame.with_columns(*(pl.Series(name, values) for name, values in new.items()))

    def _pandas(self, arrow: ModuleType, frame: Any) -> Any:
        self._check_names(list(frame.columns))
        scores, models = self._scores_of(_converted(arrow, frame, self.column))
        chosen = np.array(models.names, object)[models.wants_strong.astype(np.intp)]
        return frame.assign(**{self.added.score: scores, self.added.model: chosen})

    def _fields(self, arrow: ModuleType) -> tuple[pa.Field, pa.Field]:
        return (
            arrow.field(self.added.score, arrow.float32(), nullable=False),
            arrow.field(self.added.model, arrow.string(), nullable=False),
        )

    def _found(self, table: Any) -> pa.Array | pa.ChunkedArray:
        names = table.schema.names
        self._check_names(names)
        return table.column(names.index(self.column))

    def _check_names(self, names: list[Any]) -> None:
        self.added.refuse_clash(names, "table")
        if names.count(self.column) == 0:
            raise DataError(f"table: no column {self.column!r}; it has {name_columns(names)}")
        if names.count(self.column) > 1:
            raise DataError(f"table: {names.count(self.column)} columns are named {self.column!r}")

    def _scores_of(self, column: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.float32], Choices]:
        place = f"table: column {self.column!r}"
        if not is_text(column.type) and (len(column) or str(column.type) != "null"):
            raise DataError(f"{place}: expected strings, found {column.type}")
        scores = np.empty(len(column), np.float32)
        wants_strong = np.empty(len(column), np.bool_)
        row = 0
        for chunk in getattr(column, "chunks", [column]):
            text_column = TextColumn(chunk, place)
            for start in range(0, len(chunk), _ROWS):
                texts = text_column.texts(start, _ROWS)
                for at, byte in texts.bad():
                    raise DataError(f"{place}, row {row + at}: {reason_of(byte)}")
                end = row + len(texts)
                scores[row:end], chosen = score_texts(self.router, texts, self.policy)
                wants_strong[row:end] = chosen.wants_strong
                row = end
        return scores, Choices(self.router.strong, self.router.weak, wants_strong)


def _converted(arrow: ModuleType, frame: Any, column: str) -> pa.ChunkedArray:
    """Return one column of a data frame as Arrow has it: the frame's own buffers, where they are Arrow's."""
    place = f"table: column {column!r}"
    try:
        found = arrow.table(frame[[column]]).column(0)
    except (arrow.ArrowException, UnicodeEncodeError) as error:
        _refuse_cells(frame[column], place)
        raise DataError(f"{place}: Arrow can't read it: {str(error).partition(chr(10))[0]}") from error
    if not is_text(found.type):
        _refuse_cells(frame[column], place)
    return found


def _refuse_cells(cells: Iterable[object], place: str) -> None:
    """Name the first cell that is no text: a column of objects may hold anything."""
    for row, cell in enumerate(cells):
        if not isinstance(cell, str):
            is_nan = isinstance(cell, float) and cell != cell  # noqa: PLR0124
            found = "null" if cell is None or is_nan else type(cell).__name__
            raise DataError(f"{place}, row {row}: expected a string, found {found}") from None
        if any("\ud800" <= character <= "\udfff" for character in cell):
            raise DataError(f"{place}, row {row}: holds half of a surrogate pair") from None


def _imported(arrow: ModuleType, table: Any) -> pa.Table:
    """Take any other table by Arrow's PyCapsule protocol."""
    if isinstance(table, type) or not hasattr(table, "__arrow_c_stream__"):
        raise InvalidTypeError(f"table: found {type(table).__name__}, allowed: {_ALLOWED}")
    try:
        return arrow.table(table)
    except (arrow.ArrowException, TypeError, ValueError) as error:
        raise InvalidTypeError(
            f"table: found {type(table).__name__}, whose stream is no table: {error}; allowed: {_ALLOWED}"
        ) from error


def _is_frame_of(package: str, table: object) -> bool:
    """Whether this is a data frame of a package, which is loaded if it is."""
    kind = getattr(sys.modules.get(package), "DataFrame", None)
    return kind is not None and isinstance(table, kind)


def _import_pyarrow() -> ModuleType:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependencyError(
            "tables need pyarrow, which is not installed: pip install 'fastroute[batch]'"
        ) from error
    return pa  # type: ignore[no-any-return]
