"""Imported routers against RouteLLM's own classes on the same files, where there is a Python that has it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.importing.routellm_files import PAIR, Arena, about, arena, random_weights, write_arena, write_checkpoint
from tests.reference.elo_reference import ROUTELLM, cell_weights, rating_gap, similarities, weights, wins_of
from tests.reference.routellm_peer import VARIABLE, WITHOUT, RouteLLM

import fastroute
from fastroute.importing import import_matrix_factorization, import_sw_ranking
from fastroute.importing.models import ROUTELLM_MODELS

QUERIES = 1000
DIM, TOPICS = 1536, 4


@pytest.fixture(scope="module")
def routellm() -> Iterator[RouteLLM]:
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(WITHOUT)
    with RouteLLM(python) as peer:
        yield peer


def test_the_models_are_routellms(routellm: RouteLLM) -> None:
    assert dict(zip(ROUTELLM_MODELS, range(64), strict=True)) == routellm.mf_rows()


@pytest.mark.parametrize("pair", [PAIR, ("zephyr-7b-beta", "RWKV-4-Raven-14B")])
def test_matrix_factorization(routellm: RouteLLM, tmp_path: Path, pair: tuple[str, str]) -> None:
    tensors = random_weights()
    queries = np.random.default_rng(1).standard_normal((QUERIES, DIM), np.float32)
    routellm.load_mf(tensors, queries, pair)
    theirs = routellm.score_mf(QUERIES)
    import_matrix_factorization(write_checkpoint(tmp_path / "mf", tensors), *pair, encoder=None).save(tmp_path / "out")
    ours = fastroute.load(tmp_path / "out").score_embeddings(queries)
    assert np.ptp(theirs) > 0.5
    assert np.abs(ours - theirs).max() <= 1e-6


def test_similarity_weighted_ranking(routellm: RouteLLM, tmp_path: Path) -> None:
    """Two data sets of each, one Parquet and one of save_to_disk; RouteLLM reads the files that are imported."""
    pytest.importorskip("pyarrow")
    data = arena(2500, DIM, topics=TOPICS)
    first, second = data.part(0, 900), data.part(900, 2500)
    battles, embeddings = write_arena(tmp_path / "first", first)
    more = write_arena(tmp_path / "second", second)
    for parquet, split in zip(more, ("", "train"), strict=True):
        routellm.save_to_disk(parquet, parquet.with_suffix(""), split=split)
    battles_of_both, rows_of_both = ([battles, more[0].with_suffix("")], [embeddings, more[1].with_suffix("")])
    queries = about(np.arange(QUERIES) % TOPICS, DIM, TOPICS, 0)

    tiers = routellm.load_folders(battles_of_both, rows_of_both, queries, PAIR)
    theirs = [routellm.score(query).score for query in range(QUERIES)]
    import_sw_ranking(battles_of_both, rows_of_both, encoder=None).save(tmp_path / "out")
    router = fastroute.load(tmp_path / "out")

    assert dict(zip(router.models_, router.tiers_.tolist(), strict=True)) == tiers
    ours = router.score_embeddings(queries)
    assert np.ptp(theirs) > 0.1
    assert np.abs(ours - theirs).max() <= 3e-4
    # RouteLLM's solver stops early; what its formulas say is nearer.
    kept = [len(text) > 30 for text in data.columns["prompt"]]
    a, b = ([tiers[name] for name in data.columns[side]] for side in ("model_a", "model_b"))
    winners = ["model_b" if lost else "tie" if tie else "model_a" for lost, tie in lost_and_tied(data)]
    between = [each for each, long in zip(zip(a, b, winners, strict=True), kept, strict=True) if long]
    strong, weak = (tiers[model] for model in PAIR)
    for query in range(0, QUERIES, 250):
        weight = weights(similarities(data.embeddings, queries[query]))
        gap = rating_gap(wins_of(cell_weights(between, weight), compat=ROUTELLM), strong, weak)
        assert abs(float(1 - 1 / (1 + 10 ** (gap / 400))) - ours[query]) <= 2e-5


def lost_and_tied(data: Arena) -> list[tuple[int, int]]:
    return list(zip(data.columns["winner_model_b"], data.columns["winner_tie"], strict=True))
