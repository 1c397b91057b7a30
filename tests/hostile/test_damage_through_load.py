"""Damage to any file of a router, seen through `fastroute.load` (scorecard 13)."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import fastroute
from fastroute.errors import ArtifactError

FILES = ("router.json", "weights.safetensors", "encoder.json", "encoder.safetensors", "tokenizer.json")


@pytest.fixture
def router_folder(tiny_router_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "router"
    shutil.copytree(tiny_router_folder, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert 0 <= fastroute.load(folder).score("prove that") <= 1
    return folder


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_at_any_length_is_refused(router_folder: Path, name: str) -> None:
    whole = (router_folder / name).read_bytes()
    for length in range(len(whole)):
        (router_folder / name).write_bytes(whole[:length])
        with pytest.raises(ArtifactError):
            fastroute.load(router_folder)
    (router_folder / name).write_bytes(whole)
    fastroute.load(router_folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused(router_folder: Path, name: str) -> None:
    whole = (router_folder / name).read_bytes()
    rng = random.Random(name)
    for bit in rng.sample(range(8 * len(whole)), k=min(1000, 8 * len(whole))):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        (router_folder / name).write_bytes(altered)
        with pytest.raises(ArtifactError):
            fastroute.load(router_folder)
