"""Curves, the limits drawn into them, and how far from its limit each measured point is: plain values for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

FORMAT = 1


class CurvesError(Exception):
    """A result file holds no such curves; the message says what was found and what is needed."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured time.

    Attributes
    ----------
    x
        How many battles, models, tokens or threads.
    seconds, low, high
        Median of the repetitions, and their quartiles.
    repetitions
        How often it was measured.
    limit
        Seconds below which no program can get here, as measured in the same run; None where nothing is drawn in.
    """

    x: float
    seconds: float
    low: float
    high: float
    repetitions: int
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times its limit the time is."""
        return None if self.limit is None else self.seconds / self.limit


@dataclass(frozen=True, slots=True)
class Curve:
    """Points by growing x, and what their limit is."""

    name: str
    points: tuple[Point, ...]
    limit: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ratios(self) -> tuple[float, float] | None:
        """The least and the most times its limit."""
        found = [point.ratio for point in self.points if point.ratio is not None]
        return (min(found), max(found)) if found else None


@dataclass(frozen=True, slots=True)
class Plot:
    """Curves in one picture. `measured` are rates and times of this machine that the limits are made of."""

    key: str
    title: str
    x: str
    y: str
    curves: tuple[Curve, ...]
    measured: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON has it, with ratios."""
        made = asdict(self) | {"measured": dict(self.measured)}
        for curve, plain in zip(self.curves, made["curves"], strict=True):
            for point, values in zip(curve.points, plain["points"], strict=True):
                values["ratio"] = point.ratio
        return made


def time_of(seconds: float) -> str:
    """A time with three digits, in its unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if seconds * scale >= 0.9995 or unit == "ns":
            return f"{seconds * scale:.3g} {unit}"
    raise AssertionError("ns is the last unit")


def times_of(ratios: tuple[float, float]) -> str:
    """The least and the most times a limit, as text."""
    low, high = (f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.0f}" for ratio in ratios)
    return low if low == high else f"{low} to {high}"


def table_of(plot: Plot) -> str:
    """What a plot shows, as Markdown."""

    def cell(point: Point) -> str:
        ratio = "" if point.ratio is None else f" ({times_of((point.ratio, point.ratio))})"
        return f"{time_of(point.seconds)} at {point.x:,.0f}{ratio}"

    lines = [f"| {plot.y}, by {plot.x} | first (times its limit) | last | limit |", "| --- | --- | --- | --- |"]
    for curve in plot.curves:
        cells = (curve.name, cell(curve.points[0]), cell(curve.points[-1]), curve.limit or "none")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def at_least(**limits: float) -> float:
    """The limit where each of several must be met: the largest."""
    return max(limits.values())


def plots_of(document: object, source: str) -> list[Plot]:
    """Read what `Plot.plain` wrote.

    Raises
    ------
    CurvesError
        Something else was found.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise CurvesError(f"{source}: found format {found!r}, allowed: {FORMAT}, as benchmarks/scaling.py writes")
    try:
        plots = [_plot(each) for each in document["plots"]]
    except (KeyError, TypeError) as error:
        raise CurvesError(f"{source}: found a plot with a member missing or of another type: {error}") from error
    for plot in plots:
        for curve in plot.curves:
            _check(curve, f"{source}: {plot.key}, {curve.name}")
    return plots


def _plot(plain: Mapping[str, Any]) -> Plot:
    curves = []
    for each in plain["curves"]:
        points = [Point(**{key: value for key, value in point.items() if key != "ratio"}) for point in each["points"]]
        curves.append(Curve(each["name"], tuple(points), each["limit"], tuple(each["notes"])))
    return Plot(**{**plain, "curves": tuple(curves)})


def _check(curve: Curve, where: str) -> None:
    if not curve.points:
        raise CurvesError(f"{where}: found no points, allowed: one or more")
    for point in curve.points:
        values = [point.x, point.seconds, point.low, point.high, *([] if point.limit is None else [point.limit])]
        if not all(isinstance(value, (int, float)) and math.isfinite(value) and value > 0 for value in values):
            raise CurvesError(f"{where}: found {values} at x = {point.x}, allowed: finite numbers above 0")
    xs = [point.x for point in curve.points]
    if sorted(set(xs)) != xs:
        raise CurvesError(f"{where}: found x = {xs}, allowed: ascending ones")
