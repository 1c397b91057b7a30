"""Prompts that two processes can disagree on if anything goes wrong on the way."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def many_prompts() -> list[str]:
    """2,000 prompts of many lengths, with other alphabets and an empty one among them."""
    words = ["prove", "that", "the sum of", "日本語", "is", "√2", "why?", "🎉", "\n", "e\u0301tude"]
    return ["", *(" ".join(words[i * k % 10] for k in range(i % 23 + 1)) + f" {i}" for i in range(1, 2000))]
