"""Artifacts of nearest-neighbours routers that are sealed and wrong: each is refused with the file or member named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute.artifact import ROUTER, safetensors, write_artifact
from fastroute.encoders import Encoder, load_encoder
from fastroute.errors import ArtifactCorruptError
from fastroute.routers import KnnRouter
from fastroute.routers.base import encoder_reference

GOOD: dict[str, np.ndarray] = {
    "rows": np.tile(np.array([[127, 0], [0, 127], [90, 90]], np.int8), (1, 8)),
    "scales": np.full(3, 1 / 400, np.float32),
    "lengths": np.array([2, 2, 3], np.uint32),
    "model": np.array([0, 2, 0, 2, 0, 1, 2], np.uint16),
    "quality": np.array([1, 0, 1, 1, 0.5, 0, 0.25], np.float16),
}
KEPT: dict[str, np.ndarray] = {
    "text": np.frombuffer("prove it\u00e9x".encode(), np.uint8),
    "ends": np.array([8, 10, 11], np.int64),
}
LISTS: dict[str, np.ndarray] = {
    "centroids": np.tile(np.eye(2, dtype=np.float32), (1, 8)),
    "lists": np.array([0, 1, 1], np.int32),
}


@pytest.fixture(scope="module")
def encoder(tiny_encoder_folder: Path) -> Encoder:
    return load_encoder(tiny_encoder_folder)


def write(
    folder: Path,
    encoder: Encoder | None,
    changes: dict[str, Any] | None = None,
    *,
    prompts: dict[str, Any] | None = None,
    lists: dict[str, Any] | None = None,
    **manifest: Any,
) -> Path:
    reference, files = encoder_reference(encoder)

    def add(name: str, good: dict[str, np.ndarray], changed: dict[str, Any] | None) -> None:
        tensors = {**good, **(changed or {})}
        files[name] = safetensors.encode({k: v for k, v in tensors.items() if v is not None})

    add("index.safetensors", GOOD, changes)
    if prompts is not None:
        add("prompts.safetensors", KEPT, prompts)
    if lists is not None:
        add("ivf.safetensors", LISTS, lists)
    values = {
        "kind": "knn",
        "name": "tiny-neighbours",
        "models": ["large", "medium", "small"],
        "strong": "large",
        "weak": "small",
        "neighbours": 2,
        "base": 10,
        "shrinkage": 1,
        "guard": 1.0,
        "kept": "prompts" if prompts is not None else None,
        "ivf": {"probes": 1, "recall": 0.5},
        "encoder": reference,
        "threshold": 0.5,
        **manifest,
    }
    write_artifact(folder, format=ROUTER, manifest=values, files=files)
    return folder


def test_the_sound_ones_load(tmp_path: Path, encoder: Encoder) -> None:
    for number, parts in enumerate(({}, {"prompts": {}}, {"lists": {}}, {"prompts": {}, "lists": {}})):
        router = fastroute.load(write(tmp_path / str(number), encoder, **parts))
        assert isinstance(router, KnnRouter)
        assert router.prompts == 3
        assert router.score_embeddings(GOOD["rows"].astype(np.float32)).shape == (3,)
    assert router.explain("prove it", k=3).nearest[0].prompt in ("prove it", "\u00e9", "x")


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("models", ["large"], "models lists 1 names"),
        ("models", ["large", "small"], "tensor 'model' holds 2; there are 2 models"),
        ("strong", "nobody", "strong: found 'nobody'"),
        ("weak", "large", "strong, weak: found 'large' for both"),
        ("neighbours", 0, "neighbours: found 0"),
        ("neighbours", None, "neighbours: found NoneType"),
        ("neighbours", 1e3, "neighbours: found float"),
        ("neighbours", 10**7, "neighbours: found 10000000"),
        ("base", 0.5, "base: found 0.5"),
        ("base", True, "base: found bool"),
        ("shrinkage", -1, "shrinkage: found -1"),
        ("guard", "1", "guard: found str"),
        ("guard", 101, "guard: found 101"),
        ("kept", "prompts", "kept is 'prompts', which its files don't bear out"),
        ("threshold", 2, "threshold: found 2"),
    ],
)
def test_members_of_the_manifest(member: str, value: object, says: str, tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(write(tmp_path / "it", encoder, **{member: value}))
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "value", "says"),
    [
        ("rows", np.full((3, 16), -128, np.int8), "rows: found -128"),
        ("rows", np.zeros((3, 0), np.int8), "rows: found 0 columns"),
        ("rows", GOOD["rows"][:, :8], "router has 8"),
        ("scales", np.array([0.5, 0.5, 2], np.float32), "scales: found 2"),
        ("lengths", np.array([2, 2, 2], np.uint32), "'lengths' does not add up"),
        ("model", np.array([0, 2, 0, 2, 0, 0, 2], np.uint16), "'model' has a model twice on one prompt"),
        ("model", np.array([0, 2, 0, 2, 0, 1, 9], np.uint16), "'model' holds 9"),
        ("model", np.array([0, 1, 0, 1, 0, 1, 1], np.uint16), "'model' has a model twice"),
        ("model", np.array([2, 0, 2, 0, 2, 1, 0], np.uint16), None),
        ("quality", GOOD["quality"].astype(np.float32), "tensor 'quality' is float32"),
    ],
)
def test_tensors(tensor: str, value: np.ndarray, says: str | None, tmp_path: Path, encoder: Encoder) -> None:
    made = write(tmp_path / "it", encoder, {tensor: value})
    if says is None:
        assert np.isfinite(fastroute.load(made).score(["a", "b"])).all()
        return
    with pytest.raises((ArtifactCorruptError, fastroute.errors.EncoderMismatchError), match=says):
        fastroute.load(made)


def test_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match="encoder is None; a knn router reads text"):
        fastroute.load(write(tmp_path / "it", None))


def test_models_never_scored_on_one_prompt(tmp_path: Path, encoder: Encoder) -> None:
    changes = {"lengths": np.array([1, 1, 1], np.uint32), "model": np.array([0, 2, 1], np.uint16)}
    with pytest.raises(ArtifactCorruptError, match="no prompt was scored for both"):
        fastroute.load(write(tmp_path / "it", encoder, {**changes, "quality": np.ones(3, np.float16)}))


@pytest.mark.parametrize("tensor", list(GOOD))
def test_missing_and_misshapen_tensors(tensor: str, tmp_path: Path, encoder: Encoder) -> None:
    good = GOOD[tensor]
    for number, bad in enumerate([None, good.astype(np.float64), good[None], good[:-1], good[:0]]):
        with pytest.raises(ArtifactCorruptError, match=r"index\.safetensors"):
            fastroute.load(write(tmp_path / str(number), encoder, {tensor: bad}))


@pytest.mark.parametrize(
    ("changes", "manifest", "says"),
    [
        ({"centroids": LISTS["centroids"][:0]}, {}, "'lists' names lists other than the 0 there are"),
        ({"centroids": LISTS["centroids"][:, :8]}, {}, "tensor 'centroids' is float32 of shape"),
        ({"lists": np.array([0, 2, 0], np.int32)}, {}, "other than the 2 there are"),
        ({"lists": np.array([0, -1, 0], np.int32)}, {}, "other than the 2 there are"),
        ({"lists": np.array([0, 1], np.int32)}, {}, "tensor 'lists' is int32 of shape"),
        ({"lists": None}, {}, "lists"),
        ({}, {"ivf": None}, "ivf.probes is None"),
        ({}, {"ivf": {"probes": 0, "recall": 1}}, "ivf.probes is 0"),
        ({}, {"ivf": {"probes": 3, "recall": 1}}, "ivf.probes is 3"),
        ({}, {"ivf": {"probes": True, "recall": 1}}, "ivf.probes is True"),
        ({}, {"ivf": {"probes": 1, "recall": 2}}, "ivf.recall is 2"),
        ({}, {"ivf": {"probes": 1}}, "ivf.recall is None"),
    ],
)
def test_lists(changes: dict[str, Any], manifest: dict[str, Any], says: str, tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(ArtifactCorruptError, match=says):
        fastroute.load(write(tmp_path / "it", encoder, lists=changes, **manifest))


@pytest.mark.parametrize(("tensor", "bad"), [("text", None), ("ends", None), ("ends", KEPT["ends"][:-1])])
def test_kept_prompts(tensor: str, bad: Any, tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(ArtifactCorruptError, match=r"prompts\.safetensors"):
        fastroute.load(write(tmp_path / "it", encoder, prompts={tensor: bad}))
