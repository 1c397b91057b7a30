"""Figures on held-out prompts, for the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.training.experts.fit import TOGETHER

if TYPE_CHECKING:
    from fastroute.training.experts.fit import ExpertsFit, HeldOut

__all__ = ["report_of", "task_figures"]

_RESAMPLES = 1000


def report_of(fitted: ExpertsFit) -> dict[str, Any]:
    """Report a fit: for each task its sides, and APGR on held-out prompts with a 95% interval."""
    tasks = [task_figures(held_out) for held_out in fitted.held_out]
    known = [task["apgr"] for task in tasks if task["apgr"] is not None and task["task"] != TOGETHER]
    return {
        "held_out_apgr": float(np.mean(known)) if known else None,
        "gains_are": "differences in score" if fitted.comparable else "relative to the prompt's domain",
        "domain_accuracy": fitted.classified,
        "domains": {
            domain: {"prior": float(share), "penalties": [float(p) for p in fitted.penalties[domain] if np.isfinite(p)]}
            for domain, share in zip(fitted.domains, fitted.prior, strict=True)
        },
        "tasks": tasks,
        "tasks_left_out": list(fitted.left_out),
        "gold": [task_figures(held_out) | {"acts_on": acts_on} for held_out, acts_on in fitted.gold_held_out],
    }


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
