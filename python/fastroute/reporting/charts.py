"""Charts of a report, as SVG to stand in a page: colours come from the page's style sheet, all text is escaped."""

from __future__ import annotations

import math
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

from fastroute.reporting.words import amount, money, percent, short_threshold, target_words, value_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastroute.reporting.results import Group, Report

__all__ = ["drift_chart", "scores_chart", "shares_chart", "threshold_chart"]

_WIDTH, _HEIGHT = 760, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 78, 28, 44
_LEAST_SPAN = 0.01
_STEPS = 60
_BAR_ROW = 24
_LABEL_ROOM, _LABEL_LETTERS = 220, 30
_LETTER = 7.5  # width of a letter, at most


class _Frame:
    """A plot's rectangle: maps values to places, and collects the elements drawn."""

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        title: str,
        height: float = _HEIGHT,
        left: float = _LEFT,
    ) -> None:
        self._x, self._y = x, y
        self.height = height
        self.left, self.right = left, _WIDTH - _RIGHT
        self.top, self.bottom = _TOP, height - _BOTTOM
        self._title = title
        self._parts: list[str] = []

    def across(self, value: float) -> float:
        low, high = self._x
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def up(self, value: float) -> float:
        low, high = self._y
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)

    def add(self, element: str) -> None:
        self._parts.append(element)

    def text(self, x: float, y: float, text: str, style: str, anchor: str = "start") -> None:
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}">{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        self.add(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>')

    def path(self, points: Iterable[tuple[float, float]], style: str) -> None:
        self.add(f'<path d="M{" L".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="{style}"/>')

    def rect(self, x: float, y: float, width: float, height: float, *, style: str, tip: str) -> None:
        box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"'
        self.add(f'<rect {box} class="{style}"><title>{escape(tip)}</title></rect>')

    def x_axis(self, ticks: Sequence[float], words: Callable[[float], str], label: str) -> None:
        for tick in ticks:
            self.line(self.across(tick), self.bottom, self.across(tick), self.bottom + 4, "axis")
            self.text(self.across(tick), self.bottom + 17, words(tick), "tick", "middle")
        self.line(self.left, self.bottom, self.right, self.bottom, "axis")
        self.text((self.left + self.right) / 2, self.height - 8, label, "label", "middle")

    def y_axis(self, ticks: Sequence[float], words: Callable[[float], str], label: str) -> None:
        for tick in ticks:
            self.line(self.left, self.up(tick), self.right, self.up(tick), "grid")
            self.text(self.left - 7, self.up(tick) + 4, words(tick), "tick", "end")
        self.text(self.left - 50, self.top - 13, label, "label")

    def svg(self) -> str:
        size = f'viewBox="0 0 {_WIDTH} {self.height:.0f}"'
        title = escape(self._title)
        return f'<svg {size} role="img" aria-label="{title}"><title>{title}</title>{"".join(self._parts)}</svg>'


def threshold_chart(report: Report) -> str:
    """Share of strong answers, and dollars, by threshold."""
    cuts = report.curve
    span = _widened(cuts[0].threshold, cuts[-1].threshold, 0.04)
    frame = _Frame(span, (0, 1), title="Share to the strong model, and cost, by threshold")
    shares = [0, 0.25, 0.5, 0.75, 1.0]
    frame.y_axis(shares, lambda share: f"{share:.0%}", "to the strong model")
    for share in shares:
        dollars = report.weak_dollars + share * (report.strong_dollars - report.weak_dollars)
        frame.text(frame.right + 7, frame.up(share) + 4, money(dollars), "tick")
    frame.text(_WIDTH - 4, frame.top - 13, "cost of the log", "label", "end")
    frame.x_axis(_ticks(*span), short_threshold, "threshold: scores from here up go to the strong model")
    points = [(span[0], cuts[0].share), (cuts[0].threshold, cuts[0].share)]
    for before, cut in pairwise(cuts):
        if len(cuts) < _STEPS:  # the few scores that there are
            points.append((before.threshold, cut.share))
        points.append((cut.threshold, cut.share))
    points.append((span[1], cuts[-1].share))
    frame.path(((frame.across(x), frame.up(y)) for x, y in points), "curve")
    taken: list[float] = []
    for target in report.targets:
        if target.cut is None or not span[0] <= target.cut.threshold <= span[1]:
            continue
        x, y = frame.across(target.cut.threshold), frame.up(target.cut.share)
        frame.line(x, frame.bottom, x, y, "mark")
        tip = escape(f"{target_words(target)}: {percent(target.cut.share)}, {money(target.cut.dollars)}")
        frame.add(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="dot"><title>{tip}</title></circle>')
        height = y - 8 if y > frame.top + 12 else y + 18
        while any(abs(height - other) < 15 for other in taken):
            height += 15
        taken.append(height)
        words = target_words(target)
        on_the_left = x + 9 + len(words) * _LETTER > frame.right
        frame.text(x + (-9 if on_the_left else 9), height, words, "note", "end" if on_the_left else "start")
    return frame.svg()


def scores_chart(report: Report) -> str:
    """Histogram of the scores: bars for the log, a line for the calibration set."""
    shape = report.shape
    sides = [(shape.log, report.rows)]
    if shape.calibration is not None and report.calibration is not None:
        sides.append((shape.calibration, report.calibration.rows))
    shares = [[count / rows for count in counts] for counts, rows in sides]
    top = max(max(side) for side in shares) * 1.06
    span = _widened(shape.edges[0], shape.edges[-1], 0.0)
    frame = _Frame(span, (0, top), title="Distribution of the scores")
    frame.y_axis(_ticks(0, top, 4), _share_tick, "share of the rows")
    frame.x_axis(_ticks(*span), short_threshold, "score")
    for left, right, share, count in zip(shape.edges[:-1], shape.edges[1:], shares[0], shape.log, strict=True):
        if count:
            tip = f"{short_threshold(left)} to {short_threshold(right)}: {amount(count, 'row')}, {percent(share)}"
            x, end = frame.across(left), max(frame.across(right), frame.across(left) + 2)
            frame.rect(x, frame.up(share), max(end - x - 0.7, 1), frame.bottom - frame.up(share), style="bar", tip=tip)
    if len(shares) > 1:
        steps: list[tuple[float, float]] = [(frame.across(shape.edges[0]), frame.bottom)]
        for left, right, share in zip(shape.edges[:-1], shape.edges[1:], shares[1], strict=True):
            steps += [(frame.across(left), frame.up(share)), (frame.across(right), frame.up(share))]
        frame.path([*steps, (frame.across(shape.edges[-1]), frame.bottom)], "other")
    x = frame.across(report.cut.threshold)
    if frame.left <= x <= frame.right:
        frame.line(x, frame.bottom, x, frame.top, "mark")
        on_the_left = x > (frame.left + frame.right) / 2
        frame.text(
            x + (-5 if on_the_left else 5), frame.top + 4, "threshold", "note", "end" if on_the_left else "start"
        )
    return frame.svg()


def shares_chart(report: Report) -> str:
    """Share of strong answers by group, with intervals."""
    return _by_group(
        report,
        "Share to the strong model by group",
        "to the strong model",
        lambda group: (group.cut.share, group.cut.low, group.cut.high),
        _share_tick,
        whole=(report.cut.share, f"whole log: {percent(report.cut.share)}"),
        most=1.0,
    )


def drift_chart(report: Report) -> str:
    """PSI by group, with intervals."""
    return _by_group(
        report,
        "Drift from the calibration set by group",
        "PSI",
        _psi,
        lambda psi: f"{psi:.3g}",
        whole=None,
        most=math.inf,
    )


def _psi(group: Group) -> tuple[float, float, float]:
    """PSI and its interval, which is empty where there is none."""
    drift = group.drift
    if drift is None:
        return 0.0, 0.0, 0.0
    if drift.psi_low is None or drift.psi_high is None:
        return drift.psi, drift.psi, drift.psi
    return drift.psi, drift.psi_low, drift.psi_high


def _by_group(
    report: Report,
    title: str,
    label: str,
    figures: Callable[[Group], tuple[float, float, float]],
    words: Callable[[float], str],
    *,
    whole: tuple[float, str] | None,
    most: float,
) -> str:
    grouping = report.grouping
    assert grouping is not None
    groups = grouping.groups
    ends = [end for group in groups for end in figures(group)]
    if whole is not None:
        ends.append(whole[0])
    top = min(most, max(ends) * 1.08) or 1.0
    values = [figures(group) for group in groups]
    tips = [_tip(group, value, words) for group, value in zip(groups, values, strict=True)]
    draw = _columns if grouping.by_day else _bars
    return draw(groups, values, tips, title=title, label=label, words=words, whole=whole, top=top)


def _columns(
    groups: Sequence[Group],
    figures: list[tuple[float, float, float]],
    tips: list[str],
    *,
    title: str,
    label: str,
    words: Callable[[float], str],
    whole: tuple[float, str] | None,
    top: float,
) -> str:
    frame = _Frame((0, len(groups)), (0, top), title=title)
    frame.y_axis(_ticks(0, top, 4), words, label)
    step = (frame.right - frame.left) / len(groups)
    every = max(1, math.ceil(11 * _LETTER / step))
    for place, (group, (value, low, high), tip) in enumerate(zip(groups, figures, tips, strict=True)):
        middle = frame.across(place + 0.5)
        wide = min(step * 0.7, 40)
        frame.rect(middle - wide / 2, frame.up(value), wide, frame.bottom - frame.up(value), style="bar", tip=tip)
        frame.line(middle, frame.up(low), middle, frame.up(high), "whisker")
        if place % every == 0:
            frame.text(middle, frame.bottom + 17, value_words(group.value), "tick", "middle")
    frame.line(frame.left, frame.bottom, frame.right, frame.bottom, "axis")
    if whole is not None:
        frame.line(frame.left, frame.up(whole[0]), frame.right, frame.up(whole[0]), "mark")
        frame.text(frame.right, frame.top - 13, whole[1], "note", "end")
    return frame.svg()


def _bars(
    groups: Sequence[Group],
    figures: list[tuple[float, float, float]],
    tips: list[str],
    *,
    title: str,
    label: str,
    words: Callable[[float], str],
    whole: tuple[float, str] | None,
    top: float,
) -> str:
    height = _TOP + _BOTTOM + _BAR_ROW * len(groups)
    frame = _Frame((0, top), (0, 1), title=title, height=height, left=_LABEL_ROOM)
    for place, (group, (value, low, high), tip) in enumerate(zip(groups, figures, tips, strict=True)):
        y = frame.top + place * _BAR_ROW
        name = value_words(group.value)
        name = name if len(name) <= _LABEL_LETTERS else f"{name[: _LABEL_LETTERS - 1]}…"
        frame.text(frame.left - 8, y + 16, name, "name", "end")
        frame.rect(frame.left, y + 4, frame.across(value) - frame.left, _BAR_ROW - 8, style="bar", tip=tip)
        frame.line(frame.across(low), y + _BAR_ROW / 2, frame.across(high), y + _BAR_ROW / 2, "whisker")
        frame.text(max(frame.across(high), frame.across(value)) + 6, y + 16, words(value), "tick")
    frame.x_axis(_ticks(0, top), words, label)
    if whole is not None:
        frame.line(frame.across(whole[0]), frame.bottom, frame.across(whole[0]), frame.top - 4, "mark")
        frame.text(frame.across(whole[0]), frame.top - 8, whole[1], "note", "middle")
    return frame.svg()


def _tip(group: Group, figures: tuple[float, float, float], words: Callable[[float], str]) -> str:
    value, low, high = figures
    interval = f" [{words(low)}, {words(high)}]" if high > low else ""
    return f"{value_words(group.value)}: {words(value)}{interval}, {amount(group.rows, 'row')}"


def _share_tick(share: float) -> str:
    return f"{share * 100:.3g}%"


def _widened(low: float, high: float, part: float) -> tuple[float, float]:
    """Return a span around two ends, wide enough for its ticks to differ."""
    margin = max((high - low) * part, (_LEAST_SPAN - (high - low)) / 2)
    return low - margin, high + margin


def _ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers from `low` to `high`."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
