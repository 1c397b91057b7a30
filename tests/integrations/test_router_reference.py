"""What a job sends of a router, and what a worker makes of it."""

from __future__ import annotations

import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.tiny_artifacts import random_weights, write_router

import fastroute
from fastroute.encoders import load_encoder
from fastroute.errors import ArtifactError, InvalidTypeError, MissingDependencyError, UnknownRouterError
from fastroute.integrations.router_reference import RouterReference
from fastroute.integrations.spark import score_arrow


def test_names_stay_names_and_paths_become_absolute(tiny_router_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = fastroute.load(tiny_router_folder).artifact
    monkeypatch.chdir(tiny_router_folder.parent)
    for given in ("tiny", Path("tiny"), str(tiny_router_folder), tiny_router_folder):
        assert RouterReference.to(given) == RouterReference(str(tiny_router_folder), tiny)
    assert RouterReference.to(None) == RouterReference.to("experts")
    assert RouterReference.to("mf") == RouterReference("mf", fastroute.load("mf").artifact)
    assert RouterReference.to("random") == RouterReference("random", "")
    shutil.copytree("tiny", "mf")
    assert RouterReference.to("mf").router == "mf"  # the built-in one, as fastroute.load has it
    assert RouterReference.to(Path("mf")) == RouterReference(str(tiny_router_folder.parent / "mf"), tiny)


def test_what_can_not_be_sent(tiny_router_folder: Path, tmp_path: Path) -> None:
    for bad in (fastroute.load(tiny_router_folder), 5, b"mf", object):
        with pytest.raises(InvalidTypeError, match=r"^router: found \w+, which can't be sent .*allowed: a built-in name"):
            RouterReference.to(bad)  # type: ignore[arg-type]
    for unknown in ("no-such-router", tmp_path / "nothing"):
        with pytest.raises(UnknownRouterError):
            RouterReference.to(unknown)
    with pytest.raises(ArtifactError):
        RouterReference.to(tmp_path)


def test_a_process_loads_it_once(tiny_router_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_router_folder, tmp_path / "router")
    reference = RouterReference.to(tmp_path / "router")
    copies = [pickle.loads(pickle.dumps(reference)) for _ in range(8)]  # noqa: S301
    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(RouterReference.load, copies))
    assert len({id(router) for router in loaded}) == 1
    shutil.rmtree(tmp_path / "router")
    assert reference.load() is loaded[0]
    np.testing.assert_array_equal(reference.load().score(["a"]), fastroute.load(tiny_router_folder).score(["a"]))


def test_another_router_in_its_place(tiny_router_folder: Path, tiny_encoder_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_router_folder, tmp_path / "router")
    reference = RouterReference.to(tmp_path / "router")
    shutil.rmtree(tmp_path / "router")
    with pytest.raises(UnknownRouterError):
        reference.load()
    write_router(tmp_path / "router", random_weights(16, seed=1), encoder=load_encoder(tiny_encoder_folder))
    changed = RouterReference.to(tmp_path / "router")
    assert changed.artifact != reference.artifact
    for _ in range(2):
        with pytest.raises(ArtifactError, match=f"{reference.artifact}.*found {changed.artifact}"):
            reference.load()
    assert changed.load().artifact == changed.artifact


@pytest.mark.parametrize("package", ["pyspark", "pandas", "pyarrow"])
def test_a_package_that_spark_needs_is_missing(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in ("pyspark", "pandas", "pyarrow"):
        there: Any = None if name == package else sys
        monkeypatch.setitem(sys.modules, name, there)
    with pytest.raises(MissingDependencyError, match=rf"needs {package}, .*pip install 'fastroute\[spark\]'"):
        score_arrow("mf")
