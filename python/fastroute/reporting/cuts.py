"""Cuts of a log at a threshold: what goes to the strong model, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from fastroute.reporting.histogram import ScoreHistogram
    from fastroute.reporting.prices import Prices

__all__ = ["CURVE_SHARES", "Cut", "Cuts", "cut_of", "share_interval"]

_TAILS: Final = (0.001, 0.002, 0.005)
CURVE_SHARES: Final = tuple(
    sorted({*(step / 100 for step in range(101)), *_TAILS, *(1 - tail for tail in _TAILS)}, reverse=True)
)
"""Shares of a curve: hundredths from 1 to 0, and some in the tails, where scores lie far apart."""
_Z: Final = 1.959963984540054  # 97.5% of a normal distribution lies below


@dataclass(frozen=True, slots=True)
class Cut:
    """What a threshold does to the log.

    Attributes
    ----------
    threshold
        Scores from here up go to the strong model.
    strong_rows
        How many do: exact.
    share
        Their share of the rows.
    low, high
        95% interval for the share of future prompts like these (Wilson, JASA 22, 1927).
    dollars
        What the log's answers cost.
    saved
        What they cost less than with the strong model alone.
    saved_share
        The same as a part of the strong model's cost; 0 where that is 0.
    """

    threshold: float
    strong_rows: int
    share: float
    low: float
    high: float
    dollars: float
    saved: float
    saved_share: float


class Cuts:
    """The cuts that a histogram allows: one below each bin that holds a score, and, last, one above them all.

    Parameters
    ----------
    histogram
        At least one row.
    prices
        Of the two models.
    """

    def __init__(self, histogram: ScoreHistogram, prices: Prices) -> None:
        self._rows = histogram.rows
        self._prices = prices
        bins = np.flatnonzero(histogram.counts)
        strong = histogram.rows - histogram.below()[bins]
        last = int(bins[-1]) + 1
        if last < len(histogram.counts):  # no threshold is above a score of 1
            bins, strong = np.append(bins, last), np.append(strong, 0)
        self._thresholds = bins / (1 << histogram.bits)
        self._strong = strong

    def nearest(self, share: float) -> Cut:
        """Return the cut whose share of strong rows is nearest to `share`; of two, the larger."""
        return self._at(int(np.argmin(np.abs(self._strong - share * self._rows))))

    def within(self, dollars: float) -> Cut | None:
        """Return the cut with most strong rows that costs at most `dollars`; None where each costs more."""
        costs = self._strong * self._prices.strong + (self._rows - self._strong) * self._prices.weak
        fitting = np.flatnonzero(costs / 1000 <= dollars)
        return self._at(int(fitting[0])) if len(fitting) else None

    def cheapest(self) -> Cut:
        """Return the cut with the fewest strong rows."""
        return self._at(len(self._strong) - 1)

    def curve(self) -> tuple[Cut, ...]:
        """Return the cuts nearest to the shares of `CURVE_SHARES`, each once, thresholds rising."""
        places = dict.fromkeys(int(np.argmin(np.abs(self._strong - share * self._rows))) for share in CURVE_SHARES)
        return tuple(self._at(place) for place in places)

    def _at(self, place: int) -> Cut:
        return cut_of(float(self._thresholds[place]), int(self._strong[place]), self._rows, self._prices)


def cut_of(threshold: float, strong_rows: int, rows: int, prices: Prices) -> Cut:
    """Return the cut that sends `strong_rows` of `rows` to the strong model."""
    low, high = share_interval(strong_rows, rows)
    dollars, dearest = prices.dollars(strong_rows, rows), prices.dollars(rows, rows)
    saved = (rows - strong_rows) * (prices.strong - prices.weak) / 1000
    saved_share = saved / dearest if dearest else 0.0
    return Cut(threshold, strong_rows, strong_rows / rows, low, high, dollars, saved, saved_share)


def share_interval(successes: int, rows: int) -> tuple[float, float]:
    """95% interval for a proportion (Wilson's score interval), for one row or more."""
    share = successes / rows
    scale = 1 + _Z * _Z / rows
    middle = (share + _Z * _Z / (2 * rows)) / scale
    half = _Z * math.sqrt(share * (1 - share) / rows + (_Z / (2 * rows)) ** 2) / scale
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == rows else min(1.0, middle + half)
    return low, high
