"""Frameworks are loaded once a function needs them, and are named where they are missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastroute.errors import MissingDependencyError
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
