"""A picture of a leaderboard: ratings with their intervals, a band for each tier."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO

from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from fastroute.leaderboard.board import Entry, Group, Leaderboard

__all__ = ["plot_leaderboard"]

_ROW_INCHES = 0.19
_DOT = "#1f4e79"
_BAND = "#eef1f4"


def plot_leaderboard(board: Leaderboard, target: BinaryIO, *, image: str) -> None:
    """Draw one panel per group into `target`.

    An interval without an end runs to the edge of its panel. Nothing of matplotlib's global state is touched.

    Parameters
    ----------
    board
        What to draw.
    target
        Binary stream.
    image
        "png", "svg" or "pdf".

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
    rows = [len(group.entries) for group in board.groups]
    figure = Figure(figsize=(7.2, 1.2 + 0.7 * len(rows) + _ROW_INCHES * sum(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), 1, squeeze=False, height_ratios=[count + 3 for count in rows])[:, 0]
    for number, (panel, group) in enumerate(zip(panels, board.groups, strict=True), start=1):
        _draw_group(panel, group)
        title = f"{len(group.entries)} models, {group.battles:,} battles"
        panel.set_title(title if len(rows) == 1 else f"Group {number}: {title}", fontsize=9, loc="left")
    panels[-1].set_xlabel(f"rating (Elo points), {board.confidence:.0%} bootstrap interval", fontsize=8)
    figure.savefig(target, format=image, dpi=200, metadata={"Date": None} if image == "svg" else None)


def _draw_group(panel: Any, group: Group) -> None:
    entries = group.entries
    left, right = _extent(entries)
    for row, entry in enumerate(entries):
        ends = max(entry.low, left), min(entry.high, right)
        panel.plot(ends, (row, row), color=_DOT, linewidth=1.2, solid_capstyle="butt", zorder=2)
        panel.plot(entry.rating, row, "o", color=_DOT, markersize=3.2, zorder=3)
    for tier in sorted({entry.tier for entry in entries}):
        of_tier = [row for row, entry in enumerate(entries) if entry.tier == tier]
        if tier % 2:
            panel.axhspan(of_tier[0] - 0.5, of_tier[-1] + 0.5, color=_BAND, zorder=0, linewidth=0)
        middle = (of_tier[0] + of_tier[-1]) / 2
        panel.text(1.008, middle, f"tier {tier}", transform=panel.get_yaxis_transform(), va="center", fontsize=6.5)
    panel.set_xlim(left, right)
    panel.set_ylim(len(entries) - 0.5, -0.5)
    panel.set_yticks(range(len(entries)), [_plain(f"{entry.rank}  {entry.model}") for entry in entries])
    panel.tick_params(axis="y", labelsize=7, length=0)
    panel.tick_params(axis="x", labelsize=7)
    panel.grid(axis="x", color="#c8ccd0", linewidth=0.5, zorder=1)
    panel.spines[["top", "right", "left"]].set_visible(False)


def _extent(entries: tuple[Entry, ...]) -> tuple[float, float]:
    ends = [end for entry in entries for end in (entry.low, entry.rating, entry.high) if math.isfinite(end)]
    margin = max(0.03 * (max(ends) - min(ends)), 1.0)
    return min(ends) - margin, max(ends) + margin


def _plain(label: str) -> str:
    """Keep a dollar sign from starting a formula."""
    return label.replace("$", r"\$")
