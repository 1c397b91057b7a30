"""What passes from a reader of scored logs to the counting: scores, and labels as codes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastroute.batch.rows import BadRow, UnusableRowError, name_columns
from fastroute.messages import json_type
from fastroute.reporting.days import day_of
from fastroute.reporting.partitions import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "Columns",
    "Labels",
    "PendingRows",
    "ScoredReader",
    "ScoredRows",
    "label_of",
    "other_scores",
    "score_of",
]

MAX_BATCH_ROWS = 8192
_LONGEST_LABEL = 120


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns are read.

    Attributes
    ----------
    score
        The scores.
    model
        The models that the scores chose; read where the log has it.
    group
        What the rows are grouped by; None for no groups.
    by_day
        Whether `group` holds timestamps, of which the day counts.
    partition
        What rows without the column `group` have instead; None for nothing.
    """

    score: str = "score"
    model: str | None = None
    group: str | None = None
    by_day: bool = False
    partition: Partition | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """One label per row: (rows,) int64 codes into `values`; None stands for null or missing."""

    codes: NDArray[np.int64]
    values: list[str | None]


@dataclass(frozen=True, slots=True)
class ScoredRows:
    """Rows read together.

    Attributes
    ----------
    scores
        (rows,) float32 in [0, 1], of the rows that can be used.
    models, groups
        Labels of the same rows; None where they are not read.
    bad
        The rows in between that can't be used.
    position
        How much of the input has been read, in the reader's unit.
    """

    scores: NDArray[np.float32]
    models: Labels | None
    groups: Labels | None
    bad: tuple[BadRow, ...]
    position: int


class ScoredReader(Protocol):
    """Reads one scored log in batches of bounded size."""

    @property
    def total(self) -> int | None:
        """Size of the input in `unit`, None where it is not known."""
        ...

    @property
    def unit(self) -> str:
        """What `total` and `ScoredRows.position` count: "B" or "rows"."""
        ...

    def batches(self) -> Iterator[ScoredRows]:
        """Read the rows, in order; may be called once."""
        ...


@dataclass(slots=True)
class PendingRows:
    """Rows of a text format on their way into a batch."""

    source: str
    columns: Columns
    scores: list[float] = field(default_factory=list)
    models: list[str | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)

    def add(self, score: object, model: object, group: object) -> None:
        """Take in the cells of a row; raises UnusableRowError."""
        value = score_of(self.columns.score, score)
        label = None
        if self.columns.group is not None:
            label = group_label(self.columns, group)
            self.groups.append(label)
        if self.columns.model is not None:
            self.models.append(label_of(model))
        self.scores.append(value)

    def reject(self, row: int, line: int, reason: str) -> None:
        """Take note of a row that can't be used."""
        self.bad.append(BadRow(self.source, row, line, reason))

    @property
    def full(self) -> bool:
        """Whether this is as much as one batch may hold."""
        return len(self.scores) + len(self.bad) >= MAX_BATCH_ROWS

    @property
    def empty(self) -> bool:
        """Whether there is neither a good row nor a bad one."""
        return not self.scores and not self.bad

    def batch(self, position: int) -> ScoredRows:
        """Return the rows as a batch that ends at `position`."""
        return ScoredRows(
            np.array(self.scores, np.float64).astype(np.float32),
            None if self.columns.model is None else _coded(self.models),
            None if self.columns.group is None else _coded(self.groups),
            tuple(self.bad),
            position,
        )


def score_of(column: str, cell: object) -> float:
    """Return a cell's number from 0 to 1, or raise UnusableRowError; texts are read as numbers."""
    number = cell
    if isinstance(cell, str):
        try:
            number = float("" if "_" in cell else cell)
        except ValueError:
            shown = repr(cell[:60]) if cell else "an empty cell"
            raise UnusableRowError(f"column {column!r}: expected a number from 0 to 1, found {shown}") from None
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise UnusableRowError(f"column {column!r}: expected a number from 0 to 1, found {json_type(number)}")
    if not 0 <= number <= 1:  # NaN too
        raise UnusableRowError(f"column {column!r}: expected a number from 0 to 1, found {number:.9g}")
    return float(number)


def group_label(columns: Columns, cell: object) -> str | None:
    """Return the group that a cell stands for, or raise UnusableRowError."""
    if not columns.by_day:
        return label_of(cell.value if isinstance(cell, Partition) else cell)
    try:
        return cell.day() if isinstance(cell, Partition) else day_of(cell)
    except ValueError as problem:
        raise UnusableRowError(f"column {columns.group!r}: {problem}") from None


def label_of(cell: object) -> str | None:
    """Return a value as a text of bounded length; values that differ stay different."""
    if cell is None:
        return None
    text = cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
    if not text.isascii():
        text = text.encode(errors="backslashreplace").decode()  # half a surrogate pair can't be written anywhere
    if len(text) <= _LONGEST_LABEL:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{text[: _LONGEST_LABEL - 10]}… {digest}"


def other_scores(column: str, names: list[str]) -> str:
    """Return the rest of a message that `column` is missing, where a log of several routers has ones like it."""
    others = [name for name in names if name.startswith(f"{column}_")]
    return f", but there is {name_columns(others)}; choose one with --score-column" if others else ""


def _coded(labels: list[str | None]) -> Labels:
    known: dict[str | None, int] = {}
    codes = np.array([known.setdefault(label, len(known)) for label in labels], np.int64)
    return Labels(codes, list(known))
