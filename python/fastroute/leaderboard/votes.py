"""Battles counted: how often each model won over each other, and how often neither did."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError
from fastroute.training.preferences import models_of_both_sides, outcomes_for_a
from fastroute.training.tables import Table, as_table, read_table

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

__all__ = ["VOTE_COLUMNS", "Votes", "read_votes", "votes_from_table"]

VOTE_COLUMNS = ("model_a", "model_b", "winner")
"""Columns of a table of battles; `winner` is one of model_a, model_b, tie, "tie (bothbad)"."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class Votes:
    """Counts of battles.

    Attributes
    ----------
    name
        What errors call them.
    models
        K names, sorted.
    won
        (K, K) int64: battles that i won over j.
    tied
        (K, K) int64, symmetric: battles between i and j without a winner.
    """

    name: str
    models: tuple[str, ...]
    won: NDArray[np.int64]
    tied: NDArray[np.int64]

    @property
    def wins(self) -> NDArray[np.float64]:
        """(K, K) float64: wins of i over j, a tie half a win each way."""
        return self.won + self.tied / 2

    @property
    def battles(self) -> int:
        """How many battles there are."""
        return int(self.won.sum() + self.tied.sum() // 2)


def votes_from_table(data: object, *, name: str = "preferences") -> Votes:
    """Count the battles of a table. Every row counts once, whatever its prompt, judge or `overlap`.

    A leaderboard says who won these battles; unlike a router it is not tried on an evaluation set afterwards,
    so rows that touch one stay in.

    Parameters
    ----------
    data
        A pyarrow table, pandas or polars frame, or dictionary of columns; see `VOTE_COLUMNS`.
    name
        What errors call the table.

    Raises
    ------
    DataError
        A column is missing, a value is not allowed, or there is no row.
    InvalidTypeError
        `data` is no table.
    """
    table = as_table(data, name)
    table.require(*VOTE_COLUMNS)
    if not table.rows:
        raise DataError(f"{name}: no battles; at least one row is needed")
    outcome = outcomes_for_a(table)
    labels, model_a, model_b = models_of_both_sides(table)
    order = sorted(range(len(labels.values)), key=labels.values.__getitem__)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    a, b, count = place[model_a], place[model_b], len(order)
    winner, loser = np.where(outcome > 0.5, a, b), np.where(outcome > 0.5, b, a)
    decided = outcome != 0.5

    def counted(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(first * count + second, minlength=count**2).reshape(count, count).astype(np.int64)

    tied = counted(a[~decided], b[~decided])
    models = tuple(labels.values[index] for index in order)
    return Votes(name, models, counted(winner[decided], loser[decided]), tied + tied.T)


def read_votes(path: str | os.PathLike[str]) -> Votes:
    """Read a file of battles: .parquet, .jsonl, .ndjson, .csv or .tsv; see `VOTE_COLUMNS`.

    Raises
    ------
    DataError
        There is no such file, it can't be read, or as in `votes_from_table`.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix in _DELIMITERS or suffix in _JSON_LINES:
        columns = _read_json_lines(file) if suffix in _JSON_LINES else _read_delimited(file, _DELIMITERS[suffix])
        return votes_from_table(Table(str(path), columns, len(columns["winner"])), name=str(path))
    if suffix not in (".parquet", ".pq") and file.is_file():
        raise DataError(f"{path}: a file of battles is .parquet, .jsonl, .ndjson, .csv or .tsv")
    return votes_from_table(read_table(file, VOTE_COLUMNS), name=str(path))


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: invalid UTF-8 at byte {error.start + 1}") from error


def _read_delimited(file: Path, delimiter: str) -> dict[str, list[Any]]:
    rows = csv.reader(_text_of(file).splitlines(keepends=True), delimiter=delimiter, strict=True)
    try:
        records = [row for row in rows if row]
    except csv.Error as error:
        raise DataError(f"{file}: line {rows.line_num}: broken quoting or line ends: {error}") from error
    if not records:
        raise DataError(f"{file}: the file is empty; expected a header row that names the columns")
    header, *records = records
    missing = [column for column in VOTE_COLUMNS if column not in header]
    if missing:
        raise DataError(f"{file}: no column {missing[0]!r}; the header has {', '.join(map(repr, header))}")
    for number, record in enumerate(records, start=1):
        if len(record) != len(header):
            raise DataError(f"{file}: row {number}: expected {len(header)} fields, found {len(record)}")
    return {column: [record[header.index(column)] for record in records] for column in VOTE_COLUMNS}


def _read_json_lines(file: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {column: [] for column in VOTE_COLUMNS}
    for number, line in enumerate(_text_of(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: line {number}: broken JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{file}: line {number}: expected a JSON object, found {type(row).__name__}")
        for column, values in columns.items():
            if column not in row:
                raise DataError(f"{file}: line {number}: no column {column!r}; it has {', '.join(map(repr, row))}")
            values.append(row[column])
    return columns
