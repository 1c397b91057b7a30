"""Figures on held-out prompts, for the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.training.comparisons.held_out import task_figures
from fastroute.training.experts.fit import TOGETHER

if TYPE_CHECKING:
    from fastroute.training.experts.fit import ExpertsFit

__all__ = ["report_of"]


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
