"""Similarity-weighted Elo through the router, against decimal arithmetic and scikit-learn (scorecard 8)."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from tests.reference.battle_sets import BattleSet, degenerate_sets, random_sets
from tests.reference.elo_reference import NoAnswerError, rating_gap, sklearn_win_rate, weights, wins_of
from tests.reference.elo_reference import similarities as cosines

from fastroute.errors import FastrouteError, InvalidArgumentError
from fastroute.routers import SimilarityWeightedRouter
from fastroute.routers.battle_index import embedding_keys

TOLERANCE = 2e-5
RANDOM, DEGENERATE = list(random_sets()), list(degenerate_sets())


def fitted(battles: BattleSet, compat: str | None, tiers: int = 10) -> SimilarityWeightedRouter:
    router = SimilarityWeightedRouter(battles.strong, battles.weak, encoder=None, compat=compat, tiers=tiers)
    return router.fit(battles.columns(), embeddings=battles.embeddings)


def counted(battles: BattleSet, *, merged: bool) -> dict[tuple[int, int, int], tuple[float, int]]:
    """Mean outcome and number of the battles of each row, side a and side b; merged: a pair's in either order."""
    found: dict[tuple[int, int, int], list[float]] = {}
    for row, a, b, winner in zip(
        battles.row.tolist(), battles.model_a.tolist(), battles.model_b.tolist(), battles.winner, strict=True
    ):
        outcome = {"model_a": 1.0, "model_b": 0.0}.get(winner, 0.5)
        turned = merged and a > b
        key = (row, b, a) if turned else (row, a, b)
        found.setdefault(key, []).append(1 - outcome if turned else outcome)
    return {key: (float(np.mean(each)), 1 if merged else len(each)) for key, each in found.items()}


def reference(router: SimilarityWeightedRouter, battles: BattleSet, similarity: list[float]) -> float:
    """Win rate in decimal arithmetic."""
    tier = {model: int(t) for model, t in zip(router.models_, router.tiers_, strict=True)}
    names = battles.models
    compat = router.compat
    cells: dict[tuple[int, int, str], Decimal] = {}
    weight = weights(similarity, base=router.base)
    for (row, a, b), (outcome, times) in counted(battles, merged=compat is None).items():
        for side, share in (("model_a", outcome), ("model_b", 1 - outcome)):
            cell = (tier[names[a]], tier[names[b]], side)
            cells[cell] = cells.get(cell, Decimal(0)) + weight[row] * Decimal(share) * times
    gap = rating_gap(wins_of(cells, compat=compat), tier[battles.strong], tier[battles.weak])
    return float(1 - 1 / (1 + 10 ** (gap / 400)))


def similarities(router: SimilarityWeightedRouter, battles: BattleSet) -> np.ndarray:
    """(queries, rows) in float64; prompts without a battle that counts are as unlike as can be."""
    known = set(router._rest["keys"].tolist())
    found = np.array([cosines(battles.embeddings, query) for query in battles.queries])
    found[:, [key not in known for key in embedding_keys(battles.embeddings).tolist()]] = -1.0
    return found


@pytest.mark.parametrize("compat", [None, "routellm"])
@pytest.mark.parametrize("part", range(10))
def test_random_sets(part: int, compat: str | None) -> None:
    worst, cases = 0.0, 0
    for battles in RANDOM[part::10]:
        try:
            router = fitted(battles, compat)
        except InvalidArgumentError:  # no chain of wins compares the pair
            continue
        scores = router.score_embeddings(battles.queries)
        for score, similarity in zip(scores, similarities(router, battles), strict=True):
            if similarity.max() <= 0:
                continue
            worst = max(worst, abs(float(score) - reference(router, battles, similarity.tolist())))
            cases += 1
    assert cases > 60
    assert worst <= TOLERANCE


def test_scikit_learn_agrees_in_compat_mode() -> None:
    """Its own stopping rule leaves it off by a little: RouteLLM's ratings are those."""
    differences = []
    for battles in RANDOM[::10]:
        try:
            router = fitted(battles, "routellm")
        except FastrouteError:
            continue
        tier = {model: int(t) for model, t in zip(router.models_, router.tiers_, strict=True)}
        if tier[battles.strong] == tier[battles.weak] or router._scorer is None or router._scorer.constant:
            continue
        similarity = similarities(router, battles)[0]
        if similarity.max() <= 0:
            continue
        between = [(tier[a], tier[b], winner) for a, b, winner in battles.between_models()]
        weight = 10 * 10 ** (similarity / similarity.max())
        expected = sklearn_win_rate(
            between, weight[battles.row].tolist(), tier[battles.strong], tier[battles.weak], exact=True
        )
        differences.append(abs(float(router.score_embeddings(battles.queries[:1])[0]) - expected))
    assert len(differences) > 15
    assert max(differences) <= 3e-4


@pytest.mark.parametrize("compat", [None, "routellm"])
@pytest.mark.parametrize("battles", DEGENERATE, ids=lambda battles: battles.name)
def test_degenerate_sets(battles: BattleSet, compat: str | None) -> None:
    """A typed error, or a score in [0, 1] that is right where there is a right one."""
    try:
        router = fitted(battles, compat)
    except FastrouteError:
        return
    scores = router.score_embeddings(battles.queries)
    assert ((scores >= 0) & (scores <= 1)).all()
    for score, similarity in zip(scores, similarities(router, battles), strict=True):
        if similarity.max() <= 0:
            assert router._scorer is not None
            assert score == np.float32(router._scorer.global_rate)
            continue
        try:
            expected = reference(router, battles, similarity.tolist())
        except NoAnswerError:
            continue
        assert abs(float(score) - expected) <= TOLERANCE
