"""One prompt, string in, score out, through the public API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.conftest import BASELINE, FASTROUTE

LENGTHS = (20, 100, 400)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_fastroute(
    benchmark: Any, router: Any, baseline: Any, prompt_of_length: Callable[[int], str], tokens: int
) -> None:
    prompt = prompt_of_length(tokens)
    benchmark.group = f"one prompt, {tokens} tokens"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 15x at 20 tokens"}
    assert benchmark(router.score, prompt) == pytest.approx(baseline.score(prompt), abs=1e-5)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_tokenizers_and_numpy(
    benchmark: Any, router: Any, baseline: Any, prompt_of_length: Callable[[int], str], tokens: int
) -> None:
    prompt = prompt_of_length(tokens)
    benchmark.group = f"one prompt, {tokens} tokens"
    benchmark.extra_info |= {"role": BASELINE}
    assert benchmark(baseline.score, prompt) == pytest.approx(router.score(prompt), abs=1e-5)


def test_route(benchmark: Any, router: Any, prompt_of_length: Callable[[int], str]) -> None:
    prompt = prompt_of_length(20)
    benchmark.group = "one decision, 20 tokens"
    decision = benchmark(router.route, prompt)
    assert decision.score == router.score(prompt)
