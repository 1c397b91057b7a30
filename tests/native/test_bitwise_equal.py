"""A prompt scores the same bits alone and in any batch, on any number of threads, in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.native.weighted_moments import with_moments

import fastroute
from fastroute import _core
from fastroute.routers import ExpertsRouter, MatrixFactorizationRouter, SimilarityWeightedRouter

THREADS = [1, 2, 4, 8]
TEXTS = st.lists(st.text(max_size=40) | st.sampled_from(["prove that", "the sum is", "[MASK]", ""]), max_size=12)
ROWS = arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(16)), elements=st.floats(-100, 100, width=32))


@pytest.fixture(autouse=True, scope="module")
def _threads_are_put_back():
    before = fastroute.info().threads
    yield
    fastroute.set_num_threads(before)


@pytest.fixture(scope="module")
def moments(ranking: SimilarityWeightedRouter) -> dict[bool, _core.SimilarityWeighted]:
    """Scorers of an index without a fine part, by whether similarities are normalised."""
    return {normalised: with_moments(ranking, normalised=normalised) for normalised in (False, True)}


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, seed=st.integers(0, 2**32 - 1))
def test_texts(router: MatrixFactorizationRouter, texts: list[str], seed: int) -> None:
    alone = np.array([router.score(text) for text in texts], np.float32)
    times = 40  # enough for several threads
    order = np.random.default_rng(seed).permutation(len(texts) * times)
    batch = [texts[i % len(texts)] for i in order]
    expected = alone[order % len(texts)] if texts else alone
    for count in THREADS:
        fastroute.set_num_threads(count)
        np.testing.assert_array_equal(router.score(batch), expected)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, seed=st.integers(0, 2**32 - 1))
def test_texts_of_experts(experts: ExpertsRouter, texts: list[str], seed: int) -> None:
    scores = np.array([experts.score(text) for text in texts], np.float32)
    gains = np.array([experts.gain(text) for text in texts])
    order = np.random.default_rng(seed).permutation(len(texts) * 40)
    batch = [texts[i % len(texts)] for i in order]
    for count in THREADS:
        fastroute.set_num_threads(count)
        np.testing.assert_array_equal(experts.score(batch), scores[order % len(texts)] if texts else scores)
        np.testing.assert_array_equal(experts.gain(batch), gains[order % len(texts)] if texts else gains)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, rows=ROWS, seed=st.integers(0, 2**32 - 1))
def test_texts_and_embeddings_of_a_ranking(
    ranking: SimilarityWeightedRouter, texts: list[str], rows: np.ndarray, seed: int
) -> None:
    alone = np.array([ranking.score(text) for text in texts], np.float32)
    assert ((alone >= 0) & (alone <= 1)).all()
    np.testing.assert_array_equal(ranking.score_embeddings(ranking.encoder.embed(texts)), alone)
    each = np.array([ranking.score_embeddings(rows[i : i + 1])[0] for i in range(len(rows))], np.float32)
    order = np.random.default_rng(seed).permutation(len(texts) * 20)
    for count in THREADS:
        fastroute.set_num_threads(count)
        batch = [texts[i % len(texts)] for i in order]
        np.testing.assert_array_equal(ranking.score(batch), alone[order % len(texts)] if texts else alone)
        np.testing.assert_array_equal(ranking.score_embeddings(np.tile(rows, (10, 1))), np.tile(each, 10))


@settings(deadline=None, max_examples=40)
@given(texts=TEXTS, rows=ROWS, threshold=st.floats(0, 1), band=st.floats(0, 0.2))
def test_texts_and_embeddings_with_moments(
    moments: dict[bool, _core.SimilarityWeighted],
    ranking: SimilarityWeightedRouter,
    texts: list[str],
    rows: np.ndarray,
    threshold: float,
    band: float,
) -> None:
    scorer = moments[False]
    calls = [
        (moments[True].score, moments[True].score_embeddings),
        (scorer.score, scorer.score_embeddings),
        (scorer.approximate, scorer.approximate_embeddings),
        (lambda text: scorer.score_near(text, threshold, band),
         lambda x: scorer.score_embeddings_near(x, threshold, band)),
    ]  # fmt: skip
    for score, score_embeddings in calls:
        fastroute.set_num_threads(1)
        alone = np.array([score(text) for text in texts], np.float32)
        assert ((alone >= 0) & (alone <= 1)).all()
        np.testing.assert_array_equal(score_embeddings(ranking.encoder.embed(texts)), alone)
        each = np.array([score_embeddings(rows[i : i + 1])[0] for i in range(len(rows))], np.float32)
        for count in THREADS:
            fastroute.set_num_threads(count)
            np.testing.assert_array_equal(score(texts * 10), np.tile(alone, 10))
            np.testing.assert_array_equal(score_embeddings(np.tile(rows, (10, 1))), np.tile(each, 10))


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, rows=ROWS)
def test_texts_and_embeddings_of_neighbours(
    ranking: SimilarityWeightedRouter, texts: list[str], rows: np.ndarray
) -> None:
    index = ranking._index
    gains = np.random.default_rng(1).uniform(-1, 1, index.size).astype(np.float32)
    options = {"neighbours": 20, "base": 100.0, "shrinkage": 1.0, "guard": 0.1}
    scorer = _core.NearestGains(index, gains, ranking.encoder.native, **options)
    embedded = ranking.encoder.embed(texts)
    alone = np.array([scorer.score(text) for text in texts], np.float32)
    np.testing.assert_array_equal(scorer.score_embeddings(embedded), alone)
    np.testing.assert_array_equal(scorer.score_neighbours(*index.nearest(embedded, 20)), alone)
    each = np.array([scorer.score_embeddings(rows[i : i + 1])[0] for i in range(len(rows))], np.float32)
    rate = {"strong": 0, "weak": 2, "base": 100.0, "normalised": True, "neighbours": 20, "shrinkage": 1.0}
    near = _core.SimilarityWeighted(index, ranking._counts, ranking.encoder.native, **rate)
    rates = np.array([near.score(text) for text in texts], np.float32)
    np.testing.assert_array_equal(near.score_neighbours(*index.nearest(embedded, 20)), rates)
    for count in THREADS:
        fastroute.set_num_threads(count)
        np.testing.assert_array_equal(scorer.score(texts * 20), np.tile(alone, 20))
        np.testing.assert_array_equal(scorer.score_embeddings(np.tile(rows, (10, 1))), np.tile(each, 10))
        np.testing.assert_array_equal(near.score(texts * 20), np.tile(rates, 20))


@settings(deadline=None, max_examples=60)
@given(rows=ROWS)
def test_embeddings(router: MatrixFactorizationRouter, rows: np.ndarray) -> None:
    alone = np.array([router.score_embeddings(rows[i : i + 1])[0] for i in range(len(rows))], np.float32)
    times = 300
    for count in THREADS:
        fastroute.set_num_threads(count)
        np.testing.assert_array_equal(router.score_embeddings(np.tile(rows, (times, 1))), np.tile(alone, times))


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS)
def test_embedding_and_rating_texts(router: MatrixFactorizationRouter, texts: list[str]) -> None:
    embedded = [router.encoder.embed([text])[0] for text in texts]
    rated = [router.score_models(text) for text in texts]
    for count in THREADS:
        fastroute.set_num_threads(count)
        found = router.encoder.embed(texts * 20)
        assert found.shape == (len(texts) * 20, 16)
        np.testing.assert_array_equal(found, np.array(embedded * 20, np.float32).reshape(-1, 16))
        np.testing.assert_array_equal(router.score_models(texts * 20), np.array(rated * 20, np.float32).reshape(-1, 4))


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=200))
def test_scores_are_scores(router: MatrixFactorizationRouter, text: str) -> None:
    score = router.score(text)
    assert 0 <= score <= 1
    assert router.score_embeddings(router.encoder.embed([text]))[0] == pytest.approx(score, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=100), threshold=st.floats(0, 1))
def test_decisions_follow_from_scores(router: MatrixFactorizationRouter, text: str, threshold: float) -> None:
    decision = router.route(text, threshold=threshold)
    assert decision.score == router.score(text)
    assert decision.model == (router.strong if decision.score >= threshold else router.weak)


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=100), pair=st.permutations(["large", "medium", "small", "tiny"]))
def test_win_rates_of_a_pair_add_up_to_one(router: MatrixFactorizationRouter, text: str, pair: list[str]) -> None:
    forth = router.with_models(pair[0], pair[1]).score(text)
    back = router.with_models(pair[1], pair[0]).score(text)
    assert forth + back == pytest.approx(1, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=100), pair=st.permutations([0, 1, 2, 3]))
def test_ratings_give_the_win_rates(router: MatrixFactorizationRouter, text: str, pair: list[int]) -> None:
    ratings = router.score_models(text).astype(np.float64)
    expected = 1 / (1 + np.exp(ratings[pair[1]] - ratings[pair[0]]))
    names = router.models
    assert router.with_models(names[pair[0]], names[pair[1]]).score(text) == pytest.approx(expected, abs=1e-6)
