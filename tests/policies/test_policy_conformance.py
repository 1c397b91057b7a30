"""What every policy keeps to, and how routers use one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import fastroute
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.policies import Budget, Policy, QualityFloor, Threshold

FLOOR = QualityFloor(0.5, 0.9, 0.4, prompts=100, recovered=0.6, strong_fraction=0.5)
MAKERS = {
    "threshold": lambda: Threshold(0.4),
    "quality floor": lambda: FLOOR,
    "budget": lambda: Budget(0.3),
    "small budget": lambda: Budget(0.5, window=3, slack=1),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def policy(request):
    return request.param()


def test_is_a_policy(policy):
    assert isinstance(policy, Policy)


def test_strong_exactly_where_the_score_reaches_the_threshold(policy):
    scores = np.random.default_rng(0).choice([0.0, 0.1, 0.4, 0.40000001, 0.7, 1.0], 3000)
    for score in scores.tolist():
        strong, threshold = policy.choose(score)
        assert type(strong) is bool
        assert strong == (score >= threshold)
        assert math.isfinite(threshold)


def test_routers_take_it_one_by_one_and_in_batches(policy):
    router = fastroute.load("mf")
    prompts = [f"{verb} {n}" for n in range(60) for verb in ("Prove that 1 + 1 is", "Say", "Translate")]
    again = (
        Budget(policy.strong_fraction, window=policy.window, slack=policy.slack)
        if isinstance(policy, Budget)
        else policy
    )
    batch = router.route(prompts, policy=policy)
    single = [router.route(prompt, policy=again) for prompt in prompts]
    assert [d.model for d in batch] == [d.model for d in single]
    assert [d.threshold for d in batch] == [d.threshold for d in single]
    assert all((d.model == router.strong) == (d.score >= d.threshold) for d in batch)


def test_a_policy_and_a_threshold_exclude_each_other():
    with pytest.raises(InvalidArgumentError, match="threshold, policy: found both"):
        fastroute.load("mf").route("a", threshold=0.5, policy=Budget(0.5))


def test_what_is_no_policy():
    with pytest.raises(InvalidTypeError, match="policy: found float, allowed: a Policy"):
        fastroute.load("mf").route("a", policy=0.5)


def test_a_policy_of_ones_own():
    class Always:
        def choose(self, score: float) -> tuple[bool, float]:
            return True, 0.0

    router = fastroute.load("mf")
    assert router.route("a", policy=Always()).model == router.strong


@pytest.mark.parametrize("name", ["quality", "confidence", "threshold", "strong_fraction"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5", None, True])
def test_values_that_a_quality_floor_refuses(name, value):
    values = {"quality": 0.5, "confidence": 0.9, "threshold": 0.4, "strong_fraction": 0.5}
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match=f"{name}: found"):
        QualityFloor(**values | {name: value}, prompts=1, recovered=0.5)


def test_a_quality_floor_through_json():
    assert QualityFloor.from_record(json.loads(json.dumps(FLOOR.record()))) == FLOOR


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "found no kind, expected the kind 'quality_floor'"),
        (None, "found NoneType"),
        ({**FLOOR.record(), "kind": "strong_fraction"}, "found the kind 'strong_fraction'"),
        ({"kind": "quality_floor"}, "'quality' is missing"),
        ({**FLOOR.record(), "quality": 2}, "quality: found 2"),
    ],
)
def test_records_of_something_else(record, message):
    with pytest.raises(DataError, match=message):
        QualityFloor.from_record(record)


def test_with_threshold_changes_what_route_uses_and_save_keeps_it(tmp_path):
    router = fastroute.load("mf")
    score = router.score("Say hello")
    other = router.with_threshold(score, FLOOR.record())
    assert router.threshold != score
    assert other.artifact == ""
    assert other.route("Say hello").model == router.strong
    sha256 = other.save(tmp_path / "other")
    loaded = fastroute.load(tmp_path / "other")
    assert (loaded.threshold, loaded.artifact) == (score, sha256)
    assert QualityFloor.from_record(loaded.calibration) == FLOOR
    assert loaded.with_threshold(0.5).calibration == {}


@pytest.mark.parametrize(("threshold", "calibration"), [(1.5, None), ("x", None), (0.5, [1])])
def test_with_threshold_refuses(threshold, calibration):
    with pytest.raises((InvalidArgumentError, InvalidTypeError)):
        fastroute.load("mf").with_threshold(threshold, calibration)
