"""The bert router against a BERT in plain loops and float64: heads, lengths, truncation, batches."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto
from tests.reference.bert_graph import random_tensors
from tests.reference.tiny_models import MAX_TOKENS, Reference, random_prompts, write_model

import fastroute
from fastroute.routers import BertRouter, Head

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

UNICODE = ["", " \n", "\u4e2d\u6587 \U0001f600 e\u0301", "a\ud800b", "[MASK] [CLS]", "\x00", "x" * 500, "the " * 300]
TOLERANCE = 1e-5

Folder = Callable[..., Path]


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def routellm(logits: np.ndarray) -> np.ndarray:
    """routellm 0.2.0, BERTRouter.calculate_strong_win_rate, a row at a time."""
    rates = []
    for row in logits:
        exp_scores = np.exp(row - np.max(row))
        softmax_scores = exp_scores / np.sum(exp_scores)
        binary_prob = np.sum(softmax_scores[-2:])
        rates.append(1 - binary_prob)
    return np.array(rates)


HEADS = {
    "one logit": (1, None, lambda x: 1 / (1 + np.exp(-x[:, 0]))),
    "two logits": (2, None, lambda x: softmax(x)[:, 1]),
    "two logits, the other way": (2, Head("binary", strong_class=0), lambda x: softmax(x)[:, 0]),
    "three classes": (3, None, routellm),
    "regression": (1, "regression", lambda x: np.clip(x[:, 0], 0, 1)),
    "regression through a sigmoid": (1, Head("regression", sigmoid=True), lambda x: 1 / (1 + np.exp(-x[:, 0]))),
}


@pytest.mark.parametrize("name", HEADS)
def test_scores_of_each_head(name: str, tmp_path: Path) -> None:
    labels, head, rule = HEADS[name]
    tensors = random_tensors(labels=labels, seed=3)
    if name == "regression":
        tensors["classifier.weight"] *= np.float32(0.1)
        tensors["classifier.bias"][:] = 0.5 - Reference(tensors).logits(["why"])[0] + tensors["classifier.bias"]
    router = BertRouter.from_folder(write_model(tmp_path, tensors), "large", "small", head=head)
    prompts = random_prompts(40, seed=labels) + UNICODE
    expected = rule(Reference(tensors).logits(prompts))
    np.testing.assert_allclose(router.score(prompts), expected, atol=TOLERANCE)
    np.testing.assert_allclose([router.score(prompt) for prompt in prompts], expected, atol=TOLERANCE)
    assert len(np.unique(router.score(prompts).round(4))) > 10
    router.save(tmp_path / "saved")
    again = fastroute.load(tmp_path / "saved")
    assert isinstance(again, BertRouter)
    assert again.head == router.head
    np.testing.assert_array_equal(again.score(prompts), router.score(prompts))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[BertRouter, list[str], np.ndarray]:
    """A router, 200 prompts of random lengths and their scores in float64."""
    tensors = random_tensors(labels=1, seed=5)
    router = BertRouter.from_folder(write_model(tmp_path_factory.mktemp("model"), tensors), "large", "small")
    prompts = random_prompts(200, seed=1)
    return router, prompts, 1 / (1 + np.exp(-Reference(tensors).logits(prompts)[:, 0]))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 31, 32, 33, 100, 200])
def test_batches_of_any_size_and_order(sample: tuple[BertRouter, list[str], np.ndarray], count: int) -> None:
    router, prompts, expected = sample
    rng = np.random.default_rng(count)
    for _ in range(3):
        drawn = rng.permutation(len(prompts))[:count]
        scores = router.score([prompts[i] for i in drawn])
        np.testing.assert_allclose(scores, expected[drawn], atol=TOLERANCE)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(sample: tuple[BertRouter, list[str], np.ndarray], threads: int) -> None:
    router, prompts, expected = sample
    before = fastroute.info().threads
    fastroute.set_num_threads(threads)
    try:
        np.testing.assert_allclose(router.score(prompts), expected, atol=TOLERANCE)
    finally:
        fastroute.set_num_threads(before)


@pytest.mark.parametrize("max_tokens", [3, 4, 9, MAX_TOKENS, 40])
def test_prompts_are_cut_at_max_tokens(tmp_path: Path, max_tokens: int) -> None:
    tensors = random_tensors(labels=1, seed=6)
    router = BertRouter.from_folder(write_model(tmp_path, tensors), max_tokens=max_tokens)
    prompts = ["the sum is 2 " * repeats for repeats in (0, 1, 2, 5, 9, 10, 50)]
    expected = 1 / (1 + np.exp(-Reference(tensors).logits(prompts, max_tokens)[:, 0]))
    np.testing.assert_allclose(router.score(prompts), expected, atol=TOLERANCE)
    assert router.max_tokens == max_tokens
    assert router.truncated == sum(4 * repeats > max_tokens - 2 for repeats in (0, 1, 2, 5, 9, 10, 50))
    before = router.truncated
    router.score("the sum " * 100)
    assert router.truncated == before + 1
    assert router.with_threshold(0.1).truncated == before + 1  # the same model
    assert router.tokenize("the sum " * 100, truncate=True) == router.tokenize("the sum " * 100)[: max_tokens - 2]


@pytest.mark.parametrize(
    "inputs",
    [("input_ids",), ("input_ids", "attention_mask"), ("input_ids", "attention_mask", "token_type_ids")],
    ids=len,
)
@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_graphs_with_other_inputs(tmp_path: Path, inputs: tuple[str, ...], kind: int) -> None:
    tensors = random_tensors(labels=1, seed=7)
    if kind == TensorProto.INT32 and len(inputs) < 3:
        pytest.skip("the graph's own arithmetic is in int64")
    router = BertRouter.from_folder(write_model(tmp_path, tensors, inputs=inputs, kind=kind))
    prompts = random_prompts(30, seed=2)
    expected = 1 / (1 + np.exp(-Reference(tensors).logits(prompts)[:, 0]))
    np.testing.assert_allclose(router.score(prompts), expected, atol=TOLERANCE)


@pytest.mark.parametrize("place", ["model.onnx", "onnx/model.onnx"])
def test_where_the_graph_is(tmp_path: Path, place: str) -> None:
    router = BertRouter.from_folder(write_model(tmp_path, random_tensors(labels=2), place=place))
    assert 0 <= router.score("why") <= 1


def test_a_prompt_without_any_token_has_logits_of_zero(tmp_path: Path) -> None:
    tokenizer = json.loads((write_model(tmp_path, random_tensors(labels=3)) / "tokenizer.json").read_bytes())
    router = BertRouter.from_folder(
        write_model(tmp_path, random_tensors(labels=3), tokenizer=tokenizer | {"post_processor": None})
    )
    assert router.score("") == pytest.approx(1 / 3)
    np.testing.assert_allclose(router.score(["", "why", ""])[[0, 2]], 1 / 3, atol=1e-7)
    assert router.score("why") != pytest.approx(1 / 3)


def test_int8_scores_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    """`quantize_dynamic` takes the range of activations over a batch: prompts would change each other's scores."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    tensors = random_tensors(labels=1, seed=8)
    folder = write_model(tmp_path / "float", tensors)
    exact = BertRouter.from_folder(folder)
    quantised = write_model(tmp_path / "int8", tensors)
    quantize_dynamic(folder / "model.onnx", quantised / "model.onnx", weight_type=QuantType.QInt8, per_channel=True)
    assert "DynamicQuantizeLinear" in {node.op_type for node in onnx.load(quantised / "model.onnx").graph.node}
    router = BertRouter.from_folder(quantised)
    prompts = random_prompts(60, seed=4)
    scores = router.score(prompts)
    np.testing.assert_array_equal(scores, np.array([router.score(prompt) for prompt in prompts], np.float32))
    np.testing.assert_array_equal(router.score(prompts[::-1]), scores[::-1])
    assert np.abs(scores - exact.score(prompts)).max() < 0.1
    assert np.corrcoef(scores, exact.score(prompts))[0, 1] > 0.95
