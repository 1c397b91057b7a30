"""Data frames scored by a cluster of two executors, each a JVM with Python workers of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.tiny_artifacts import random_weights, write_router

import fastroute
from fastroute.encoders import load_encoder
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownRouterError
from fastroute.integrations.spark import score_arrow, score_dataframe

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("pyspark", reason="needs the extra [spark]")

has_java = shutil.which("java") or os.environ.get("JAVA_HOME")
pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(not has_java, reason="Spark needs Java"),
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    # Spark 3.5 compares versions by distutils, and leaves the socket of each collect() to the garbage collector.
    pytest.mark.filterwarnings("ignore:distutils Version classes are deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket.socket:pytest.PytestUnraisableExceptionWarning"),
]

ROWS = 2000
FILES = 8  # a partition each
LONGEST_WAIT = 60.0  # seconds


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session on a cluster of two executors; nothing leaves this machine."""
    from pyspark import SparkContext
    from pyspark.find_spark_home import _find_spark_home
    from pyspark.sql import SparkSession

    folder = tmp_path_factory.mktemp("spark")
    home = folder / "home"  # Spark writes what executors say to a folder in it
    home.mkdir()
    for each in Path(_find_spark_home()).iterdir():
        if each.name != "work":
            (home / each.name).symlink_to(each)
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "spark.sql.files.openCostInBytes": "128m",  # as large as a partition: none holds two files
        "spark.sql.session.timeZone": "UTC",
        "spark.task.maxFailures": "2",  # jobs that must fail do so sooner
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYSPARK_PYTHON", sys.executable)
        environment.setenv("SPARK_HOME", str(home))
        environment.setenv("SPARK_LOCAL_DIRS", str(folder / "local"))
        environment.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("fastroute tests")
        session = builder.config(map=settings).getOrCreate()
        gateway = SparkContext._gateway
        yield session
        session.stop()
        # The JVM would else stay until pytest ends.
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(LONGEST_WAIT)
        SparkContext._gateway = SparkContext._jvm = None


@pytest.fixture(scope="module")
def table(many_prompts: list[str]) -> Any:
    return pa.table({"id": range(ROWS), "prompt": many_prompts, "note": [f"row {i}" for i in range(ROWS)]})


@pytest.fixture(scope="module")
def frame(spark: Any, table: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The table in Parquet files, as Spark sees it."""
    folder = tmp_path_factory.mktemp("logs")
    for i in range(FILES):
        rows = ROWS // FILES
        pq.write_table(table.slice(i * rows, rows), folder / f"{i}.parquet")
    frame = spark.read.parquet(str(folder))
    assert frame.rdd.getNumPartitions() == FILES
    return frame


@contextlib.contextmanager
def setting(spark: Any, name: str, value: str) -> Iterator[None]:
    before = spark.conf.get(name)
    spark.conf.set(name, value)
    try:
        yield
    finally:
        spark.conf.set(name, before)


def collected(scored: Any) -> Any:
    """All rows as an Arrow table, in the order of their ids."""
    rows = sorted(scored.collect(), key=lambda row: row["id"])
    return pa.table({name: [row[name] for row in rows] for name in scored.columns})


def check(found: Any, expected: Any) -> None:
    """Compare rows of Spark with those of one process, scores bit for bit."""
    assert found.column_names == expected.column_names
    for name in set(found.column_names) - {"score"}:
        assert found[name].to_pylist() == expected[name].to_pylist()
    ours, theirs = (each["score"].to_pylist() for each in (found, expected))
    assert [score is None for score in ours] == [score is None for score in theirs]
    bits = [
        np.array([score for score in each if score is not None], np.float32).view(np.uint32) for each in (ours, theirs)
    ]
    np.testing.assert_array_equal(*bits)


@pytest.mark.parametrize("router", [None, "mf", "random", "path", "relative path"])
def test_rows_and_scores_are_those_of_one_process(
    frame: Any, table: Any, tiny_router_folder: Path, monkeypatch: pytest.MonkeyPatch, router: Any
) -> None:
    monkeypatch.chdir(tiny_router_folder.parent)  # executors run elsewhere
    given = {"path": tiny_router_folder, "relative path": tiny_router_folder.name}.get(router, router)
    scored = score_dataframe(frame, given)
    assert [field.simpleString() for field in scored.schema.fields] == [
        *(field.simpleString() for field in frame.schema.fields),
        "score:float",
        "model:string",
    ]
    check(collected(scored), fastroute.score_table(table, given))


def test_map_in_arrow_with_other_names_and_threshold(frame: Any, table: Any, tiny_router_folder: Path) -> None:
    options: Any = {"column": "note", "score_column": "difficulty", "model_column": "answered by", "threshold": 0.53}
    scoring = score_arrow(tiny_router_folder, **options)
    found = collected(frame.mapInArrow(scoring, scoring.schema(frame.schema)))
    expected = fastroute.score_table(table, tiny_router_folder, **options)
    assert len(set(expected["answered by"].to_pylist())) == 2
    check(found.rename_columns({"difficulty": "score"}), expected.rename_columns({"difficulty": "score"}))


def test_partitions_without_rows(frame: Any, table: Any, tiny_router_folder: Path) -> None:
    scored = score_dataframe(frame.where("id % 250 < 7 and id < 800"), tiny_router_folder)
    kept = [i for i in range(800) if i % 250 < 7]
    check(collected(scored), fastroute.score_table(table.take(kept), tiny_router_folder))
    assert score_dataframe(frame.where("id < 0"), tiny_router_folder).collect() == []


@pytest.mark.parametrize("batch_rows", [1, 7, 10_000, 0])
@pytest.mark.parametrize("large", ["false", "true"])
def test_batches_of_any_size_and_large_strings(
    spark: Any, frame: Any, table: Any, tiny_router_folder: Path, tmp_path: Path, batch_rows: int, large: str
) -> None:
    types = tmp_path / "types"
    scoring = score_arrow(tiny_router_folder)

    def noting(batches: Iterator[Any]) -> Iterator[Any]:
        for scored in scoring(batches):
            with types.open("a") as file:
                file.write(f"{scored.schema.field('prompt').type} {scored.num_rows}\n")
            yield scored

    some = frame.where("id >= 100 and id < 400")
    name = "spark.sql.execution.arrow."
    with setting(spark, name + "maxRecordsPerBatch", str(batch_rows)), setting(spark, name + "useLargeVarTypes", large):
        found = collected(some.mapInArrow(noting, scoring.schema(frame.schema)))
    check(found, fastroute.score_table(table.slice(100, 300), tiny_router_folder))
    kinds, sizes = zip(*(line.split() for line in types.read_text().splitlines()), strict=True)
    assert set(kinds) == {"large_string" if large == "true" else "string"}
    assert max(map(int, sizes)) == (min(batch_rows, 150) or 150)


def test_columns_of_all_kinds_come_back(spark: Any, tiny_router_folder: Path) -> None:
    from pyspark.sql import Row

    when = dt.datetime(2026, 2, 28, 23, 59, 59, 123456)
    row = Row(
        prompt="prove that",
        number=2**40,
        price=Decimal("12.50"),
        raw=bytearray(b"\x00\xff"),
        day=when.date(),
        when=when,
        tags=["a", None],
        counts={"a": 1},
        inner=Row(x=1.5, y=None),
        nothing=None,
    )
    kinds = (
        "prompt string, number bigint, price decimal(8,2), raw binary, day date, when timestamp_ntz, "
        "tags array<string>, counts map<string,int>, inner struct<x:double,y:string>, nothing double"
    )
    given = spark.createDataFrame([row], kinds)
    (found,) = score_dataframe(given, tiny_router_folder).collect()
    assert found[: len(row)] == given.collect()[0]
    assert found["score"] == fastroute.load(tiny_router_folder).score("prove that")


def killed_once(scoring: Any, target: str, marker: Path) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """Score; but the first time, partition 3 waits after its first batch, to be killed."""

    def run(batches: Iterator[Any]) -> Iterator[Any]:
        import os
        import subprocess
        import time

        from pyspark import TaskContext

        scored = scoring(batches)
        if TaskContext.get().partitionId() == 3:
            with (marker.parent / "attempts").open("a") as file:
                file.write("x")
            if not marker.exists():
                yield next(scored)
                jvm = subprocess.check_output(["ps", "-o", "ppid=", "-p", str(os.getppid())], text=True)
                whole = marker.with_suffix(".part")
                whole.write_text(str(os.getpid()) if target == "Python worker" else jvm)
                whole.rename(marker)
                time.sleep(120)
        yield from scored

    return run


@pytest.mark.parametrize("target", ["Python worker", "executor"])
def test_what_is_killed_is_scored_again(
    spark: Any, frame: Any, table: Any, tiny_router_folder: Path, tmp_path: Path, target: str
) -> None:
    marker, killed = tmp_path / "marker", []

    def kill() -> None:
        end = time.monotonic() + LONGEST_WAIT
        while not marker.exists() and time.monotonic() < end:
            time.sleep(0.05)
        process = int(marker.read_text())
        name = subprocess.check_output(["ps", "-o", "comm=", "-p", str(process)], text=True)
        assert ("java" in name) == (target == "executor")
        assert process not in (os.getpid(), os.getppid(), spark.sparkContext._gateway.proc.pid)
        os.kill(process, signal.SIGKILL)
        killed.append(name)

    scoring = score_arrow(tiny_router_folder)
    killer = threading.Thread(target=kill)
    killer.start()
    with setting(spark, "spark.sql.execution.arrow.maxRecordsPerBatch", "100"):
        scored = frame.mapInArrow(killed_once(scoring, target, marker), scoring.schema(frame.schema))
        scored.write.parquet(str(tmp_path / "scored"))
    killer.join()
    assert len(killed) == 1
    assert (tmp_path / "attempts").read_text() == "xx"
    assert (tmp_path / "scored" / "_SUCCESS").exists()
    found = pq.read_table(tmp_path / "scored").sort_by("id")
    check(found, fastroute.score_table(table, tiny_router_folder))


def test_a_worker_loads_the_router_once(frame: Any, table: Any, tiny_router_folder: Path, tmp_path: Path) -> None:
    folder, log = shutil.copytree(tiny_router_folder, tmp_path / "router"), tmp_path / "log"
    scoring = score_arrow(folder, threads=2)

    def watched(batches: Iterator[Any]) -> Iterator[Any]:
        import os
        import sys

        def write(what: object) -> None:
            with log.open("a") as file:
                file.write(f"{what} {os.getpid()}\n")

        def hook(event: str, arguments: tuple[object, ...]) -> None:
            if event == "open" and str(arguments[0]).endswith("router.json"):
                write("opened")

        if not hasattr(sys, "watched_by_fastroute"):
            sys.watched_by_fastroute = True  # type: ignore[attr-defined]
            sys.addaudithook(hook)
        yield from scoring(batches)
        import fastroute

        write(f"{fastroute.info().threads}")

    for _ in range(2):
        scored = frame.mapInArrow(watched, scoring.schema(frame.schema))
        check(collected(scored), fastroute.score_table(table, folder))
    lines = Counter(log.read_text().splitlines())
    opened = {line: count for line, count in lines.items() if line.startswith("opened")}
    partitions = {line: count for line, count in lines.items() if not line.startswith("opened")}
    assert sum(partitions.values()) == 2 * FILES
    assert {line.split()[0] for line in partitions} == {"2"}  # threads
    assert {line.split()[1] for line in opened} == {line.split()[1] for line in partitions}
    assert set(opened.values()) == {1}
    assert len(opened) < 2 * FILES


def test_only_names_and_numbers_are_sent(tiny_router_folder: Path) -> None:
    from pyspark import cloudpickle

    for router in (None, tiny_router_folder):
        scoring = score_arrow(router)
        sent = cloudpickle.dumps(scoring)
        assert len(sent) < 1000
        assert cloudpickle.loads(sent) == scoring


def with_bad_rows(spark: Any) -> Any:
    return spark.sql(
        "select id, case when id % 10 = 3 then null when id % 10 = 6 then cast(X'68ff' as string) "
        "else concat('prove that ', id) end as prompt from range(0, 40, 1, 4)"
    )


def test_a_prompt_that_is_no_text_ends_the_job(spark: Any, tiny_router_folder: Path) -> None:
    from pyspark.errors import PythonException

    frame = with_bad_rows(spark)
    reasons = {
        "id < 5": r"partition 0, batch from row 0: table: column 'prompt', row 3: expected a string, found null",
        "id between 24 and 27": r"partition 2, .*'prompt', row 2: invalid UTF-8 at byte 2",
    }
    for condition, reason in reasons.items():
        with pytest.raises(PythonException, match=rf"fastroute\.errors\.DataError: {reason}"):
            score_dataframe(frame.where(condition), tiny_router_folder).collect()


def test_a_prompt_that_is_no_text_keeps_its_row(spark: Any, tiny_router_folder: Path) -> None:
    frame = with_bad_rows(spark)
    scored = score_dataframe(frame, tiny_router_folder, on_error="null")
    assert [scored.schema[name].nullable for name in ("score", "model")] == [True, True]
    assert scored.where("score is null and model is null").count() == 8
    prompts = [None if i % 10 in (3, 6) else f"prove that {i}" for i in range(40)]
    expected = fastroute.score_table(
        pa.table({"id": range(40), "prompt": prompts}), tiny_router_folder, on_error="null"
    )
    check(collected(scored.drop("prompt")), expected.drop_columns(["prompt"]))
    assert not score_dataframe(frame, tiny_router_folder).schema["score"].nullable


def test_a_router_that_changed_ends_the_job(
    frame: Any, tiny_router_folder: Path, tiny_encoder_folder: Path, tmp_path: Path
) -> None:
    from pyspark.errors import PythonException

    folder = shutil.copytree(tiny_router_folder, tmp_path / "router")
    scored = score_dataframe(frame, folder)
    before = fastroute.load(folder).artifact
    write_router(folder, random_weights(16, seed=3), encoder=load_encoder(tiny_encoder_folder))
    after = fastroute.load(folder).artifact
    with pytest.raises(
        PythonException,
        match=rf"fastroute\.errors\.ArtifactError: router .*found the artifact {after}, expected {before}",
    ):
        scored.collect()
    assert score_dataframe(frame, folder).count() == ROWS
    shutil.rmtree(folder)
    with pytest.raises(PythonException, match=r"fastroute\.errors\.UnknownRouterError: router: found '.*router'"):
        scored.collect()


def test_what_a_schema_must_have(frame: Any) -> None:
    scoring = score_arrow("mf")
    types = {name: frame.selectExpr(*columns).schema for name, columns in SCHEMAS.items()}
    for name, message in {"score": "'score'", "Model": "'model'"}.items():
        with pytest.raises(InvalidArgumentError, match=f"^frame: there is a column {message} already"):
            scoring.schema(types[name])
    with pytest.raises(DataError, match=r"^frame: no column 'prompt'; it has 'id', 'Prompt'"):
        scoring.schema(types["Prompt"])
    with pytest.raises(DataError, match=r"^frame: 2 columns 'prompt'; it has 'prompt', 'prompt'"):
        scoring.schema(types["twice"])
    with pytest.raises(DataError, match=r"^frame: column 'prompt': expected strings, found array<string>"):
        scoring.schema(types["array"])
    for bad in (None, "prompt string", frame, pa.schema([("prompt", pa.string())])):
        with pytest.raises(InvalidTypeError, match=r"^schema: found \w+, allowed: a pyspark.sql.types.StructType"):
            scoring.schema(bad)
    for bad in (None, pa.table({"prompt": ["a"]}), frame.schema, frame.rdd):
        with pytest.raises(InvalidTypeError, match=r"^frame: found \w+, allowed: a pyspark.sql.DataFrame"):
            score_dataframe(bad, "mf")


SCHEMAS = {
    "score": ["prompt", "id as score"],
    "Model": ["prompt", "id as Model"],
    "Prompt": ["id", "prompt as Prompt"],
    "twice": ["prompt", "note as prompt"],
    "array": ["array(prompt) as prompt"],
}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"router": "no-such-router"}, UnknownRouterError, "router: found 'no-such-router'"),
        ({"router": 5}, InvalidTypeError, "router: found int, allowed: a built-in name"),
        ({"column": 5}, InvalidTypeError, "column: found int"),
        ({"model_column": b"model"}, InvalidTypeError, "model_column: found bytes"),
        ({"score_column": "model"}, InvalidArgumentError, "two of the new columns would be named 'model'"),
        ({"threshold": 1.5}, InvalidArgumentError, "threshold: found 1.5"),
        ({"threshold": "half"}, InvalidTypeError, "threshold: found"),
        ({"on_error": "skip"}, InvalidArgumentError, "on_error: found 'skip', allowed: 'fail' or 'null'"),
        ({"threads": 0}, InvalidArgumentError, "threads: found 0, allowed: 1 to 1024"),
        ({"threads": True}, InvalidTypeError, "threads: found bool"),
        ({"threads": 1.0}, InvalidTypeError, "threads: found float"),
    ],
)
def test_arguments_are_checked_before_anything_runs(options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        score_arrow(**{"router": "mf", **options})


def test_the_example(checkout: Path, table: Any, tiny_router_folder: Path, tmp_path: Path) -> None:
    pq.write_table(table, tmp_path / "logs.parquet")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "SPARK_LOCAL_IP": "127.0.0.1"}
    script = [sys.executable, checkout / "examples" / "spark_score.py", tmp_path / "logs.parquet"]
    options = ["--output", tmp_path / "scored", "--router", tiny_router_folder, "--master", "local[1]"]
    done = subprocess.run([*script, *options], check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = fastroute.score_table(table, tiny_router_folder)
    check(pq.read_table(tmp_path / "scored").sort_by("id"), expected)
    first, *models = done.stdout.splitlines()
    assert first.startswith("2,000 rows in ")
    counts = Counter(expected["model"].to_pylist())
    assert models == [f"{count:>12,}  {model}" for model, count in counts.most_common()]
