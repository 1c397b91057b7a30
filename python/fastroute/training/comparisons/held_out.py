"""How a router ranks the prompts of a task that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FOLDS", "HeldOut", "centred", "task_figures"]

FOLDS = 5
_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One task's prompts and the gain that fits without them expect.

    Attributes
    ----------
    task, domain
        Names; for a gold set both are the set's.
    strong_models, weak_models
        Its tiers.
    strong, weak, gain
        (n,) float64. The gain is less its mean over the prompt's fold: fits differ in their level, and prompts of
        different fits are ranked together.
    """

    task: str
    domain: str
    strong_models: tuple[str, ...]
    weak_models: tuple[str, ...]
    strong: NDArray[np.float64]
    weak: NDArray[np.float64]
    gain: NDArray[np.float64]


def centred(gain: NDArray[np.float64], folds: NDArray[np.int64]) -> NDArray[np.float64]:
    """Take off each fold's mean: fits differ in their level, and prompts of different fits are ranked together."""
    count = np.bincount(folds, minlength=FOLDS)
    means = np.bincount(folds, weights=gain, minlength=FOLDS) / np.maximum(count, 1)
    moved: NDArray[np.float64] = gain - means[folds]
    return moved


def task_figures(held_out: HeldOut, *, interval: bool = True) -> dict[str, Any]:
    """Figures of one task: its sides, and APGR with or without a 95% interval."""
    from fastroute.evaluation import bootstrap
    from fastroute.evaluation.metrics import Outcomes, measure

    free = np.zeros(len(held_out.gain))
    outcomes = Outcomes(held_out.weak, held_out.strong, free, free)
    value = measure(held_out.gain, outcomes).apgr
    low = high = None
    if interval and value is not None:
        scored = [bootstrap.Scored(held_out.gain, None, 0.0)]
        drawn = bootstrap.resample(outcomes, scored, resamples=_RESAMPLES, seed=0)
        low, high = bootstrap.interval(drawn.metric("apgr")[:, 0]) or (None, None)
    return {
        "task": held_out.task,
        "domain": held_out.domain,
        "prompts": len(held_out.gain),
        "strong_models": list(held_out.strong_models),
        "weak_models": list(held_out.weak_models),
        "strong": float(held_out.strong.mean()),
        "weak": float(held_out.weak.mean()),
        "apgr": value,
        "apgr_low": low,
        "apgr_high": high,
    }
