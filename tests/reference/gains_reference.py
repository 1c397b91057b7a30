"""The score of nearest neighbours, one prompt at a time and nothing but Python's floats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Rule(NamedTuple):
    """Options of `NearestGains` but for the number of neighbours."""

    base: float
    shrinkage: float
    guard: float


class Estimate(NamedTuple):
    """What a prompt's neighbours tell."""

    gain: float
    error: float
    guarded: float

    @property
    def score(self) -> float:
        return min(max((1 + self.guarded) / 2, 0.0), 1.0)


def estimate(gains: Sequence[float], similarities: Sequence[float], mean: float, rule: Rule) -> Estimate:
    """From the neighbours' gains and similarities, nearest first, and the mean of all gains."""
    if similarities[0] <= 0:
        return Estimate(mean, 0.0, mean)
    weights = [rule.base ** (s - similarities[0]) for s in similarities]
    total = math.fsum(weights)
    local = math.fsum(w * g for w, g in zip(weights, gains, strict=True)) / total
    shrunk = (total * local + rule.shrinkage * mean) / (total + rule.shrinkage)
    effective = total**2 / math.fsum(w * w for w in weights)
    error = math.inf
    if effective > 1 + 1e-9:
        squares = math.fsum((w * (g - local)) ** 2 for w, g in zip(weights, gains, strict=True))
        error = math.sqrt(squares * effective / (effective - 1)) / (total + rule.shrinkage)
    if rule.guard == 0:
        return Estimate(shrunk, error, shrunk)
    away = shrunk - mean
    kept = max(0.0, abs(away) - rule.guard * error)
    return Estimate(shrunk, error, mean + math.copysign(kept, away))
