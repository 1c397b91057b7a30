"""What training says without its extras, and its progress bar."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from fastroute.errors import MissingDependencyError
from fastroute.training.battles import Battles
from fastroute.training.distill import distill
from fastroute.training.mf import fit_matrix_factorization
from fastroute.training.outcomes import battles_from_outcomes
from fastroute.training.progress import progress_bar


def _without(monkeypatch, *modules):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def _few_battles() -> Battles:
    prompts = [f"p{i // 2}" for i in range(80)]
    return battles_from_outcomes({"model": ["x", "y"] * 40, "score": [1.0, 0.0] * 40, "prompt": prompts})


def test_numba_is_asked_for(monkeypatch):
    monkeypatch.delitem(sys.modules, "fastroute.training.mf_loops", raising=False)
    monkeypatch.delattr(sys.modules["fastroute.training"], "mf_loops", raising=False)
    _without(monkeypatch, "numba")
    with pytest.raises(MissingDependencyError, match=r"numba.*fastroute\[train\]"):
        fit_matrix_factorization(np.zeros((40, 2), np.float32), _few_battles())


def test_onnxruntime_is_asked_for(monkeypatch, tmp_path, tiny_bert):
    _without(monkeypatch, "onnxruntime")
    (tmp_path / "tokenizer.json").write_text(json.dumps(tiny_bert.tokenizer_json()))
    (tmp_path / "model.onnx").write_bytes(b"graph")
    with pytest.raises(MissingDependencyError, match=r"onnxruntime.*fastroute\[bert\]"):
        distill(tmp_path)


def test_distilling_a_bert_needs_numpy_alone(monkeypatch, encoder_folder):
    _without(monkeypatch, "onnxruntime", "tokenizers", "numba", "pyarrow", "tqdm")
    assert distill(encoder_folder(), dims=4).embedding.shape == (12, 4)


def test_no_bar_where_stderr_is_no_terminal(capsys):
    with progress_bar("distil") as progress:
        assert progress is None
    assert capsys.readouterr().err == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress_bar("distil") as progress:
        assert progress is not None
        progress(3, 12)
        progress(12, 12)
    assert "distil" in terminal.getvalue()


def test_no_bar_without_tqdm(monkeypatch):
    monkeypatch.setattr(sys, "stderr", _Terminal())
    _without(monkeypatch, "tqdm")
    with progress_bar("distil") as progress:
        assert progress is None
