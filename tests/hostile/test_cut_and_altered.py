"""Scorecard 13: cut at every length, every bit of the headers flipped, 10,000 flips of the payload."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastroute.artifact import ROUTER, read_artifact, safetensors, write_artifact
from fastroute.errors import ArtifactCorruptError, ArtifactError

FILES = ["router.json", "weights.safetensors", "note.txt"]


def load(folder: Path) -> None:
    artifact = read_artifact(folder, format=ROUTER)
    safetensors.decode(artifact.files["weights.safetensors"], source="weights.safetensors")


def is_refused(folder: Path) -> bool:
    try:
        load(folder)
    except ArtifactError:
        return True
    return False


def refused_flips(path: Path, bits: list[int]) -> int:
    """How many of these single-bit flips of one file make its folder unreadable; each is undone."""
    data, count = path.read_bytes(), 0
    with path.open("r+b", buffering=0) as stream:
        for bit in bits:
            for byte in (data[bit // 8] ^ 1 << bit % 8, data[bit // 8]):
                stream.seek(bit // 8)
                stream.write(bytes([byte]))
                count += byte != data[bit // 8] and is_refused(path.parent)
    load(path.parent)
    return count


@pytest.mark.parametrize("name", FILES)
def test_cut_at_every_length(router_folder: Path, name: str) -> None:
    path = router_folder / name
    length = path.stat().st_size
    refused = 0
    for left in reversed(range(length)):
        os.truncate(path, left)
        refused += is_refused(router_folder)
    assert refused == length > 0


@pytest.mark.parametrize("name", FILES)
def test_longer_by_a_byte(router_folder: Path, name: str) -> None:
    path = router_folder / name
    end = path.stat().st_size
    refused = 0
    with path.open("r+b", buffering=0) as stream:
        for byte in range(256):
            stream.seek(end)
            stream.write(bytes([byte]))
            refused += is_refused(router_folder)
    assert refused == 256
    os.truncate(path, end)
    load(router_folder)


def test_every_bit_of_the_manifest(router_folder: Path) -> None:
    count = 8 * (router_folder / "router.json").stat().st_size
    assert refused_flips(router_folder / "router.json", list(range(count))) == count > 3000


def test_every_bit_of_the_tensor_header(router_folder: Path) -> None:
    path = router_folder / "weights.safetensors"
    count = 8 * (8 + int.from_bytes(path.read_bytes()[:8], "little"))
    assert refused_flips(path, list(range(count))) == count > 1500


def test_10_000_bits_of_a_payload(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    weights = safetensors.encode({"table": rng.integers(-128, 128, 20_000).astype(np.int8)})
    files = {"weights.safetensors": weights}
    write_artifact(tmp_path / "r", format=ROUTER, manifest={"kind": "mf", "name": "n"}, files=files)
    start = 8 + int.from_bytes(weights[:8], "little")
    bits = 8 * start + rng.choice(8 * (len(weights) - start), 10_000, replace=False)
    assert refused_flips(tmp_path / "r" / "weights.safetensors", bits.tolist()) == 10_000


def test_cut_at_every_length_with_a_manifest_that_fits(forge: Callable[..., Path], weights: bytes) -> None:
    """The checksums are right here, so the format's own rules must refuse."""
    refused = 0
    for length in range(len(weights)):
        with pytest.raises(ArtifactCorruptError):
            load(forge({"weights.safetensors": weights[:length]}))
        refused += 1
    assert refused == len(weights)
    load(forge({"weights.safetensors": weights}))
