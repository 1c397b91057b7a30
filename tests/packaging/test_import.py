"""What ``import fastroute`` loads, how long it takes, and which names it promises (scorecard 23)."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import fastroute

HERE = Path(__file__).resolve().parent
SNAPSHOT = HERE / "public_api.txt"
LONGEST_IMPORT = 0.15  # seconds

LOADED = """
import json, sys
import numpy
before = set(sys.modules)
import fastroute
{then}
print(json.dumps(sorted(set(sys.modules) - before)))
"""
SEVERAL_USES = """
fastroute.load("mf").score("a")
router = fastroute.load()
router.route("Prove that sqrt(2) is irrational.")
router.score(["a"] * 1000)
fastroute.info()
"""
ALL_CLASSES = """
import fastroute.encoders, fastroute.routers
fastroute.encoders.load_encoder().embed(["a"])
"""


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("then", ["", SEVERAL_USES, ALL_CLASSES], ids=["imported", "used", "all classes"])
def test_only_numpy_and_the_standard_library_are_loaded(then: str) -> None:
    loaded = json.loads(run(LOADED.format(then=then)))
    foreign = {name.split(".")[0] for name in loaded} - sys.stdlib_module_names - {"fastroute", "numpy"}
    assert foreign == set()
    assert "fastroute._core" in loaded
    for part in ("training", "cli", "batch", "onnx.model"):
        assert f"fastroute.{part}" not in loaded


def test_import_is_quick() -> None:
    # Processor time of this thread, which a busy machine leaves alone; benchmarks/test_cold_start.py has the clock.
    code = "import time; start = time.thread_time(); import fastroute; print(time.thread_time() - start)"
    assert min(float(run(code)) for _ in range(7)) <= LONGEST_IMPORT


def modules() -> list[str]:
    found = pkgutil.walk_packages(fastroute.__path__, "fastroute.")
    return ["fastroute", *sorted(module.name for module in found if not module.name.endswith("__main__"))]


# Modules of classes whose bases an extra brings.
BUILT_ON = {
    "fastroute.integrations.langchain_model": "langchain_core",
    "fastroute.integrations.llama_index_selector": "llama_index.core",
}


@pytest.mark.parametrize("name", modules())
def test_every_promised_name_exists(name: str) -> None:
    if name in BUILT_ON:
        pytest.importorskip(BUILT_ON[name], reason="the extra that this module is built on is not installed")
    module = importlib.import_module(name)
    promised = getattr(module, "__all__", [])
    assert len(set(promised)) == len(promised)
    assert [each for each in promised if not hasattr(module, each)] == []


def test_the_public_api_is_as_written_down() -> None:
    spec = importlib.util.spec_from_file_location("public_api", HERE / "public_api.py")
    assert spec is not None
    assert spec.loader is not None
    public_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(public_api)
    found, written = public_api.describe().splitlines(), SNAPSHOT.read_text(encoding="utf-8").splitlines()
    gone = [line for line in written if line not in found]
    added = [line for line in found if line not in written]
    assert found == written, (
        f"\ngone or changed: {gone}\nadded or changed: {added}\nIf that is meant, run\n"
        "    python tests/packaging/public_api.py > tests/packaging/public_api.txt\n"
        "and say in CHANGELOG.md what users must do."
    )


def test_no_extra_has_both_wheels_of_onnx_runtime() -> None:
    """They install one package, `onnxruntime`: which of the two is there would depend on the order."""
    wheels: dict[str, set[str]] = {}
    for line in requires("fastroute") or []:
        found = re.match(r"(onnxruntime(?:-gpu)?)\b(?!-).*extra == ['\"](\w+)['\"]", line)
        if found:
            wheels.setdefault(found[2], set()).add(found[1])
    assert {"onnxruntime"} in wheels.values()
    assert wheels["bert"] == {"onnxruntime"}
    assert wheels["gpu"] == {"onnxruntime-gpu"}
    assert all(len(names) == 1 for names in wheels.values())


def test_every_error_is_a_fastroute_error() -> None:
    for name in fastroute.errors.__all__:
        assert issubclass(getattr(fastroute.errors, name), fastroute.errors.FastrouteError)
