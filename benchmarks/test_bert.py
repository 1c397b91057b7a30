"""The bert router on a graph with random weights: int8 against float32, and batches by tokens against naive padding.

The architecture is all-MiniLM-L6-v2's: 6 layers, 384 dimensions, 12 heads, a vocabulary of 30,522. Batches run on two
layers of it, so that the naive way is done in time.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.bert_graph import Shape, Tensors, random_tensors
from tests.reference.tiny_models import write_model

from benchmarks.conftest import BASELINE, CHECKOUT, FASTROUTE, SEED
from fastroute import builtin
from fastroute.routers import BertRouter

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra [bert]")

LENGTHS = (20, 100, 400)
BATCH = "bert int8, 1,000 mixed prompts, 20 to 400 tokens"
WORDS = ["prove", "that", "the", "sum", "of", "two", "odd", "numbers", "is", "even", "why", "what", "write", "code"]


SIX_LAYERS = Shape(vocab=30_522, hidden=384, layers=6, heads=12, inner=1536, positions=512)


def write(folder: Path, layers: int, tensors: Tensors | None = None) -> Path:
    """A folder with a model of so many layers; `int8` beside it is quantised as one does."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    shape = dataclasses.replace(SIX_LAYERS, layers=layers)
    source = builtin.find_encoder("static-minilm-l6")
    assert source is not None
    tokenizer = json.loads((source / "tokenizer.json").read_bytes())
    tokenizer["post_processor"] = {"type": "BertProcessing", "sep": ["[SEP]", 102], "cls": ["[CLS]", 101]}
    config = {"max_position_embeddings": 512, "pad_token_id": 0}
    tensors = random_tensors(shape, labels=1, seed=SEED) if tensors is None else tensors
    write_model(folder / "float32", tensors, shape=shape, tokenizer=tokenizer, config=config)
    write_model(folder / "int8", tensors, shape=shape, tokenizer=tokenizer, config=config)
    logging.disable(logging.WARNING)  # it advises pre-processing, which did not help
    try:
        paths = [folder / kind / "model.onnx" for kind in ("float32", "int8")]
        quantize_dynamic(*paths, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logging.disable(logging.NOTSET)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("six"), 6)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("two"), 2) / "int8"


def prompt_of(tokens: int, seed: int = 0) -> str:
    """A prompt of so many tokens, [CLS] and [SEP] among them."""
    return " ".join(random.Random(seed).choices(WORDS, k=tokens - 2))


@pytest.fixture(scope="module")
def mixed() -> list[str]:
    rng = np.random.default_rng(SEED)
    lengths = np.exp(rng.uniform(np.log(20), np.log(400), 1000)).astype(int)
    return [prompt_of(int(length), seed) for seed, length in enumerate(lengths)]


@pytest.mark.parametrize("tokens", LENGTHS)
def test_int8_alone(benchmark: Any, models: Path, tokens: int) -> None:
    benchmark.group = f"bert, {tokens} tokens: float32 against int8"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 1.5x"}
    router, prompt = BertRouter.from_folder(models / "int8"), prompt_of(tokens)
    assert len(router.tokenize(prompt)) == tokens - 2
    score = benchmark.pedantic(router.score, (prompt,), rounds=15, warmup_rounds=2)
    assert score == router.score([prompt, prompt_of(50, 9)])[0]


@pytest.mark.parametrize("tokens", LENGTHS)
def test_float32_alone(benchmark: Any, models: Path, tokens: int) -> None:
    benchmark.group = f"bert, {tokens} tokens: float32 against int8"
    benchmark.extra_info |= {"role": BASELINE}
    router, prompt = BertRouter.from_folder(models / "float32"), prompt_of(tokens)
    score = benchmark.pedantic(router.score, (prompt,), rounds=15, warmup_rounds=2)
    assert score == pytest.approx(BertRouter.from_folder(models / "int8").score(prompt), abs=0.1)


def test_batches_by_tokens(benchmark: Any, small_model: Path, mixed: list[str]) -> None:
    benchmark.group = BATCH
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 1.5x"}
    router = BertRouter.from_folder(small_model)
    scores = benchmark.pedantic(router.score, (mixed,), rounds=1)
    assert router.truncated == 0
    sample = range(0, 1000, 50)
    np.testing.assert_array_equal(scores[sample], np.array([router.score(mixed[i]) for i in sample], np.float32))


def naive(folder: Path) -> Callable[[list[str]], np.ndarray]:
    """What one writes first: 64 prompts after the other, padded to their longest."""
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(512)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        (folder / "model.onnx").read_bytes(), options, providers=["CPUExecutionProvider"]
    )

    def score(prompts: list[str]) -> np.ndarray:
        found = []
        for begin in range(0, len(prompts), 64):
            encodings = tokenizer.encode_batch(prompts[begin : begin + 64])
            feeds = {
                "input_ids": np.array([each.ids for each in encodings], np.int64),
                "attention_mask": np.array([each.attention_mask for each in encodings], np.int64),
                "token_type_ids": np.array([each.type_ids for each in encodings], np.int64),
            }
            found.append(session.run(["logits"], feeds)[0][:, 0])
        return 1 / (1 + np.exp(-np.concatenate(found)))

    return score


def test_naive_padding(benchmark: Any, small_model: Path, mixed: list[str]) -> None:
    benchmark.group = BATCH
    benchmark.extra_info |= {"role": BASELINE}
    score = naive(small_model)
    scores = benchmark.pedantic(score, (mixed,), rounds=1)
    ours = BertRouter.from_folder(small_model).score(mixed[:100])
    # Activations are quantised by the range of the batch: the naive way's scores depend on their neighbours.
    assert np.abs(ours - scores[:100]).max() < 0.1


PEAK = """
import json, re, sys
from pathlib import Path
import fastroute
from benchmarks.test_bert import BertRouter, naive

def memory(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

fastroute.set_num_threads(1)
folder, prompts = Path(sys.argv[1]), json.loads(sys.stdin.read())
score = BertRouter.from_folder(folder).score if sys.argv[2] == "fastroute" else naive(folder)
score(prompts[:1])
before = memory("VmRSS")
score(prompts)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak of a process in /proc")
def test_peak_memory(small_model: Path, mixed: list[str], figure: Callable[..., None]) -> None:
    """Each way in a process of its own, on prompts enough for three of the naive batches."""
    peaks = {}
    for role in (FASTROUTE, BASELINE):
        ended = subprocess.run(
            [sys.executable, "-c", PEAK, str(small_model), role],
            input=json.dumps(mixed[:192]),
            capture_output=True,
            text=True,
            check=False,
            cwd=CHECKOUT,
        )
        assert ended.returncode == 0, ended.stderr
        peaks[role] = int(ended.stdout) / 2**20
    line = f"{peaks[FASTROUTE]:.0f} MiB, naive {peaks[BASELINE]:.0f} MiB"
    figure("peak memory of 192 mixed prompts", line, mebibytes=peaks)
    assert peaks[FASTROUTE] <= peaks[BASELINE] / 2


CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@pytest.mark.skipif(not CUDA, reason="needs onnxruntime-gpu and a CUDA device")
@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("rows", [1, 32, 1024])
def test_on_cuda(benchmark: Any, models: Path, tokens: int, rows: int) -> None:
    benchmark.group = f"bert on CUDA, {rows} x {tokens} tokens"
    router = BertRouter.from_folder(models / "float32", device="cuda")
    prompts = [prompt_of(tokens, seed) for seed in range(rows)]
    scores = benchmark(router.score, prompts)
    start = time.perf_counter()
    np.testing.assert_allclose(router.score(prompts), scores, atol=1e-3)
    benchmark.extra_info["prompts_per_second"] = rows / (time.perf_counter() - start)
