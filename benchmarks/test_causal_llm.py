"""The causal_llm router: milliseconds per prompt by length, on one thread.

The artifact is none that fastroute ships: name one that ``fastroute train causal_llm`` wrote in FASTROUTE_CAUSAL_LLM.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastroute
from benchmarks.conftest import FASTROUTE
from fastroute.routers import CausalLlmRouter

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

NAMED = os.environ.get("FASTROUTE_CAUSAL_LLM")
LENGTHS = (20, 100, 400)
WORDS = [
    "prove",
    "that",
    "the",
    "sum",
    "of",
    "two",
    "odd",
    "numbers",
    "is",
    "even",
    "and",
    "say",
    "why",
    "or",
    "write",
    "code",
    "for",
    "what",
    "it",
    "means",
]


@pytest.fixture(scope="module")
def router() -> Iterator[CausalLlmRouter]:
    if NAMED is None:
        pytest.skip("FASTROUTE_CAUSAL_LLM names no artifact")
    loaded = fastroute.load(NAMED)
    assert isinstance(loaded, CausalLlmRouter)
    before = fastroute.info().threads
    fastroute.set_num_threads(1)
    yield loaded
    fastroute.set_num_threads(before)


def prompt_of(router: CausalLlmRouter, tokens: int) -> str:
    """A prompt of so many tokens, without the template's."""
    words: list[str] = []
    while len(router.tokenize(" ".join(words))) < tokens:
        words.append(WORDS[len(words) % len(WORDS)])
    return " ".join(words)


@pytest.mark.parametrize("tokens", LENGTHS)
def test_one_prompt(tokens: int, router: CausalLlmRouter, benchmark: Callable[..., Any]) -> None:
    prompt = prompt_of(router, tokens)
    benchmark.group = f"causal_llm, {tokens} tokens and the template"  # type: ignore[attr-defined]
    benchmark.extra_info |= {"role": FASTROUTE}  # type: ignore[attr-defined]
    score = benchmark(router.score, prompt)
    assert score == router.score([prompt, "why"])[0]
    assert 0 <= score <= 1
