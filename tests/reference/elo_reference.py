"""Similarity-weighted Elo from its formulas alone: float64 cosines, then as many decimal digits as it takes.

Nothing here is clever. A battle is a tuple (side a, side b, winner), sides being tiers or models and the winner
``"model_a"``, ``"model_b"`` or, for anything else, a tie.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

Battle = tuple[Hashable, Hashable, str]
Cell = tuple[Hashable, Hashable, str]
Wins = dict[tuple[Hashable, Hashable], Decimal]

ROUTELLM = "routellm"  # the one value of `compat` besides None
TIE = "tie"
INITIAL = 1000  # Elo points of a player of whom nothing is known
# The opponent of a battle inside one tier, as RouteLLM's design matrix has it: rated INITIAL, whatever happens.
HOUSE = "the house"


MOST_DIGITS = 300  # between the largest and the smallest weight: no float64 holds more


class NoAnswerError(ValueError):
    """The formulas give no win rate: there is no best similarity, or no chain of wins joins the two sides."""


def similarities(embeddings: NDArray[np.floating], query: NDArray[np.floating]) -> list[float]:
    """Cosine of each row with the query; 0 where either has no length."""
    rows, q = np.asarray(embeddings, np.float64), np.asarray(query, np.float64)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(q)
    cosines: list[float] = np.divide(rows @ q, lengths, out=np.zeros(len(rows)), where=lengths > 0).tolist()
    return cosines


def weights(
    similarity: Sequence[float], *, base: float = 10.0, scale: float = 10.0, normaliser: float | None = None
) -> list[Decimal]:
    """`scale * base ** (s / normaliser)`; the normaliser is the best similarity unless given.

    A best similarity of 0 or less has no weights: at 0 the formula divides by it, and below 0 it weighs most what
    is least similar. Give it as the normaliser to have RouteLLM's numbers there.
    """
    if normaliser is None:
        normaliser = max(similarity, default=0.0)
        if normaliser <= 0:
            raise NoAnswerError(f"best similarity {normaliser}")
    slope = Decimal(base).ln() / Decimal(normaliser)
    power = functools.cache(lambda s: Decimal(scale) * (slope * Decimal(s)).exp())
    return [power(s) for s in similarity]


def cell_weights(battles: Iterable[Battle], weight: Iterable[Decimal | float]) -> dict[Cell, Decimal]:
    """Sum of the weights per (side a, side b, outcome)."""
    cells: dict[Cell, Decimal] = {}
    with localcontext(prec=60):
        for (a, b, winner), w in zip(battles, weight, strict=True):
            cell = (a, b, winner if winner in ("model_a", "model_b") else TIE)
            cells[cell] = cells.get(cell, Decimal(0)) + Decimal(w)
    return cells


def wins_of(cells: Mapping[Cell, Decimal], *, compat: str | None = None) -> Wins:
    """Weight with which one side beats another; a tie is half a win each way.

    A battle inside one tier says nothing about tiers and is left out. RouteLLM writes +1 and then -1 into the same
    column of its row, so that only the -1 of side b stays: with ``compat="routellm"`` the tier takes b's place
    against an opponent of INITIAL points who took a's.
    """
    wins: Wins = {}
    for (a, b, outcome), weight in cells.items():
        if a == b and compat is None:
            continue
        first = HOUSE if a == b else a
        for pair, won in (((first, b), outcome == "model_a"), ((b, first), outcome == "model_b")):
            share = weight if won else weight / 2 if outcome == TIE else Decimal(0)
            wins[pair] = wins.get(pair, Decimal(0)) + share
    return {pair: weight for pair, weight in wins.items() if weight > 0}


def reached(wins: Wins, start: Hashable) -> set[Hashable]:
    """Sides that chains of wins lead to."""
    seen, todo = {start}, [start]
    while todo:
        side = todo.pop()
        new = {loser for winner, loser in wins if winner == side} - seen
        seen |= new
        todo += new
    return seen


def log_odds(wins: Wins, sides: Sequence[Hashable]) -> dict[Hashable, Decimal]:
    """Unregularised Bradley-Terry strengths of sides that reach each other, the first one's being 0.

    Newton's method on the likelihood, a step halved until it does not make things worse.
    """
    inside = {(i, j): weight for (i, j), weight in wins.items() if i in sides and j in sides}
    free = list(sides[1:])
    spread = max(inside.values()).adjusted() - min(inside.values()).adjusted() if inside else 0
    if spread > MOST_DIGITS:
        raise NoAnswerError(f"weights span {spread} digits")
    with localcontext(prec=40 + 2 * spread):
        strength = {side: Decimal(0) for side in sides}
        for _ in range(1000):
            gradient, curvature = _derivatives(inside, strength)
            step = _solve([[curvature[i, j] for j in free] for i in free], [gradient[i] for i in free])
            likelihood, longest = _likelihood(inside, strength), max(map(abs, step), default=Decimal(0))
            while True:
                moved = strength | {i: strength[i] + s for i, s in zip(free, step, strict=True)}
                if longest < Decimal("1e-9") or _likelihood(inside, moved) >= likelihood:
                    break
                step, longest = [s / 2 for s in step], longest / 2
            strength = moved
            if longest < Decimal("1e-15"):  # the next step would be its square
                return strength
    raise AssertionError("Newton's method did not end")


def _likelihood(wins: Wins, strength: Mapping[Hashable, Decimal]) -> Decimal:
    odds = {side: value.exp() for side, value in strength.items()}
    return sum((weight * (odds[i] / (odds[i] + odds[j])).ln() for (i, j), weight in wins.items()), Decimal(0))


def _derivatives(
    wins: Wins, strength: Mapping[Hashable, Decimal]
) -> tuple[dict[Hashable, Decimal], dict[tuple[Hashable, Hashable], Decimal]]:
    """Gradient of the log-likelihood and its negated second derivatives."""
    odds = {side: value.exp() for side, value in strength.items()}
    gradient = dict.fromkeys(strength, Decimal(0))
    curvature = {(i, j): Decimal(0) for i in strength for j in strength}
    for (i, j), weight in wins.items():
        upset = odds[j] / (odds[i] + odds[j])
        gradient[i] += weight * upset
        gradient[j] -= weight * upset
        bend = weight * upset * (1 - upset)
        for one, other, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            curvature[one, other] += sign * bend
    return gradient, curvature


def _solve(matrix: list[list[Decimal]], right: list[Decimal]) -> list[Decimal]:
    """Gaussian elimination; a positive definite matrix needs no pivots."""
    rows = [[*row, r] for row, r in zip(matrix, right, strict=True)]
    for k, pivot in enumerate(rows):
        for row in rows[k + 1 :]:
            factor = row[k] / pivot[k]
            row[:] = [x - factor * y for x, y in zip(row, pivot, strict=True)]
    result: list[Decimal] = []
    for k in reversed(range(len(rows))):
        known = sum((a * x for a, x in zip(rows[k][k + 1 : -1], result, strict=True)), Decimal(0))
        result.insert(0, (rows[k][-1] - known) / rows[k][k])
    return result


def rating_gap(wins: Wins, strong: Hashable, weak: Hashable) -> Decimal:
    """Elo points of `strong` above `weak`, infinite where chains of wins lead one way only.

    Only sides that both reach and are reached by the two can move the gap: the fit on everything tends to the fit
    on those.
    """
    if strong == weak:
        return Decimal(0)
    below, above = reached(wins, strong), reached(wins, weak)
    if weak not in below and strong not in above:
        raise NoAnswerError(f"no chain of wins joins {strong!r} and {weak!r}")
    if strong not in above or weak not in below:
        return Decimal("Infinity" if weak in below else "-Infinity")
    others = sorted((side for side in below if side != strong and strong in reached(wins, side)), key=str)
    strength = log_odds(wins, [strong, *others])
    with localcontext(prec=50):
        return 400 / Decimal(10).ln() * (strength[strong] - strength[weak])


def win_rate_of_cells(
    cells: Mapping[Cell, Decimal], strong: Hashable, weak: Hashable, *, compat: str | None = None
) -> float:
    """RouteLLM's `1 - 1 / (1 + 10 ** ((R_strong - R_weak) / 400))` of the fit on these cells."""
    gap = rating_gap(wins_of(cells, compat=compat), strong, weak)
    with localcontext(prec=50):
        return float(1 - 1 / (1 + 10 ** (gap / 400)))


def win_rate(
    battles: Sequence[Battle],
    similarity: Sequence[float],
    strong: Hashable,
    weak: Hashable,
    *,
    compat: str | None = None,
    base: float = 10.0,
    scale: float = 10.0,
    normaliser: float | None = None,
) -> float:
    """The router's score: battles between tiers and the similarity of each one's prompt to the query."""
    weight = weights(similarity, base=base, scale=scale, normaliser=normaliser)
    return win_rate_of_cells(cell_weights(battles, weight), strong, weak, compat=compat)


def sklearn_win_rate(
    battles: Sequence[Battle], weight: Sequence[float], strong: Hashable, weak: Hashable, *, exact: bool = False
) -> float:
    """The same by RouteLLM's own road: each battle is two rows of a logistic regression without intercept.

    scikit-learn stops at a gradient of 1e-4 per unit of weight, as RouteLLM lets it; `exact` makes it go on.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    sides = list(dict.fromkeys(side for battle in battles for side in battle[:2]))
    column = {side: k for k, side in enumerate(sides)}
    design, target = np.zeros((2 * len(battles), len(sides))), np.zeros(2 * len(battles))
    for k, (a, b, winner) in enumerate(battles):
        for row in (k, len(battles) + k):
            design[row, column[a]] = math.log(10)
            design[row, column[b]] = -math.log(10)  # written second: all that is left where a is b
        target[k] = winner != "model_b"
        target[len(battles) + k] = winner == "model_a"
    options = {"tol": 1e-12, "max_iter": 100_000} if exact else {}
    fit = LogisticRegression(fit_intercept=False, C=np.inf, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(design, target, sample_weight=np.tile(np.asarray(weight, np.float64), 2))
    points = INITIAL + 400 * fit.coef_[0]
    return float(1 - 1 / (1 + 10 ** ((points[column[strong]] - points[column[weak]]) / 400)))


def global_ratings(battles: Sequence[Battle]) -> dict[Hashable, float]:
    """Elo points of every model with every battle weighing the same, their mean being INITIAL."""
    wins = wins_of(cell_weights(battles, [1] * len(battles)))
    models = sorted({side for battle in battles for side in battle[:2]}, key=str)
    for model in models:
        if reached(wins, model) < set(models):
            raise NoAnswerError(f"no chain of wins leads from {model!r} to every other model")
    strength = log_odds(wins, models) if models else {}
    points = {model: 400 / math.log(10) * float(value) for model, value in strength.items()}
    shift = INITIAL - math.fsum(points.values()) / max(1, len(points))
    return {model: value + shift for model, value in points.items()}


def spread_of(values: Sequence[float], objective: str) -> float:
    """What a tier of these ratings costs: its variance as RouteLLM has it, or the sum of squares around its mean."""
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return {"variance": squares / len(values), "squares": squares}[objective]


def tiers_of(ratings: Mapping[Hashable, float], count: int, *, objective: str = "variance") -> dict[Hashable, int]:
    """Tier of each model, 0 the strongest: the cut of the sorted ratings into `count` runs that costs least in sum.

    With fewer models than tiers each has its own.
    """
    models = sorted(ratings, key=lambda model: -ratings[model])

    @functools.cache
    def cost(start: int, end: int) -> float:
        return spread_of([ratings[model] for model in models[start:end]], objective)

    @functools.cache
    def best(start: int, tiers: int) -> tuple[float, tuple[int, ...]]:
        """Cheapest cut of what is left, as its cost and where its runs end."""
        if tiers == 1:
            return cost(start, len(models)), (len(models),)
        rests = ((end, best(end, tiers - 1)) for end in range(start + 1, len(models) - tiers + 2))
        return min((cost(start, end) + rest, (end, *ends)) for end, (rest, ends) in rests)

    if not models:
        return {}
    ends = best(0, min(count, len(models)))[1]
    return {model: sum(end <= place for end in ends) for place, model in enumerate(models)}
