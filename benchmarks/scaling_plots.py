"""Draw what `benchmarks/scaling.py` measured: ``python benchmarks/scaling_plots.py scaling.json -o docs/plots/``.

One PNG per plot, ``scaling-battles.png`` and so on: measured times as marks and lines, the limit of each as a dashed
line of its colour, and how many times its limit each curve is. Needs matplotlib (``pip install '.[eval]'``).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # as a script, the checkout is where benchmarks is found
    sys.path[0] = str(CHECKOUT)

from benchmarks.curves.plots import Curve, CurvesError, Plot, plots_of, table_of, time_of, times_of  # noqa: E402

COLOURS = ("#1f4e79", "#c0504d", "#4f8a3c", "#7f5fa3", "#b07a1e")
MARKS = "osD^v"
DPI = 130


def main() -> int:
    """Draw; 1 where the file holds no curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON file of benchmarks/scaling.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures")
    args = parser.parse_args()
    try:
        plots = plots_of(json.loads(args.results.read_text(encoding="utf-8")), str(args.results))
    except (OSError, ValueError, CurvesError) as error:
        print(f"scaling_plots: {error}", file=sys.stderr)
        return 1
    args.output.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        path = args.output / f"scaling-{plot.key}.png"
        draw(plot, path)
        print(f"{table_of(plot)}\n")
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB", file=sys.stderr)
    return 0


def draw(plot: Plot, path: Path) -> None:
    """Write a picture; nothing of matplotlib's global state is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 5.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    for curve, colour, mark in zip(plot.curves, COLOURS, MARKS, strict=False):
        _draw_curve(panel, curve, colour, mark)
    panel.set_xscale("log")
    panel.set_yscale("log")
    _label_axes(panel, plot)
    panel.set_title(plot.title, fontsize=10.5, loc="left")
    # Below the panel, where it hides nothing.
    figure.legend(loc="outside lower left", fontsize=8.5, frameon=False, ncols=1, handlelength=3.2)
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": None})


def _draw_curve(panel: Any, curve: Curve, colour: str, mark: str) -> None:
    xs = [point.x for point in curve.points]
    if len(curve.points) > 1 and all(point.repetitions == 1 for point in curve.points):
        # What was no measurement of fastroute but of the machine
        panel.plot(xs, [point.seconds for point in curve.points], ":", color="#555555", linewidth=1.4, label=curve.name)
        return
    seconds = [point.seconds for point in curve.points]
    panel.plot(xs, seconds, marker=mark, color=colour, linewidth=1.6, markersize=4.5, label=label_of(curve))
    limited = [(point.x, point.limit) for point in curve.points if point.limit is not None]
    if limited:
        name = f"    its limit: {curve.limit}"
        panel.plot(*zip(*limited, strict=True), "--", color=colour, linewidth=1.1, alpha=0.8, label=name)


def label_of(curve: Curve) -> str:
    """Name of a curve, with how many times its limit it is."""
    if curve.ratios is None:
        return curve.name
    return f"{curve.name} ({times_of(curve.ratios)} times its limit)"


def _label_axes(panel: Any, plot: Plot) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    xs = sorted({point.x for curve in plot.curves for point in curve.points})
    panel.set_xlabel(plot.x, fontsize=9)
    panel.set_ylabel(plot.y.replace("seconds", "time"), fontsize=9)
    if xs[-1] / xs[0] < 100:  # few values, each of which is named
        panel.xaxis.set_major_locator(FixedLocator(xs))
    else:
        panel.xaxis.set_major_locator(LogLocator(10))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    panel.yaxis.set_major_locator(LogLocator(10, subs=(1.0,), numticks=20))
    low, high = panel.get_ylim()
    if math.log10(high / low) < 1.6:
        panel.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0), numticks=20))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: time_of(y)))
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.tick_params(labelsize=8.5)
    panel.grid(which="major", color="#d4d8dc", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
