"""Similarity-weighted Elo over 65,000 battles: fastroute, RouteLLM itself, and NumPy with the same Newton solve.

RouteLLM runs where ``FASTROUTE_ROUTELLM_PYTHON`` names a Python that has it (`tests.reference.routellm_peer`), on
one thread as everything here. Its time includes two lines through a pipe, some 50 us of hundreds of milliseconds.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.reference.battle_sets import BattleSet, large_set
from tests.reference.elo_reference import ROUTELLM, similarities, win_rate
from tests.reference.routellm_peer import VARIABLE, WITHOUT, Answer, Loaded, RouteLLM

from benchmarks.conftest import BASELINE, FASTROUTE
from benchmarks.numpy_elo import NumpyElo
from fastroute.routers import SimilarityWeightedRouter

DIMS = (256, 384, 1536)
ONE = "win rate over 65,000 battles, d = {}, one query"
BATCH = "win rates over 65,000 battles, d = {}, 64 queries"
AGAINST_ROUTELLM = ", against RouteLLM"
# What int8 rows and queries may move a win rate by in an index this large; asked are 2e-5.
ROUNDED = 2e-4


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


def test_fastroute_one_query(
    benchmark: Any, battles: BattleSet, router: SimilarityWeightedRouter, numpy_elo: NumpyElo
) -> None:
    benchmark.group = ONE.format(battles.embeddings.shape[1])
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 4x"}
    (score,) = benchmark(router.score_embeddings, battles.queries[:1])
    assert score == pytest.approx(numpy_elo.score(battles.queries[0]), abs=ROUNDED)


def test_fastroute_batch(
    benchmark: Any, battles: BattleSet, router: SimilarityWeightedRouter, numpy_elo: NumpyElo
) -> None:
    benchmark.group = BATCH.format(battles.embeddings.shape[1])
    benchmark.extra_info |= {"role": FASTROUTE}
    scores = benchmark(router.score_embeddings, battles.queries)
    np.testing.assert_allclose(scores, numpy_elo.score_batch(battles.queries), atol=ROUNDED)


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


def test_routellm_one_query(benchmark: Any, arena: BattleSet, peer: tuple[RouteLLM, Loaded]) -> None:
    routellm, loaded = peer
    benchmark.group = ONE.format(1536) + AGAINST_ROUTELLM
    benchmark.extra_info |= {"role": BASELINE, **routellm.versions}
    query = itertools.cycle(range(len(arena.queries)))
    answers: list[Answer] = []
    benchmark.pedantic(lambda: answers.append(routellm.score(next(query))), rounds=20, warmup_rounds=1)
    check(arena, loaded, answers)


def test_routellm_batch(benchmark: Any, arena: BattleSet, peer: tuple[RouteLLM, Loaded]) -> None:
    """It has no batches: one call after the other."""
    routellm, loaded = peer
    benchmark.group = BATCH.format(1536) + AGAINST_ROUTELLM
    benchmark.extra_info |= {"role": BASELINE, **routellm.versions}
    queries = range(len(arena.queries))
    answers = benchmark.pedantic(lambda: [routellm.score(query) for query in queries], rounds=1)
    check(arena, loaded, answers)
