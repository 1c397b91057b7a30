"""A threshold for a share, and the interval that holds the share it produces."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from fastroute.calibration import calibrate_strong_fraction
from fastroute.errors import InvalidArgumentError, InvalidTypeError


@pytest.mark.parametrize("fraction", [0.01, 0.25, 0.5, 0.987])
def test_the_share_on_the_calibration_prompts(fraction):
    scores = np.random.default_rng(0).random(1000, dtype=np.float32)
    found = calibrate_strong_fraction(scores, fraction)
    assert (scores >= found.threshold).mean() == found.share
    assert found.share == pytest.approx(fraction, abs=0.0005)
    assert found.low < found.share < found.high
    assert (found.prompts, found.tied) == (1000, 1)


@pytest.mark.parametrize(("fraction", "threshold", "share"), [(0.1, 0.8, 0.3), (0.31, 0.8, 0.3), (0.9, 0.2, 1.0)])
def test_ties_stay_together_at_the_nearest_cut(fraction, threshold, share):
    found = calibrate_strong_fraction([0.2] * 70 + [0.8] * 30, fraction)
    assert (found.threshold, found.share) == (threshold, share)
    assert found.tied == (30 if threshold == 0.8 else 70)


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.5])
def test_the_interval_holds_as_often_as_it_says(fraction):
    """Uniform scores: the share that a threshold t produces is 1 - t, exactly."""
    random = np.random.default_rng(2)
    draws, confidence = 2000, 0.9
    missed = 0
    for _ in range(draws):
        found = calibrate_strong_fraction(random.random(150), fraction, confidence=confidence)
        missed += not found.low <= 1 - found.threshold <= found.high
    allowed = draws * (1 - confidence)
    assert missed <= allowed + 2 * math.sqrt(allowed * confidence)
    assert missed >= allowed / 2  # nor is the interval needlessly wide


def test_the_interval_holds_with_ties():
    random = np.random.default_rng(3)
    missed = 0
    for _ in range(2000):
        scores = random.integers(1, 21, 150) / 20
        found = calibrate_strong_fraction(scores, 0.3, confidence=0.9)
        share = (21 - round(found.threshold * 20)) / 20
        missed += not found.low <= share <= found.high
    assert missed <= 200 + 2 * math.sqrt(180)


def test_one_prompt():
    found = calibrate_strong_fraction([0.4], 0.5)
    assert (found.threshold, found.share, found.high) == (0.4, 1.0, 1.0)
    assert found.low == pytest.approx(0.025)


def test_record_is_json():
    record = calibrate_strong_fraction(np.float32([0.1, 0.7]), 0.5).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["kind"] == "strong_fraction"


@pytest.mark.parametrize(
    ("scores", "fraction", "confidence", "message"),
    [
        ([], 0.5, 0.9, r"scores: found shape \(0,\)"),
        ([[0.5]], 0.5, 0.9, r"scores: found shape \(1, 1\)"),
        ([0.5, math.nan], 0.5, 0.9, "scores: found nan at index 1"),
        ([0.5, 1.5], 0.5, 0.9, "scores: found 1.5 at index 1"),
        (["a"], 0.5, 0.9, "scores: found <U1"),
        ([0.5], 0, 0.9, "strong_fraction: found 0"),
        ([0.5], 1, 0.9, "strong_fraction: found 1"),
        ([0.5], "x", 0.9, "strong_fraction: found str"),
        ([0.5], 0.5, 1.0, "confidence: found 1"),
        ([0.5], 0.5, None, "confidence: found NoneType"),
    ],
)
def test_arguments_that_are_refused(scores, fraction, confidence, message):
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match=message):
        calibrate_strong_fraction(scores, fraction, confidence=confidence)
