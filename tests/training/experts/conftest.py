"""Made-up scores in which what a prompt says decides who is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastroute.encoders import StaticEncoder, load_encoder

MODELS = ("large", "medium", "small")


def outcome_rows(count: int = 300, *, seed: int = 0, benchmarks: tuple[str, ...] = ("sums", "talk")) -> dict[str, Any]:
    """Scores of three models: the weaker fail where a prompt is long, and in "sums" where it has numbers too."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {"prompt": [], "model": [], "score": [], "benchmark": []}
    for i in range(count):
        benchmark = benchmarks[i % len(benchmarks)]
        hard = bool(rng.integers(2))
        words = " ".join(rng.choice(["the", "sum", "of", "prove", "that", "why"], size=30 if hard else 5))
        numbers = " ".join(str(n) for n in rng.integers(1, 99, 8 if hard else 1)) if benchmark == "sums" else "what"
        for model, ability in zip(MODELS, (0.95, 0.6, 0.3), strict=True):
            right = ability if hard else 0.95
            columns["prompt"].append(f"{numbers} {words} {i}")
            columns["model"].append(model)
            columns["score"].append(float(rng.random() < right))
            columns["benchmark"].append(benchmark)
    return columns


@pytest.fixture(scope="session")
def encoder() -> StaticEncoder:
    return load_encoder()
