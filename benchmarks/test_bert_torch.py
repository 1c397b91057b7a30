"""The bert router in int8 against transformers in torch, on one thread, from the prompt's text to its score.

Two baselines: the same model in float32, of the architecture of all-MiniLM-L6-v2; and that of RouteLLM's checkpoint,
XLM-RoBERTa base with three labels. All weights are random, which time does not depend on. torch runs in a process of
its own (`tests.reference.torch_peer`); its time includes two lines through a pipe, some 50 us of 8 ms and more.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.bert_graph import random_tensors
from tests.reference.torch_peer import WITHOUT, TorchClassifier, python_with_torch

from benchmarks.conftest import BASELINE, FASTROUTE, SEED
from benchmarks.test_bert import LENGTHS, SIX_LAYERS, prompt_of, write
from fastroute.routers import BertRouter

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
save_file = pytest.importorskip("safetensors.numpy", reason="needs safetensors").save_file

PYTHON = python_with_torch()
needs_torch = pytest.mark.skipif(PYTHON is None, reason=WITHOUT)
TURNS, CALLS = 5, 4
SAME, ROUTELLM = "the same model in torch, float32", "XLM-RoBERTa base in torch, float32"
AIMS = {SAME: {20: "at least 3x", 100: "at least 3x"}, ROUTELLM: dict.fromkeys(LENGTHS, "at least 30x")}

XLM_ROBERTA_BASE = {
    "model_type": "xlm-roberta",
    "architectures": ["XLMRobertaForSequenceClassification"],
    "vocab_size": 250_002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
}
MINILM = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": SIX_LAYERS.vocab,
    "hidden_size": SIX_LAYERS.hidden,
    "num_hidden_layers": SIX_LAYERS.layers,
    "num_attention_heads": SIX_LAYERS.heads,
    "intermediate_size": SIX_LAYERS.inner,
    "max_position_embeddings": SIX_LAYERS.positions,
    "layer_norm_eps": SIX_LAYERS.eps,
    "pad_token_id": 0,
    "id2label": {"0": "LABEL_0"},
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX graphs in `float32` and `int8`, the same weights for transformers in `torch`, and XLM-RoBERTa's `config`."""
    folder = tmp_path_factory.mktemp("models")
    tensors = random_tensors(SIX_LAYERS, labels=1, seed=SEED, pooler=True)
    write(folder, SIX_LAYERS.layers, tensors)
    named = {name if name.startswith("classifier") else f"bert.{name}": values for name, values in tensors.items()}
    tokenizer = (folder / "int8" / "tokenizer.json").read_bytes()
    for name, config in (("torch", MINILM), ("xlm-roberta-base", XLM_ROBERTA_BASE)):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps(config), encoding="utf-8")
        # any tokenizer of text to so many ids: XLM-RoBERTa's own is not at hand, and its share of the time is small
        (folder / name / "tokenizer.json").write_bytes(tokenizer)
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 512}
        settings["model_input_names"] = ["input_ids", "attention_mask"]
        (folder / name / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    save_file(named, folder / "torch" / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module", params=[SAME, ROUTELLM])
def peer(request: pytest.FixtureRequest, models: Path) -> Iterator[tuple[str, TorchClassifier]]:
    name = "torch" if request.param == SAME else "xlm-roberta-base"
    assert PYTHON is not None
    with TorchClassifier(PYTHON, models / name) as classifier:
        yield request.param, classifier


@needs_torch
@pytest.mark.parametrize("tokens", LENGTHS)
def test_against_torch(benchmark: Any, models: Path, peer: tuple[str, TorchClassifier], tokens: int) -> None:
    """Both sides by turns of some calls, so that a busy machine is busy for both; the ratio is that of the medians.

    The first call of a turn is not counted, on both sides: the other side's weights are in the cache then, which they
    are not where one router serves.
    """
    baseline, classifier = peer
    router, prompt = BertRouter.from_folder(models / "int8"), prompt_of(tokens)
    assert len(router.tokenize(prompt)) == tokens - 2
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(1 if benchmark.disabled else TURNS):
        seconds = []
        for _ in range(CALLS):
            start = time.perf_counter()
            score = router.score(prompt)
            seconds.append(time.perf_counter() - start)
        ours += seconds[1:]
        runs = [classifier.run(prompt) for _ in range(CALLS)]
        logits = runs[-1][0]
        theirs += [each for _, each in runs[1:]]
    if baseline == SAME:
        exact = BertRouter.from_folder(models / "float32").score(prompt)
        assert exact == pytest.approx(1 / (1 + np.exp(-logits[0])), abs=1e-5)
        assert score == pytest.approx(exact, abs=0.1)
    else:
        assert len(logits) == 3
    medians = [statistics.median(seconds) for seconds in (ours, theirs)]
    ratio, fastest = medians[1] / medians[0], min(theirs) / min(ours)
    versions = ", ".join(f"{name} {version}" for name, version in classifier.versions.items())
    print(
        f"\nbert int8 against {baseline} ({versions}), {tokens} tokens: {medians[0] * 1e3:.2f} ms, "
        f"{medians[1] * 1e3:.1f} ms, {ratio:.1f}x ({fastest:.1f}x of the fastest runs), "
        f"{AIMS[baseline].get(tokens, 'no aim')}"
    )
    benchmark.group = f"bert int8, {tokens} tokens, beside {baseline}"
    told = {
        "ours": medians[0],
        "theirs": medians[1],
        "ratio": ratio,
        "aim": AIMS[baseline].get(tokens),
    }
    benchmark.extra_info |= {**told, "versions": classifier.versions}
    benchmark.pedantic(router.score, (prompt,), rounds=3)


HERE = all(importlib.util.find_spec(name) for name in ("torch", "transformers", "onnx"))


@pytest.fixture(scope="module")
def exported(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], BertRouter]:
    from fastroute.exporting.bert import export_bert

    routers = {name: export_bert(models / "torch", precision=name, prompts=["why"]) for name in ("fp32", "int8")}
    return routers.__getitem__


@pytest.mark.skipif(not HERE, reason="needs the extra [train-bert]")
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("role", [FASTROUTE, BASELINE])
def test_exported_graph(
    benchmark: Any, models: Path, exported: Callable[[str], BertRouter], role: str, precision: str, tokens: int
) -> None:
    """What the exporter makes is as fast as a graph that was written node by node."""
    plain = BertRouter.from_folder(models / {"fp32": "float32"}.get(precision, precision))
    router, prompt = exported(precision) if role == FASTROUTE else plain, prompt_of(tokens)
    benchmark.group = f"exported bert {precision}, {tokens} tokens, against a graph by hand"
    benchmark.extra_info |= {"role": role, "aim": "about 1x"}
    score = benchmark.pedantic(router.score, (prompt,), rounds=15, warmup_rounds=2)
    assert score == pytest.approx(plain.score(prompt), abs=1e-5 if precision == "fp32" else 0.1)
