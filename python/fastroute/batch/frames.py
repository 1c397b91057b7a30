"""Tables in memory: the prompts are read where they lie, and the table comes back with two columns more."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastroute.batch.arrow import TextColumn, is_dictionary, is_text, models_of, reason_of
from fastroute.batch.rows import AddedColumns, name_columns
from fastroute.batch.scoring import Choices, score_texts
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    import pyarrow as pa
    from numpy.typing import NDArray

    from fastroute.batch.scoring import Scorer
    from fastroute.policies import Threshold

__all__ = ["OnBadRow", "TableScoring"]

OnBadRow = Literal["fail", "null"]

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
    on_error: OnBadRow = "fail"

    def __post_init__(self) -> None:
        if self.on_error not in ("fail", "null"):
            raise InvalidArgumentError(f"on_error: found {self.on_error!r:.60}, allowed: 'fail' or 'null'")
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
        scored = self._scores_of(arrow, self._found(table))
        parts = [scored.models(start, _MODEL_ROWS) for start in range(0, len(scored.scores), _MODEL_ROWS)]
        score, model = self._fields(arrow)
        table = table.append_column(score, scored.nullable_scores(arrow))
        return table.append_column(model, arrow.chunked_array(parts, arrow.string()))

    def _record_batch(self, arrow: ModuleType, batch: Any) -> Any:
        scored = self._scores_of(arrow, self._found(batch))
        score, model = self._fields(arrow)
        columns = [*batch.columns, scored.nullable_scores(arrow), scored.models()]
        return arrow.RecordBatch.from_arrays(columns, schema=batch.schema.append(score).append(model))

    def _polars(self, arrow: ModuleType, frame: Any) -> Any:
        import polars as pl

        self._check_names(frame.columns)
        scored = self._scores_of(arrow, self._converted(arrow, frame))
        columns = scored.nullable_scores(arrow), scored.models()
        return frame.with_columns(*map(pl.Series, self.added.names, columns))

    def _pandas(self, arrow: ModuleType, frame: Any) -> Any:
        self._check_names(list(frame.columns))
        scored = self._scores_of(arrow, self._converted(arrow, frame))
        chosen = np.array(scored.choices.names, object)[scored.choices.wants_strong.astype(np.intp)]
        if scored.missing is not None:
            chosen[scored.missing] = None
        return frame.assign(**dict(zip(self.added.names, (scored.scores, chosen), strict=True)))

    def _fields(self, arrow: ModuleType) -> tuple[pa.Field, pa.Field]:
        nullable = self.on_error == "null"
        score, model = self.added.names
        return (
            arrow.field(score, arrow.float32(), nullable=nullable),
            arrow.field(model, arrow.string(), nullable=nullable),
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

    def _scores_of(self, arrow: ModuleType, column: pa.Array | pa.ChunkedArray) -> _Scored:
        place = f"table: column {self.column!r}"
        if self.on_error == "null" and _is_all_null(column.type):
            column = arrow.nulls(len(column), arrow.string())
        if not is_text(column.type) and (len(column) or str(column.type) != "null"):
            raise DataError(f"{place}: expected strings, found {column.type}")
        scores = np.full(len(column), np.nan, np.float32)
        wants_strong = np.zeros(len(column), np.bool_)
        missing: list[int] = []
        row = 0
        for chunk in getattr(column, "chunks", [column]):
            text_column = TextColumn(chunk, place)
            for start in range(0, len(chunk), _ROWS):
                texts = text_column.texts(start, _ROWS)
                rows: slice | NDArray[np.intp] = slice(row, row + len(texts))
                bad = texts.bad()
                if bad:
                    at, byte = bad[0]
                    if self.on_error == "fail":
                        raise DataError(f"{place}, row {row + at}: {reason_of(byte)}")
                    missing += [row + at for at, _ in bad]
                    rows = row + np.delete(np.arange(len(texts)), [at for at, _ in bad])
                row += len(texts)
                scored = score_texts(self.router, texts.good() if bad else texts, self.policy)
                scores[rows] = scored.scores
                wants_strong[rows] = scored.models.wants_strong
        return _Scored(scores, Choices(self.router.strong, self.router.weak, wants_strong), _marked(missing, row))

    def _converted(self, arrow: ModuleType, frame: Any) -> pa.Array | pa.ChunkedArray:
        """Return the column of a data frame as Arrow has it: the frame's own buffers, where they are Arrow's."""
        place, cells = f"table: column {self.column!r}", frame[self.column]
        nulls = self.on_error == "null" and _holds_objects(cells)
        try:
            found = arrow.table(frame[[self.column]]).column(0)
        except (arrow.ArrowException, UnicodeEncodeError) as error:
            if nulls or (self.on_error == "null" and isinstance(error, UnicodeEncodeError)):
                return _texts_among(arrow, cells)
            _refuse_cells(cells, place)
            raise DataError(f"{place}: Arrow can't read it: {str(error).partition(chr(10))[0]}") from error
        if is_text(found.type):
            return found
        if nulls:
            return _texts_among(arrow, cells)
        if self.on_error == "fail":
            _refuse_cells(cells, place)
        return found


@dataclass(frozen=True, slots=True)
class _Scored:
    """Scores, float32 (rows,) with NaN where there is none, models, and which rows have neither, None for no row."""

    scores: NDArray[np.float32]
    choices: Choices
    missing: NDArray[np.bool_] | None

    def nullable_scores(self, arrow: ModuleType) -> pa.Array:
        """Return the scores with nulls for NaN."""
        return arrow.array(self.scores, arrow.float32(), mask=self.missing)

    def models(self, start: int = 0, rows: int | None = None) -> pa.Array:
        """Return the models of some rows, nulls where there is none."""
        part = slice(start, None if rows is None else start + rows)
        chosen = Choices(self.choices.strong, self.choices.weak, self.choices.wants_strong[part])
        return models_of(chosen, None if self.missing is None else self.missing[part])


def _marked(missing: list[int], rows: int) -> NDArray[np.bool_] | None:
    if not missing:
        return None
    marks = np.zeros(rows, np.bool_)
    marks[missing] = True
    return marks


def _is_all_null(kind: pa.DataType) -> bool:
    return str(kind.value_type if is_dictionary(kind) else kind) == "null"


def _holds_objects(cells: Any) -> bool:
    """Whether a column of pandas or polars, or its categories, may hold anything."""
    kind = getattr(getattr(cells.dtype, "categories", None), "dtype", cells.dtype)
    return str(kind).lower() == "object"


def _texts_among(arrow: ModuleType, cells: Iterable[object]) -> pa.Array:
    """Return the cells that are text, and null for the others."""
    return arrow.array([_text_or_null(cell) for cell in cells], arrow.large_string())


def _text_or_null(cell: object) -> str | None:
    try:
        return cell if isinstance(cell, str) and cell.encode() is not None else None
    except UnicodeEncodeError:
        return None


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
