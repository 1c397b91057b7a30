"""Scores against the reference: 10,000 pairs of a router and an embedding or a text (scorecard 8)."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference import mf_router_reference, static_encoder_reference
from tests.reference.tiny_artifacts import TOKENS, random_weights, write_encoder, write_router

import fastroute
from fastroute.artifact import safetensors
from fastroute.encoders import load_encoder

TOLERANCE = 1e-6
SHAPES = [(2, 1, 1), (2, 4, 16), (3, 1, 40), (5, 8, 33), (64, 8, 256), (7, 128, 384), (64, 128, 1536)]
SPREADS = [0.0, 0.1, 1.0, 3.0]
EACH = 179  # 7 shapes x 4 spreads x 179 > 5,000


def unit_rows(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("models", "rank", "dim"), SHAPES)
@pytest.mark.parametrize("spread", SPREADS)
def test_embeddings_score_as_the_formula_says(models: int, rank: int, dim: int, spread: float, tmp_path: Path) -> None:
    weights = random_weights(dim, rank=rank, models=models, spread=spread, seed=dim)
    write_router(tmp_path / "router", weights)
    embeddings = unit_rows(EACH, dim, seed=models)
    for strong, weak in ((0, models - 1), (models - 1, 0)):
        router = fastroute.load(tmp_path / "router", strong=f"model-{strong}", weak=f"model-{weak}")
        expected = mf_router_reference.win_rate(weights, embeddings, strong, weak)
        np.testing.assert_allclose(router.score_embeddings(embeddings), expected, rtol=0, atol=TOLERANCE)


TEXTS_EACH = 420  # 3 x 4 x 420 > 5,000


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    made = ["", " ", "prove", "\u4e2d", "zzz", "[MASK]", "the " * 200]
    while len(made) < count:
        made.append(" ".join(rng.choice(TOKENS).removeprefix("##") for _ in range(rng.randrange(0, 40))))
    return made


@pytest.mark.parametrize("dim", [1, 16, 40])
@pytest.mark.parametrize("spread", SPREADS)
def test_texts_score_as_the_formula_says(dim: int, spread: float, tmp_path: Path) -> None:
    write_encoder(tmp_path / "encoder", dim=dim)
    encoder = load_encoder(tmp_path / "encoder")
    weights = random_weights(dim, spread=spread, seed=dim)
    write_router(tmp_path / "router", weights, encoder=encoder)
    router = fastroute.load(tmp_path / "router")
    table = safetensors.decode((tmp_path / "encoder" / "encoder.safetensors").read_bytes(), source="table")
    prompts = texts(TEXTS_EACH, seed=dim)
    embeddings = np.stack(
        [
            static_encoder_reference.embed(encoder.tokenize(text), table["embedding"], table["scale"], 32)
            for text in prompts
        ]
    )
    np.testing.assert_allclose(encoder.embed(prompts), embeddings, rtol=0, atol=TOLERANCE)
    expected = mf_router_reference.win_rate(weights, embeddings, 0, 3)
    np.testing.assert_allclose(router.score(prompts), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(router.score_embeddings(router.encoder.embed(prompts)), expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        router.score_models(prompts), mf_router_reference.deltas(weights, embeddings), rtol=1e-5, atol=1e-5
    )


def test_no_text_is_scored_by_the_bias_alone(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    weights = random_weights(16)
    write_router(tmp_path / "router", weights, encoder=load_encoder(tiny_encoder_folder))
    router = fastroute.load(tmp_path / "router")
    margin = float(weights["model_bias"][0]) - float(weights["model_bias"][3])
    for text in ("", " \n", "\x00\x01", "\u0301"):
        assert router.score(text) == pytest.approx(1 / (1 + np.exp(-margin)), abs=TOLERANCE)


def test_huge_logits_score_zero_or_one(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    """Logits up to 1e30, on both sides; never NaN."""
    for size in (1e4, 1e7, 1e15, 1e30):
        weights = random_weights(16)
        weights["classifier"] = (weights["classifier"] * size).astype(np.float32)
        write_router(tmp_path / "router", weights, encoder=load_encoder(tiny_encoder_folder))
        router = fastroute.load(tmp_path / "router")
        embeddings = unit_rows(200, 16, seed=1)
        expected = mf_router_reference.win_rate(weights, embeddings, 0, 3)
        certain = np.abs(expected - 0.5) > 0.5 - 1e-12  # where rounding the weights can't matter
        assert certain.sum() > 150
        assert set(expected[certain].round()) == {0.0, 1.0}
        np.testing.assert_allclose(router.score_embeddings(embeddings)[certain], expected[certain], rtol=0, atol=1e-9)
        assert np.isfinite(router.score(texts(200, seed=3))).all()


def test_zero_weights_score_a_half(tmp_path: Path) -> None:
    weights = {name: np.zeros_like(values) for name, values in random_weights(16).items()}
    write_router(tmp_path / "router", weights)
    scores = fastroute.load(tmp_path / "router").score_embeddings(unit_rows(50, 16, seed=0))
    np.testing.assert_array_equal(scores, np.full(50, 0.5, np.float32))


@pytest.mark.data
def test_built_in_router_scores_texts_and_their_embeddings_alike(data_pack: Path) -> None:
    import pyarrow.parquet as pq

    router = fastroute.load("mf")
    column = pq.read_table(data_pack / "preferences.parquet", columns=["prompt"])["prompt"]
    prompts = sorted(set(column.to_pylist()))
    assert len(prompts) > 2000
    apart = np.abs(router.score(prompts) - router.score_embeddings(router.encoder.embed(prompts)))
    assert apart.max() <= TOLERANCE
