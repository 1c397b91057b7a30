"""The causal_llm router against a decoder in plain loops and float64: template, truncation, batches, labels."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from tests.reference.decoder_graph import AFTER, BEFORE, LABELS, MAX_TOKENS, last_state, random_decoder, write_decoder
from tests.reference.tiny_artifacts import TOKENS
from tests.reference.tiny_models import _words, random_prompts

import fastroute
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.routers import CausalLlmRouter, Head

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

UNICODE = ["", " \n", "\u4e2d\u6587 \U0001f600 e\u0301", "a\ud800b", "\x00", "x" * 500, "the " * 300]
TOLERANCE = 1e-5
TENSORS = random_decoder(seed=7)


def words(text: str) -> list[int]:
    return _words().encode(text, None)


def ids_of(prompt: str, max_tokens: int = MAX_TOKENS) -> list[int]:
    before, after = words(BEFORE), words(AFTER)
    return [*before, *words(prompt)[: max_tokens - len(before) - len(after)], *after]


def expected(prompts: list[str], max_tokens: int = MAX_TOKENS) -> np.ndarray:
    """The softmax of the two labels' tokens, as a language model without a cache would have it."""
    rates = []
    for prompt in prompts:
        state = last_state(TENSORS, ids_of(prompt, max_tokens))
        first, second = (math.exp(TENSORS["embed"][TOKENS.index(label)].astype(np.float64) @ state) for label in LABELS)
        rates.append(first / (first + second))
    return np.array(rates)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("decoder") / "it", TENSORS)


def router_of(folder: Path, **settings: object) -> CausalLlmRouter:
    return CausalLlmRouter.from_folder(folder, "large", "small", template=(BEFORE, AFTER), **settings)  # type: ignore[arg-type]


def test_zero_shot_is_a_softmax_over_label_tokens(folder: Path) -> None:
    prompts = [*random_prompts(60, seed=3), *UNICODE]
    router = router_of(folder)
    scores = router.score(prompts)
    assert scores.dtype == np.float32
    assert np.abs(scores - expected(prompts)).max() <= TOLERANCE
    assert scores.std() > 0.1
    assert router.labels == LABELS
    assert router.template == (BEFORE, AFTER)


def test_the_other_label_is_the_other_score(folder: Path) -> None:
    prompts = random_prompts(20, seed=4)
    turned = router_of(folder, head=Head("binary", strong_class=1)).score(prompts)
    assert np.abs(turned - (1 - expected(prompts))).max() <= TOLERANCE


def test_alone_and_in_any_batch(folder: Path) -> None:
    prompts = random_prompts(50, seed=5)
    router = router_of(folder)
    together = router.score(prompts)
    assert np.abs(together - [router.score(prompt) for prompt in prompts]).max() <= TOLERANCE
    assert np.abs(together[::-1] - router.score(prompts[::-1])).max() <= TOLERANCE


@pytest.mark.parametrize("max_tokens", [7, 8, 12, 23])
def test_a_long_prompt_loses_its_end_and_the_template_nothing(folder: Path, max_tokens: int) -> None:
    router = router_of(folder, max_tokens=max_tokens)
    prompts = ["the sum of x is 2 " * 20, "why", "what is sqrt 2 ? " * 3]
    assert np.abs(router.score(prompts) - expected(prompts, max_tokens)).max() <= TOLERANCE
    kept = max_tokens - len(words(BEFORE)) - len(words(AFTER))
    assert router.tokenize(prompts[0], truncate=True) == words(prompts[0])[:kept]
    assert router.tokenize(prompts[0]) == words(prompts[0])
    assert router.truncated == sum(len(words(prompt)) > kept for prompt in prompts)
    # what is beyond the cut says nothing, and what is before it does
    same = "the sum of x is 2 " * 20
    assert router.score(same + "why") == router.score(same + "prove")
    assert router.score("why") != router.score("prove")


def test_a_template_that_leaves_no_room_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="max_tokens: found 6, allowed: more than the 6"):
        router_of(folder, max_tokens=6)


def test_a_special_token_in_a_prompt_is_text(folder: Path) -> None:
    router = router_of(folder)
    assert TOKENS.index("[SEP]") not in router.tokenize("why [SEP] the")
    assert router.tokenize("why [SEP] the") != router.tokenize("why the")


def test_saved_and_loaded_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    prompts = random_prompts(30, seed=6)
    router = router_of(folder, max_tokens=20).with_threshold(0.4)
    sha256 = router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, CausalLlmRouter)
    assert (loaded.artifact, loaded.threshold, loaded.max_tokens) == (sha256, 0.4, 20)
    assert (loaded.labels, loaded.template, loaded.head) == (router.labels, router.template, router.head)
    assert loaded.score(prompts).tobytes() == router.score(prompts).tobytes()
    assert loaded.save(tmp_path / "again") == sha256
    assert pickle.loads(pickle.dumps(loaded)).score(prompts).tobytes() == router.score(prompts).tobytes()


def test_in_int8_a_prompt_has_one_score(folder: Path, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    write_decoder(tmp_path, TENSORS)
    quantize_dynamic(
        tmp_path / "model.onnx", tmp_path / "model.onnx", weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"]
    )
    router = router_of(tmp_path)
    prompts = random_prompts(30, seed=8)
    scores = router.score(prompts)
    assert scores.tolist() == [router.score(prompt) for prompt in prompts]
    assert np.corrcoef(scores, expected(prompts))[0, 1] > 0.9


@pytest.mark.parametrize(
    ("template", "error", "says"),
    [
        ("text", InvalidTypeError, "template: found 'text'"),
        (("a", 2), InvalidTypeError, "template: found"),
        (("a",), InvalidTypeError, "template: found"),
        (("a", ""), InvalidArgumentError, "and at least one after it"),
        (("a" * 4096, "b"), InvalidArgumentError, "4096 characters before"),
    ],
)
def test_templates(template: object, error: type[Exception], says: str, folder: Path) -> None:
    with pytest.raises(error, match=says):
        CausalLlmRouter.from_folder(folder, "a", "b", template=template)  # type: ignore[arg-type]


def test_labels_of_a_folder(tmp_path: Path) -> None:
    folder = write_decoder(tmp_path, TENSORS, labels=("why", "what", "is"))
    assert router_of(folder).head.kind == "three_class"
    with pytest.raises(InvalidArgumentError, match="head: found binary"):
        router_of(folder, head="binary")
    (folder / "labels.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"labels\.safetensors"):
        router_of(folder)
    (folder / "labels.safetensors").unlink()
    with pytest.raises(DataError, match=r"labels\.safetensors: not found"):
        router_of(folder)
