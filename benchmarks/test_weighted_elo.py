"""Similarity-weighted Elo over 65,000 battles: fastroute, RouteLLM itself, and NumPy with the same Newton solve.

RouteLLM runs where ``FASTROUTE_ROUTELLM_PYTHON`` names a Python that has it (`tests.reference.routellm_peer`), on
one thread as everything here. Its time includes two lines through a pipe, some 50 us of hundreds of milliseconds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.reference.battle_sets import BattleSet, large_set
from tests.reference.elo_reference import ROUTELLM, similarities, win_rate
from tests.reference.moments_reference import CellTable, cell_table, exact_rates
from tests.reference.routellm_peer import VARIABLE, WITHOUT, Answer, Loaded, RouteLLM

from benchmarks.conftest import BASELINE, FASTROUTE
from benchmarks.numpy_elo import NumpyElo
from fastroute import _core
from fastroute.routers import SimilarityWeightedRouter
from fastroute.training.battle_moments import fit_moments

DIMS = (256, 384, 1536)
RANK = 32
ONE = "win rate over 65,000 battles, d = {}, one query"
BATCH = "win rates over 65,000 battles, d = {}, 64 queries"
AGAINST_ROUTELLM = ", against RouteLLM"
FROM_MOMENTS = ", base 3, from moments against a pass"
# What int8 rows and queries may move a win rate by.
ROUNDED = 2e-5
# What a normal distribution for the cosines of each cell may: base 3 over none spreads win rates by 6e-4.
APPROXIMATE = 4e-5


@pytest.fixture(scope="module", params=DIMS)
def battles(request: pytest.FixtureRequest) -> BattleSet:
    return large_set(dim=request.param)


@pytest.fixture(scope="module")
def router(battles: BattleSet) -> SimilarityWeightedRouter:
    made = SimilarityWeightedRouter(battles.strong, battles.weak, encoder=None)
    return made.fit(battles.columns(), embeddings=battles.embeddings)


def tiered(battles: BattleSet, router: SimilarityWeightedRouter) -> tuple[list[tuple[int, int, str]], int, int]:
    """The battles between the router's tiers, and the tiers of the pair."""
    tier = dict(zip(router.models_, router.tiers_.tolist(), strict=True))
    between = [(tier[a], tier[b], winner) for a, b, winner in battles.between_models()]
    return between, tier[battles.strong], tier[battles.weak]


@pytest.fixture(scope="module")
def numpy_elo(battles: BattleSet, router: SimilarityWeightedRouter) -> NumpyElo:
    between, strong, weak = tiered(battles, router)
    return NumpyElo(between, battles.embeddings, strong, weak)


def expected(battles: BattleSet, router: SimilarityWeightedRouter, query: int) -> float:
    similarity = similarities(battles.embeddings, battles.queries[query])
    between, strong, weak = tiered(battles, router)
    return win_rate(between, similarity, strong, weak)


@pytest.fixture(scope="module")
def table(battles: BattleSet, router: SimilarityWeightedRouter) -> CellTable:
    """Battles between the router's tiers: of the others it knows no prompts."""
    tier = dict(zip(router.models_, router.tiers_.tolist(), strict=True))
    return cell_table(replace(battles, tier=tuple(tier[model] for model in battles.models)))


def test_fastroute_one_query(
    benchmark: Any, battles: BattleSet, table: CellTable, router: SimilarityWeightedRouter
) -> None:
    benchmark.group = ONE.format(battles.embeddings.shape[1])
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 4x"}
    scores = benchmark(router.score_embeddings, battles.queries[:1])
    np.testing.assert_allclose(
        scores, exact_rates(table, battles.queries[:1], base=10, normalised=True), rtol=0, atol=ROUNDED
    )


def test_fastroute_batch(
    benchmark: Any, battles: BattleSet, table: CellTable, router: SimilarityWeightedRouter
) -> None:
    benchmark.group = BATCH.format(battles.embeddings.shape[1])
    benchmark.extra_info |= {"role": FASTROUTE}
    scores = benchmark(router.score_embeddings, battles.queries)
    np.testing.assert_allclose(
        scores, exact_rates(table, battles.queries, base=10, normalised=True), rtol=0, atol=ROUNDED
    )


@pytest.fixture(scope="module")
def approximate(battles: BattleSet, table: CellTable) -> _core.SimilarityWeighted:
    if battles.embeddings.shape[1] > 384:
        pytest.skip("eigenvectors of 90 matrices of 1,536 columns take minutes")
    moments = fit_moments(table.lengths, table.cells, table.counts, table.embeddings, RANK)
    return table.scorer(base=3, normalised=False, moments=_core.BattleMoments(*moments))


@pytest.mark.parametrize("count", [1, 64], ids=["one query", "64 queries"])
@pytest.mark.parametrize("role", [FASTROUTE, BASELINE])
def test_moments(
    benchmark: Any, battles: BattleSet, approximate: _core.SimilarityWeighted, role: str, count: int
) -> None:
    """Against a pass over the index, fastroute's own."""
    group = ONE if count == 1 else BATCH
    benchmark.group = group.format(battles.embeddings.shape[1]) + FROM_MOMENTS
    benchmark.extra_info |= {"role": role, "cells": 90, "rank": RANK}
    calls = {FASTROUTE: approximate.approximate_embeddings, BASELINE: approximate.score_embeddings}
    scores = benchmark(calls[role], battles.queries[:count])
    np.testing.assert_allclose(scores, approximate.score_embeddings(battles.queries[:count]), rtol=0, atol=APPROXIMATE)


def test_numpy_one_query(
    benchmark: Any, battles: BattleSet, router: SimilarityWeightedRouter, numpy_elo: NumpyElo
) -> None:
    benchmark.group = ONE.format(battles.embeddings.shape[1])
    benchmark.extra_info |= {"role": BASELINE}
    score = benchmark(numpy_elo.score, battles.queries[0])
    assert score == pytest.approx(expected(battles, router, 0), abs=1e-6)


def test_numpy_batch(benchmark: Any, battles: BattleSet, router: SimilarityWeightedRouter, numpy_elo: NumpyElo) -> None:
    benchmark.group = BATCH.format(battles.embeddings.shape[1])
    benchmark.extra_info |= {"role": BASELINE}
    scores = benchmark(numpy_elo.score_batch, battles.queries)
    ends = [expected(battles, router, query) for query in (0, len(scores) - 1)]
    np.testing.assert_allclose(scores[[0, -1]], ends, atol=1e-6)
    np.testing.assert_allclose(scores, [numpy_elo.score(query) for query in battles.queries], atol=1e-6)


@pytest.fixture(scope="module")
def arena() -> BattleSet:
    return large_set(dim=1536)


@pytest.fixture(scope="module")
def peer(arena: BattleSet) -> Iterator[tuple[RouteLLM, Loaded]]:
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(WITHOUT)
    with RouteLLM(python) as routellm:
        yield routellm, routellm.load(arena)


def check(arena: BattleSet, loaded: Loaded, answers: list[Answer]) -> None:
    """RouteLLM's solver stops early: on these battles its win rates are off by as much as 5e-4."""
    tiers = [(loaded.tier[a], loaded.tier[b], winner) for a, b, winner in arena.between_models()]
    strong, weak = loaded.tier[arena.strong], loaded.tier[arena.weak]
    exact = NumpyElo(tiers, arena.embeddings, strong, weak, compat=ROUTELLM).score_batch(arena.queries)
    np.testing.assert_allclose([answer.score for answer in answers], exact[: len(answers)], atol=1e-3)


@pytest.mark.parametrize("count", [1, 64], ids=["one query", "64 queries"])
def test_fastroute_against_routellm(
    benchmark: Any, arena: BattleSet, peer: tuple[RouteLLM, Loaded], count: int
) -> None:
    """As RouteLLM counts battles within a tier, which it does not leave out."""
    made = SimilarityWeightedRouter(arena.strong, arena.weak, encoder=None, compat=ROUTELLM)
    router = made.fit(arena.columns(), embeddings=arena.embeddings, keep=None)
    group, aim = (ONE, "at least 80x") if count == 1 else (BATCH, "at least 700x")
    benchmark.group = group.format(1536) + AGAINST_ROUTELLM
    benchmark.extra_info |= {"role": FASTROUTE, "aim": aim}
    scores = benchmark(router.score_embeddings, arena.queries[:count])
    tier = dict(zip(router.models_, router.tiers_.tolist(), strict=True))
    between = [(tier[a], tier[b], winner) for a, b, winner in arena.between_models()]
    exact = NumpyElo(between, arena.embeddings, tier[arena.strong], tier[arena.weak], compat=ROUTELLM)
    np.testing.assert_allclose(scores, exact.score_batch(arena.queries[:count]), rtol=0, atol=ROUNDED)


def test_routellm_one_query(benchmark: Any, arena: BattleSet, peer: tuple[RouteLLM, Loaded]) -> None:
    routellm, loaded = peer
    benchmark.group = ONE.format(1536) + AGAINST_ROUTELLM
    benchmark.extra_info |= {"role": BASELINE, "versions": routellm.versions}
    query = itertools.cycle(range(len(arena.queries)))
    answers: list[Answer] = []
    benchmark.pedantic(lambda: answers.append(routellm.score(next(query))), rounds=20, warmup_rounds=1)
    check(arena, loaded, answers)


def test_routellm_batch(benchmark: Any, arena: BattleSet, peer: tuple[RouteLLM, Loaded]) -> None:
    """It has no batches: one call after the other."""
    routellm, loaded = peer
    benchmark.group = BATCH.format(1536) + AGAINST_ROUTELLM
    benchmark.extra_info |= {"role": BASELINE, "versions": routellm.versions}
    queries = range(len(arena.queries))
    answers = benchmark.pedantic(lambda: [routellm.score(query) for query in queries], rounds=1)
    check(arena, loaded, answers)
