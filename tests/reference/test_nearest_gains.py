"""NearestGains against its formula."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference import gains_reference as reference
from tests.reference.battle_sets import embedding_matrix
from tests.reference.nearest_reference import index_of, nearest

from fastroute import _core, info, set_num_threads
from fastroute.errors import InvalidArgumentError, InvalidTypeError

RULES = [
    reference.Rule(base=1.0, shrinkage=0.0, guard=0.0),
    reference.Rule(base=10.0, shrinkage=5.0, guard=1.0),
    reference.Rule(base=1e4, shrinkage=0.5, guard=0.3),
    reference.Rule(base=1e30, shrinkage=0.0, guard=2.0),
    reference.Rule(base=3.0, shrinkage=1e300, guard=1e-6),
    reference.Rule(base=3.0, shrinkage=0.0, guard=1e300),
]


def scorer_of(
    index: _core.SimilarityIndex, gains: NDArray[np.float32], rule: reference.Rule, neighbours: int
) -> _core.NearestGains:
    return _core.NearestGains(index, gains, None, neighbours=neighbours, **rule._asdict())


def check(
    index: _core.SimilarityIndex,
    gains: NDArray[np.float32],
    queries: NDArray[np.float32],
    rule: reference.Rule,
    neighbours: int,
) -> list[reference.Estimate]:
    scorer = scorer_of(index, gains, rule, neighbours)
    mean = math.fsum(gains.tolist()) / len(gains)
    assert scorer.mean_gain == pytest.approx(mean, abs=1e-12)
    assert (scorer.dim, scorer.size) == (index.dim, index.size)
    ids, similarities = nearest(index, queries, neighbours)
    expected = [
        reference.estimate(gains[each].tolist(), near.tolist(), mean, rule)
        for each, near in zip(ids, similarities, strict=True)
    ]
    scores, explained = scorer.score_embeddings(queries), scorer.explain_neighbours(*index.nearest(queries, neighbours))
    assert scores.dtype == np.float32
    assert explained.shape == (len(queries), 3)
    np.testing.assert_allclose(explained, np.array(expected), rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(scores, [each.score for each in expected], atol=2e-5)
    np.testing.assert_array_equal(np.clip((1 + explained[:, 2]) / 2, 0, 1).astype(np.float32), scores)
    np.testing.assert_array_equal(scorer.score_neighbours(*index.nearest(queries, neighbours)), scores)
    return expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(15))
def test_random_gains(seed: int, rule: reference.Rule) -> None:
    rng = np.random.default_rng([9, seed])
    size, dim = int(rng.choice([1, 2, 17, 64, 500])), int(rng.choice([1, 4, 33, 256]))
    rows = (rng.uniform(0, 2) + rng.standard_normal((size, dim))).astype(np.float32)
    rows[rng.random(size) < 0.1] = 0
    if dim == 1:
        rows[:, 0] = np.sign(rows[:, 0])  # else thousands of similarities differ by their last bits
    gains = np.clip(rng.normal(rng.uniform(-1, 1), 0.5, size), -1, 1).astype(np.float32)
    if seed % 3 == 0:
        gains = np.sign(gains) * (rng.random(size) < 0.3).astype(np.float32)
    queries = rows[rng.integers(0, size, 8)] + rng.standard_normal((8, dim)).astype(np.float32)
    queries[2], queries[3], queries[4] = 0, rows[0], -queries[4]
    for neighbours in (1, 2, 10, size, size + 3):
        check(index_of(rows, fine=seed % 2 == 0), gains, queries, rule, neighbours)


def test_a_prompt_like_nothing_gets_the_mean() -> None:
    rows = np.eye(4, dtype=np.float32)
    gains = np.array([1, 1, 0, -1], np.float32)
    index = index_of(rows, fine=True)
    scorer = scorer_of(index, gains, RULES[0], 2)
    queries = np.array([[0, 0, 0, 0], [-1, -1, -1, -1]], np.float32)
    np.testing.assert_array_equal(scorer.explain_neighbours(*index.nearest(queries, 2)), [[0.25, 0, 0.25]] * 2)
    np.testing.assert_array_equal(scorer.score_embeddings(queries), np.float32([0.625] * 2))


def test_a_single_neighbour_needs_no_guard() -> None:
    rows = np.eye(2, dtype=np.float32)
    gains = np.array([1, -1], np.float32)
    index = index_of(rows, fine=True)
    for guard, guarded in ((0.0, 1.0), (1e-300, 0.0), (1.0, 0.0)):
        scorer = scorer_of(index, gains, reference.Rule(1.0, 0.0, guard), 1)
        assert scorer.explain_neighbours(*index.nearest(rows[:1], 1)).tolist() == [[1.0, math.inf, guarded]]
    far = scorer_of(index, gains, reference.Rule(1e30, 0.0, 1.0), 2)
    assert far.explain_neighbours(*index.nearest(rows[:1], 2))[0, 1] == math.inf


def test_the_guard_is_continuous() -> None:
    """As it grows, gains go to the mean without a jump and stay there."""
    rng = np.random.default_rng(3)
    rows = embedding_matrix(400, 16)
    gains = rng.choice([-1, 0, 1], 400, p=[0.1, 0.5, 0.4]).astype(np.float32)
    index = index_of(rows, fine=True)
    guards = np.linspace(0, 5, 201)
    near = index.nearest(rows[:50], 20)
    found = np.stack(
        [scorer_of(index, gains, reference.Rule(10.0, 2.0, g), 20).explain_neighbours(*near) for g in guards]
    )
    away = np.abs(found[:, :, 2] - gains.astype(np.float64).mean())
    assert (np.diff(away, axis=0) <= 1e-12).all()
    steps = 0.025 * found[0, :, 1] + 1e-12
    assert (np.abs(np.diff(found[:, :, 2], axis=0)) <= steps).all()
    assert (away[0] > 0.01).mean() > 0.8
    assert (away[-1] < 1e-12).mean() > 0.8


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = info().threads
    yield set_num_threads
    set_num_threads(before)


def test_same_bits_alone_and_in_any_batch(threads: Callable[[int], None]) -> None:
    rng = np.random.default_rng(4)
    gains = rng.uniform(-1, 1, 1000).astype(np.float32)
    index = index_of(embedding_matrix(1000, 40), fine=False)
    scorer = scorer_of(index, gains, RULES[1], 30)
    queries = embedding_matrix(300, 40, seed=1)
    alone = np.concatenate([scorer.score_embeddings(query[None]) for query in queries])
    assert alone.std() > 0.01
    found = index.nearest(queries, 30)
    for count in (1, 2, 4):
        threads(count)
        np.testing.assert_array_equal(scorer.score_embeddings(queries), alone)
        np.testing.assert_array_equal(scorer.score_neighbours(*found), alone)
    assert scorer.score_embeddings(queries[:0]).shape == (0,)
    assert scorer.explain_neighbours(*(each[:0] for each in found)).shape == (0, 3)
    assert scorer.score_neighbours(found[0][:0], found[1][:0]).shape == (0,)


def test_faiss_neighbours_score_alike() -> None:
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    rows = embedding_matrix(2000, 64)
    scorer = scorer_of(index_of(rows, fine=True), rng.uniform(-1, 1, 2000).astype(np.float32), RULES[1], 50)
    flat = faiss.IndexFlatIP(64)
    flat.add(rows)
    queries = embedding_matrix(50, 64, seed=1)
    similarities, ids = flat.search(queries, 50)
    np.testing.assert_allclose(scorer.score_neighbours(ids, similarities), scorer.score_embeddings(queries), atol=2e-3)


def test_bad_neighbours_are_refused() -> None:
    scorer = scorer_of(index_of(np.eye(3, dtype=np.float32), fine=True), np.zeros(3, np.float32), RULES[0], 2)
    ids, similarities = np.array([[0, 1], [2, 1]]), np.array([[1, 0.5], [0.5, 0.5]], np.float32)
    assert scorer.score_neighbours(ids, similarities).tolist() == [0.5, 0.5]
    for place, value, message in (
        ((1, 0), 3, r"^ids: found 3 at row 1, column 0, allowed: 0 to 2"),
        ((0, 1), -1, r"^ids: found -1 at row 0, column 1, allowed: 0 to 2"),
        ((1, 1), 2**62, r"^ids: found 4611686018427387904 at row 1"),
    ):
        bad = ids.copy()
        bad[place] = value
        with pytest.raises(InvalidArgumentError, match=message):
            scorer.score_neighbours(bad, similarities)
    for place, value in (((0, 0), np.nan), ((1, 1), -np.inf), ((1, 1), 0.75), ((0, 0), 0.25)):
        wrong = similarities.copy()
        wrong[place] = value
        with pytest.raises(InvalidArgumentError, match=r"^similarities: found .* at row [01], column [01], allowed: "):
            scorer.score_neighbours(ids, wrong)
    with pytest.raises(InvalidArgumentError, match="similarities: found 1 x 2, allowed: the shape of ids, 2 x 2"):
        scorer.score_neighbours(ids, similarities[:1])
    with pytest.raises(InvalidArgumentError, match="ids: found no columns"):
        scorer.score_neighbours(ids[:, :0].copy(), similarities[:, :0].copy())
    with pytest.raises(InvalidTypeError, match="ids: found dtype int32"):
        scorer.score_neighbours(ids.astype(np.int32), similarities)
