"""Bounds, scores and the search for the width against plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.reference import cascade_reference as reference

from fastroute.calibration import calibrate_cascade
from fastroute.routers.score_bounds import ScoreBounds

F32 = np.float32


def random_bounds(rng: np.random.Generator) -> ScoreBounds:
    count = int(rng.integers(1, 12))
    knots = np.unique(rng.random(count).astype(F32))
    low, high, share = (np.sort(rng.random(len(knots))).astype(F32) for _ in range(3))
    return ScoreBounds(knots, np.minimum(low, high), np.maximum(low, high), share)


def scores_near(bounds: ScoreBounds, rng: np.random.Generator) -> np.ndarray:
    knots = bounds.tensors["knots"]
    beside = [knots, np.nextafter(knots, F32(0)), np.nextafter(knots, F32(1)), [F32(0), F32(1)]]
    return np.clip(np.concatenate([*beside, rng.random(40).astype(F32)]), 0, 1).astype(F32)


@pytest.mark.parametrize("seed", range(60))
def test_bounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bounds = random_bounds(rng)
    scores = np.sort(scores_near(bounds, rng))
    low, high = bounds.of_many(scores)
    knots, lows, highs = (bounds.tensors[name].astype(float).tolist() for name in ("knots", "low", "high"))
    for place, score in enumerate(scores.tolist()):
        assert bounds.of_one(score) == (low[place], high[place])
        assert low[place] == pytest.approx(reference.interpolated(score, knots, lows), abs=1e-7)
        assert high[place] == pytest.approx(reference.interpolated(score, knots, highs), abs=1e-7)
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    assert (low <= high).all()
    np.testing.assert_array_equal(low, low.astype(F32))
    for threshold in [0.0, 1.0, *rng.random(10).tolist(), *low[::7].tolist(), *np.nextafter(high[::7], 2).tolist()]:
        if threshold <= 1:
            band = bounds.open_at(threshold)
            open_there = (low < threshold) & (threshold <= high)
            inside = np.zeros(len(scores), bool) if band is None else (scores >= band[0]) & (scores <= band[1])
            np.testing.assert_array_equal(open_there, inside)
            assert 0 <= bounds.open_share(threshold) <= 1


def test_a_band_moves_up_with_the_threshold() -> None:
    bounds = random_bounds(np.random.default_rng(5))
    bands = [band for t in np.linspace(0, 1, 101) if (band := bounds.open_at(float(t))) is not None]
    assert len(bands) > 30
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in itertools.pairwise(bands))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("ties", [False, True])
def test_the_search(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(40, 220))
    x = rng.standard_normal(n)
    y = x + rng.choice([0.2, 0.6, 2.0]) * rng.standard_normal(n)
    first, second = ((1 / (1 + np.exp(-v))).astype(F32) for v in (x, y))
    if ties:
        first, second = (np.round(v, 1).astype(F32) for v in (first, second))
    threshold = float(np.quantile(second, rng.uniform(0.1, 0.9))) if seed % 2 else None
    found = calibrate_cascade(first, second, threshold=threshold, disagreement=0.2, confidence=0.8, seed=seed)
    order = np.random.default_rng(seed).permutation(n)
    half = (n + 1) // 2
    fitted, checked = (
        (first[rows].astype(float).tolist(), second[rows].astype(float).tolist())
        for rows in (order[:half], order[half:])
    )
    at = found.threshold
    if threshold is None:
        assert at == sorted(fitted[1])[-max(1, round(half / 2))] or ties
    widths = [step.width for step in found.steps]
    assert widths[0] == math.inf
    assert widths[-1] == 0
    assert widths == sorted(widths, reverse=True)
    width, wrong, asked = reference.chosen_width(widths, fitted, checked, at, 0.2, 0.8)
    assert found.chosen.width == width
    assert found.chosen.disagreed == wrong
    assert round(found.chosen.escalated * len(checked[0])) == asked
    if width < math.inf:
        bounds = reference.bounds_of(*fitted, width)
        low, high = found.bounds.of_many(first)
        expected = np.array([bounds(score) for score in first.astype(float).tolist()])
        np.testing.assert_allclose(np.stack([low, high], 1), expected, atol=2e-7)
        assert reference.tail(wrong, len(checked[0]), found.bound) == pytest.approx(0.2, abs=1e-6)
