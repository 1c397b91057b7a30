"""Tiers: neighbouring ratings put together so that they vary as little as possible within a tier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["assign_tiers"]


def assign_tiers(ratings: NDArray[np.float64], tiers: int, *, variance: bool = False) -> NDArray[np.int64]:
    """Tier of each rating, 1 for the highest.

    Dynamic programming over the sorted ratings finds the cut into `tiers` runs with the smallest sum of squared
    distances to the run's mean (Fisher, 1958; RouteLLM groups models so, arXiv 2406.18665, section 4.1). With
    fewer ratings than tiers each has its own.

    Parameters
    ----------
    ratings
        (n,) finite.
    tiers
        At least 1.
    variance
        Sum the variances of the runs instead, as RouteLLM's code does: long runs then cost no more than short ones.

    Returns
    -------
    numpy.ndarray
        (n,) int64 from 1.
    """
    count = len(ratings)
    tiers = min(tiers, count)
    order = np.argsort(-ratings, kind="stable")
    values = ratings[order] - ratings.mean() if count else ratings
    total = np.concatenate([[0.0], np.cumsum(values)])
    squares = np.concatenate([[0.0], np.cumsum(values**2)])

    def spread(starts: NDArray[np.int64], end: int) -> NDArray[np.float64]:
        within = squares[end] - squares[starts] - (total[end] - total[starts]) ** 2 / (end - starts)
        spreads: NDArray[np.float64] = np.maximum(within, 0.0) / ((end - starts) if variance else 1)
        return spreads

    least = np.full(count + 1, np.inf)
    least[0] = 0.0
    cuts = np.zeros((tiers + 1, count + 1), np.int64)
    for tier in range(1, tiers + 1):
        shorter, least = least, np.full(count + 1, np.inf)
        for end in range(tier, count + 1):
            starts = np.arange(tier - 1, end)
            costs = shorter[starts] + spread(starts, end)
            best = int(np.argmin(costs))
            least[end], cuts[tier, end] = costs[best], starts[best]
    assigned = np.empty(count, np.int64)
    end = count
    for tier in range(tiers, 0, -1):
        start = cuts[tier, end]
        assigned[order[start:end]] = tier
        end = start
    return assigned
