"""Frameworks are loaded once a function needs them, and are named where they are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastroute.errors import MissingDependencyError
from fastroute.integrations.langchain import model_picker, routed_chat_model
from fastroute.integrations.litellm import routing_strategy, tier_classifier
from fastroute.integrations.llama_index import difficulty_selector
from fastroute.integrations.ray import score_dataset


def test_ray_is_not_loaded_with_its_module() -> None:
    code = "import sys, fastroute.integrations.ray; print(sorted({'ray', 'pyarrow', 'pandas'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingDependencyError, match=r"needs ray\[data\].*pip install 'fastroute\[ray\]'"):
        score_dataset(None)


@pytest.mark.parametrize("module", ["langchain", "litellm", "llama_index"])
def test_plugs_load_nothing_with_their_module(module: str) -> None:
    foreign = {"litellm", "langchain_core", "llama_index", "pydantic"}
    code = f"import sys, fastroute.integrations.{module}; print(sorted({foreign} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_langchain_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_core", None)
    monkeypatch.setitem(sys.modules, "langchain_core.language_models", None)
    needs = r"needs langchain-core.*pip install 'fastroute\[langchain\]'"
    with pytest.raises(MissingDependencyError, match=needs):
        routed_chat_model(None, None)
    with pytest.raises(MissingDependencyError, match=needs):
        model_picker("big", "small")


def test_litellm_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("litellm", "litellm.types", "litellm.types.router"):
        monkeypatch.setitem(sys.modules, name, None)
    needs = r"needs litellm, which is not installed: pip install 'fastroute\[litellm\]'"
    with pytest.raises(MissingDependencyError, match=needs):
        tier_classifier()
    with pytest.raises(MissingDependencyError, match=needs):
        routing_strategy(None, strong="big", weak="small")


def test_llama_index_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_index.core.base.base_selector", None)
    with pytest.raises(MissingDependencyError, match=r"needs llama-index-core.*pip install 'fastroute\[llama-index\]'"):
        difficulty_selector()
