"""Percentile intervals by resampling questions, and what two routers differ by.

A resample draws n of n questions with replacement and is kept as how often each question was drawn: the scores
are sorted once, and a resample costs one pass over them. All routers see the same resamples, so that differences
between routers are paired (Efron and Tibshirani, An Introduction to the Bootstrap, sections 13.3 and 8.6).

Where the strong model is no better than the weak one in a resample, what PGR defines is undefined there. Such
resamples are left out; where they are more than 5% of all, there is no interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import InvalidArgumentError, MissingDependencyError
from fastroute.evaluation.metrics import METRIC_NAMES, SLACK, Outcomes

try:
    from numba import njit
except ImportError as error:
    raise MissingDependencyError("evaluation needs numba: pip install 'fastroute[eval]'") from error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["Resampled", "Scored", "interval", "resample"]

GRID = 101
"""Shares 0, 0.01, .., 1 at which the curve's band is kept."""

_CHUNK_CELLS = 1 << 20
_COLUMN = {name: column for column, name in enumerate(METRIC_NAMES)}
_UNDEFINED_AT_MOST = 0.05


@dataclass(frozen=True, slots=True)
class Scored:
    """One router's scores of the n questions, float64 (n,); its threshold; its price per decision."""

    scores: NDArray[np.float64]
    threshold: float | None
    router_dollars: float


@dataclass(frozen=True, slots=True)
class Resampled:
    """Every metric in every resample.

    Attributes
    ----------
    metrics
        (resamples, routers, metrics) float64, in the order of `METRIC_NAMES`; NaN where undefined.
    curves
        (resamples, routers, GRID) float64: quality on the grid of shares.
    qualities, dollars
        (resamples, 2) float64: mean quality and dollars of always-weak and always-strong.
    """

    metrics: NDArray[np.float64]
    curves: NDArray[np.float64]
    qualities: NDArray[np.float64]
    dollars: NDArray[np.float64]

    def metric(self, name: str) -> NDArray[np.float64]:
        """One metric; (resamples, routers)."""
        return self.metrics[:, :, _COLUMN[name]]


def interval(draws: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of draws, those that are NaN left out; None where they are over 5%."""
    known = draws[~np.isnan(draws)]
    if not len(known) or len(known) < (1 - _UNDEFINED_AT_MOST) * len(draws):
        return None
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def resample(
    outcomes: Outcomes,
    routers: Sequence[Scored],
    *,
    resamples: int = 2000,
    seed: int = 0,
    keep: float = 0.95,
    progress: Callable[[int, int], None] | None = None,
) -> Resampled:
    """Measure routers on resampled questions; the same seed gives the same draws.

    One core; 8 bytes x resamples x routers x (metrics + GRID) and 8 MB more. `progress` is called with (resamples
    done, all).

    Raises
    ------
    InvalidArgumentError
        `resamples` is below 1.
    """
    if resamples < 1:
        raise InvalidArgumentError(f"resamples: found {resamples}, allowed: 1 or more")
    n = len(outcomes)
    orders = np.array([np.argsort(-router.scores, kind="stable") for router in routers], np.int64).reshape(-1, n)
    ranked = np.array([router.scores[order] for router, order in zip(routers, orders, strict=True)]).reshape(-1, n)
    last = np.concatenate([ranked[:, 1:] != ranked[:, :-1], np.ones((len(routers), 1), np.bool_)], axis=1)
    above = [_above(router) for router in routers]
    metrics = np.empty((resamples, len(routers), len(METRIC_NAMES)))
    curves = np.empty((resamples, len(routers), GRID))
    plain = np.empty((resamples, 4))
    columns = outcomes.weak, outcomes.strong, outcomes.weak_dollars, outcomes.strong_dollars
    generator = np.random.default_rng(seed)
    chunk = max(1, min(_CHUNK_CELLS // n, 256))
    for start in range(0, resamples, chunk):
        stop = min(start + chunk, resamples)
        counts = _drawn(generator, stop - start, n)
        plain[start:stop] = counts @ np.stack(columns, axis=1) / n
        for r, router in enumerate(routers):
            settings = above[r], router.router_dollars, keep
            results = metrics[start:stop, r], curves[start:stop, r]
            measure_counts(counts, (orders[r], last[r]), columns, settings, results)
        if progress is not None:
            progress(stop, resamples)
    return Resampled(metrics, curves, plain[:, :2], plain[:, 2:])


def _above(router: Scored) -> int:
    return -1 if router.threshold is None else int(np.count_nonzero(router.scores >= router.threshold))


def _drawn(generator: np.random.Generator, rows: int, n: int) -> NDArray[np.float64]:
    counts = np.empty((rows, n))
    for row in counts:
        row[:] = np.bincount(generator.integers(0, n, n), minlength=n)
    return counts


@njit(cache=False)
def measure_counts(counts: Any, ranking: Any, columns: Any, settings: Any, results: Any) -> None:
    """Measure one router on each row of counts; the definitions are those of `fastroute.evaluation.metrics`.

    Parameters
    ----------
    counts
        (rows, n) float64 whole numbers: how often each question was drawn.
    ranking
        Tuple: (n,) int64 questions by falling score; (n,) bool, true at the last of equal scores.
    columns
        Tuple of four (n,) float64: weak, strong, weak_dollars, strong_dollars.
    settings
        Tuple: number of questions at or over the router's threshold, -1 without one; price of a decision; keep.
    results
        Tuple of (rows, metrics) and (rows, GRID) float64, filled.
    """
    order, _ = ranking
    metrics, curves = results
    weak, strong, weak_dollars, strong_dollars = columns
    above, own, keep = settings
    n = len(order)
    gains, extras = strong - weak, strong_dollars - weak_dollars
    count, gain, cost = np.empty(n + 1), np.empty(n + 1), np.empty(n + 1)
    for row in range(len(counts)):
        drawn, out = counts[row], metrics[row]
        base, cheap, dear = _total(drawn, weak), _total(drawn, weak_dollars), _total(drawn, strong_dollars)
        cuts = _cut(drawn, ranking, (gains, extras), (count, gain, cost))
        gap = gain[cuts - 1]
        best = base + gap
        area = _area(count, gain, cuts)
        _on_grid(count, gain, cuts, base, curves[row])
        out[:] = np.nan
        out[2] = (base + area / n) / n
        if best >= 0.0:
            first, price = _kept(gain, cost, cuts, (keep - SLACK) * best - base)
            out[9], out[10] = count[first] / n, (cheap + price) / n + own
            if dear > 0.0:
                out[11] = 1.0 - out[10] * n / dear
        better = gap > SLACK * max(abs(base), abs(best))
        if better:
            out[0], out[1] = area / (n * gap), _area_10(count, gain, cuts) / (n * gap)
            for k in range(2):
                part = 0.5 if k == 0 else 0.8
                first = _first(gain, cuts, (part - SLACK) * gap)
                out[3 + k] = count[first] / n
                out[5 + k] = part * n / count[first]
                price = (cheap + cost[first]) / n + own
                if price > 0.0:
                    out[7 + k] = (cheap + part * (dear - cheap)) / n / price
        if above >= 0:
            sent, won, paid = 0.0, 0.0, cheap
            for i in order[:above]:
                sent += drawn[i]
                won += drawn[i] * gains[i]
                paid += drawn[i] * extras[i]
            out[12], out[13], out[15] = sent / n, (base + won) / n, paid / n + own
            if better:
                out[14] = won / gap


@njit(cache=False)
def _total(drawn: Any, values: Any) -> float:
    """Sum values as often as they were drawn; numba's np.dot would need SciPy."""
    total = 0.0
    for i in range(len(drawn)):
        total += drawn[i] * values[i]
    return total


@njit(cache=False)
def _cut(drawn: Any, ranking: Any, steps: Any, sums: Any) -> int:
    """Sum counts, gains and extra dollars over each cut, the empty one first; returns the number of cuts."""
    order, last = ranking
    gains, extras = steps
    count, gain, cost = sums
    count[0] = gain[0] = cost[0] = 0.0
    cuts, c, g, d = 1, 0.0, 0.0, 0.0
    for position in range(len(order)):
        i = order[position]
        c += drawn[i]
        g += drawn[i] * gains[i]
        d += drawn[i] * extras[i]
        if last[position] and c > count[cuts - 1]:
            count[cuts], gain[cuts], cost[cuts] = c, g, d
            cuts += 1
    return cuts


@njit(cache=False)
def _area(count: Any, gain: Any, cuts: int) -> float:
    area = 0.0
    for k in range(1, cuts):
        area += (count[k] - count[k - 1]) * (gain[k] + gain[k - 1]) / 2.0
    return area


@njit(cache=False)
def _area_10(count: Any, gain: Any, cuts: int) -> float:
    """Area over RouteLLM's cuts; as `apgr_10` of `fastroute.evaluation.metrics`."""
    n = int(count[cuts - 1])
    area, before, k = 0.0, 0, 1
    for tenth in range(9, -1, -1):
        low = (tenth * (n - 1)) // 10
        place = n - 1 - low  # from the highest score
        while count[k] <= place:
            k += 1
        # the quantile lies between two scores, and so over this group, where the next one up is another group's
        at = k - 1 if (tenth * (n - 1)) % 10 > 0 and place == count[k - 1] else k
        area += (count[at] - count[before]) * (gain[at] + gain[before]) / 2.0
        before = at
    return area


@njit(cache=False)
def _first(gain: Any, cuts: int, target: float) -> int:
    for k in range(cuts):
        if gain[k] >= target:
            return k
    return cuts - 1  # rounding alone: the last cut recovers all


@njit(cache=False)
def _kept(gain: Any, cost: Any, cuts: int, target: float) -> Any:
    """First cut that gains enough, and the lowest extra cost of any that does."""
    first = _first(gain, cuts, target)
    lowest = cost[first]
    for k in range(first, cuts):
        if gain[k] >= target:
            lowest = min(lowest, cost[k])
    return first, lowest


@njit(cache=False)
def _on_grid(count: Any, gain: Any, cuts: int, base: float, curve: Any) -> None:
    n, k = count[cuts - 1], 1
    for point in range(len(curve)):
        where = point * n / (len(curve) - 1)
        while count[k] < where and k < cuts - 1:
            k += 1
        part = (where - count[k - 1]) / (count[k] - count[k - 1])
        curve[point] = (base + gain[k - 1] + part * (gain[k] - gain[k - 1])) / n
