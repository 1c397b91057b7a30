"""The experts router, string in, score out: what its domains and features cost beside matrix factorization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.reference.experts_reference import gain_of, score_of

import fastroute
from benchmarks.conftest import BASELINE, FASTROUTE
from fastroute import _core

LENGTHS = (20, 100, 400)
AIM = "mf over experts: at least 0.5x at 20 tokens"


@pytest.fixture(scope="module")
def experts() -> Any:
    return fastroute.load("experts")


def expected(experts: Any, prompt: str) -> float:
    surface = _core.surface_features([prompt])[0].astype(np.float64)
    return score_of(gain_of(experts.parameters_, surface, experts.encoder.embed([prompt])[0].astype(np.float64)))


@pytest.mark.parametrize("tokens", LENGTHS)
def test_experts(benchmark: Any, experts: Any, prompt_of_length: Callable[[int], str], tokens: int) -> None:
    prompt = prompt_of_length(tokens)
    benchmark.group = f"experts (left) and mf, {tokens} tokens"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": AIM}
    assert benchmark(experts.score, prompt) == pytest.approx(expected(experts, prompt), abs=1e-5)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_mf(benchmark: Any, router: Any, baseline: Any, prompt_of_length: Callable[[int], str], tokens: int) -> None:
    prompt = prompt_of_length(tokens)
    benchmark.group = f"experts (left) and mf, {tokens} tokens"
    benchmark.extra_info |= {"role": BASELINE}
    assert benchmark(router.score, prompt) == pytest.approx(baseline.score(prompt), abs=1e-5)


def test_a_batch_of_experts(benchmark: Any, experts: Any, prompts: list[str]) -> None:
    benchmark.group = "10,000 mixed prompts, experts, one thread"
    scores = benchmark(experts.score, prompts)
    for i in range(0, len(prompts), 997):
        assert scores[i] == pytest.approx(expected(experts, prompts[i]), abs=1e-5)


def test_surface_features_alone(benchmark: Any, prompts: list[str]) -> None:
    benchmark.group = "surface features of 10,000 mixed prompts, one thread"
    found = benchmark(_core.surface_features, prompts)
    assert found.shape == (len(prompts), len(_core.surface_names()))
    characters = np.array([len(prompt) for prompt in prompts], np.float64)
    np.testing.assert_allclose(found[:, 0], np.log1p(characters), rtol=1e-6)
