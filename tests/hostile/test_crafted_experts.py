"""Experts artifacts that are sealed and wrong: each is refused with the file or member named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.tiny_artifacts import EXPERT_DOMAINS, random_experts, write_experts

import fastroute
from fastroute.artifact import ROUTER, read_manifest, write_artifact
from fastroute.encoders import load_encoder
from fastroute.errors import ArtifactCorruptError, ArtifactError, ArtifactVersionError, UnknownModelError

SEVERAL = dict(random_experts(16, gold=1))


def write(folder: Path, encoder: Path, weights: dict[str, Any], **manifest: Any) -> Path:
    write_experts(folder, weights, encoder=load_encoder(encoder), **manifest)
    return folder


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("surface_version", 2, "surface features of version 2; this fastroute has 1"),
        ("surface_version", None, "surface features of version None"),
        ("surface_version", "1", "surface features of version '1'"),
        ("domains", None, "domains is NoneType; a list of names is needed"),
        ("domains", [], "domains lists 0 names; 1 or more distinct ones are needed"),
        ("domains", ["a", "a", "b"], "domains lists 3 names"),
        ("domains", ["a", 1, "b"], "domains is list; a list of names is needed"),
        ("domains", ["a", "b"], "tensor 'classifier_bias' is float32 of shape"),
        ("strong_models", [], "strong_models lists 0 names"),
        ("weak_models", {"a": 1}, "weak_models is dict"),
        ("strong", 5, "strong is 5; the name of a model is needed"),
        ("strong", "nobody", "strong: found 'nobody'"),
        ("weak", "large", "weak: found 'large'"),
        ("threshold", 2, "threshold: found 2"),
    ],
)
def test_members_of_the_manifest(
    member: str, value: object, says: str, tmp_path: Path, tiny_encoder_folder: Path
) -> None:
    folder = write(tmp_path / "it", tiny_encoder_folder, random_experts(16), **{member: value})
    with pytest.raises(ArtifactError, match=says) as caught:
        fastroute.load(folder)
    assert str(folder) in str(caught.value)
    assert isinstance(caught.value, (ArtifactCorruptError, ArtifactVersionError))


def test_gold_and_encoder(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    folder = write(tmp_path / "it", tiny_encoder_folder, SEVERAL, gold=("exam",))
    manifest = read_manifest(folder, format=ROUTER).manifest
    files = {name: (folder / name).read_bytes() for name in manifest["files"]}
    for change, says in (
        ({"gold": "exam"}, "gold is str"),
        ({"gold": ["x", "y"]}, "tensor 'expert_bias' is float32 of shape"),
        ({"gold": []}, "tensor 'expert_bias' is float32 of shape"),
        ({"encoder": None}, "encoder is None; an experts router reads text"),
    ):
        members = {
            key: value for key, value in manifest.items() if key not in ("files", "sha256", "format", "format_version")
        }
        write_artifact(folder, format=ROUTER, manifest={**members, **change}, files=files)
        with pytest.raises(ArtifactCorruptError, match=says):
            fastroute.load(folder)


@pytest.mark.parametrize("name", list(SEVERAL))
def test_tensors(name: str, tmp_path: Path, tiny_encoder_folder: Path) -> None:
    good = SEVERAL[name]
    longer = np.zeros((good.shape[0] + 1, *good.shape[1:]), np.float32)
    for number, bad in enumerate([None, good.astype(np.float64), longer, good[None], good.reshape(-1)[:0]]):
        weights = {key: value for key, value in SEVERAL.items() if key != name}
        if bad is not None:
            weights[name] = np.ascontiguousarray(bad)
        folder = write(tmp_path / str(number), tiny_encoder_folder, weights, gold=("exam",))
        with pytest.raises(ArtifactCorruptError, match=f"tensor '{name}' is"):
            fastroute.load(folder)


def test_keys_of_gold_prompts_are_there(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    folder = write(tmp_path / "it", tiny_encoder_folder, {**SEVERAL, "gold_keys": np.zeros(3, np.int64)})
    with pytest.raises(ArtifactCorruptError, match="tensor 'expert_bias'"):
        fastroute.load(folder)
    write_experts(folder, SEVERAL, encoder=load_encoder(tiny_encoder_folder), gold=("exam",))
    assert fastroute.load(folder).gold_keys.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("expert_surface", 3e38, "expert_surface: so large that a sum could overflow"),
        ("surface_scale", 3e38, "means and scales"),
        ("expert_embedding", 3e38, "so large that a token's logit overflows"),
        ("gate_ramp", 7.0, "gate_ramp: found a ramp that begins and ends at 7"),
        ("density_ramp", 0.0, "density_ramp: found a ramp that begins and ends at 0"),
    ],
)
def test_values_that_would_overflow(
    name: str, value: float, says: str, tmp_path: Path, tiny_encoder_folder: Path
) -> None:
    weights = {**SEVERAL, name: np.full_like(SEVERAL[name], value)}
    folder = write(tmp_path / "it", tiny_encoder_folder, weights, gold=("exam",))
    with pytest.raises(ArtifactCorruptError, match=says):
        fastroute.load(folder)


def test_a_pair_that_is_asked_for_is_the_callers_mistake(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    folder = write(tmp_path / "it", tiny_encoder_folder, random_experts(16))
    with pytest.raises(UnknownModelError, match=r"weak: found 'large'.*nearest"):
        fastroute.load(folder, weak="large")
    assert fastroute.load(folder, strong="medium", weak="tiny").domains_ == EXPERT_DOMAINS
