"""`Budget` holds its share on any stream, and gives it to the highest scores."""

from __future__ import annotations

import math
import threading
import time

import numpy as np
import pytest

from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.policies import Budget

N = 8000


def streams() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    usual = random.beta(8, 4, N)
    return {
        "stationary": usual,
        "narrow": 0.7 + usual * 1e-5,
        "sudden shift up": np.where(np.arange(N) < N // 2, usual * 0.5, 0.5 + usual * 0.5),
        "sudden shift down": np.where(np.arange(N) < N // 2, 0.5 + usual * 0.5, usual * 0.5),
        "slow drift": usual * 0.3 + np.linspace(0, 0.7, N),
        "waves": usual * 0.5 + 0.25 + 0.25 * np.sin(np.arange(N) / 150),
        "constant": np.full(N, 0.5),
        "two points": random.choice([0.2, 0.8], N, p=[0.6, 0.4]),
        "alternating": np.tile([0.2, 0.8], N // 2),
        "rising": np.linspace(0, 1, N),
        "falling": np.linspace(1, 0, N),
        "ends of the range": random.choice([0.0, 1.0], N),
    }


STREAMS = streams()


def decided(budget: Budget, scores: np.ndarray) -> np.ndarray:
    return np.array([budget.choose(score)[0] for score in scores.tolist()])


@pytest.mark.parametrize("fraction", [0.0, 0.03, 1 / 3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", STREAMS)
def test_the_share_is_held_within_a_point_after_2000_prompts(name, fraction):
    strong = np.concatenate([[0], np.cumsum(decided(Budget(fraction), STREAMS[name]))])
    so_far = np.arange(len(strong))
    assert np.abs(strong[2000:] / so_far[2000:] - fraction).max() <= 0.01
    assert np.abs((strong[2000:] - strong[:-2000]) / 2000 - fraction).max() <= 0.01 + 1e-9  # any 2,000 in a row
    assert np.abs(strong - fraction * so_far).max() <= 10 + 1e-6


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_the_share_is_held_against_an_adversary(fraction):
    """Each score is chosen, knowing the state, to be just on the side that the count can bear least."""
    budget = Budget(fraction)
    cut = 0.5
    for step in range(1, 6001):
        strong, prompts = budget.counts
        too_many = strong >= fraction * prompts
        _, cut = budget.choose(min(1.0, max(0.0, cut + (1e-9 if too_many else -1e-9))))
        if step >= 2000:
            strong, prompts = budget.counts
            assert abs(strong / prompts - fraction) <= 0.01


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("name", ["stationary", "narrow"])
def test_strong_calls_go_to_the_highest_scores(name, fraction):
    """Nine in ten choices are those of the quantile that is only known afterwards."""
    scores = STREAMS[name]
    agree = decided(Budget(fraction), scores) == (scores >= np.quantile(scores, 1 - fraction))
    assert agree.mean() > 0.93


def test_after_a_shift_the_choice_is_by_score_again():
    scores = STREAMS["sudden shift up"]
    late = np.arange(N) >= N // 2 + 1000
    agree = decided(Budget(0.5), scores)[late] == (scores[late] >= np.quantile(scores[late], 0.5))
    assert agree.mean() > 0.93


def test_two_points_fill_up_with_ties():
    """With 40% at .8 and a share of 60%, nearly all of the .8 and a third of the .2 are strong."""
    scores = STREAMS["two points"]
    strong = decided(Budget(0.6), scores)
    assert strong[scores == 0.8].mean() > 0.99
    assert strong[scores == 0.2].mean() == pytest.approx(1 / 3, abs=0.02)


def test_constant_scores_are_spread_evenly():
    strong = np.cumsum(decided(Budget(0.3), STREAMS["constant"][:2000]))
    assert np.abs(strong - 0.3 * np.arange(1, 2001)).max() < 4


def test_a_stream_is_decided_alike_every_time_and_at_any_scale():
    scores = STREAMS["stationary"]
    first = decided(Budget(0.4), scores)
    np.testing.assert_array_equal(decided(Budget(0.4), scores), first)
    np.testing.assert_array_equal(decided(Budget(0.4), scores**3), first)


def test_memory_does_not_grow():
    budget = Budget(0.5, window=50)
    for score in STREAMS["stationary"].tolist():
        budget.choose(score)
    assert (len(budget._latest), len(budget._ranked)) == (50, 50)
    assert sorted(budget._latest) == budget._ranked


class SlowBudget(Budget):
    """Lets other threads run in the middle of a choice."""

    def _rank(self, score: float, dither: float) -> float:
        rank = super()._rank(score, dither)
        time.sleep(0)
        return rank


def test_threads_hold_the_share_together():
    budget = SlowBudget(0.5, window=100, slack=1)
    counted: list[int] = []
    furthest: list[float] = []

    def work(seed: int) -> None:
        scores = np.random.default_rng(seed).random(300).tolist()
        strong = 0
        for score in scores:
            strong += budget.choose(score)[0]
            so_far, prompts = budget.counts
            furthest.append(abs(so_far - 0.5 * prompts))
        counted.append(strong)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.counts == (sum(counted), 1800)
    assert max(furthest) <= 1
    assert sorted(budget._latest) == budget._ranked


@pytest.mark.parametrize("score", [math.nan, -0.1, 1.1, math.inf])
def test_a_score_outside_the_range_is_refused_and_not_counted(score):
    budget = Budget(0.5)
    with pytest.raises(InvalidArgumentError, match="score: found"):
        budget.choose(score)
    assert budget.counts == (0, 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strong_fraction": 1.1}, "strong_fraction: found 1.1"),
        ({"strong_fraction": math.nan}, "strong_fraction: found nan"),
        ({"strong_fraction": "0.5"}, "strong_fraction: found str"),
        ({"strong_fraction": 0.5, "window": 0}, "window: found 0, allowed: 1 to"),
        ({"strong_fraction": 0.5, "window": 1.5}, "window: found float"),
        ({"strong_fraction": 0.5, "slack": -1}, "slack: found -1"),
        ({"strong_fraction": 0.5, "slack": True}, "slack: found bool"),
    ],
)
def test_arguments_that_are_refused(settings, message):
    with pytest.raises((InvalidArgumentError, InvalidTypeError), match=message):
        Budget(**settings)
