"""A picture of an evaluation: quality against the share of strong calls, and against dollars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastroute.errors import MissingDependencyError
from fastroute.evaluation.evaluate import ORACLE, RANDOM

if TYPE_CHECKING:
    from fastroute.evaluation.evaluate import Evaluation, RouterResult

__all__ = ["plot_evaluation"]

# Okabe and Ito's colours, which the colour-blind can tell apart, and dashes for print without colour.
_STYLES = (("#0072b2", "-"), ("#d55e00", (0, (6, 1.5))), ("#009e73", (0, (4, 1, 1, 1))), ("#cc79a7", (0, (2, 1))))
_ORACLE = ("#555555", (0, (1, 1.2)))
_RANDOM = ("#999999", (0, (5, 2)))
_FIXED = "#222222"
_FIXED_DASHES: tuple[Any, ...] = ("-", (0, (8, 2, 1, 2)))
_MOST_CUTS = 400


def plot_evaluation(evaluation: Evaluation, target: BinaryIO, *, image: str) -> None:
    """Draw both panels into `target`; nothing of matplotlib's global state is touched.

    Bands are 95% bootstrap intervals of quality at a share. The panel of dollars is the same curves with the
    mean price of each cut below them, per 1,000 requests, the router's own price included. A dot is the router
    at its own threshold. Random and the
    oracle, which knows the results, are drawn without a band, and always-strong and always-weak as lines.

    Parameters
    ----------
    evaluation
        What to draw.
    target
        Binary stream.
    image
        "png" or "svg".

    Raises
    ------
    MissingDependencyError
        matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("a plot needs matplotlib: pip install 'fastroute[eval]'") from error
    figure = Figure(figsize=(7.2, 4.1), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, dollars in zip(panels, (False, True), strict=True):
        styles = iter(_STYLES * (1 + len(evaluation.routers) // len(_STYLES)))
        for result in evaluation.routers:
            style = {ORACLE: _ORACLE, RANDOM: _RANDOM}.get(result.name) or next(styles)
            _draw_router(panel, result, style, dollars=dollars)
        _draw_fixed(panel, evaluation)
        panel.grid(color="#dde0e3", linewidth=0.5, zorder=0)
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    panels[0].set_xlabel("calls to the strong model (%)", fontsize=9)
    panels[1].set_xlabel("dollars per 1,000 requests", fontsize=9)
    panels[0].set_ylabel("quality", fontsize=9)
    panels[0].set_xlim(-1, 101)
    left = evaluation.questions
    dropped = f", {evaluation.dropped} contaminated left out" if evaluation.dropped else ""
    figure.suptitle(f"{evaluation.benchmark}: {left:,} questions{dropped}; bands: 95% intervals", fontsize=9.5)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(target, format=image, dpi=300, metadata={"Date": None} if image == "svg" else None)


def _draw_router(panel: Any, result: RouterResult, style: tuple[str, Any], *, dollars: bool) -> None:
    colour, dashes = style
    curve = result.curve
    rows = np.unique(np.linspace(0, len(curve.share) - 1, _MOST_CUTS).round().astype(np.int64))
    across = curve.dollars * 1000 if dollars else curve.share * 100
    apgr = result.metrics["apgr"].value
    label = result.name + "".join(f" ({mark})" for mark in result.marks)
    label += "" if apgr is None else f", APGR {apgr:.3f}"
    front = 4 if result.kind and result.name != RANDOM else 3
    panel.plot(
        across[rows],
        curve.quality[rows],
        color=colour,
        linestyle=dashes,
        linewidth=1.4,
        label=_plain(label),
        zorder=front,
    )
    if result.name in (ORACLE, RANDOM):
        return
    where = np.interp(result.band.share, curve.share, across)
    panel.fill_between(where, result.band.low, result.band.high, color=colour, alpha=0.13, linewidth=0, zorder=1)
    for edge in (result.band.low, result.band.high):
        panel.plot(where, edge, color=colour, linestyle=dashes, linewidth=0.5, alpha=0.6, zorder=2)
    at, height = (
        result.metrics["threshold_dollars" if dollars else "threshold_share"].value,
        result.metrics["threshold_quality"].value,
    )
    if at is not None and height is not None:
        scale = 1000 if dollars else 100
        panel.plot(at * scale, height, "o", color=colour, markersize=4.5, markeredgecolor="white", zorder=5)


def _draw_fixed(panel: Any, evaluation: Evaluation) -> None:
    for fixed, dashes in zip(evaluation.fixed, _FIXED_DASHES, strict=True):
        label = _plain(f"{fixed.name} ({fixed.model.rpartition('/')[2]})")
        panel.axhline(fixed.quality.value, color=_FIXED, linestyle=dashes, linewidth=0.9, label=label, zorder=2)


def _plain(label: str) -> str:
    """Keep a dollar sign from starting a formula."""
    return label.replace("$", r"\$")
