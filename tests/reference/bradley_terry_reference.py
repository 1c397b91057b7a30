"""Bradley-Terry ratings from single battles, by SciPy and written plainly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

Battle = tuple[str, str, str]


def connected_groups(battles: Sequence[Battle]) -> list[list[str]]:
    """Models that are joined both ways by chains of "did not lose to", the largest group first."""
    beaten: dict[str, set[str]] = {}
    for model_a, model_b, winner in battles:
        for one, other, lost in ((model_a, model_b, "model_b"), (model_b, model_a, "model_a")):
            beaten.setdefault(one, set())
            if winner != lost:
                beaten[one].add(other)
    reached = {}
    for model in beaten:
        seen, todo = {model}, [model]
        while todo:
            new = beaten[todo.pop()] - seen
            seen |= new
            todo += new
        reached[model] = seen
    groups = {tuple(sorted(o for o in reached[m] if m in reached[o])) for m in beaten}
    return sorted(map(list, groups), key=lambda group: (-len(group), group))


def ratings(battles: Sequence[Battle], models: Sequence[str], mean: float = 1000.0) -> dict[str, float]:
    """Elo ratings that maximise the likelihood of the battles among `models`; a tie is half a win each way."""
    index = {model: i for i, model in enumerate(models)}
    rows = [(index[a], index[b], winner) for a, b, winner in battles if a in index and b in index]
    a = np.array([row[0] for row in rows])
    b = np.array([row[1] for row in rows])
    score = np.array([{"model_a": 1.0, "model_b": 0.0}.get(row[2], 0.5) for row in rows])

    def loss(s):
        margin = s[a] - s[b]
        value = (score * np.logaddexp(0, -margin) + (1 - score) * np.logaddexp(0, margin)).sum()
        slope = 1 / (1 + np.exp(-margin)) - score
        gradient = np.bincount(a, slope, len(s)) - np.bincount(b, slope, len(s))
        return value / len(rows), gradient / len(rows)

    options = {"maxiter": 10_000, "gtol": 1e-9, "ftol": 1e-15, "maxfun": 100_000}
    s = minimize(loss, np.zeros(len(models)), jac=True, method="L-BFGS-B", options=options).x
    points = 400 / math.log(10) * s
    return dict(zip(models, (points - points.mean() + mean).tolist(), strict=True))


def best_tiers(values: Sequence[float], tiers: int) -> float:
    """Smallest sum of squares within `tiers` runs of the sorted values, by trying every cut."""
    ordered = sorted(values)
    count = len(ordered)
    best = math.inf
    for cuts in itertools.combinations(range(1, count), tiers - 1):
        runs = [ordered[i:j] for i, j in itertools.pairwise((0, *cuts, count))]
        best = min(best, sum(sum((v - sum(run) / len(run)) ** 2 for v in run) for run in runs))
    return best
