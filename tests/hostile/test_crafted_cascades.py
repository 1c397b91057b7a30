"""Artifacts of cascades that are sealed and wrong: each is refused with the file or member named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute.artifact import ROUTER, read_artifact, safetensors, write_artifact
from fastroute.errors import ArtifactCorruptError, ArtifactError, ArtifactNotFoundError
from fastroute.routers import CascadeRouter, RandomRouter

BOUNDS = {
    "knots": np.array([0.2, 0.4, 0.6], np.float32),
    "low": np.array([0.1, 0.3, 0.5], np.float32),
    "high": np.array([0.3, 0.5, 0.7], np.float32),
    "share": np.array([0.2, 0.5, 1], np.float32),
}


def part(folder: Path, **manifest: Any) -> dict[str, bytes]:
    """Files of a sound router."""
    values = {"kind": "random", "name": "part", "strong": "a", "weak": "b", "seed": 3, "threshold": 0.5, **manifest}
    write_artifact(folder, format=ROUTER, manifest=values, files={})
    return read_artifact(folder, format=ROUTER).all_files()


def write(
    folder: Path,
    *,
    bounds: dict[str, Any] | None = None,
    files: dict[str, bytes | None] | None = None,
    parts: dict[str, dict[str, Any]] | None = None,
    **manifest: Any,
) -> Path:
    tensors = {**BOUNDS, **(bounds or {})}
    all_files: dict[str, bytes | None] = {
        "bounds.safetensors": safetensors.encode({k: v for k, v in tensors.items() if v is not None})
    }
    references = {}
    for role in ("first", "second"):
        own = folder.with_name(f"{folder.name}-{role}")
        all_files |= {f"{role}.{name}": data for name, data in part(own, **(parts or {}).get(role, {})).items()}
        references[role] = {"kind": "random", "sha256": read_artifact(own, format=ROUTER).sha256}
    all_files |= files or {}
    values = {
        "kind": "cascade",
        "name": "tiny-cascade",
        "strong": "a",
        "weak": "b",
        **references,
        "encoders": [],
        "threshold": 0.45,
        **manifest,
    }
    kept = {name: data for name, data in all_files.items() if data is not None}
    write_artifact(folder, format=ROUTER, manifest=values, files=kept)
    return folder


def test_the_sound_one_loads(tmp_path: Path) -> None:
    router = fastroute.load(write(tmp_path / "it"))
    assert isinstance(router, CascadeRouter)
    assert router.band is not None
    low, high = router.band
    assert low == pytest.approx(0.35)
    assert high == pytest.approx(0.55)
    assert router.escalated == pytest.approx(0.875 - 0.425, abs=1e-3)
    assert ((router.score(["a", "b", "c"]) >= 0.1) & (router.score(["a", "b", "c"]) <= 0.7)).all()


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("first", None, "first is None; its kind and sha256 are needed"),
        ("first", "mf", "first is 'mf'; its kind and sha256"),
        ("second", {"kind": "random"}, "its kind and sha256 are needed"),
        ("second", {"kind": "random", "sha256": 5}, "its kind and sha256 are needed"),
        ("second", {"kind": "random", "sha256": "f" * 64}, "second: sha256 is .* the manifest says ffff"),
        ("strong", None, "strong is None; the name of a model is needed"),
        ("strong", "c", "first: found 'a' and 'b', allowed: the pair 'c' and 'b'"),
        ("weak", "a", "first: found 'a' and 'b', allowed: the pair 'a' and 'a'"),
        ("threshold", 2, "threshold: found 2"),
        ("threshold", None, "threshold: found NoneType"),
    ],
)
def test_members_of_the_manifest(member: str, value: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(write(tmp_path / "it", **{member: value}))
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize(
    ("tensor", "value", "says"),
    [
        ("knots", np.array([0.4, 0.2, 0.6], np.float32), "knots: found other values, allowed: 0 to 1, increasing"),
        ("knots", np.array([0.2, 0.2, 0.6], np.float32), "knots: found other values"),
        ("knots", np.array([-0.2, 0.2, 0.6], np.float32), "knots: found other values"),
        ("knots", np.array([0.2, 0.6, 1.5], np.float32), "knots: found other values"),
        ("knots", np.zeros(0, np.float32), "'low' is float32 of shape"),
        ("knots", np.zeros((1, 3), np.float32), "tensor 'knots' is float32 of shape"),
        ("knots", BOUNDS["knots"].astype(np.float64), "tensor 'knots' is float64"),
        ("low", np.array([0.1, 0.3, 0.8], np.float32), "low, high: found a low bound above the high one"),
        ("low", np.array([0.1, 0.0, 0.5], np.float32), "low: found other values, allowed: 0 to 1, non-decreasing"),
        ("high", np.array([0.7, 0.5, 0.5], np.float32), "high: found other values"),
        ("high", np.array([0.3, 0.5, 1.7], np.float32), "high: found other values"),
        ("high", BOUNDS["high"][:2], "tensor 'high' is float32 of shape"),
        ("share", np.array([0.3, 0.2, 0.7], np.float32), "share: found other values"),
        ("share", None, "share"),
    ],
)
def test_bounds(tensor: str, value: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(write(tmp_path / "it", bounds={tensor: value}))
    assert "bounds.safetensors" in str(caught.value)


def test_no_bounds_at_all(tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=r"lists no bounds\.safetensors"):
        fastroute.load(write(tmp_path / "missing", files={"bounds.safetensors": None}))
    empty = {name: np.zeros(0, np.float32) for name in BOUNDS}
    with pytest.raises(ArtifactCorruptError, match=r"knots: found shape \(0,\)"):
        fastroute.load(write(tmp_path / "empty", bounds=empty))


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"first": {"kind": "nope"}}, "router of kind 'nope'"),
        ({"second": {"seed": "x"}}, "seed: found str"),
        ({"second": {"threshold": 7}}, "threshold: found 7"),
        ({"second": {"strong": "c"}}, "second: found 'c' and 'b'"),
        ({"first": {"weak": None}}, "weak: found NoneType"),
        ({"first": {"kind": "cascade"}}, r"first: its manifest lists no bounds\.safetensors"),
        ({"first": {"kind": "mf", "models": ["a", "b"]}}, r"first: its manifest lists no weights\.safetensors"),
    ],
)
def test_parts_that_are_not_sound(parts: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactCorruptError, match=says):
        fastroute.load(write(tmp_path / "it", parts=parts))


def test_parts_that_are_not_whole(tmp_path: Path) -> None:
    with pytest.raises(ArtifactNotFoundError, match=r"first\.router\.json: not among the files"):
        fastroute.load(write(tmp_path / "missing", files={"first.router.json": None}))
    with pytest.raises(ArtifactCorruptError, match=r"second\.router\.json"):
        fastroute.load(write(tmp_path / "cut", files={"second.router.json": b"{"}))
    other = part(tmp_path / "other", seed=9)
    with pytest.raises(ArtifactCorruptError, match="first: sha256 is"):
        fastroute.load(write(tmp_path / "swapped", files={"first.router.json": other["router.json"]}))
    altered = part(tmp_path / "sealed")["router.json"].replace(b'"seed": 3', b'"seed": 4')
    with pytest.raises(ArtifactCorruptError, match="the manifest was altered"):
        fastroute.load(write(tmp_path / "altered", files={"second.router.json": altered}))


def test_a_file_that_the_outer_manifest_vouches_for_and_the_inner_does_not(
    tmp_path: Path, tiny_router_folder: Path
) -> None:
    inner = read_artifact(tiny_router_folder, format=ROUTER)
    files: dict[str, bytes | None] = {f"first.{name}": data for name, data in inner.all_files().items()}
    weights = bytearray(inner.files["weights.safetensors"])
    weights[-1] ^= 1
    changed = {**files, "first.weights.safetensors": bytes(weights)}
    reference = {"kind": "mf", "sha256": inner.sha256}
    with pytest.raises(ArtifactCorruptError, match=r"bundled file 'weights\.safetensors': SHA-256 is"):
        fastroute.load(write(tmp_path / "it", files=changed, first=reference))
    missing = {**files, "first.weights.safetensors": None}
    with pytest.raises(ArtifactCorruptError, match=r"bundled file 'weights\.safetensors' is missing"):
        fastroute.load(write(tmp_path / "other", files=missing, first=reference))


@pytest.mark.parametrize("odd", [[], "x", None, 5])
def test_notes_that_are_no_notes_do_no_harm(odd: object, tmp_path: Path) -> None:
    notes = {"training": odd, "calibration": odd, "encoders": odd}
    router = fastroute.load(write(tmp_path / "it", parts={"first": {"training": odd}}, **notes))
    assert router.calibration == {}
    router.save(tmp_path / "again")
    assert fastroute.load(tmp_path / "again").score("x") == router.score("x")


def nested(folder: Path, depth: int) -> Path:
    """A cascade in a cascade, as deep as asked for, by the rule for its names alone."""
    folder.mkdir(exist_ok=True)
    made = write(folder / "1")
    for level in range(2, depth + 1):
        inner = read_artifact(made, format=ROUTER)
        files: dict[str, bytes | None] = {f"first.{name}": data for name, data in inner.all_files().items()}
        made = write(folder / str(level), files=files, first={"kind": "cascade", "sha256": inner.sha256})
    return made


def test_cascades_inside_each_other_have_an_end(tmp_path: Path) -> None:
    assert isinstance(fastroute.load(nested(tmp_path, 3)), CascadeRouter)
    with pytest.raises(ArtifactCorruptError, match="found cascades 4 deep, allowed: 3"):
        fastroute.load(nested(tmp_path / "deeper", 4))
    with pytest.raises(ArtifactError, match="deep, allowed: 3"):
        fastroute.load(nested(tmp_path / "deepest", 15))


def test_loading_takes_no_more_memory_than_twice_the_files(tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    folder = write(tmp_path / "it", files={"padding": bytes(4 << 20)})
    fastroute.load(folder)  # imports
    tracemalloc.start()
    try:
        fastroute.load(folder)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 2 * (4 << 20) + (1 << 20)


def test_a_random_router_is_still_saved_with_it(tmp_path: Path) -> None:
    cascade = CascadeRouter(RandomRouter("a", "b"), RandomRouter("a", "b", seed=1))
    cascade.calibrate([str(n) for n in range(300)], disagreement=0.4).save(tmp_path / "it")
    assert fastroute.load(tmp_path / "it").score("x") == cascade.score("x")
