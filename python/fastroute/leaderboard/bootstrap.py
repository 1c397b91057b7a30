"""Bootstrap over battles: what the ratings would be had other battles been fought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastroute.leaderboard.groups import comparable_groups, reachable
from fastroute.leaderboard.ratings import strengths

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["intervals", "resampled_strengths"]

_CHUNK_CELLS = 1 << 19  # of wins held at a time: 4 MiB an array


def resampled_strengths(
    counts: NDArray[np.int64], fitted: NDArray[np.float64], *, resamples: int, seed: int, penalty: float
) -> NDArray[np.float64]:
    """Strengths of resampled battles; (resamples, K).

    Battles are alike when models and outcome are, so drawing n of n battles with replacement is one
    multinomial draw over the kinds. Where a resample leaves a model undefeated, or without a win, against the
    largest group of models that can be compared, its strength there is infinite; NaN where no battle tells.
    Finite strengths are shifted so that their mean is that of the same models in `fitted`.

    Parameters
    ----------
    counts
        (2, K, K): battles that i won over j; and ties, above the diagonal alone.
    fitted
        (K,) strengths of all the battles.
    """
    generator = np.random.default_rng(seed)
    parts = [_strengths_of(wins, fitted, penalty=penalty) for wins in _resampled_wins(counts, resamples, generator)]
    return np.concatenate(parts) if parts else np.empty((0, len(fitted)))


def intervals(samples: NDArray[np.float64], confidence: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile interval of each column, ends that were drawn: (low, high), infinite where the draws are.

    A column is taken from the draws that aren't NaN; where all are, it is (-inf, inf).
    """
    low, high = np.full(samples.shape[1], -np.inf), np.full(samples.shape[1], np.inf)
    tail = (1 - confidence) / 2
    for column, drawn in enumerate(samples.T):
        known = np.sort(drawn[~np.isnan(drawn)])
        if len(known):
            out = int(np.floor(tail * len(known)))
            low[column], high[column] = known[out], known[len(known) - 1 - out]
    return low, high


def _resampled_wins(
    counts: NDArray[np.int64], resamples: int, generator: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    kind, winner, loser = np.nonzero(counts)
    amount = counts[kind, winner, loser]
    total, models = int(amount.sum()), counts.shape[-1]
    share = amount / total
    tie = kind == 1
    chunk = max(1, _CHUNK_CELLS // models**2)
    for start in range(0, resamples, chunk):
        drawn = generator.multinomial(total, share, size=min(chunk, resamples - start)).astype(np.float64)
        wins = np.zeros((len(drawn), models, models))
        wins[:, winner[~tie], loser[~tie]] = drawn[:, ~tie]
        wins[:, winner[tie], loser[tie]] += drawn[:, tie] / 2
        wins[:, loser[tie], winner[tie]] += drawn[:, tie] / 2
        yield wins


def _strengths_of(wins: NDArray[np.float64], fitted: NDArray[np.float64], *, penalty: float) -> NDArray[np.float64]:
    whole = np.ones(len(wins), np.bool_) if penalty > 0 else reachable(wins).all(axis=(1, 2))
    found = np.empty((len(wins), len(fitted)))
    found[whole] = strengths(wins[whole], penalty=penalty, start=fitted) + fitted.mean()
    for index in np.flatnonzero(~whole):
        found[index] = _partly_infinite(wins[index], fitted)
    return found


def _partly_infinite(wins: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.float64]:
    main = comparable_groups(wins)[0]
    reach = reachable(wins)
    if len(main) == 1:  # no two can be compared: only the ends of chains are known
        up, down = reach.sum(axis=1) > 1, reach.sum(axis=0) > 1
        return np.where(up & ~down, np.inf, np.where(down & ~up, -np.inf, np.nan))
    above, below = reach[:, main[0]], reach[main[0]]
    found = np.where(above, np.inf, np.where(below, -np.inf, np.nan))
    start = fitted[main]
    found[main] = strengths(wins[np.ix_(main, main)], start=start) + start.mean()
    return found
