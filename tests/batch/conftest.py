"""A router whose scores a test can work out in its head, and rows to give it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fastroute.batch import ScoreSummary, score_log


class LengthRouter:
    """Scores a prompt by its length: a hundredth for each character, up to 1."""

    strong = "large"
    weak = "small"
    threshold = 0.5

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def score(self, prompts: list[str]) -> NDArray[np.float32]:
        assert all(isinstance(prompt, str) for prompt in prompts)
        self.batch_sizes.append(len(prompts))
        return np.array([min(len(prompt), 100) / 100 for prompt in prompts], np.float32)


@pytest.fixture
def router() -> LengthRouter:
    return LengthRouter()


@pytest.fixture
def score_bytes(tmp_path: Path, router: LengthRouter) -> Callable[..., tuple[bytes, ScoreSummary]]:
    """Score a file with the given content and return the output's bytes and the summary."""

    def run(content: bytes, suffix: str, **options: object) -> tuple[bytes, ScoreSummary]:
        source, target = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
        source.write_bytes(content)
        summary = score_log(source, target, router, **options)  # type: ignore[arg-type]
        return target.read_bytes(), summary

    return run
