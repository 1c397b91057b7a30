"""Ray Data on a cluster of this machine: the rows and scores of one process, whatever becomes of its workers."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.logged_router import LoggedRouter, make_known, uses

import fastroute
from fastroute.errors import (
    DataError,
    FastrouteError,
    InvalidArgumentError,
    InvalidTypeError,
    UnknownRouterError,
)
from fastroute.integrations.ray import score_dataset

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
pa = pytest.importorskip("pyarrow", reason="needs the extra [ray]")
pytestmark = [
    pytest.mark.ray,
    # Ray's own: settings of its context that it renames, and what its executor and its processes leave open.
    pytest.mark.filterwarnings("ignore:`use_\\w+` is deprecated:DeprecationWarning:ray.data.context"),
    pytest.mark.filterwarnings("ignore:Tip. In future versions of Ray:FutureWarning:ray._private.worker"),
    pytest.mark.filterwarnings("ignore:unclosed file .*(ray-data|dev.null):ResourceWarning"),
    pytest.mark.filterwarnings("ignore:subprocess \\d+ is still running:ResourceWarning"),
]

ROWS = 4000
STARTS = ("Prove that", "Write a story of", "日本語 🎉", "def f(x): return", "What is")
PROMPTS = [f"{STARTS[i % 5]} {i} " + "the sum is √2 " * (i % 23) for i in range(ROWS)]
BATCH = {"column": "prompt", "batch_rows": 64}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Iterator[None]:
    """Ray with three workers' worth of CPUs, whose processes know `LoggedRouter`."""
    known = tmp_path_factory.mktemp("site")
    make_known(known)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(known)
        path = [str(known), str(checkout), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(each for each in path if each))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        importlib.import_module("ray.data")
        ray.init(
            address="local",
            num_cpus=3,
            object_store_memory=100 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def table() -> Any:
    return pa.table({"id": range(ROWS), "prompt": PROMPTS})


@pytest.fixture(scope="module")
def dataset(cluster: None, table: Any) -> Any:
    """The table in 40 blocks."""
    return ray.data.from_arrow([table.slice(start, ROWS // 40) for start in range(0, ROWS, ROWS // 40)])


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """Artifact of a `LoggedRouter`."""
    LoggedRouter("large", "small").save(tmp_path / "logged")
    return tmp_path / "logged"


def gathered(dataset: Any) -> Any:
    """All blocks of a dataset as one table, by id."""
    return pa.concat_tables(ray.get(dataset.to_arrow_refs())).sort_by("id")


@pytest.mark.parametrize(
    ("router", "concurrency"), [("mf", 2), ("mf", (1, 2)), ("mf", None), ("random", 2), (None, 1)], ids=str
)
def test_rows_and_scores_of_one_process(dataset: Any, table: Any, router: Any, concurrency: Any) -> None:
    scored = score_dataset(dataset, router, concurrency=concurrency, **BATCH)
    assert gathered(scored).equals(fastroute.score_table(table, router))


def test_other_names_and_a_path(
    dataset: Any, table: Any, tiny_router_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_router_folder.parent)
    names = {"column": "question", "score_column": "difficulty", "model_column": "answered by", "threshold": 0.51}
    renamed = dataset.rename_columns({"prompt": "question"})
    expected = fastroute.score_table(table.rename_columns(["id", "question"]), tiny_router_folder, **names)
    scored = score_dataset(renamed, tiny_router_folder.name, concurrency=1, **names)
    assert gathered(scored).equals(expected)
    assert len(set(expected["answered by"].to_pylist())) == 2


def test_each_actor_loads_once(dataset: Any, logged: Path) -> None:
    scored = score_dataset(dataset, logged, concurrency=2, **BATCH).materialize()
    assert scored.count() == ROWS
    log = [use for use in uses(logged) if use.pid != os.getpid()]
    assert Counter(use.what for use in log)["loaded"] == 2
    assert set(Counter(use.pid for use in log if use.what == "loaded").values()) == {1}
    assert Counter(use.what for use in log)["scored"] > 20


@pytest.mark.parametrize(("num_cpus", "threads"), [(0.5, 1), (1, 1), (2.5, 2)])
def test_threads_of_an_actor(dataset: Any, logged: Path, num_cpus: float, threads: int) -> None:
    before = fastroute.info().threads
    score_dataset(dataset.limit(10), logged, concurrency=1, num_cpus=num_cpus).materialize()
    assert {use.threads for use in uses(logged) if use.pid != os.getpid()} == {threads}
    assert fastroute.info().threads == before


def test_a_worker_is_killed(dataset: Any, table: Any, logged: Path) -> None:
    """Within the four batches of a block; Ray starts another, which loads the router and scores what was lost."""
    expected = fastroute.score_table(table, logged)
    scored = score_dataset(dataset, logged, concurrency=2, batch_rows=25)
    batches = iter(scored.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    found = [next(batches)]
    own = os.getpid()
    deadline = time.monotonic() + 60
    victim = None
    while victim is None:
        assert time.monotonic() < deadline
        counts = Counter(use.pid for use in uses(logged) if use.what == "scored" and use.pid != own)
        victim = next((pid for pid, count in counts.items() if count > 4 and count % 4 in (1, 2)), None)
    os.kill(victim, signal.SIGKILL)
    assert sum(use.what == "scored" and use.pid != own for use in uses(logged)) < 0.8 * ROWS / 25
    found += batches
    assert pa.concat_tables(found).sort_by("id").equals(expected)
    assert sum(use.what == "scored" and use.pid != own for use in uses(logged)) > ROWS / 25
    loaded = [use.pid for use in uses(logged) if use.what == "loaded" and use.pid != own]
    assert len(set(loaded)) == len(loaded) >= 3
    assert not Path(f"/proc/{victim}").exists()


def bad_rows() -> list[Any]:
    """Blocks with a null, with bytes that are not UTF-8, and with nothing but nulls, of no type."""
    utf8 = pa.array([b"fine", b"h\xff"], pa.binary()).view(pa.string())
    return [
        pa.table({"id": [0, 1, 2], "prompt": ["a", None, "prove"]}),
        pa.table({"id": [3, 4], "prompt": utf8}),
        pa.table({"id": [5, 6], "prompt": pa.nulls(2)}),
    ]


def test_rows_that_are_no_text(cluster: None) -> None:
    blocks = bad_rows()
    dataset = ray.data.from_arrow(blocks)
    failing = score_dataset(dataset.limit(3), "mf", concurrency=1)
    with pytest.raises(
        Exception, match=r"in a batch of 3 rows: table: column 'prompt', row 1: expected a string, found n"
    ):
        failing.materialize()
    found = gathered(score_dataset(dataset, "mf", concurrency=1, on_error="null"))
    router = fastroute.load("mf")
    expected = dict(zip((0, 2, 3), router.score(["a", "prove", "fine"]).tolist(), strict=True))
    assert found["id"].to_pylist() == list(range(7))
    assert found["score"].to_pylist() == [expected.get(row) for row in range(7)]
    assert [model is None for model in found["model"].to_pylist()] == [row not in expected for row in range(7)]


NOT_ALLOWED: dict[str, tuple[dict[str, Any], type[FastrouteError], str]] = {
    "router name": ({"router": "no-such-router"}, UnknownRouterError, "router: found 'no-such-router'"),
    "router path": ({"router": Path("/no/such/router")}, UnknownRouterError, "router: found '/no/such/router'"),
    "router type": ({"router": 5}, InvalidTypeError, "router: found int, allowed: a built-in name, or the path"),
    "no column": ({"column": "question"}, DataError, "table: no column 'question'; it has 'id', 'prompt'"),
    "column type": ({"column": "id"}, DataError, "table: column 'id': expected strings, found int64"),
    "score column": ({"score_column": "id"}, InvalidArgumentError, "table: there is a column 'id' already"),
    "model column": ({"model_column": "prompt"}, InvalidArgumentError, "table: there is a column 'prompt' already"),
    "threshold": ({"threshold": 1.5}, InvalidArgumentError, "threshold: found 1.5"),
    "on_error": ({"on_error": "skip"}, InvalidArgumentError, "on_error: found 'skip', allowed: 'fail' or 'null'"),
    "no actors": ({"concurrency": 0}, InvalidArgumentError, "concurrency: found 0, allowed: an int from 1 up"),
    "most below least": ({"concurrency": (3, 2)}, InvalidArgumentError, r"concurrency: found \(3, 2\)"),
    "three sizes": ({"concurrency": (1, 2, 3)}, InvalidTypeError, r"concurrency: found \(1, 2, 3\)"),
    "actors in words": ({"concurrency": "two"}, InvalidTypeError, "concurrency: found str"),
    "actors as a truth": ({"concurrency": True}, InvalidTypeError, "concurrency: found bool"),
    "no CPU": ({"num_cpus": 0}, InvalidArgumentError, "num_cpus: found 0, allowed: a number above 0"),
    "no number of CPUs": ({"num_cpus": float("nan")}, InvalidArgumentError, "num_cpus: found nan"),
    "CPUs in words": ({"num_cpus": "1"}, InvalidTypeError, "num_cpus: found str"),
    "no rows": ({"batch_rows": 0}, InvalidArgumentError, "batch_rows: found 0, allowed: an int from 1 up"),
    "rows in words": ({"batch_rows": "default"}, InvalidTypeError, "batch_rows: found str"),
}


@pytest.mark.parametrize(("options", "kind", "message"), NOT_ALLOWED.values(), ids=NOT_ALLOWED)
def test_what_is_refused_at_once(dataset: Any, options: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        score_dataset(dataset, **({"router": "mf"} | options))


def test_what_can_not_travel(dataset: Any, table: Any) -> None:
    router = fastroute.load("mf")
    with pytest.raises(InvalidTypeError, match=r"^router: found MatrixFactorizationRouter, .*router\.save\(path\)"):
        score_dataset(dataset, router)
    for bad in (table, None, "prompts.parquet"):
        with pytest.raises(InvalidTypeError, match=r"^ds: found \w+, allowed: a ray\.data\.Dataset"):
            score_dataset(bad, "mf")


def test_columns_that_ray_does_not_know_yet(dataset: Any) -> None:
    """Nothing is run to look at them: the actors tell."""

    def rename(batch: Any) -> Any:
        return batch.rename_columns(["id", "question"])

    scored = score_dataset(dataset.map_batches(rename, batch_format="pyarrow"), "mf", concurrency=1)
    with pytest.raises(Exception, match="table: no column 'prompt'; it has 'id', 'question'"):
        scored.materialize()


def overwritten(router: Path) -> None:
    shutil.rmtree(router)
    LoggedRouter("large", "small", seed=1).save(router)


def removed(router: Path) -> None:
    shutil.rmtree(router)


@pytest.mark.parametrize("change", [overwritten, removed])
def test_the_artifact_changes_before_the_actors_load_it(
    dataset: Any, logged: Path, change: Callable[[Path], None]
) -> None:
    scored = score_dataset(dataset, logged, concurrency=1)
    before = fastroute.load(logged).artifact
    change(logged)
    with pytest.raises(Exception, match=r"fastroute\.errors\.\w+: router") as error:
        scored.materialize()
    if change is overwritten:
        after = fastroute.load(logged).artifact
        assert f"found the artifact {after}, expected {before}, which the driver loaded" in str(error.value)
    assert not any(use.what == "scored" for use in uses(logged))


def test_the_example(cluster: None, checkout: Path, tmp_path: Path) -> None:
    pq = importlib.import_module("pyarrow.parquet")
    (tmp_path / "in").mkdir()
    for name, block in zip("abc", bad_rows(), strict=True):
        typed = block.set_column(1, "prompt", block["prompt"].cast(pa.string()))
        pq.write_table(typed, tmp_path / "in" / f"{name}.parquet")
    command = [sys.executable, str(checkout / "examples" / "ray_score.py"), "in", "--output", "out", "--router", "mf"]
    ended = subprocess.run(
        [*command, "--on-error", "null", "--actors", "1"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "no text: 4\n7 rows in " in ended.stdout
    assert sorted(pq.read_table(tmp_path / "out")["id"].to_pylist()) == list(range(7))


def test_no_rows(dataset: Any) -> None:
    nothing = dataset.map_batches(lambda batch: batch.slice(0, 0), batch_format="pyarrow")
    assert score_dataset(nothing, "mf", concurrency=1).take_all() == []
