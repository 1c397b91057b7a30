"""The figures of a what-if report from the list of all scores: slow and plain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise


def strong_rows(scores: Sequence[float], threshold: float) -> int:
    """How many scores are at least the threshold."""
    return sum(score >= threshold for score in scores)


def dollars(scores: Sequence[float], threshold: float, strong: float, weak: float) -> float:
    """What the log costs, at prices per 1,000 answers."""
    return sum(strong if score >= threshold else weak for score in scores) / 1000


def thresholds(scores: Sequence[float], bits: int) -> list[float]:
    """Lower edges of the bins of width 2^-bits that hold a score, and the next edge above them all, up to 1."""
    edges = sorted({math.floor(score * 2**bits) / 2**bits for score in scores})
    return [*edges, *([edges[-1] + 2**-bits] if edges[-1] < 1 else [])]


def threshold_within(scores: Sequence[float], budget: float, strong: float, weak: float, bits: int) -> float | None:
    """The lowest threshold that keeps the budget."""
    return next((t for t in thresholds(scores, bits) if dollars(scores, t, strong, weak) <= budget), None)


def nearest_share(scores: Sequence[float], share: float, bits: int) -> float:
    """The distance to the share that the best threshold leaves."""
    return min(abs(strong_rows(scores, t) / len(scores) - share) for t in thresholds(scores, bits))


def psi(log: Sequence[float], calibration: Sequence[float], bits: int) -> float:
    """Population stability index over tenths of the calibration scores, on a grid of width 2^-bits."""
    grid = sorted(math.floor(score * 2**bits) for score in calibration)
    edges: set[int] = set()
    for tenth in range(1, 10):
        # the first edge with a tenth, two tenths, .. of the scores below it
        edges.add(next(place + 1 for place in grid if 10 * sum(other <= place for other in grid) >= tenth * len(grid)))
    for place in set(grid):
        if 10 * grid.count(place) >= len(grid):
            edges |= {place, place + 1}
    cuts = [-math.inf, *sorted(edges), math.inf]
    total, pairs = 0.0, []
    for low, high in pairwise(cuts):
        pair = [sum(low <= math.floor(score * 2**bits) < high for score in side) for side in (log, calibration)]
        if any(pair):
            pairs.append(pair)
    for ours, theirs in pairs:
        p = (ours + 0.5) / (len(log) + 0.5 * len(pairs))
        q = (theirs + 0.5) / (len(calibration) + 0.5 * len(pairs))
        total += (p - q) * math.log(p / q)
    return total


def ks(log: Sequence[float], calibration: Sequence[float]) -> float:
    """Kolmogorov-Smirnov distance."""
    return max(
        abs(sum(s <= at for s in log) / len(log) - sum(s <= at for s in calibration) / len(calibration))
        for at in {*log, *calibration}
    )
