"""Artifacts of similarity-weighted routers that are sealed and wrong: each is refused with the file or member named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute.artifact import ROUTER, safetensors, write_artifact
from fastroute.errors import ArtifactCorruptError
from fastroute.routers import SimilarityWeightedRouter

GOOD: dict[str, np.ndarray] = {
    "rows": np.array([[127, 0], [0, 127], [90, 90]], np.int8),
    "scales": np.array([1 / 127, 1 / 127, 1 / 127], np.float32),
    "keys": np.array([5, 6, 7], np.uint64),
    "lengths": np.array([1, 1, 2], np.uint16),
    "cells": np.array([1, 3, 1, 3], np.uint16),
    "counts": np.array([1.0, 2.0, 0.5, 0.5], np.float32),
}

BATTLES: dict[str, np.ndarray] = {
    "lengths": np.array([1, 0, 2], np.uint32),
    "model_a": np.array([0, 1, 0], np.uint16),
    "model_b": np.array([2, 0, 1], np.uint16),
    "outcome": np.array([1, 0, 0.5], np.float32),
    "weight": np.ones(3, np.float32),
    "text": np.frombuffer("prove itéx".encode(), np.uint8),
    "ends": np.array([8, 10, 11], np.int64),
}

MOMENTS: dict[str, np.ndarray] = {
    "cells": np.array([1, 3], np.uint16),
    "means": np.array([[0.5, 0.5], [0.1, 0.9]], np.float32),
    "factors": np.full((2, 1, 2), 0.1, np.float32),
}
BAND = {"band": 0.1, "rms": 0.01, "spread": 0.2, "prompts": 3}


def write(
    folder: Path, changes: dict[str, Any] | None = None, battles: dict[str, Any] | None = None, **manifest: Any
) -> Path:
    moments = manifest.pop("with_moments", None)
    tensors = {**GOOD, **(changes or {})}
    values = {
        "kind": "sw_ranking",
        "name": "tiny-ranking",
        "models": ["large", "medium", "small"],
        "tiers": [0, 1, 1],
        "ratings": [1100.0, 1000, 900.5],
        "strong": "large",
        "weak": "small",
        "base": 10,
        "normaliser": "best",
        "compat": None,
        "encoder": None,
        "threshold": 0.5,
        **manifest,
    }
    files = {"index.safetensors": safetensors.encode({k: v for k, v in tensors.items() if v is not None})}
    if battles is not None:
        kept = {**BATTLES, **battles}
        files["battles.safetensors"] = safetensors.encode({k: v for k, v in kept.items() if v is not None})
    if moments is not None:
        kept = {**MOMENTS, **moments}
        files["moments.safetensors"] = safetensors.encode({k: v for k, v in kept.items() if v is not None})
    write_artifact(folder, format=ROUTER, manifest=values, files=files)
    return folder


def test_the_sound_one_loads(tmp_path: Path) -> None:
    router = fastroute.load(write(tmp_path / "it"))
    scores = router.score_embeddings(np.eye(2, dtype=np.float32))
    assert scores[0] > scores[1]


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("models", ["large"], "models lists 1 names"),
        ("models", ["large", "large", "small"], "models lists 3 names"),
        ("tiers", None, "tiers: 3 numbers are needed"),
        ("tiers", [0, 1], "tiers: 3 numbers are needed"),
        ("tiers", [0, 1, 1.0], "tiers: 3 numbers are needed"),
        ("tiers", [0, 1, True], "tiers: 3 numbers are needed"),
        ("tiers", [0, 1, "1"], "tiers: 3 numbers are needed"),
        ("tiers", [0, 1, -1], "tiers: a number is not from 0 to 63"),
        ("tiers", [0, 1, 64], "tiers: a number is not from 0 to 63"),
        ("tiers", [0, 1, 10**12], "tiers: 3 numbers are needed"),
        ("tiers", [0, 0, 0], "cells: found 3 at prompt 1"),
        ("tiers", [0, 1, 2], "which no chain of wins compares"),
        ("ratings", {}, "ratings: 3 numbers are needed"),
        ("ratings", [1.0, 2.0, "3"], "ratings: 3 numbers are needed"),
        ("ratings", [1.0, 2.0, 1e300], "ratings: 3 numbers are needed"),
        ("base", None, "base: found NoneType"),
        ("base", "10", "base: found str"),
        ("base", True, "base: found bool"),
        ("base", 0.5, "base: found 0.5"),
        ("base", 1e31, "base: found 1e\\+31"),
        ("normaliser", "max", "normaliser: found 'max'"),
        ("normaliser", None, "normaliser: found None"),
        ("normaliser", ["best"], "normaliser: found"),
        ("compat", "other", "compat: found 'other'"),
        ("compat", {}, "compat: found {}"),
        ("neighbours", 10, "neighbours: found 10 without shrinkage"),
        ("neighbours", None, "neighbours: found NoneType"),
        ("neighbours", 1e4, "neighbours: found float"),
        ("shrinkage", 1, "shrinkage: found 1 without neighbours"),
        ("shrinkage", "1", "shrinkage: found str"),
        ("strong", "nobody", "strong: found 'nobody'"),
        ("weak", "large", "strong, weak: found 'large' for both"),
        ("threshold", 2, "threshold: found 2"),
    ],
)
def test_members_of_the_manifest(member: str, value: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(write(tmp_path / "it", **{member: value}))
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "value", "says"),
    [
        ("rows", np.full((3, 2), -128, np.int8), "rows: found -128"),
        ("rows", GOOD["rows"].astype(np.uint8), "tensor 'rows' is uint8"),
        ("rows", np.zeros((3, 0), np.int8), "rows: found 0 columns"),
        ("fine", np.full((3, 2), -128, np.int8), "fine: found -128"),
        ("fine", np.zeros((3, 3), np.int8), "tensor 'fine' is int8 of shape"),
        ("fine", np.zeros((3, 2), np.float32), "tensor 'fine' is float32"),
        ("scales", np.array([0.5, -0.5, 0.5], np.float32), "scales: found -0.5"),
        ("scales", np.array([0.5, 0.5, 2], np.float32), "scales: found 2"),
        ("scales", np.array([0.5, 0.5, 1e-20], np.float32), "scales: found"),
        ("scales", np.ones(2, np.float32), "tensor 'scales' is float32 of shape"),
        ("keys", np.array([5, 6, 5], np.uint64), "tensor 'keys' has a number twice"),
        ("lengths", np.array([1, 1, 3], np.uint16), "offsets: found"),
        ("lengths", np.array([1, 1, 1], np.uint16), "offsets: found"),
        ("cells", np.array([1, 3, 1, 9], np.uint16), "cells: found 9 at prompt 2"),
        ("cells", np.array([1, 3, 1, 4], np.uint16), "cells: found 4 at prompt 2"),
        ("cells", np.array([1, 3, 1, 1], np.uint16), "cells: found 1 at prompt 2"),
        ("counts", np.array([1, 1, 1, 0], np.float32), "counts: found 0"),
        ("counts", np.array([1, 1, 1, -1], np.float32), "counts: found -1"),
        ("counts", np.ones(3, np.float32), "tensor 'counts' is float32 of shape"),
    ],
)
def test_tensors(tensor: str, value: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(write(tmp_path / "it", {tensor: value}))
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize("tensor", list(GOOD))
def test_missing_and_misshapen_tensors(tensor: str, tmp_path: Path) -> None:
    good = GOOD[tensor]
    for number, bad in enumerate([None, good.astype(np.float64), good[None], good[:-1], good[:0]]):
        axis = {"rows": "scales|rows", "cells": "counts|cells"}  # the next one with that axis disagrees
        with pytest.raises(ArtifactCorruptError, match=axis.get(tensor, tensor)):
            fastroute.load(write(tmp_path / str(number), {tensor: bad}))


def test_an_index_without_prompts(tmp_path: Path) -> None:
    nothing = {name: values[:0] for name, values in GOOD.items()}
    with pytest.raises(ArtifactCorruptError, match="battles: found none"):
        fastroute.load(write(tmp_path / "it", nothing))


def test_sound_battles_load(tmp_path: Path) -> None:
    router = fastroute.load(write(tmp_path / "it", battles={}, kept="prompts"))
    assert isinstance(router, SimilarityWeightedRouter)
    assert router._kept is not None
    assert [router._kept.prompts[row] for row in range(3)] == ["prove it", "\u00e9", "x"]


@pytest.mark.parametrize(
    ("tensor", "value", "says"),
    [
        ("lengths", np.array([1, 1, 2], np.uint32), "'lengths' does not add up to the 3 battles"),
        ("lengths", np.array([2**32 - 1, 3, 1], np.uint32), "'lengths' does not add up"),
        ("model_a", np.array([0, 3, 0], np.uint16), "tensor 'model_a' holds 3; there are 3 models"),
        ("model_b", np.array([0, 65535, 0], np.uint16), "tensor 'model_b' holds 65535"),
        ("outcome", np.array([0, 1.5, 0], np.float32), "outcome is outside"),
        ("outcome", np.array([0, -0.5, 0], np.float32), "outcome is outside"),
        ("weight", np.array([1, 0, 1], np.float32), "weight not above 0"),
        ("text", np.frombuffer(b"prove it\xff\xffx", np.uint8), "prompt 1 is not UTF-8"),
        ("text", np.frombuffer(b"prove", np.uint8), "'ends' does not rise to the 5 bytes"),
        ("ends", np.array([8, 7, 11], np.int64), "'ends' does not rise"),
        ("ends", np.array([-1, 7, 11], np.int64), "'ends' does not rise"),
        ("ends", np.array([8, 10, 2**62], np.int64), "'ends' does not rise"),
    ],
)
def test_tensors_of_battles(tensor: str, value: np.ndarray, says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(write(tmp_path / "it", battles={tensor: value}, kept="prompts"))
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize("tensor", list(BATTLES))
def test_missing_and_misshapen_tensors_of_battles(tensor: str, tmp_path: Path) -> None:
    good = BATTLES[tensor]
    for number, bad in enumerate([None, good.astype(np.float64), good[None], good[:-1]]):
        with pytest.raises(ArtifactCorruptError, match=r"battles\.safetensors"):
            fastroute.load(write(tmp_path / str(number), battles={tensor: bad}, kept="battles"))


@pytest.mark.parametrize(
    ("battles", "kept"), [(None, "prompts"), ({}, None), ({}, "nothing"), ({}, 3), ({}, ["prompts"])]
)
def test_a_manifest_that_its_files_do_not_bear_out(
    battles: dict[str, Any] | None, kept: object, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactCorruptError, match="kept is"):
        fastroute.load(write(tmp_path / "it", battles=battles, kept=kept))


def test_sound_moments_load(tmp_path: Path) -> None:
    router = fastroute.load(write(tmp_path / "it", with_moments={}, moments=BAND, normaliser="none"))
    assert isinstance(router, SimilarityWeightedRouter)
    assert router.error_band is not None
    assert router.with_moments().score_embeddings(np.eye(2, dtype=np.float32)).shape == (2,)
    means = fastroute.load(write(tmp_path / "means", with_moments={"factors": None}))
    assert isinstance(means, SimilarityWeightedRouter)
    assert means.error_band is None


@pytest.mark.parametrize(
    ("tensor", "value", "says"),
    [
        ("cells", np.array([3, 1], np.uint16), "cells: found 1 after 3"),
        ("cells", np.array([1, 5], np.uint16), "moments: found"),
        ("means", np.full((2, 2), 1.5, np.float32), "means: found 1.5"),
        ("means", np.zeros((2, 3), np.float32), "tensor 'means' is float32 of shape"),
        ("factors", np.full((2, 1, 2), -2, np.float32), "factors: found -2"),
        ("factors", np.zeros((2, 257, 2), np.float32), "factors: found 257"),
        ("factors", np.zeros((2, 1, 3), np.float32), "tensor 'factors' is float32 of shape"),
        ("factors", np.zeros((2, 2), np.float32), "tensor 'factors' is float32 of shape"),
    ],
)
def test_tensors_of_moments(tensor: str, value: np.ndarray, says: str, tmp_path: Path) -> None:
    made = write(tmp_path / "it", with_moments={tensor: value}, moments=BAND, normaliser="none")
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(made)
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ({"moments": 3}, "moments is 3; band, rms, spread, prompts are needed"),
        ({"moments": {}}, "moments is {}"),
        ({"moments": {**BAND, "band": None}}, "are needed"),
        ({"moments": {**BAND, "rms": True}}, "are needed"),
        ({"moments": {**BAND, "spread": -1}}, "are needed"),
        ({"moments": {**BAND, "prompts": 1e300}}, "are needed"),
        ({"moments": BAND, "normaliser": "best"}, "moments: found factors, and similarities normalised"),
        ({"moments": BAND, "neighbours": 1, "shrinkage": 1}, "moments: found factors, and a limit"),
    ],
)
def test_manifests_with_moments(manifest: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says):
        fastroute.load(write(tmp_path / "it", with_moments={}, **{"normaliser": "none", **manifest}))


@pytest.mark.parametrize(("files", "band"), [({}, None), (None, BAND), ({"factors": None}, BAND)])
def test_a_band_goes_with_factors(files: dict[str, Any] | None, band: Any, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match="moments"):
        fastroute.load(write(tmp_path / "it", with_moments=files, moments=band, normaliser="none"))
