"""Matrix factorization of RouteLLM's size: its own `mf` router, and fastroute on the same weights.

RouteLLM runs where ``FASTROUTE_ROUTELLM_PYTHON`` names a Python that has it (`tests.reference.routellm_peer`), on one
thread. Its call for an embedding, a request to OpenAI of tens of milliseconds, is replaced by a vector that is there
already, and fastroute scores the same vector. Weights are random, of the shapes of RouteLLM's checkpoint: 64 models,
rank 128, 1,536 dimensions. Two lines go through a pipe for all 64 calls of a round.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.routellm_peer import VARIABLE, WITHOUT, RouteLLM

import fastroute
from benchmarks.conftest import BASELINE, FASTROUTE, SEED
from fastroute.artifact import ROUTER, safetensors, write_artifact

MODELS, RANK, DIM, QUERIES = 64, 128, 1536, 64
PAIR = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
ONE = "mf on 64 vectors of 1,536, a call each, against RouteLLM's mf without its embedding call"
BATCH = "mf on 64 vectors of 1,536, one batch, against RouteLLM's mf one by one"
ROUNDS = {"rounds": 20, "iterations": 1, "warmup_rounds": 2}


@dataclass(frozen=True)
class Both:
    """RouteLLM and fastroute with the same weights, and the vectors to score."""

    routellm: RouteLLM
    router: Any
    queries: np.ndarray


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(WITHOUT)
    rng = np.random.default_rng(SEED)
    weights = random_weights(rng)
    queries = rng.standard_normal((QUERIES, DIM), np.float32)
    with RouteLLM(python) as routellm:
        rows = routellm.mf_rows()
        assert len(rows) == MODELS
        routellm.load_mf(weights, queries, PAIR)
        path = tmp_path_factory.mktemp("mf") / "same-weights"
        models = sorted(rows, key=lambda name: rows[name])
        yield Both(routellm, _fastroute(path, weights, models), queries)


def random_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Tensors of a checkpoint of RouteLLM's, by its names."""
    return {
        "P.weight": rng.standard_normal((MODELS, RANK), np.float32),
        "text_proj.0.weight": rng.standard_normal((RANK, DIM), np.float32) / np.float32(DIM**0.5),
        "classifier.0.weight": rng.standard_normal((1, RANK), np.float32),
    }


def _fastroute(path: Path, weights: dict[str, np.ndarray], models: list[str]) -> Any:
    """RouteLLM scales a model's vector to length 1 in every call; here it is done once."""
    vectors = weights["P.weight"]
    tensors = {
        "model_embedding": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        "projection": weights["text_proj.0.weight"],
        "classifier": weights["classifier.0.weight"][0],
        "model_bias": np.zeros(MODELS, np.float32),
    }
    pair = {"strong": PAIR[0], "weak": PAIR[1]}
    manifest = {"kind": "mf", "name": "as RouteLLM's", "models": models, **pair, "threshold": 0.5, "encoder": None}
    files = {"weights.safetensors": safetensors.encode(tensors)}
    write_artifact(path, format=ROUTER, manifest=manifest, files=files)
    return fastroute.load(path)


def alone(router: Any, queries: np.ndarray) -> list[float]:
    return [float(router.score_embeddings(queries[i : i + 1])[0]) for i in range(len(queries))]


def test_fastroute_a_call_each(benchmark: Any, both: Both) -> None:
    benchmark.group = ONE
    benchmark.extra_info |= {"role": FASTROUTE}
    scores = benchmark.pedantic(alone, (both.router, both.queries), **ROUNDS)
    np.testing.assert_allclose(scores, both.routellm.score_mf(QUERIES), rtol=0, atol=1e-6)


def test_fastroute_a_batch(benchmark: Any, both: Both) -> None:
    benchmark.group = BATCH
    benchmark.extra_info |= {"role": FASTROUTE}
    scores = benchmark(both.router.score_embeddings, both.queries)
    np.testing.assert_allclose(scores, both.routellm.score_mf(QUERIES), rtol=0, atol=1e-6)


@pytest.mark.parametrize("group", [ONE, BATCH], ids=["a call each", "a batch"])
def test_routellm(benchmark: Any, both: Both, group: str) -> None:
    benchmark.group = group
    benchmark.extra_info |= {"role": BASELINE, "versions": both.routellm.versions}
    scores = benchmark.pedantic(both.routellm.score_mf, (QUERIES,), **ROUNDS)
    assert np.ptp(scores) > 0.1  # the vectors are different ones
    np.testing.assert_allclose(scores, both.router.score_embeddings(both.queries), rtol=0, atol=1e-6)
