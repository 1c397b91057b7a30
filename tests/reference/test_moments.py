"""Moments of battles: rounded sums that they correct, scores that they approximate (scorecard 8)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import pytest
from tests.reference.battle_sets import BattleSet, degenerate_sets, large_set, random_sets
from tests.reference.elo_reference import NoAnswerError
from tests.reference.moments_reference import (
    CellTable,
    approximate_rate,
    cell_table,
    corrected_rate,
    exact_rates,
    units,
)
from threadpoolctl import threadpool_limits

from fastroute import _core
from fastroute.errors import InvalidArgumentError
from fastroute.routers import SimilarityWeightedRouter
from fastroute.training.battle_moments import fit_moments

TOLERANCE = 2e-5
RANDOM, DEGENERATE = list(random_sets()), list(degenerate_sets())


@pytest.fixture(autouse=True, scope="module")
def one_blas_thread() -> Iterator[None]:
    """Products of small matrices wait for each other on more."""
    with threadpool_limits(1):
        yield


def moments_of(table: CellTable, rank: int) -> _core.BattleMoments:
    return _core.BattleMoments(*fit_moments(table.lengths, table.cells, table.counts, table.embeddings, rank))


def scorer_of(table: CellTable, *, base: float, normalised: bool, rank: int) -> _core.SimilarityWeighted | None:
    """None where no chain of wins compares the pair, or there is no battle."""
    if not len(table.lengths):
        return None
    try:
        return table.scorer(base=base, normalised=normalised, moments=moments_of(table, rank))
    except InvalidArgumentError as error:
        assert str(error).startswith("strong, weak: ")  # noqa: PT017 - the others are faults
        return None


@functools.cache
def arena(dim: int) -> tuple[BattleSet, CellTable]:
    """65,000 battles between the tiers that the router makes."""
    battles = large_set(dim=dim)
    router = SimilarityWeightedRouter(battles.strong, battles.weak, encoder=None)
    # Tiers are a matter of who won: a few columns do.
    router.fit(battles.columns(), embeddings=np.ascontiguousarray(battles.embeddings[:, :8]))
    tier = dict(zip(router.models_, router.tiers_.tolist(), strict=True))
    battles = dataclasses.replace(battles, tier=tuple(tier[model] for model in battles.models))
    return battles, cell_table(battles)


@pytest.mark.slow
@pytest.mark.parametrize("dim", [256, 1536])
def test_win_rates_over_65_000_battles(dim: int) -> None:
    battles, table = arena(dim)
    expected = exact_rates(table, battles.queries, base=10, normalised=True)
    off = {}
    for name, moments in (("int8 alone", None), ("corrected", moments_of(table, 0))):
        scores = table.scorer(base=10, normalised=True, moments=moments).score_embeddings(battles.queries)
        off[name] = np.abs(scores - expected)
    assert off["corrected"].max() <= TOLERANCE
    # Not by chance: the typical error is much smaller too.
    assert np.sqrt((off["corrected"] ** 2).mean()) < 0.75 * np.sqrt((off["int8 alone"] ** 2).mean())


@pytest.mark.slow
def test_scores_without_a_pass_over_65_000_battles() -> None:
    """With a low base the approximation ranks prompts as the score does."""
    battles, table = arena(256)
    scorer = table.scorer(base=3, normalised=False, moments=moments_of(table, 32))
    exact = scorer.score_embeddings(battles.queries)
    assert np.abs(exact - exact_rates(table, battles.queries, base=3, normalised=False)).max() <= 2e-6
    found = scorer.approximate_embeddings(battles.queries)
    assert np.abs(found - exact).max() <= 4e-5
    assert exact.std() > 4e-4
    expected = [approximate_rate(table, query, base=3, rank=32) for query in battles.queries[:1]]
    np.testing.assert_allclose(found[:1], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("compat", [None, "routellm"])
@pytest.mark.parametrize("normalised", [True, False])
def test_corrected_sums_of_random_sets(normalised: bool, compat: str | None) -> None:
    worst, cases = 0.0, 0
    for battles in RANDOM[::8]:
        table = cell_table(battles, compat)
        scorer = scorer_of(table, base=10, normalised=normalised, rank=0)
        if scorer is None or scorer.constant:
            continue
        for query, score in zip(battles.queries, scorer.score_embeddings(battles.queries), strict=True):
            if normalised and (units(table.embeddings) @ units(query[None])[0]).max() < 0.05:
                continue
            worst = max(worst, abs(score - corrected_rate(table, query, base=10, normalised=normalised)))
            cases += 1
    assert cases > 30
    assert worst <= 2e-6


@pytest.mark.parametrize("compat", [None, "routellm"])
@pytest.mark.parametrize("base", [1.0, 10.0, 1e3])
@pytest.mark.parametrize("rank", [1, 3, 64])
def test_approximations_of_random_sets(rank: int, base: float, compat: str | None) -> None:
    worst, cases = 0.0, 0
    for battles in RANDOM[rank % 5 :: 30]:
        table = cell_table(battles, compat)
        scorer = scorer_of(table, base=base, normalised=False, rank=rank)
        if scorer is None or scorer.constant:
            continue
        for query, score in zip(battles.queries, scorer.approximate_embeddings(battles.queries), strict=True):
            worst = max(worst, abs(score - approximate_rate(table, query, base=base, rank=rank)))
            cases += 1
    assert cases > 8
    assert worst <= 2e-6


@pytest.mark.parametrize("compat", [None, "routellm"])
@pytest.mark.parametrize("battles", DEGENERATE, ids=lambda battles: battles.name)
def test_degenerate_sets(battles: BattleSet, compat: str | None) -> None:
    table = cell_table(battles, compat)
    for base, normalised in ((10.0, True), (10.0, False), (1e30, False)):
        scorer = scorer_of(table, base=base, normalised=normalised, rank=0 if normalised else 12)
        if scorer is None:
            continue
        scores = [scorer.score_embeddings(battles.queries)]
        if not normalised:
            scores.append(scorer.approximate_embeddings(battles.queries))
            near = scorer.score_embeddings_near(battles.queries, 0.5, 1.0)
            np.testing.assert_array_equal(near, scores[0])
        for each in scores:
            assert ((each >= 0) & (each <= 1)).all()
            if scorer.constant or not battles.queries.any():
                np.testing.assert_array_equal(each, np.float32(scorer.global_rate))
        if scorer.constant or normalised or base > 10 or not battles.queries.any():
            continue
        for query, found in zip(battles.queries, scores[1], strict=True):
            try:
                expected = approximate_rate(table, query, base=base, rank=12)
            except NoAnswerError:
                continue
            assert abs(found - expected) <= 2e-6


def test_cells_of_one_prompt_are_exact() -> None:
    """Nothing varies in them: the approximation is the score but for what rounding leaves."""
    rng = np.random.default_rng(0)
    cells = np.array([1, 2, 4, 6, 8, 9], np.uint16)  # all pairs of three tiers
    table = CellTable(3, 0, 2, np.ones(6, np.int64), cells, np.ones(6, np.float32),
                      rng.standard_normal((6, 40)).astype(np.float32))  # fmt: skip
    moments = moments_of(table, 5)
    assert not moments.factors().any()
    scorer = table.scorer(base=100, normalised=False, moments=moments)
    queries = rng.standard_normal((50, 40)).astype(np.float32)
    expected = exact_rates(table, queries, base=100, normalised=False)
    np.testing.assert_allclose(scorer.approximate_embeddings(queries), expected, rtol=0, atol=1e-6)
    # And the correction is all that rounding did.
    np.testing.assert_allclose(scorer.score_embeddings(queries), expected, rtol=0, atol=1e-5)


def test_scores_near_a_threshold() -> None:
    battles, table = RANDOM[3], cell_table(RANDOM[3])
    queries = np.random.default_rng(0).standard_normal((200, battles.queries.shape[1])).astype(np.float32)
    scorer = scorer_of(table, base=50, normalised=False, rank=2)
    assert scorer is not None
    scores, guesses = scorer.score_embeddings(queries), scorer.approximate_embeddings(queries)
    threshold, band = float(np.median(guesses)), float(np.quantile(np.abs(guesses - np.median(guesses)), 0.3))
    close = np.abs(guesses.astype(np.float64) - threshold) <= band
    assert 40 < close.sum() < 80
    assert (scores != guesses).sum() > 150
    found = scorer.score_embeddings_near(queries, threshold, band)
    np.testing.assert_array_equal(found, np.where(close, scores, guesses))
    np.testing.assert_array_equal(scorer.score_embeddings_near(queries, 0.5, 1), scores)
    for i in range(0, 200, 20):
        assert scorer.score_embeddings_near(queries[i : i + 1], threshold, band)[0] == found[i]


def test_an_index_with_a_fine_part_is_not_corrected() -> None:
    battles, table = RANDOM[3], cell_table(RANDOM[3])
    rows, fine, scales = _core.quantise_rows(table.embeddings)
    _, counts = table.native()
    index = _core.SimilarityIndex(rows, scales, fine)
    pair = {"strong": table.strong, "weak": table.weak, "base": 10.0, "normalised": False}
    alone = _core.SimilarityWeighted(index, counts, None, **pair)
    moments = moments_of(table, 4)
    scorer = _core.SimilarityWeighted(index, counts, None, **pair, moments=moments)
    np.testing.assert_array_equal(scorer.score_embeddings(battles.queries), alone.score_embeddings(battles.queries))
    other = table.scorer(base=10, normalised=False, moments=moments)
    np.testing.assert_array_equal(
        scorer.approximate_embeddings(battles.queries), other.approximate_embeddings(battles.queries)
    )
