"""Artifacts of causal_llm routers that are sealed and wrong: each is refused with the member named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.decoder_graph import AFTER, BEFORE, LABELS, write_decoder

import fastroute
from fastroute.artifact import ROUTER, safetensors, write_artifact
from fastroute.errors import ArtifactCorruptError, EncoderMismatchError

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

MEMBERS: dict[str, Any] = {
    "kind": "causal_llm",
    "name": "tiny",
    "strong": "large",
    "weak": "small",
    "head": {"kind": "binary", "strong_class": 0, "sigmoid": False},
    "labels": list(LABELS),
    "template": [BEFORE, AFTER],
    "max_tokens": 24,
    "pad": 0,
    "threshold": 0.5,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = write_decoder(tmp_path_factory.mktemp("decoder"))
    return {name: (folder / name).read_bytes() for name in ("model.onnx", "tokenizer.json", "labels.safetensors")}


def refused(folder: Path, members: dict[str, Any], files: dict[str, bytes], says: str) -> None:
    write_artifact(folder / "it", format=ROUTER, manifest=members, files=files)
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(folder / "it")
    assert str(folder / "it") in str(caught.value)


def test_the_members_are_sound_themselves(tmp_path: Path, files: dict[str, bytes]) -> None:
    write_artifact(tmp_path / "it", format=ROUTER, manifest=MEMBERS, files=files)
    assert 0 <= fastroute.load(tmp_path / "it").score("why") <= 1
    with pytest.raises(EncoderMismatchError, match="a causal_llm router reads text by itself"):
        fastroute.load(tmp_path / "it", encoder="static-minilm-l6")


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("head", None, "head: found None"),
        ("head", {"kind": "three_class"}, "three_class, which has 3 logits; the graph has 2"),
        ("head", {"kind": "regression"}, "regression, which has 1 logits"),
        ("labels", None, "labels is NoneType"),
        ("labels", ["a"], "labels lists 1 names; 2 or more"),
        ("labels", ["a", "a"], "labels lists 2 names"),
        ("labels", ["a", 2], "labels is list"),
        ("labels", ["a", "b", "c"], "binary, which has 1 or 2 logits; the graph has 3"),
        ("template", None, "template is None"),
        ("template", "text", "template is 'text'"),
        ("template", [], "template: found"),
        ("template", ["a"], "template: found"),
        ("template", ["a", 1], "template: found"),
        ("template", ["a", "b", "c"], "template: found"),
        ("template", ["a", ""], "at least one after it"),
        ("template", ["a" * 5000, "b"], "5000 characters before"),
        ("template", ["why " * 30, "why"], "max_tokens: found 24, allowed: more than the 31"),
        ("max_tokens", 0, "max_tokens: found 0"),
        ("max_tokens", 6, "max_tokens: found 6, allowed: more than the 6"),
        ("max_tokens", True, "max_tokens: found bool"),
        ("pad", "0", "pad is '0'"),
        ("pad", 60, "id of padding is 60"),
        ("strong", None, "strong is None"),
        ("strong", "small", "strong, weak: found 'small' for both"),
        ("threshold", None, "threshold: found"),
    ],
)
def test_members(member: str, value: object, says: str, tmp_path: Path, files: dict[str, bytes]) -> None:
    refused(tmp_path, {**MEMBERS, member: value}, files, says)


def labels(**changes: np.ndarray) -> bytes:
    return safetensors.encode({"weight": np.ones((2, 16), np.float32), "bias": np.zeros(2, np.float32), **changes})


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "labels.safetensors"),
        (labels(weight=np.ones((2, 15), np.float32)), "'weight'"),
        (labels(weight=np.ones((3, 16), np.float32)), "'weight'"),
        (labels(weight=np.ones((2, 16), np.float64)), "'weight'"),
        (labels(bias=np.zeros(3, np.float32)), "'bias'"),
        (safetensors.encode({"weight": np.ones((2, 16), np.float32)}), "'bias' is missing"),
    ],
)
def test_files_of_labels(raw: bytes, says: str, tmp_path: Path, files: dict[str, bytes]) -> None:
    refused(tmp_path, MEMBERS, {**files, "labels.safetensors": raw}, says)


def test_weights_that_are_no_numbers(tmp_path: Path, files: dict[str, bytes]) -> None:
    raw = bytearray(labels())
    raw[-8:-4] = np.float32(np.nan).tobytes()
    refused(tmp_path, MEMBERS, {**files, "labels.safetensors": bytes(raw)}, "NaN|finite")


def test_huge_weights_give_a_score(tmp_path: Path, files: dict[str, bytes]) -> None:
    raw = labels(weight=np.array([[3e38] * 16, [-3e38] * 16], np.float32))
    write_artifact(tmp_path / "it", format=ROUTER, manifest=MEMBERS, files={**files, "labels.safetensors": raw})
    assert fastroute.load(tmp_path / "it").score("why") in (0.0, 1.0)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "labels.safetensors"])
def test_files_that_are_not_there(name: str, tmp_path: Path, files: dict[str, bytes]) -> None:
    refused(tmp_path, MEMBERS, {key: raw for key, raw in files.items() if key != name}, f"lists no {name}")
