"""Counts of scores on a grid fine enough to stand for the scores themselves, in memory that does not grow with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FINE_BITS", "GROUP_BITS", "ScoreHistogram", "bins_of", "coarse"]

FINE_BITS = 20
GROUP_BITS = 16


class ScoreHistogram:
    """Counts float32 scores from 0 to 1 in bins of width 2^-bits, closed below; 1 has a bin of its own.

    Bin edges are float32 values, so how many scores lie at or above an edge is exact. Within a bin, scores are alike.

    Parameters
    ----------
    bits : int
        Of the grid; 2^bits + 1 bins of 8 bytes.

    Attributes
    ----------
    counts : (2^bits + 1,) int64
    rows : int
    least, most : float
        Ends of the scores; NaN where there are none.
    """

    def __init__(self, bits: int = FINE_BITS) -> None:
        self.bits = bits
        self.counts: NDArray[np.int64] = np.zeros((1 << bits) + 1, np.int64)
        self.rows = 0
        self._sum = 0.0
        self.least = self.most = float("nan")

    def add(self, scores: NDArray[np.float32]) -> None:
        """Take in (n,) float32 scores in [0, 1]."""
        if not len(scores):
            return
        np.add.at(self.counts, bins_of(scores, self.bits), 1)
        self.rows += len(scores)
        self._sum += float(scores.sum(dtype=np.float64))
        self.least = float(np.fmin(self.least, scores.min()))
        self.most = float(np.fmax(self.most, scores.max()))

    @property
    def mean(self) -> float:
        """Mean score."""
        return self._sum / self.rows

    def below(self) -> NDArray[np.int64]:
        """Return (2^bits + 2,) int64: scores below the lower edge of each bin, and, last, all of them."""
        return np.concatenate((np.zeros(1, np.int64), np.cumsum(self.counts)))


def bins_of(scores: NDArray[np.float32], bits: int) -> NDArray[np.int64]:
    """Return the bin of each of (n,) float32 scores; exact, as a power of two only shifts the exponent."""
    found: NDArray[np.int64] = np.floor(scores * np.float32(1 << bits)).astype(np.int64)
    return found


def coarse(counts: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return the counts of a histogram on a coarser grid of 2^bits + 1 bins."""
    if len(counts) == (1 << bits) + 1:
        return counts
    return np.append(counts[:-1].reshape(1 << bits, -1).sum(axis=1), counts[-1])
