"""How a router of battles does on the battles of prompts that it has not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles

__all__ = ["held_out_metrics"]

_FEWEST = 30  # prompts of a source that an area is worked out for
_LEAST_GAIN = 0.05  # on average: an area over less is noise


def held_out_metrics(
    battles: Battles, tier: NDArray[np.int64], scores: NDArray[np.float64], *, strong: int, weak: int
) -> dict[str, Any]:
    """Log loss of battles between the two tiers, and whether prompts where better tiers gain more score higher.

    Parameters
    ----------
    tier
        (K,) of each of `battles.models`, from 0 for the strongest.
    scores
        (P,) of each prompt; NaN for those that are not held out.
    strong, weak
        Tiers of the pair.

    Returns
    -------
    dict
        `validation_battles` and `validation_loss` of battles between the two tiers. By source, and `validation_apgr` as
        the mean over sources, the area under the performance gap recovered, where a prompt's gain is how much more
        often than not the better of two tiers won on it. Sources with few prompts or hardly a gain are left out.
    """
    from fastroute.evaluation.metrics import Outcomes, measure

    tier_a, tier_b = tier[battles.model_a], tier[battles.model_b]
    score = scores[battles.prompt]
    found: dict[str, Any] = {}
    forth = (tier_a == strong) & (tier_b == weak)
    fought = (forth | ((tier_a == weak) & (tier_b == strong))) & ~np.isnan(score) & (strong != weak)
    if fought.any():
        rate = np.clip(score[fought], 1e-6, 1 - 1e-6)
        won = np.where(forth, battles.outcome, 1 - battles.outcome)[fought]
        loss = -(won * np.log(rate) + (1 - won) * np.log(1 - rate))
        found["validation_battles"] = int(fought.sum())
        found["validation_loss"] = float(np.average(loss, weights=battles.weight[fought]))
    gain = np.where(tier_a < tier_b, 1, -1) * (2 * battles.outcome - 1)
    areas: dict[str, float] = {}
    for index, source in enumerate(battles.sources):
        mine = (battles.source == index) & ~np.isnan(score) & (tier_a != tier_b)
        prompts, where, times = np.unique(battles.prompt[mine], return_inverse=True, return_counts=True)
        if len(prompts) < _FEWEST:
            continue
        gains = np.bincount(where.reshape(-1), gain[mine], len(prompts)) / times
        if gains.mean() < _LEAST_GAIN:
            continue
        area = measure(scores[prompts], Outcomes.of(np.zeros(len(prompts)), gains)).apgr
        if area is not None:
            areas[source] = area
    if areas:
        found["validation_apgr"] = float(np.mean(list(areas.values())))
        found["validation_apgr_by_source"] = areas
    return found
