"""Tiers: the best cut of all, and cases at the edge."""

from __future__ import annotations

import numpy as np
import pytest

from fastroute.training.tiers import assign_tiers

pytest.importorskip("scipy")
from tests.reference.bradley_terry_reference import best_tiers


def within(values, tiers) -> float:
    return sum(((values[tiers == t] - values[tiers == t].mean()) ** 2).sum() for t in np.unique(tiers))


@pytest.mark.parametrize("seed", range(25))
def test_no_cut_is_better(seed):
    random = np.random.default_rng(seed)
    values = random.normal(1000, 100, random.integers(1, 11)).round(random.integers(-1, 2))
    count = int(random.integers(1, len(values) + 1))
    tiers = assign_tiers(values, count)
    assert sorted(set(tiers)) == list(range(1, count + 1))
    assert within(values, tiers) == pytest.approx(best_tiers(values, count), abs=1e-6)
    assert (np.diff(tiers[np.argsort(-values, kind="stable")]) >= 0).all()


def test_gaps_are_found_and_the_strongest_is_first():
    assert assign_tiers(np.array([900.0, 1201, 1000, 1200, 901, 1199]), 3).tolist() == [3, 1, 2, 1, 3, 1]


def test_fewer_ratings_than_tiers():
    assert assign_tiers(np.array([1.0, 3.0, 2.0]), 10).tolist() == [3, 1, 2]
    assert assign_tiers(np.array([]), 10).tolist() == []
