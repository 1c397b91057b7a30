"""Run the command line in this process, with a router whose scores a test can work out in its head."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

import fastroute
from fastroute.artifact import ROUTER, safetensors, write_artifact
from fastroute.cli import main
from fastroute.encoders import load_encoder
from fastroute.errors import UnknownModelError, UnknownRouterError


@dataclass(frozen=True)
class LengthRouter:
    """Scores a prompt by its length: a hundredth for each character, up to 1."""

    strong: str = "large"
    weak: str = "small"
    threshold: float = 0.5

    def score(self, prompts: list[str]) -> NDArray[np.float32]:
        return np.array([min(len(prompt), 100) / 100 for prompt in prompts], np.float32)

    def route(self, prompt: str, threshold: float | None = None) -> fastroute.Decision:
        threshold = self.threshold if threshold is None else threshold
        score = float(self.score([prompt])[0])
        model = self.strong if score >= threshold else self.weak
        return fastroute.Decision(model=model, score=score, threshold=threshold, router="length", artifact="a1b2")


@pytest.fixture(scope="session")
def small_router(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of an untrained router that another process can load."""
    encoder = load_encoder("static-minilm-l6")
    random = np.random.default_rng(5)
    shapes = {
        "model_embedding": (3, 4),
        "projection": (4, encoder.dim),
        "classifier": (4,),
        "model_bias": (3,),
    }
    weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    manifest = {
        "kind": "mf",
        "name": "untrained",
        "models": ["large", "medium", "small"],
        "strong": "large",
        "weak": "small",
        "threshold": 0.5,
        "encoder": {"name": encoder.name, "sha256": encoder.sha256, "bundled": False},
    }
    path = tmp_path_factory.mktemp("routers") / "untrained"
    files = {"weights.safetensors": safetensors.encode(weights)}
    write_artifact(path, format=ROUTER, manifest=manifest, files=files)
    return str(path)


@dataclass(frozen=True)
class Ended:
    code: int
    out: bytes
    err: str


@pytest.fixture
def length_router(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the built-in routers be a `LengthRouter`."""

    def load(name: str, **pair: str) -> LengthRouter:
        if name not in ("experts", "mf"):
            raise UnknownRouterError(f"router: {name!r} is unknown")
        for argument, model in pair.items():
            if model not in ("large", "small", "medium"):
                raise UnknownModelError(f"{argument}: {model!r} is unknown; the nearest is 'small'")
        return LengthRouter(**pair)

    monkeypatch.setattr(fastroute, "load", load)


@pytest.fixture
def run(
    length_router: None, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Ended]:
    def run(*args: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = main([str(arg) for arg in args])
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        return Ended(code, captured.out, captured.err.decode())

    return run
