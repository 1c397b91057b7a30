"""The strong and the weak side of a task: averages over models of a kind say more of a prompt than one model does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastroute.training.comparisons.plan import Plan
    from fastroute.training.comparisons.tasks import Task

__all__ = ["Sides", "sides_of", "split_in_two"]


@dataclass(frozen=True, slots=True)
class Sides:
    """How the strong and the weak side did on the prompts of a task.

    Attributes
    ----------
    strong_models, weak_models
        Whose scores were averaged.
    strong, weak
        (n,) float64 in [0, 1]; NaN where none of the side's models was scored.
    """

    strong_models: tuple[str, ...]
    weak_models: tuple[str, ...]
    strong: NDArray[np.float64]
    weak: NDArray[np.float64]


def sides_of(task: Task, plan: Plan, pair: tuple[str, str]) -> Sides | None:
    """Both sides of a task; None where it has one model only, and nothing can be gained.

    The plan's tiers where it names them; else the pair itself where the task has both; else the models split in two
    by their mean scores.

    Raises
    ------
    DataError
        The plan names tiers of which the task has no model, or one model for both.
    """
    if task.name in plan.tiers:
        named = [[model for model in tier if model in task.models] for tier in plan.tiers[task.name]]
        for side, found in zip(("strong", "weak"), named, strict=True):
            if not found:
                raise DataError(
                    f"plan: tiers.{task.name}.{side}: none of its models is in the data, which have "
                    f"{', '.join(task.models)}"
                )
        both = sorted(set(named[0]) & set(named[1]))
        if both:
            raise DataError(f"plan: tiers.{task.name}: found {both[0]!r} on both sides, allowed: one of them")
        return _averaged(task, *named)
    if all(model in task.models for model in pair):
        return _averaged(task, pair[:1], pair[1:])
    if len(task.models) < 2:
        return None
    means = np.nanmean(task.scores, axis=0)
    strong, weak = split_in_two(means)
    return _averaged(task, [task.models[i] for i in strong], [task.models[i] for i in weak])


def split_in_two(means: NDArray[np.float64]) -> tuple[list[int], list[int]]:
    """Split numbers into an upper and a lower group with the least variance within them (two-means, exact)."""
    order = np.argsort(means, kind="stable")
    ranked = means[order]

    def spread(cut: int) -> float:
        return float(sum(((part - part.mean()) ** 2).sum() for part in (ranked[:cut], ranked[cut:])))

    cut = min(range(1, len(ranked)), key=spread)
    return sorted(order[cut:].tolist()), sorted(order[:cut].tolist())


def _averaged(task: Task, strong: Sequence[str], weak: Sequence[str]) -> Sides:
    def mean(models: Sequence[str]) -> NDArray[np.float64]:
        scores = task.scores[:, [task.models.index(model) for model in models]]
        known = ~np.isnan(scores)
        count = known.sum(axis=1)
        out = np.full(len(scores), np.nan)
        np.divide(np.where(known, scores, 0).sum(axis=1), count, out=out, where=count > 0)
        return out

    return Sides(tuple(strong), tuple(weak), mean(strong), mean(weak))
