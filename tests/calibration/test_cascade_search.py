"""What the search for a cascade's bounds promises, and what it does with odd scores."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastroute.calibration import CascadeSearch, calibrate_cascade
from fastroute.errors import FastrouteError, InvalidArgumentError, InvalidTypeError

F32 = np.float32


def draw(rng: np.random.Generator, count: int, *, noise: float, ties: bool = False):
    x = rng.standard_normal(count)
    y = x + noise * rng.standard_normal(count)
    first, second = ((1 / (1 + np.exp(-v))).astype(F32) for v in (x, y))
    return (np.round(first, 1).astype(F32), np.round(second, 2).astype(F32)) if ties else (first, second)


def disagreement(found: CascadeSearch, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Share of decisions that differ from the second router's, and share that asks it."""
    low, high = found.bounds.of_many(first)
    strong = second.astype(float) >= found.threshold
    asked = (low < found.threshold) & (high >= found.threshold)
    return float((~asked & ((low >= found.threshold) != strong)).mean()), float(asked.mean())


@pytest.mark.parametrize(
    ("settings", "noise", "ties"),
    [
        ({"disagreement": 0.05}, 0.5, False),
        ({"disagreement": 0.05, "strong_fraction": 0.2}, 0.5, False),
        ({"disagreement": 0.1, "confidence": 0.7}, 1.0, True),
        ({"disagreement": 0.1, "confidence": 0.95, "threshold": 0.6}, 0.3, True),
    ],
)
def test_more_disagreements_than_promised_are_as_rare_as_promised(settings, noise, ties):
    rng = np.random.default_rng(7)
    population = draw(rng, 60_000, noise=noise, ties=ties)
    trials, misses, asked = 120, 0, []
    for trial in range(trials):
        found = calibrate_cascade(*draw(rng, 500, noise=noise, ties=ties), seed=trial, **settings)
        share, reached = disagreement(found, *population)
        misses += share > settings["disagreement"]
        asked.append(reached)
        assert found.bound <= settings["disagreement"]
    level = 1 - settings.get("confidence", 0.9)
    assert misses <= trials * level + 2.6 * math.sqrt(trials * level * (1 - level))
    assert np.mean(asked) < 0.9  # or the promise would be an empty one


def test_a_careless_band_would_be_caught():
    """The same count with the width taken that just meets the share on the checked prompts: misses half of the time."""
    rng = np.random.default_rng(7)
    population = draw(rng, 60_000, noise=0.5)
    misses = 0
    for trial in range(100):
        sample = draw(rng, 500, noise=0.5)
        found = calibrate_cascade(*sample, seed=trial, disagreement=0.05, confidence=0.5)
        misses += disagreement(found, *population)[0] > 0.05
    assert misses > 100 * 0.1 + 2.6 * math.sqrt(100 * 0.1 * 0.9)


def test_identical_routers_never_ask():
    scores, _ = draw(np.random.default_rng(0), 600, noise=0.0)
    found = calibrate_cascade(scores, scores)
    assert (found.chosen.width, found.chosen.escalated, found.chosen.disagreed) == (0.0, 0.0, 0)
    low, high = found.bounds.of_many(scores)
    np.testing.assert_array_equal(np.clip(scores, low, high), scores)
    assert (low == high).mean() > 0.98  # all but those beyond the fitted ones
    assert found.bounds.open_at(found.threshold) is None
    assert found.bounds.open_share(found.threshold) == 0
    assert found.reason == ""


def test_a_monotone_map_of_the_second_router_hardly_asks():
    scores, _ = draw(np.random.default_rng(0), 2000, noise=0.0)
    found = calibrate_cascade((scores / 3 + 0.1).astype(F32), scores)
    assert found.chosen.escalated < 0.01


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (np.full(600, 0.3), np.linspace(0, 1, 600)),  # says nothing
        (np.linspace(1, 0, 600), np.linspace(0, 1, 600)),  # says the opposite
        (np.random.default_rng(0).random(600), np.random.default_rng(1).random(600)),
    ],
)
def test_a_first_router_that_tells_nothing(first, second):
    found = calibrate_cascade(first.astype(F32), second.astype(F32))
    assert found.chosen.escalated > 0.9
    assert disagreement(found, first.astype(F32), second.astype(F32))[0] <= 0.02
    if found.chosen.width == math.inf:
        assert found.reason.startswith("every prompt reaches the second router: the first one's score says too little")
        assert found.bound == 0


def test_a_constant_second_router_is_hardly_asked():
    first, _ = draw(np.random.default_rng(0), 600, noise=0)
    for settings in ({}, {"threshold": 0.5}, {"threshold": 0.7}, {"threshold": 0.7000001}, {"threshold": 0.0}):
        found = calibrate_cascade(first, np.full(600, 0.7, F32), **settings)
        assert found.chosen.escalated < 0.02, settings  # about scores that were not fitted
        assert found.chosen.disagreed == 0


def test_beyond_the_fitted_scores_the_bounds_open():
    scores = np.linspace(0.4, 0.6, 600).astype(F32)
    bounds = calibrate_cascade(scores, scores).bounds
    low, high = bounds.of_many(np.array([0, 0.2, 0.5, 0.8, 1], F32))
    assert low[0] == 0
    assert high[4] == 1
    assert 0 < low[1] < 0.4 < high[1] < 0.41
    assert low[2] == high[2] == 0.5
    assert 0.59 < low[3] <= F32(0.6) < high[3] < 1


def test_constant_routers():
    found = calibrate_cascade(np.full(600, 0.2), np.full(600, 0.7))
    assert (found.threshold, found.strong_share, found.chosen.escalated) == (float(F32(0.7)), 1.0, 0.0)


@pytest.mark.parametrize("count", [1, 2, 3, 100, 227])
def test_too_few_prompts_ask_for_everything(count):
    scores = np.linspace(0.1, 0.9, count).astype(F32)
    found = calibrate_cascade(scores, scores)
    assert found.chosen.width == math.inf
    assert found.chosen.escalated == 1
    assert "too few to show a disagreement of at most 0.02" in found.reason
    assert "give 228 or more" in found.reason
    assert found.bounds.of_one(0.5) == (0, 1)
    assert found.checked == count // 2
    assert math.isnan(found.strong_share) == (count == 1)
    assert found.record()["strong_share"] == (None if count == 1 else found.strong_share)


def test_just_enough_prompts_let_the_first_router_decide():
    scores = np.linspace(0.1, 0.9, 228).astype(F32)
    assert calibrate_cascade(scores, scores).chosen.escalated == 0


def test_the_curve_goes_from_all_to_none():
    found = calibrate_cascade(*draw(np.random.default_rng(3), 3000, noise=0.5))
    shares = [step.escalated for step in found.steps]
    assert shares[0] == 1
    assert shares[-1] == 0
    assert shares == sorted(shares, reverse=True)
    wrong = [step.disagreed for step in found.steps]
    assert wrong == sorted(wrong)
    assert max(-np.diff(shares)) < 0.02
    curve = found.curve()
    assert curve[0] == [1.0, 1.0]
    assert curve[-1] == [0.0, 1 - wrong[-1] / found.checked]
    assert len(curve) == 33


def test_a_seed_decides():
    scores = draw(np.random.default_rng(3), 1000, noise=0.5)
    one, again, other = (calibrate_cascade(*scores, seed=seed) for seed in (1, 1, 2))
    assert (one.threshold, one.chosen, one.steps) == (again.threshold, again.chosen, again.steps)
    assert one.threshold != other.threshold


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"first": []}, InvalidArgumentError, r"first: found shape \(0,\)"),
        ({"first": [0.5, 2.0]}, InvalidArgumentError, "first: found 2.0 at index 1"),
        ({"second": [0.5]}, InvalidArgumentError, "second: found 1 values"),
        ({"second": [0.5, math.nan]}, InvalidArgumentError, "second: found nan at index 1"),
        ({"first": ["a", "b"]}, InvalidTypeError, "first: found"),
        ({"threshold": 0.5, "strong_fraction": 0.5}, InvalidArgumentError, "threshold, strong_fraction: found both"),
        ({"threshold": 1.1}, InvalidArgumentError, "threshold: found 1.1"),
        ({"threshold": "x"}, InvalidTypeError, "threshold: found str"),
        ({"strong_fraction": 0}, InvalidArgumentError, "strong_fraction: found 0"),
        ({"strong_fraction": 1.0}, InvalidArgumentError, "strong_fraction: found 1.0"),
        ({"disagreement": 0}, InvalidArgumentError, "disagreement: found 0"),
        ({"disagreement": math.nan}, InvalidArgumentError, "disagreement: found nan"),
        ({"confidence": 1}, InvalidArgumentError, "confidence: found 1"),
        ({"confidence": None}, InvalidTypeError, "confidence: found NoneType"),
        ({"seed": -1}, InvalidArgumentError, "seed: found -1"),
        ({"seed": "x"}, InvalidArgumentError, "seed: found 'x'"),
    ],
)
def test_bad_arguments(changes, error, message):
    with pytest.raises(FastrouteError, match=message) as caught:
        calibrate_cascade(**{"first": [0.1, 0.2], "second": [0.3, 0.4], **changes})
    assert isinstance(caught.value, error)
