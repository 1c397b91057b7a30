"""What of scoring on Spark needs no Spark: its workers keep routers, and what is missing is named."""

from __future__ import annotations

import pickle
import shutil
import sys
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.reference.tiny_artifacts import random_weights, write_router

import fastroute
from fastroute.encoders import load_encoder
from fastroute.errors import ArtifactError, MissingDependencyError, UnknownRouterError
from fastroute.integrations.spark import score_arrow

pa = pytest.importorskip("pyarrow")
pytest.importorskip("pandas")


@pytest.fixture
def no_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pyspark that says of every task that it is none of Spark's."""
    pyspark: Any = types.ModuleType("pyspark")
    pyspark.TaskContext = types.SimpleNamespace(get=lambda: None)
    monkeypatch.setitem(sys.modules, "pyspark", pyspark)


def scored(scoring: Any, prompts: list[str]) -> Any:
    (batch,) = scoring(iter([pa.record_batch({"prompt": prompts})]))
    return batch


@pytest.mark.usefixtures("no_spark")
def test_threads_and_tasks_of_a_process_share_a_router(tiny_router_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_router_folder, tmp_path / "router")
    scoring = score_arrow(folder)
    copies = [pickle.loads(pickle.dumps(scoring)) for _ in range(8)]
    expected = fastroute.score_table(pa.record_batch({"prompt": ["a", "b"]}), tiny_router_folder)
    opened: list[object] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if counting and event == "open" and str(arguments[0]).endswith("router.json"):
            opened.append(arguments[0])
            time.sleep(0.1)  # in which the other threads come to ask for the same router

    counting = True
    sys.addaudithook(hook)
    with ThreadPoolExecutor(8) as threads:
        batches = list(threads.map(lambda copy: scored(copy, ["a", "b"]), copies))
    shutil.rmtree(folder)
    batches.append(scored(scoring, ["a", "b"]))
    counting = False
    assert len(opened) == 1
    assert all(batch.equals(expected, check_metadata=True) for batch in batches)


@pytest.mark.usefixtures("no_spark")
def test_another_router_in_its_place(tiny_router_folder: Path, tiny_encoder_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_router_folder, tmp_path / "router")
    scoring, before = score_arrow(folder), fastroute.load(folder).artifact
    shutil.rmtree(folder)
    with pytest.raises(UnknownRouterError):
        scored(scoring, ["a"])
    write_router(folder, random_weights(16, seed=1), encoder=load_encoder(tiny_encoder_folder))
    after = fastroute.load(folder).artifact
    for _ in range(2):
        with pytest.raises(ArtifactError, match=f"found the artifact {after}, expected {before}"):
            scored(scoring, ["a"])
    assert scored(score_arrow(folder), ["a"])["score"][0].as_py() == fastroute.load(folder).score("a")


@pytest.mark.parametrize("package", ["pyspark", "pandas", "pyarrow"])
def test_a_package_that_spark_needs_is_missing(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in ("pyspark", "pandas", "pyarrow"):
        monkeypatch.setitem(sys.modules, name, None if name == package else types.ModuleType(name))
    with pytest.raises(MissingDependencyError, match=rf"needs {package}, .*pip install 'fastroute\[spark\]'"):
        score_arrow("mf")
