"""SimilarityWeighted of the nearest prompts alone, against decimal arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference.battle_sets import embedding_matrix
from tests.reference.elo_reference import Wins, rating_gap, reached
from tests.reference.nearest_reference import index_of, nearest

from fastroute import _core, info, set_num_threads
from fastroute.errors import InvalidArgumentError

TOLERANCE = 2e-6
LEAST = Decimal(2) ** -40


class Battles(NamedTuple):
    """How often each side beat each other: (cells, counts) of each prompt."""

    tiers: int
    prompts: list[tuple[list[int], list[float]]]

    def counts(self) -> _core.BattleCounts:
        offsets = np.cumsum([0, *(len(cells) for cells, _ in self.prompts)])
        cells = np.array([cell for cells, _ in self.prompts for cell in cells], np.uint16)
        counts = np.array([count for _, counts in self.prompts for count in counts], np.float32)
        return _core.BattleCounts(self.tiers, offsets, cells, counts)

    def wins(self, ids: list[int], weights: list[Decimal]) -> Wins:
        found: Wins = {}
        for row, weight in zip(ids, weights, strict=True):
            for cell, count in zip(*self.prompts[row], strict=True):
                pair = divmod(cell, self.tiers + 1)
                found[pair] = found.get(pair, Decimal(0)) + weight * Decimal(count)
        return found


def random_battles(rng: np.random.Generator, prompts: int, tiers: int, *, empty: float = 0.2) -> Battles:
    """Runs of prompts that are alike, some without battles, a few cells of the side at 0."""
    sides = tiers + 1
    pairs = [i * sides + j for i in range(tiers) for j in range(tiers) if i != j]
    pairs += [sides - 1, (sides - 1) * sides + 1] if rng.random() < 0.3 else []
    made: list[tuple[list[int], list[float]]] = []
    while len(made) < prompts:
        many = 0 if rng.random() < empty else int(rng.integers(1, 4))
        cells = rng.choice(pairs, min(many, len(pairs)), replace=False).tolist()
        one = (cells, rng.choice([0.5, 1.0, 1.0, 3.0], len(cells)).tolist())
        made += [one] * int(rng.choice([1, 1, 2, 20]))
    return Battles(tiers, made[:prompts])


def reference(
    battles: Battles,
    ids: list[int],
    similarity: list[float],
    *,
    base: float,
    normalised: bool,
    shrinkage: float,
    otherwise: float,
) -> tuple[float, bool]:
    """Score of tier 0 against the last one, and whether the neighbours' battles have a part in it."""
    best = similarity[0]
    if best <= 0 if normalised else best == similarity[-1] == 0:
        return otherwise, False
    slope = Decimal(base).ln() / (Decimal(best) if normalised else 1)
    weights = [max((slope * (Decimal(s) - Decimal(best))).exp(), LEAST) for s in similarity]
    near = battles.wins(ids, weights)
    every = battles.wins(list(range(len(battles.prompts))), [Decimal(1)] * len(battles.prompts))
    share = Decimal(shrinkage) / sum(every.values())
    wins = {pair: near.get(pair, Decimal(0)) + share * count for pair, count in every.items()}
    wins = {pair: weight for pair, weight in wins.items() if weight > 0}
    strong, weak = 0, battles.tiers - 1
    connected = {side for side in reached(wins, strong) if strong in reached(wins, side)}
    if weak not in connected:
        return otherwise, False
    wins = {pair: weight for pair, weight in wins.items() if set(pair) <= connected}
    gap = rating_gap(wins, strong, weak)
    return float(1 - 1 / (1 + 10 ** (gap / 400))), True


def scorer_of(index: _core.SimilarityIndex, battles: Battles, **options: Any) -> _core.SimilarityWeighted:
    return _core.SimilarityWeighted(index, battles.counts(), None, strong=0, weak=battles.tiers - 1, **options)


def check(index: _core.SimilarityIndex, battles: Battles, queries: NDArray[np.float32], **options: Any) -> int:
    """Compare with the reference; returns how many scores the neighbours decide."""
    scorer = scorer_of(index, battles, **options)
    assert not scorer.constant
    scores = scorer.score_embeddings(queries)
    neighbours = options.pop("neighbours")
    np.testing.assert_array_equal(scorer.score_neighbours(*index.nearest(queries, neighbours)), scores)
    decided = 0
    for score, ids, similarity in zip(scores, *nearest(index, queries, neighbours), strict=True):
        expected, of_neighbours = reference(
            battles, ids.tolist(), similarity.tolist(), otherwise=scorer.global_rate, **options
        )
        assert score == pytest.approx(expected, abs=TOLERANCE)
        decided += of_neighbours
    return decided


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("seed", range(30))
def test_random_battles(seed: int, normalised: bool) -> None:
    rng = np.random.default_rng([11, seed])
    tiers, dim = int(rng.integers(2, 6)), int(rng.choice([3, 16, 64]))
    size = int(rng.integers(200, 500))
    rows = (rng.uniform(0, 2) + rng.standard_normal((size, dim))).astype(np.float32)
    rows[rng.random(size) < 0.05] = 0
    battles = random_battles(rng, size, tiers)
    queries = rows[rng.integers(0, size, 5)] + rng.standard_normal((5, dim)).astype(np.float32)
    queries[3], queries[4] = 0, -queries[4]
    index = index_of(rows, fine=seed % 2 == 0)
    decided = 0
    for neighbours in (1, 5, 40, 150):
        options = {"base": float(rng.choice([1, 10, 1e4])), "shrinkage": float(rng.choice([0.1, 1, 30]))}
        decided += check(index, battles, queries, neighbours=neighbours, normalised=normalised, **options)
    assert decided >= 4


@pytest.mark.parametrize("normalised", [True, False])
def test_no_shrinkage(normalised: bool) -> None:
    rng = np.random.default_rng(12)
    battles = random_battles(rng, 1500, 4)
    index = index_of(embedding_matrix(1500, 24), fine=True)
    queries = embedding_matrix(12, 24, seed=1)
    decided = check(index, battles, queries, neighbours=1000, base=100.0, normalised=normalised, shrinkage=0.0)
    assert decided == len(queries)


@pytest.mark.parametrize("normalised", [True, False])
@pytest.mark.parametrize("base", [1.0, 10.0, 1e4])
def test_all_prompts_are_neighbours(base: float, normalised: bool) -> None:
    """Up to rounding the scores without a neighbourhood."""
    rng = np.random.default_rng(13)
    battles = random_battles(rng, 600, 5)
    index = index_of(embedding_matrix(600, 48), fine=True)
    queries = embedding_matrix(50, 48, seed=1)
    queries[0] = 0
    expected = scorer_of(index, battles, base=base, normalised=normalised).score_embeddings(queries)
    for neighbours in (600, 10**6):
        near = scorer_of(index, battles, base=base, normalised=normalised, neighbours=neighbours)
        np.testing.assert_allclose(near.score_embeddings(queries), expected, atol=5e-5)


def test_shrinkage_leads_to_the_rate_of_all_battles() -> None:
    rng = np.random.default_rng(14)
    battles = random_battles(rng, 600, 3, empty=0)
    index = index_of(embedding_matrix(600, 16), fine=True)
    queries = embedding_matrix(20, 16, seed=1)
    options = {"base": 10.0, "normalised": True, "neighbours": 100}
    rates = [
        scorer_of(index, battles, shrinkage=shrinkage, **options).score_embeddings(queries)
        for shrinkage in (1e-3, 10, 1e3, 1e12)
    ]
    rate = scorer_of(index, battles, **options, shrinkage=1.0).global_rate
    away = [np.abs(each - rate).max() for each in rates]
    assert away == sorted(away, reverse=True)
    assert away[0] > 0.02
    assert away[-1] < 1e-6


def test_neighbours_that_do_not_compare_the_tiers() -> None:
    """Then the score is the rate of all battles; beyond them a tier may be connected that is not the weak one."""
    rows = np.repeat(np.eye(3, dtype=np.float32), 1000, axis=0)
    battles = Battles(3, [([1, 4], [1.0, 1.0])] * 1000 + [([6, 9], [1.0, 3.0])] * 1000 + [([1], [1.0])] * 1000)
    index = index_of(rows, fine=True)
    scorer = scorer_of(index, battles, base=10.0, normalised=True, neighbours=1000)
    assert scorer.global_rate not in (0.0, 0.5, 1.0)
    expected = np.full(3, scorer.global_rate, np.float32)
    np.testing.assert_array_equal(scorer.score_embeddings(np.eye(3, dtype=np.float32)), expected)
    both = scorer_of(index, battles, base=10.0, normalised=True, neighbours=2000)
    query = np.array([[1, 1, 0]], np.float32)
    assert both.score_embeddings(query)[0] != np.float32(both.global_rate)
    # Shrinkage connects what all battles do.
    shrunk = scorer_of(index, battles, base=10.0, normalised=True, neighbours=1000, shrinkage=1.0)
    scores = shrunk.score_embeddings(np.eye(3, dtype=np.float32))
    assert len(set(scores.tolist())) == 3


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = info().threads
    yield set_num_threads
    set_num_threads(before)


def test_same_bits_alone_and_in_any_batch(threads: Callable[[int], None]) -> None:
    battles = random_battles(np.random.default_rng(15), 800, 4)
    index = index_of(embedding_matrix(800, 40), fine=False)
    scorer = scorer_of(index, battles, base=100.0, normalised=True, neighbours=150, shrinkage=2.0)
    queries = embedding_matrix(200, 40, seed=1)
    alone = np.concatenate([scorer.score_embeddings(query[None]) for query in queries])
    assert alone.std() > 0.01
    found = index.nearest(queries, 150)
    for count in (1, 2, 4):
        threads(count)
        np.testing.assert_array_equal(scorer.score_embeddings(queries), alone)
        np.testing.assert_array_equal(scorer.score_neighbours(*found), alone)
    assert scorer.score_embeddings(queries[:0]).shape == (0,)


def test_neighbourhoods_that_are_refused() -> None:
    battles = random_battles(np.random.default_rng(16), 1200, 3)
    index = index_of(embedding_matrix(1200, 8), fine=False)
    for options, message in (
        ({"neighbours": 999}, r"^neighbours: found 999 without shrinkage, allowed: 0 \(all prompts\), 1000 or more"),
        ({"neighbours": 1}, r"^neighbours: found 1 without shrinkage"),
        ({"neighbours": -1}, r"^neighbours: found -1, allowed: a whole number from 0 up"),
        ({"shrinkage": 1.0}, r"^shrinkage: found 1.0+, allowed: 0 without neighbours"),
        ({"neighbours": 10, "shrinkage": -1.0}, r"^shrinkage: found -1.0, allowed: a finite number from 0 up"),
        ({"neighbours": 10, "shrinkage": float("nan")}, r"^shrinkage: found nan, allowed: a finite number from 0 up"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            scorer_of(index, battles, base=10.0, normalised=True, **options)
    everything = scorer_of(index, battles, base=10.0, normalised=True)
    with pytest.raises(InvalidArgumentError, match=r"^ids: found neighbours for a scorer of all prompts"):
        everything.score_neighbours(np.zeros((1, 1), np.int64), np.ones((1, 1), np.float32))
