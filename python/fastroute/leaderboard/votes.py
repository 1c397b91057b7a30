"""Battles counted: how often each model won over each other, and how often neither did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.tables import as_table, read_table
from fastroute.training.preferences import models_of_both_sides, outcomes_for_a

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

__all__ = ["VOTE_COLUMNS", "Votes", "read_votes", "votes_from_table"]

VOTE_COLUMNS = ("model_a", "model_b", "winner")
"""Columns of a table of battles; `winner` is one of model_a, model_b, tie, "tie (bothbad)"."""


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
    """Read a file of battles, in any format of `fastroute.tables.read_table`; see `VOTE_COLUMNS`.

    Raises
    ------
    InvalidArgumentError
        The file's name does not tell its format.
    DataError
        There is no such file, it can't be read, or as in `votes_from_table`.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    return votes_from_table(read_table(path, VOTE_COLUMNS), name=str(path))
