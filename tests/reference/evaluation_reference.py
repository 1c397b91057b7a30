"""Every metric of `fastroute.evaluation`, written slowly and plainly: lists, one threshold after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Question:
    score: float
    weak: float
    strong: float
    weak_dollars: float = 0.0
    strong_dollars: float = 0.0


@dataclass(frozen=True)
class Cut:
    share: float
    quality: float
    dollars: float


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def cut_at(questions: Sequence[Question], goes_to_strong: Sequence[bool], own: float) -> Cut:
    both = list(zip(questions, goes_to_strong, strict=True))
    return Cut(
        share=mean([float(strong) for strong in goes_to_strong]),
        quality=mean([q.strong if strong else q.weak for q, strong in both]),
        dollars=mean([q.strong_dollars if strong else q.weak_dollars for q, strong in both]) + own,
    )


def cuts(questions: Sequence[Question], own: float = 0.0) -> list[Cut]:
    thresholds = [float("inf"), *sorted({q.score for q in questions}, reverse=True)]
    return [cut_at(questions, [q.score >= threshold for q in questions], own) for threshold in thresholds]


def area(points: Sequence[tuple[float, float]]) -> float:
    total = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        total += (x1 - x0) * (y0 + y1) / 2
    return total


def apgr(questions: Sequence[Question]) -> float | None:
    weak, strong = mean([q.weak for q in questions]), mean([q.strong for q in questions])
    if strong - weak <= 1e-12:
        return None
    return area([(cut.share, (cut.quality - weak) / (strong - weak)) for cut in cuts(questions)])


def cpt(questions: Sequence[Question], part: float) -> float | None:
    weak, strong = mean([q.weak for q in questions]), mean([q.strong for q in questions])
    if strong - weak <= 1e-12:
        return None
    return min(cut.share for cut in cuts(questions) if (cut.quality - weak) / (strong - weak) >= part - 1e-9)


def kept(questions: Sequence[Question], part: float, own: float) -> tuple[float, float]:
    """Smallest share and lowest dollars that keep this part of the strong model's quality."""
    strong = mean([q.strong for q in questions])
    enough = [cut for cut in cuts(questions, own) if cut.quality >= part * strong - 1e-9 * strong]
    return min(cut.share for cut in enough), min(cut.dollars for cut in enough)


def routellm_apgr(questions: Sequence[Question]) -> float:
    """RouteLLM's own: pandas cuts the scores into ten bins; the areas of the router, of weak and of strong."""
    import numpy as np
    import pandas as pd

    score = pd.Series([q.score for q in questions])
    _, thresholds = pd.qcut(score, 10, retbins=True)
    points = []
    for threshold in thresholds[:-1]:
        cut = cut_at(questions, (score >= threshold).tolist(), 0.0)
        points.append((cut.share, cut.quality))
    last = cut_at(questions, (score > thresholds[-1]).tolist(), 0.0)
    points.append((last.share, last.quality))
    points.sort()
    share = [x for x, _ in points]
    weak, strong = (mean([getattr(q, side) for q in questions]) for side in ("weak", "strong"))
    areas = [
        area(list(zip(share, heights, strict=True)))
        for heights in ([y for _, y in points], [weak] * len(points), [strong] * len(points))
    ]
    assert np.isfinite(areas).all()
    return (areas[0] - areas[1]) / (areas[2] - areas[1])
