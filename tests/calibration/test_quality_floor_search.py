"""The walk over thresholds, and the test at each."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastroute.calibration import calibrate_quality_floor
from fastroute.calibration.betting import betting_p_value
from fastroute.errors import InvalidArgumentError, InvalidTypeError


def labelled(n: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.random(n)
    return scores, (random.random(n) < 0.9).astype(float), (random.random(n) < 0.9 - 0.6 * scores).astype(float)


def test_the_walk_goes_from_all_strong_to_the_first_that_does_not_qualify():
    found = calibrate_quality_floor(*labelled(), quality=0.7)
    thresholds = [step.threshold for step in found.steps]
    assert thresholds == sorted(thresholds)
    assert found.steps[0].strong_fraction == 1.0
    assert found.steps[0].recovered == 1.0
    assert all(step.p_value <= 0.1 for step in found.steps[:-1])
    assert found.steps[-1].p_value > 0.1
    best = found.steps[-2]
    policy = found.policy
    assert (policy.threshold, policy.strong_fraction, policy.recovered) == (
        best.threshold,
        best.strong_fraction,
        best.recovered,
    )
    assert policy.recovered > 0.7
    assert (policy.quality, policy.confidence, policy.prompts) == (0.7, 0.9, 2000)


def test_more_quality_or_confidence_costs_more_strong_calls():
    def share(**goal: float) -> float:
        return calibrate_quality_floor(*labelled(), **goal).policy.strong_fraction

    assert share(quality=0.3) < share(quality=0.6) < share(quality=0.9)
    assert share(quality=0.6, confidence=0.5) < share(quality=0.6, confidence=0.99)


def test_given_thresholds_are_the_ones_tested():
    found = calibrate_quality_floor(*labelled(), quality=0.5, thresholds=[0.3, 0.2, 0.2])
    assert [step.threshold for step in found.steps] == [0.0, 0.2, 0.3]
    assert found.policy.threshold == 0.3


def test_thresholds_without_a_prompt_between_them_are_tested_once():
    found = calibrate_quality_floor([0.25] * 300, [1.0] * 300, [0.0] * 300, quality=0.5)
    assert [step.threshold for step in found.steps] == [0.25, 1.0]
    assert found.policy.threshold == 0.25


def test_no_gap():
    found = calibrate_quality_floor(*(labelled()[i] for i in (0, 2, 1)), quality=0.5)
    assert found.policy is None
    assert found.reason.startswith("no threshold qualifies: on 2,000 labelled prompts the strong model scores")
    assert "no gap to recover" in found.reason


@pytest.mark.parametrize("n", [1, 2, 10])
def test_too_few_labels(n):
    found = calibrate_quality_floor([0.5] * n, [1] * n, [0] * (n - 1) + [0], quality=0.9, confidence=0.99)
    assert found.policy is None
    assert "label more prompts" in found.reason


def test_equal_models():
    found = calibrate_quality_floor([0.5, 0.6], [1, 0], [1, 0], quality=0.5)
    assert found.policy is None
    assert math.isnan(found.steps[0].recovered)


def test_a_seed_gives_the_same_again():
    assert calibrate_quality_floor(*labelled(), quality=0.5) == calibrate_quality_floor(*labelled(), quality=0.5)


def test_sorted_files_are_shuffled():
    """In the order of a file that lists the weak model's failures last, nothing could be shown early."""
    scores, strong, weak = labelled()
    order = np.argsort(strong - weak)
    shares = [
        calibrate_quality_floor(scores[o], strong[o], weak[o], quality=0.7).policy.strong_fraction
        for o in (order, order[::-1])
    ]
    assert shares == pytest.approx(
        [calibrate_quality_floor(*labelled(), quality=0.7).policy.strong_fraction] * 2, abs=0.1
    )


@pytest.mark.parametrize("level", [0.05, 0.2])
@pytest.mark.parametrize("kind", ["fair coin", "skewed", "never positive"])
def test_the_p_value_is_valid_where_the_mean_is_not_positive(kind, level):
    random = np.random.default_rng(4)
    rejected = 0
    for _ in range(2000):
        draw = random.random(300)
        values = {
            "fair coin": np.where(draw < 0.5, 0.5, -0.5),
            "skewed": np.where(draw < 0.9, 0.1, -0.9),
            "never positive": -draw,
        }[kind]
        rejected += betting_p_value(values, 1.0, level) <= level
    assert rejected / 2000 <= level + 2 * math.sqrt(level * (1 - level) / 2000)
    assert kind == "never positive" or rejected > 0


def test_the_p_value_against_a_plain_reference():
    values = np.random.default_rng(1).uniform(-0.4, 0.8, 50)
    wealth, highest, second = 1.0, 1.0, 0.25
    for seen, value in enumerate(values, start=1):
        bet = min(math.sqrt(2 * math.log(1 / 0.1) / (50 * second / seen)), 0.75)
        wealth *= 1 + bet * value
        highest = max(highest, wealth)
        second += value**2
    assert betting_p_value(values, 1.0, 0.1) == pytest.approx(1 / highest, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": [0.5, math.nan]}, "scores: found nan at index 1"),
        ({"scores": []}, r"scores: found shape \(0,\)"),
        ({"strong": [1]}, "strong: found 1 values, allowed: 2"),
        ({"strong": [1, 7]}, "strong: found 7.0 at index 1"),
        ({"weak": ["right", "wrong"]}, "weak: found <U5"),
        ({"weak": [[1], [1, 2]]}, "weak: "),
        ({"quality": 1}, "quality: found 1.0, allowed: above 0 and below 1"),
        ({"quality": 0}, "quality: found 0.0"),
        ({"confidence": 1.0}, "confidence: found 1.0"),
        ({"confidence": "0.9"}, "confidence: found str"),
        ({"thresholds": [0.5, 2]}, "thresholds: found 2.0 at index 1"),
        ({"seed": -1}, "seed: found -1"),
        ({"seed": "x"}, "seed: found 'x'"),
    ],
)
def test_arguments_that_are_refused(change, message):
    arguments = {"scores": [0.5, 0.6], "strong": [1, 1], "weak": [0, 1], "quality": 0.5} | change
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match=message):
        calibrate_quality_floor(**arguments)
