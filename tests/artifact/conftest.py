"""A small router on disk, and what it was made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastroute.artifact import ROUTER, safetensors, write_artifact


@pytest.fixture(scope="session")
def weights() -> bytes:
    """Bytes of a safetensors file with tensors of several dtypes, one of them empty."""
    rng = np.random.default_rng(7)
    return safetensors.encode(
        {
            "pair": rng.standard_normal(8).astype(np.float32),
            "table": rng.integers(-128, 128, (4, 8)).astype(np.int8),
            "none": np.zeros((0, 8), np.float64),
        },
        {"made_by": "tests"},
    )


@pytest.fixture
def save(weights: bytes) -> Callable[..., str]:
    """Write a small router to a path; `note` tells one from another."""

    def write(path: Path, note: str = "old") -> str:
        files = {"weights.safetensors": weights, "note.txt": note.encode() * 20}
        manifest = {"kind": "mf", "name": "small", "note": note}
        return write_artifact(path, format=ROUTER, manifest=manifest, files=files)

    return write


@pytest.fixture
def router_folder(tmp_path: Path, save: Callable[..., str]) -> Path:
    """Folder of a freshly written small router; nothing else lies beside it."""
    parent = tmp_path / "parent"
    parent.mkdir()
    save(parent / "router")
    return parent / "router"
