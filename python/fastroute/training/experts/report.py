"""Figures on held-out prompts, for people and for the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastroute.training.experts.fit import ExpertsFit, HeldOut

__all__ = ["report_of", "report_text"]

_RESAMPLES = 1000


def report_of(fitted: ExpertsFit) -> dict[str, Any]:
    """Report a fit: for each task its sides, and APGR on held-out prompts with a 95% interval."""
    tasks = [_figures(held_out) for held_out in fitted.held_out]
    known = [task["apgr"] for task in tasks if task["apgr"] is not None]
    return {
        "held_out_apgr": float(np.mean(known)) if known else None,
        "gains_are": "differences in score" if fitted.comparable else "relative to the prompt's domain",
        "domain_accuracy": fitted.classified,
        "domains": {
            domain: {"prior": float(share), "penalties": [float(p) for p in fitted.penalties[domain] if np.isfinite(p)]}
            for domain, share in zip(fitted.domains, fitted.prior, strict=True)
        },
        "tasks": tasks,
    }


def report_text(metrics: dict[str, Any]) -> str:
    """Lay the figures out as a table."""
    lines = [("task", "domain", "prompts", "weak", "strong", "APGR, held out")]
    for task in metrics["tasks"]:
        ends = "" if task["apgr_low"] is None else f" [{task['apgr_low']:.3f}, {task['apgr_high']:.3f}]"
        apgr = "-" if task["apgr"] is None else f"{task['apgr']:.3f}{ends}"
        lines.append(
            (task["task"], task["domain"], f"{task['prompts']:,}", f"{task['weak']:.3f}", f"{task['strong']:.3f}", apgr)
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    mean = metrics["held_out_apgr"]
    table.append(
        f"mean APGR {'-' if mean is None else f'{mean:.3f}'} (random: 0.5); "
        f"the domain is recognised for {metrics['domain_accuracy']:.0%} of held-out prompts"
    )
    return "\n".join(table)


def _figures(held_out: HeldOut) -> dict[str, Any]:
    from fastroute.evaluation import bootstrap
    from fastroute.evaluation.metrics import Outcomes, measure

    free = np.zeros(len(held_out.gain))
    outcomes = Outcomes(held_out.weak, held_out.strong, free, free)
    drawn = bootstrap.resample(outcomes, [bootstrap.Scored(held_out.gain, None, 0.0)], resamples=_RESAMPLES, seed=0)
    value = measure(held_out.gain, outcomes).apgr
    ends = bootstrap.interval(drawn.metric("apgr")[:, 0]) if value is not None else None
    low, high = ends or (None, None)
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
