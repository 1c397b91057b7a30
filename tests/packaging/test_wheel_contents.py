"""The installed package holds what the wheel must, and nothing else (scorecard 23)."""

from __future__ import annotations

import importlib.util
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_wheel", Path(__file__).with_name("check_wheel.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def installed() -> list[str]:
    names = [str(file) for file in distribution("fastroute").files or []]
    if any(name.endswith((".pth", "_editable.py")) or "_editable" in name for name in names):
        pytest.skip("an editable install has the checkout's files, not a wheel's")
    installer = ("INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json")
    return [
        name
        for name in names
        if "__pycache__" not in name and not name.startswith("..") and not name.endswith(installer)
    ]


def test_installed_files_are_those_of_a_good_wheel(check: ModuleType, installed: list[str]) -> None:
    assert check.problems(installed) == []


GOOD = [
    "fastroute/__init__.py",
    "fastroute/_core.cpython-311-x86_64-linux-gnu.so",
    "fastroute/_core.pyi",
    "fastroute/artifact/manifest.py",
    "fastroute/assets/encoders/static-minilm-l6/encoder.json",
    "fastroute/assets/encoders/static-minilm-l6/encoder.safetensors",
    "fastroute/assets/encoders/static-minilm-l6/tokenizer.json",
    *(
        f"fastroute/assets/routers/bert/{name}"
        for name in ("router.json", "weights.safetensors", "encoder.json", "model.onnx", "tokenizer.json")
    ),
    "fastroute/assets/routers/experts/router.json",
    "fastroute/assets/routers/experts/weights.safetensors",
    "fastroute/assets/routers/knn/index.safetensors",
    "fastroute/assets/routers/knn/prompts.safetensors",
    "fastroute/assets/routers/knn/router.json",
    "fastroute/assets/routers/mf/router.json",
    "fastroute/assets/routers/mf/weights.safetensors",
    "fastroute/assets/routers/sw_ranking/battles.safetensors",
    "fastroute/assets/routers/sw_ranking/index.safetensors",
    "fastroute/assets/routers/sw_ranking/moments.safetensors",
    "fastroute/assets/routers/sw_ranking/router.json",
    "fastroute/py.typed",
    *(f"fastroute/serving/playground/page/{name}" for name in ("index.html", "style.css", "icon.svg")),
    *(
        f"fastroute/serving/playground/page/{name}.js"
        for name in ("playground", "server", "routers", "threshold", "traffic", "charts", "dom")
    ),
    "fastroute/training/comparisons/plans/open-data.json",
    "fastroute-0.1.0.dist-info/METADATA",
    "fastroute-0.1.0.dist-info/RECORD",
    "fastroute-0.1.0.dist-info/WHEEL",
    "fastroute-0.1.0.dist-info/entry_points.txt",
    "fastroute-0.1.0.dist-info/licenses/LICENSE",
    "fastroute-0.1.0.dist-info/licenses/NOTICE",
]


def test_a_good_list_has_no_problems(check: ModuleType) -> None:
    assert check.problems(GOOD) == []


NEEDED = (".so", ".pyi", ".typed", ".json", ".safetensors", "NOTICE", ".html", ".css", ".js", ".svg")


@pytest.mark.parametrize("absent", [n for n in GOOD if n.endswith(NEEDED)])
def test_each_missing_file_is_named(check: ModuleType, absent: str) -> None:
    (problem,) = check.problems([name for name in GOOD if name != absent])
    assert problem.startswith("missing: ")


@pytest.mark.parametrize(
    "extra", ["fastroute/model.pkl", "tests/conftest.py", "fastroute/CMakeLists.txt", "fastroute/lib/libgomp.so.1"]
)
def test_each_stray_file_is_named(check: ModuleType, extra: str) -> None:
    assert check.problems([*GOOD, extra]) == [f"unexpected: {extra}"]
