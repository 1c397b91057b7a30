"""Steps of fitting a similarity-weighted router that need no router."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastroute import _core
from fastroute.routers.battle_index import BattleIndex, embedding_keys, text_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles

__all__ = ["ratings_of", "shifted", "sources_of", "unindexed", "welcome"]

_MEAN_RATING = 1000.0
_POINTS = 400 / math.log(10)  # of Elo, in a logit


def ratings_of(data: Battles) -> NDArray[np.float64]:
    """Elo points of each model over all battles."""
    from fastroute.training.strengths import bradley_terry

    return _MEAN_RATING + _POINTS * bradley_terry(
        len(data.models), data.model_a, data.model_b, data.outcome, data.weight, penalty=1.0
    )


def welcome(
    data: Battles, models: tuple[str, ...], ratings: NDArray[np.float64], tiers: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.int64]]:
    """Give models that are new a rating, and the tier whose mean rating is next to it."""
    from fastroute.training.strengths import strengths_beside

    new = [model for model in data.models if model not in models]
    if not new:
        return models, ratings, tiers
    known = dict(zip(models, (ratings - _MEAN_RATING) / _POINTS, strict=True))
    fixed = np.array([known.get(model, np.nan) for model in data.models])
    fitted = strengths_beside(fixed, data.model_a, data.model_b, data.outcome, data.weight)
    points = _MEAN_RATING + _POINTS * fitted[np.isnan(fixed)]
    means = np.array([ratings[tiers == tier].mean() for tier in range(int(tiers.max()) + 1)])
    nearest = np.abs(points[:, None] - means).argmin(axis=1)
    return (*models, *new), np.concatenate([ratings, points]), np.concatenate([tiers, nearest])


def unindexed(data: Battles, rows: NDArray[np.float32]) -> BattleIndex:
    """Quantise the prompts of battles; their cells are not known yet."""
    quantised, fine, scales = _core.quantise_rows(np.ascontiguousarray(rows))
    keys = text_keys(data.prompt_keys) if data.prompts else embedding_keys(rows)
    none = np.zeros(0, np.uint16)
    return BattleIndex(quantised, fine, scales, keys, none, none, np.zeros(0, np.float32))


def shifted(score: float, *, then: float, now: float) -> float:
    """Move a score by what the win rate of all battles alike moved, in odds, since another index gave it.

    Scores lie close together where the base is low: closer than the held-out battles move all of them.
    """
    if not (0 < score < 1 and 0 < now < 1 and 0 < then < 1):
        return score
    odds = score / (1 - score) * (now / (1 - now)) / (then / (1 - then))
    return odds / (1 + odds)


def sources_of(data: Battles) -> dict[str, int]:
    """Count the battles of each source."""
    return dict(zip(data.sources, np.bincount(data.source, minlength=len(data.sources)).tolist(), strict=True))
