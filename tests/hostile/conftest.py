"""A small router on disk, and the means to forge one whose seal and checksums are right."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastroute.artifact import ROUTER, safetensors, write_artifact

WEIGHTS = "weights.safetensors"


def entry(data: bytes) -> dict[str, Any]:
    """What a manifest lists for a file."""
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def seal(values: dict[str, Any]) -> bytes:
    """A manifest with the right seal, made by the documented rule and not by the writer under test."""
    zeros = "0" * 64
    text = json.dumps({**values, "sha256": zeros})
    return text.replace(zeros, hashlib.sha256(text.encode()).hexdigest()).encode()


def overwrite(path: Path, data: bytes) -> None:
    """Like `write_bytes`, but in place: file systems flush a file that was first cut to nothing."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.pwrite(descriptor, data, 0)
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)


@pytest.fixture(scope="session")
def weights() -> bytes:
    """Bytes of a safetensors file with three tensors and metadata."""
    rng = np.random.default_rng(7)
    return safetensors.encode(
        {
            "pair": rng.standard_normal(6).astype(np.float32),
            "table": rng.integers(-128, 128, (3, 4)).astype(np.int8),
            "flags": np.array([True, False]),
        },
        {"made_by": "tests"},
    )


@pytest.fixture
def router_folder(tmp_path: Path, weights: bytes) -> Path:
    """Folder of a sound router, alone in its parent."""
    folder = tmp_path / "parent" / "router"
    folder.parent.mkdir()
    files = {WEIGHTS: weights, "note.txt": b"a note"}
    write_artifact(folder, format=ROUTER, manifest={"kind": "mf", "name": "small", "n": 3}, files=files)
    return folder


@pytest.fixture
def forge(tmp_path: Path) -> Callable[..., Path]:
    """Write a router folder whose manifest is sealed and whose checksums fit, whatever is in the files."""

    def write(files: dict[str, bytes], /, **changes: Any) -> Path:
        folder = tmp_path / "forged"
        folder.mkdir(exist_ok=True)
        values = {
            "format": ROUTER,
            "format_version": 1,
            "kind": "mf",
            "name": "forged",
            "files": {name: entry(data) for name, data in files.items()},
            **changes,
        }
        for name, data in files.items():
            overwrite(folder / name, data)
        overwrite(folder / "router.json", seal(values))
        return folder

    return write
