"""References and tiny encoders for the tests of training."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def _load(name: str) -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "reference" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"reference_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bert_reference() -> ModuleType:
    return _load("bert_reference")


@pytest.fixture(scope="session")
def mf_reference() -> ModuleType:
    return _load("mf_reference")


@pytest.fixture(scope="session")
def mf_outcome_reference() -> ModuleType:
    return _load("mf_outcome_reference")


@pytest.fixture(scope="session")
def tiny_bert() -> ModuleType:
    return _load("tiny_bert")


@pytest.fixture
def encoder_folder(tmp_path: Path, tiny_bert: ModuleType) -> Callable[..., Path]:
    """Write an encoder folder; arguments replace fields of its files."""

    def write(
        *,
        tensors: dict[str, np.ndarray] | None = None,
        config: dict[str, object] | None = None,
        tokenizer: dict[str, object] | None = None,
        prefix: str = "",
        dtype: str = "F32",
    ) -> Path:
        folder = tmp_path / "tiny-encoder"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(tiny_bert.bert_config(**(config or {}))))
        (folder / "tokenizer.json").write_text(json.dumps(tiny_bert.tokenizer_json(**(tokenizer or {}))))
        named = {prefix + name: tensor for name, tensor in (tensors or tiny_bert.bert_tensors()).items()}
        tiny_bert.write_safetensors(folder / "model.safetensors", named, dtype)
        return folder

    return write
