"""The compiled resampling against the plain definitions on the resampled questions themselves."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastroute.errors import InvalidArgumentError
from fastroute.evaluation import Outcomes, curve_of, measure
from fastroute.evaluation.bootstrap import GRID, Scored, interval, resample
from fastroute.evaluation.metrics import METRIC_NAMES


def case(rng: np.random.Generator) -> tuple[Outcomes, list[Scored]]:
    n = int(rng.integers(1, 50))
    marks = int(rng.choice([1, 4]))
    prices = (rng.random(n), rng.random(n) * 9) if rng.random() < 0.5 else (0.5, 2.0)
    outcomes = Outcomes.of(
        rng.integers(0, marks + 1, n) / 2,
        rng.integers(0, marks + 2, n) / 2,
        weak_dollars=prices[0],
        strong_dollars=prices[1],
    )
    routers = [
        Scored(rng.integers(0, levels, n) / 3, float(rng.random()) if levels != 5 else None, 0.01)
        for levels in (1, 5, 10_000)
    ]
    return outcomes, routers


def test_every_resample_is_the_metrics_of_the_drawn_questions() -> None:
    rng = np.random.default_rng(1)
    for seed in range(150):
        outcomes, routers = case(rng)
        found = resample(outcomes, routers, resamples=3, seed=seed, keep=0.9)
        draws = np.random.default_rng(seed)
        for row in range(3):
            drawn = draws.integers(0, len(outcomes), len(outcomes))
            taken = outcomes.take(drawn)
            assert found.qualities[row] == pytest.approx([taken.weak.mean(), taken.strong.mean()])
            for column, router in enumerate(routers):
                scores = router.scores[drawn]
                expected = measure(scores, taken, threshold=router.threshold, keep=0.9, router_dollars=0.01)
                for place, name in enumerate(METRIC_NAMES):
                    value = getattr(expected, name)
                    wanted = pytest.approx(np.nan if value is None else value, nan_ok=True)
                    assert found.metrics[row, column, place] == wanted, name
                curve = curve_of(scores, taken)
                on_grid = np.interp(np.linspace(0, 1, GRID), curve.share, curve.quality)
                assert found.curves[row, column] == pytest.approx(on_grid)


def test_the_seed_decides() -> None:
    outcomes, routers = case(np.random.default_rng(2))
    one, same, other = (resample(outcomes, routers, resamples=50, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.metrics, same.metrics)
    assert not np.array_equal(one.metrics, other.metrics, equal_nan=True)


def test_intervals_cover_as_often_as_they_say() -> None:
    """300 samples from a population whose APGR is 1/2: its interval misses it in 5%, give or take."""
    rng = np.random.default_rng(7)
    missed = 0
    for seed in range(300):
        n = 200
        outcomes = Outcomes.of(rng.random(n) < 0.5, rng.random(n) < 0.9)
        drawn = resample(outcomes, [Scored(rng.random(n), None, 0)], resamples=300, seed=seed)
        low, high = interval(drawn.metric("apgr")[:, 0])
        missed += not low <= 0.5 <= high
    assert 4 <= missed <= 33


def test_undefined_draws_are_left_out_up_to_five_per_cent() -> None:
    draws = np.arange(100.0)
    draws[:5] = np.nan
    assert interval(draws) == pytest.approx((7.35, 96.65))
    draws[5] = np.nan
    assert interval(draws) is None
    assert interval(np.full(3, np.nan)) is None


def test_differences_are_paired() -> None:
    """Two routers that order almost alike: the difference varies far less than either."""
    rng = np.random.default_rng(8)
    n = 500
    outcomes = Outcomes.of(rng.random(n) < 0.6, rng.random(n) < 0.8)
    scores = rng.random(n)
    routers = [Scored(scores, None, 0), Scored(scores + rng.random(n) / 100, None, 0)]
    apgr = resample(outcomes, routers, resamples=300).metric("apgr")
    assert (apgr[:, 0] - apgr[:, 1]).std() < apgr[:, 0].std() / 5


def test_no_resamples() -> None:
    with pytest.raises(InvalidArgumentError, match="resamples: found 0, allowed: 1 or more"):
        resample(Outcomes.of([0], [1]), [], resamples=0)


@pytest.mark.slow
def test_mmlu_takes_less_than_ten_seconds() -> None:
    rng = np.random.default_rng(9)
    n = 14_042
    outcomes = Outcomes.of(rng.random(n) < 0.7, rng.random(n) < 0.8)
    router = Scored(rng.random(n), 0.5, 0)
    resample(outcomes, [router], resamples=1)  # compiles
    # Of this process, without BLAS threads that spin while others have the processor: a busy machine must not fail it.
    with threadpool_limits(1):
        start = time.process_time()
        resample(outcomes, [router], resamples=2000)
        assert time.process_time() - start < 10


def test_it_does_without_scipy() -> None:
    """The extra [eval] has numba and no SciPy, which numba's linear algebra would ask for."""
    script = """
import sys
sys.modules["scipy"] = None
import numpy as np
from fastroute.evaluation import bootstrap
from fastroute.evaluation.metrics import Outcomes
weak, strong = np.array([0.0, 1, 0, 1]), np.array([1.0, 1, 0, 1])
drawn = bootstrap.resample(
    Outcomes.of(weak, strong), [bootstrap.Scored(np.arange(4.0), None, 0.0)], resamples=20, seed=0
)
assert drawn.metric("apgr").shape == (20, 1)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
