"""The cascade one prompt at a time, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import comb

import numpy as np


def interpolated(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The line through the points, constant beyond the first and the last."""
    if x <= xs[0]:
        return ys[0]
    for i in range(len(xs) - 1):
        if x < xs[i + 1]:
            return ys[i] + (x - xs[i]) * (ys[i + 1] - ys[i]) / (xs[i + 1] - xs[i])
    return ys[-1]


def rank(value: float, among: Sequence[float]) -> float:
    return (sum(x < value for x in among) + 0.5 * sum(x == value for x in among)) / len(among)


def log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def bounds_of(first: Sequence[float], second: Sequence[float], width: float) -> Callable[[float], tuple[float, float]]:
    """Low and high bound as functions of the first score, from the prompts that the shape is fitted on."""
    scores = [0.0, *sorted(second), 1.0]
    ranks = [0.0, *((i + 0.5) / len(second) for i in range(len(second))), 1.0]
    knots = sorted(set(first))

    def second_score(place: float) -> float:
        return interpolated(1 / (1 + math.exp(-place)) if place > -700 else 0.0, ranks, scores)

    low = [second_score(log_odds(rank(knot, first)) - width) for knot in knots]
    high = [second_score(log_odds(rank(knot, first)) + width) for knot in knots]
    if knots[0] > 0:
        knots, low, high = [0.0, *knots], [0.0, *low], [high[0], *high]
    if knots[-1] < 1:
        knots, low, high = [*knots, 1.0], [*low, low[-1]], [*high, 1.0]
    return lambda score: (
        float(np.float32(interpolated(score, knots, low))),
        float(np.float32(interpolated(score, knots, high))),
    )


def decided(low: float, high: float, second: float, threshold: float) -> tuple[bool, bool]:
    """Whether the strong model answers, and whether the second router was asked."""
    if low >= threshold:
        return True, False
    if high < threshold:
        return False, False
    return second >= threshold, True


def score(low: float, high: float, second: float) -> float:
    return min(max(second, low), high)


def tail(successes: int, trials: int, share: float) -> float:
    """Probability of at most so many successes."""
    return sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(successes + 1))


def chosen_width(
    widths: Sequence[float],
    fitted: tuple[Sequence[float], Sequence[float]],
    checked: tuple[Sequence[float], Sequence[float]],
    threshold: float,
    disagreement: float,
    confidence: float,
) -> tuple[float, int, int]:
    """The narrowest width before the first that fails, its disagreements, and how many prompts were asked about."""
    best = math.inf, 0, len(checked[0])
    for width in widths:
        if width == math.inf:
            continue
        bounds = bounds_of(*fitted, width)
        outcomes = [decided(*bounds(f), s, threshold) for f, s in zip(*checked, strict=True)]
        wrong = sum(strong != (s >= threshold) for (strong, _), s in zip(outcomes, checked[1], strict=True))
        if tail(wrong, len(checked[0]), disagreement) > 1 - confidence:
            break
        best = width, wrong, sum(asked for _, asked in outcomes)
    return best
