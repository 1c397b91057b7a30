"""`score_embeddings` against reading the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.conftest import BASELINE, FASTROUTE, SEED

ROWS = 200_000  # 205 MB: far beyond the caches
ROUNDS = {"rounds": 15, "iterations": 1, "warmup_rounds": 2}


@pytest.fixture(scope="module")
def embeddings(router: Any) -> np.ndarray:
    return np.random.default_rng(SEED).standard_normal((ROWS, router.encoder.dim), dtype=np.float32) * 0.05


def test_fastroute(benchmark: Any, router: Any, embeddings: np.ndarray) -> None:
    benchmark.group = "score 200,000 embeddings against reading them"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 0.9x"}
    scores = benchmark.pedantic(router.score_embeddings, (embeddings,), **ROUNDS)
    strong, weak = (router.models.index(model) for model in (router.strong, router.weak))
    pair = router.classifier_ * (router.model_embedding_[strong] - router.model_embedding_[weak])
    logits = embeddings @ (pair @ router.projection_) + router.model_bias_[strong] - router.model_bias_[weak]
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_read_memory(benchmark: Any, embeddings: np.ndarray) -> None:
    """NumPy's maximum is one SIMD pass that keeps nothing: the memory's own speed."""
    benchmark.group = "score 200,000 embeddings against reading them"
    benchmark.extra_info |= {"role": BASELINE}
    words = embeddings.reshape(-1).view(np.int32)
    assert benchmark.pedantic(np.max, (words,), **ROUNDS) == words[np.argmax(words)]


def test_numpy(benchmark: Any, router: Any, embeddings: np.ndarray) -> None:
    """The BLAS product alone, without sigmoid or checks."""
    benchmark.group = "score 200,000 embeddings against reading them"
    vector = np.ones(router.encoder.dim, dtype=np.float32)
    assert len(benchmark.pedantic(np.matmul, (embeddings, vector), **ROUNDS)) == ROWS
