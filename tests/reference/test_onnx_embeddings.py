"""Encoders on ONNX Runtime against a BERT in plain loops and float64, and routers that are trained on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.reference.bert_graph import random_tensors
from tests.reference.tiny_models import Reference, ids_of, model_tokenizer, random_prompts, write_model

import fastroute
from fastroute.encoders import Encoder, OnnxEncoder, load_encoder
from fastroute.errors import EncoderMismatchError
from fastroute.routers import ExpertsRouter, KnnRouter, MatrixFactorizationRouter, SimilarityWeightedRouter

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

PROMPTS = [*random_prompts(50, seed=3), "", "\u4e2d \U0001f600", "a\ud800b", "the " * 300]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_embeddings_of_each_pooling(pooling: str, normalise: bool, tmp_path: Path) -> None:
    tensors = random_tensors(seed=1)
    encoder = OnnxEncoder.from_folder(write_model(tmp_path / "tiny", tensors), pooling=pooling, normalise=normalise)
    expected = Reference(tensors).embeddings(PROMPTS, pooling=pooling, normalise=normalise)
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim, encoder.max_tokens) == ("tiny", 16, 24)
    found = encoder.embed(PROMPTS)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.vstack([encoder.embed([prompt]) for prompt in PROMPTS]), expected, atol=1e-5)
    assert encoder.embed([]).shape == (0, 16)
    assert encoder.embed(iter(PROMPTS)).tobytes() == found.tobytes()


def test_a_graph_that_pools_is_taken_as_it_is(tmp_path: Path) -> None:
    tensors = random_tensors(seed=2)
    encoder = OnnxEncoder.from_folder(write_model(tmp_path, tensors, pooled=True), pooling="cls", normalise=False)
    expected = Reference(tensors).embeddings(PROMPTS, pooling="mean", normalise=False)
    np.testing.assert_allclose(encoder.embed(PROMPTS), expected, atol=1e-5)


@pytest.mark.parametrize(("mode", "pooling"), [("cls_token", "cls"), ("mean_tokens", "mean")])
def test_the_folder_says_how_to_pool(mode: str, pooling: str, tmp_path: Path) -> None:
    tensors = random_tensors(seed=3)
    folder = write_model(tmp_path, tensors)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 9}))
    encoder = OnnxEncoder.from_folder(folder)
    assert encoder.max_tokens == 9
    short = [prompt for prompt in PROMPTS if len(ids_of(prompt)) <= 9]
    expected = Reference(tensors).embeddings(short, pooling=pooling, normalise=True)
    np.testing.assert_allclose(encoder.embed(short), expected, atol=1e-5)


def test_without_added_tokens_an_empty_prompt_has_zeros(tmp_path: Path) -> None:
    folder = write_model(tmp_path, tokenizer=model_tokenizer(post_processor=None))
    encoder = OnnxEncoder.from_folder(folder)
    found = encoder.embed(["", "why", "\x00"])
    assert not found[[0, 2]].any()
    assert np.linalg.norm(found[1]) == pytest.approx(1)


def test_saved_and_loaded_it_is_the_same_encoder(tmp_path: Path) -> None:
    encoder = OnnxEncoder.from_folder(write_model(tmp_path / "tiny"))
    assert encoder.save(tmp_path / "saved") == encoder.sha256
    again = load_encoder(tmp_path / "saved")
    assert isinstance(again, OnnxEncoder)
    assert (again.sha256, again.name, again.dim) == (encoder.sha256, encoder.name, encoder.dim)
    np.testing.assert_array_equal(again.embed(PROMPTS), encoder.embed(PROMPTS))
    assert OnnxEncoder.from_folder(tmp_path / "tiny").sha256 == encoder.sha256
    assert OnnxEncoder.from_folder(tmp_path / "tiny", pooling="cls").sha256 != encoder.sha256
    assert again.save(tmp_path / "again") == encoder.sha256


def test_tokens_are_those_of_the_core(tmp_path: Path) -> None:
    encoder = OnnxEncoder.from_folder(write_model(tmp_path))
    for prompt in PROMPTS:
        assert encoder.tokenize(prompt) == ids_of(prompt, 100_000)[1:-1]
        assert encoder.tokenize(prompt, truncate=True) == ids_of(prompt)[1:-1]
    assert encoder.truncated == 0  # asking is not embedding
    encoder.embed(PROMPTS)
    assert encoder.truncated == sum(len(ids_of(prompt, 100_000)) > 24 for prompt in PROMPTS) > 3


BATTLES = {
    "prompt": [f"prove that {i} " + "is the sum " * (i % 4) for i in range(120)],
    "model_a": ["large"] * 120,
    "model_b": ["small"] * 120,
    "winner": ["model_a" if i % 4 > 1 else "model_b" for i in range(120)],
}
OUTCOMES = {
    "prompt": [f"prove that {i // 2} " + "is the sum " * (i // 2 % 4) for i in range(240)],
    "model": ["large", "small"] * 120,
    "score": [float(i % 2 == 0 or i // 2 % 4 < 2) for i in range(240)],
}


@pytest.mark.parametrize("kind", ["mf", "sw_ranking", "knn", "experts"])
def test_routers_are_trained_on_it_and_carry_it(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="training needs the extra [train]")
    pytest.importorskip("numba", reason="training needs the extra [train]")
    encoder = OnnxEncoder.from_folder(write_model(tmp_path / "tiny"))
    router = {
        "mf": lambda: MatrixFactorizationRouter("large", "small", encoder=encoder, rank=2, epochs=3).fit(BATTLES),
        "sw_ranking": lambda: SimilarityWeightedRouter("large", "small", encoder=encoder).fit(BATTLES),
        "knn": lambda: KnnRouter("large", "small", encoder=encoder, neighbours=8).fit(OUTCOMES),
        "experts": lambda: ExpertsRouter("large", "small", encoder=encoder).fit(OUTCOMES),
    }[kind]()
    scores = router.score(PROMPTS)
    assert np.isfinite(scores).all()
    assert router.score(PROMPTS[0]) == pytest.approx(float(scores[0]), abs=1e-3)
    router.save(tmp_path / "router")
    assert {"model.onnx", "tokenizer.json", "encoder.json"} <= {path.name for path in (tmp_path / "router").iterdir()}
    again = fastroute.load(tmp_path / "router")
    assert isinstance(again.encoder, OnnxEncoder)
    np.testing.assert_array_equal(again.score(PROMPTS), scores)
    given = fastroute.load(tmp_path / "router", encoder=encoder)
    np.testing.assert_array_equal(given.score(PROMPTS), scores)
    other = OnnxEncoder.from_folder(tmp_path / "tiny", max_tokens=9)
    with pytest.raises(EncoderMismatchError, match="was trained with encoder 'tiny'"):
        fastroute.load(tmp_path / "router", encoder=other)
