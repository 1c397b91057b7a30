"""Without ONNX Runtime or tokenizers: what is missing is said, and nothing else needs them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.reference.bert_graph import random_tensors
from tests.reference.tiny_models import write_model

import fastroute
from fastroute.encoders import OnnxEncoder, load_encoder
from fastroute.errors import MissingDependencyError
from fastroute.routers import BertRouter


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
    folder = tmp_path_factory.mktemp("saved")
    BertRouter.from_folder(write_model(folder / "model", random_tensors(labels=1))).save(folder / "router")
    OnnxEncoder.from_folder(write_model(folder / "text")).save(folder / "encoder")
    return folder


@pytest.mark.parametrize("missing", ["onnxruntime", "tokenizers"])
def test_the_extra_is_named(missing: str, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    for call in (
        lambda: fastroute.load(saved / "router"),
        lambda: load_encoder(saved / "encoder"),
        lambda: BertRouter.from_folder(saved / "model"),
        lambda: OnnxEncoder.from_folder(saved / "text"),
    ):
        with pytest.raises(MissingDependencyError, match=rf"needs {missing}: pip install 'fastroute\[bert\]'"):
            call()
    assert 0 <= fastroute.load("mf").score("why") <= 1


def test_for_a_gpu_it_is_another_extra(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"needs onnxruntime: pip install 'fastroute\[gpu\]'"):
        OnnxEncoder.from_folder(saved / "text", device="cuda")
