"""A picture of what a cascade saves: the share that reaches the second router against agreement with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Final

from fastroute.calibration.beta import proportion_interval
from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["plot_cascade"]

_LINE: Final = "#0072b2"
_CHOSEN: Final = "#d55e00"
_CONFIDENCE: Final = 0.95


def plot_cascade(
    curve: Sequence[Sequence[float]],
    calibration: Mapping[str, Any],
    target: BinaryIO,
    *,
    names: Sequence[str],
    image: str,
) -> None:
    """Draw the curve with its interval, and the point that was chosen; nothing of matplotlib's global state is touched.

    Parameters
    ----------
    curve, calibration
        As a calibrated `CascadeRouter` has them: ``metrics["curve"]`` and `calibration`.
    target
        Binary stream.
    names
        Of the first and the second router.
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
    figure = Figure(figsize=(5.2, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    first, second = (name.replace("$", r"\$") for name in names)
    checked = calibration["checked"]
    if curve:
        across, agreement = ([100 * point[place] for point in curve] for place in (0, 1))
        ends = [proportion_interval(round(point[1] * checked), checked, _CONFIDENCE) for point in curve]
        low, high = ([100 * end[place] for end in ends] for place in (0, 1))
        panel.fill_between(across, low, high, color=_LINE, alpha=0.15, linewidth=0, zorder=1)
        panel.plot(across, agreement, color=_LINE, linewidth=1.4, zorder=2)
        chosen = 100 * calibration["escalated"], 100 * calibration["agreement"]
        panel.plot(*chosen, "o", color=_CHOSEN, markersize=5, markeredgecolor="white", zorder=3)
    panel.set_xlim(-1, 101)
    panel.set_xlabel(f"prompts that reach {second} (%)", fontsize=9)
    panel.set_ylabel(f"decisions as {second} alone (%)", fontsize=9)
    panel.set_title(f"{first}, then {second}: {checked:,} checked prompts; band: 95% intervals", fontsize=9)
    panel.grid(color="#dde0e3", linewidth=0.5, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.tick_params(labelsize=8)
    figure.savefig(target, format=image, dpi=200, metadata={"Date": None} if image == "svg" else None)
