"""A batch of 10,000 mixed prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fastroute
from benchmarks.conftest import BASELINE, FASTROUTE

ROUNDS = {"rounds": 7, "iterations": 1, "warmup_rounds": 1}


@pytest.fixture
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = fastroute.info().threads
    fastroute.set_num_threads(request.param)
    yield request.param
    fastroute.set_num_threads(before)


def test_fastroute_one_thread(benchmark: Any, router: Any, baseline: Any, prompts: list[str]) -> None:
    benchmark.group = "10,000 prompts, one thread"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 15x"}
    scores = benchmark.pedantic(router.score, (prompts,), **ROUNDS)
    np.testing.assert_allclose(scores, baseline.score_batch(prompts), atol=1e-5)


def test_tokenizers_and_numpy(benchmark: Any, router: Any, baseline: Any, prompts: list[str]) -> None:
    benchmark.group = "10,000 prompts, one thread"
    benchmark.extra_info |= {"role": BASELINE}
    scores = benchmark.pedantic(baseline.score_batch, (prompts,), rounds=3, iterations=1)
    np.testing.assert_allclose(scores, router.score(prompts), atol=1e-5)


@pytest.mark.parametrize(("threads", "role"), [(2, FASTROUTE), (1, BASELINE)], indirect=["threads"])
def test_scaling(benchmark: Any, router: Any, prompts: list[str], threads: int, role: str) -> None:
    """Two threads against one: the ratio is the scaling."""
    benchmark.group = "10,000 prompts, 2 threads against 1"
    benchmark.extra_info |= {"role": role, "aim": "at least 1.7x on an idle machine with 2 cores"}
    alone = np.array([router.score(prompt) for prompt in prompts], dtype=np.float32)
    scores = benchmark.pedantic(router.score, (prompts,), **ROUNDS)
    np.testing.assert_array_equal(scores, alone)
