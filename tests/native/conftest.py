"""Routers for tests at the boundary between Python and the native core."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.reference.tiny_artifacts import random_experts, write_experts

import fastroute
from fastroute.encoders import load_encoder
from fastroute.routers import ExpertsRouter, MatrixFactorizationRouter, SimilarityWeightedRouter


@pytest.fixture(scope="session")
def router(tiny_router_folder: Path) -> MatrixFactorizationRouter:
    loaded = fastroute.load(tiny_router_folder)
    assert isinstance(loaded, MatrixFactorizationRouter)
    return loaded


@pytest.fixture(scope="session")
def experts(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_folder: Path) -> ExpertsRouter:
    folder = tmp_path_factory.mktemp("routers") / "experts"
    write_experts(folder, random_experts(16, gold=1), encoder=load_encoder(tiny_encoder_folder), gold=("exam",))
    loaded = fastroute.load(folder)
    assert isinstance(loaded, ExpertsRouter)
    return loaded


@pytest.fixture(scope="session")
def ranking(tiny_encoder_folder: Path) -> SimilarityWeightedRouter:
    rng = np.random.default_rng(0)
    models = rng.permuted(np.tile(["large", "medium", "small"], (400, 1)), axis=1)[:, :2]
    battles = {
        "prompt": [f"prove that {i} is {'the sum ' * int(rng.integers(9))}" for i in range(400)],
        "model_a": models[:, 0].tolist(),
        "model_b": models[:, 1].tolist(),
        "winner": rng.choice(["model_a", "model_b", "tie"], 400).tolist(),
    }
    router = SimilarityWeightedRouter("large", "small", encoder=load_encoder(tiny_encoder_folder), base=1e4)
    return router.fit(battles)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """`fastroute.set_num_threads`; the number is put back afterwards."""
    before = fastroute.info().threads
    yield fastroute.set_num_threads
    fastroute.set_num_threads(before)


@pytest.fixture
def run_script(tiny_router_folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python code in a process of its own; `sys.argv[1]` is the folder of the tiny router."""

    def run(code: str, *, env: dict[str, str] | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tiny_router_folder)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
        )

    return run
