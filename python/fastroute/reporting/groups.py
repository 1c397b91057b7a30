"""Counting by group: which values have most rows, and then each of those on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastroute.reporting.histogram import GROUP_BITS, bins_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.reporting.rows import Labels, ScoredRows

__all__ = ["COUNTED_VALUES", "GroupCounts", "ValueCounts"]

COUNTED_VALUES = 10_000


class ValueCounts:
    """Counts values, at most so many at once (Misra and Gries, Science of Computer Programming 2, 1982).

    Exact until there are more values than `most`. From then on a count may be too low by up to `missed`, and a value
    with more rows than that is never lost.

    Parameters
    ----------
    most : int
        Values counted at once.

    Attributes
    ----------
    missed : int
    """

    def __init__(self, most: int = COUNTED_VALUES) -> None:
        self._most = most
        self._counts: dict[str | None, int] = {}
        self.missed = 0

    def add(self, labels: Labels) -> None:
        """Take in the labels of a batch."""
        rows = np.bincount(labels.codes, minlength=len(labels.values)).tolist()
        for value, count in zip(labels.values, rows, strict=True):
            if count:
                self._counts[value] = self._counts.get(value, 0) + count
        if len(self._counts) > self._most:
            off = sorted(self._counts.values(), reverse=True)[self._most]
            self._counts = {value: count - off for value, count in self._counts.items() if count > off}
            self.missed += off

    @property
    def values(self) -> int | None:
        """How many values there are; None once there were too many."""
        return None if self.missed else len(self._counts)

    def largest(self, top: int) -> list[str | None]:
        """Return the values with most rows, at most `top`; of equal ones the first by name, None before all."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0] is not None, item[0] or ""))
        return [value for value, _ in ranked[:top]]


class GroupCounts:
    """Counts the scores of some values, each on its own, and of all others together, the last group.

    Parameters
    ----------
    values : list of str or None
    threshold : float
        Scores from here up are counted as strong.

    Attributes
    ----------
    counts : (groups, 2^GROUP_BITS + 1) int64
    strong : (groups,) int64
    sums : (groups,) float64
    """

    def __init__(self, values: list[str | None], threshold: float) -> None:
        self._slots = {value: slot for slot, value in enumerate(values)}
        self._threshold = threshold
        groups = len(values) + 1
        self.counts: NDArray[np.int64] = np.zeros((groups, (1 << GROUP_BITS) + 1), np.int64)
        self.strong: NDArray[np.int64] = np.zeros(groups, np.int64)
        self.sums: NDArray[np.float64] = np.zeros(groups)

    def add(self, rows: ScoredRows) -> None:
        """Take in the rows of a batch."""
        assert rows.groups is not None
        rest = len(self._slots)
        slots = np.array([self._slots.get(value, rest) for value in rows.groups.values], np.int64)[rows.groups.codes]
        scores = rows.scores.astype(np.float64)
        np.add.at(self.counts, (slots, bins_of(rows.scores, GROUP_BITS)), 1)
        self.strong += np.bincount(slots[scores >= self._threshold], minlength=rest + 1)
        self.sums += np.bincount(slots, weights=scores, minlength=rest + 1)
