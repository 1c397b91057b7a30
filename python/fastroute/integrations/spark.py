"""Scoring the data frames of Apache Spark, on its executors.

::

    from fastroute.integrations.spark import score_dataframe

    scored = score_dataframe(spark.read.parquet("logs"), "experts", column="prompt")

Needs ``pip install 'fastroute[spark]'`` where the driver runs, and fastroute with pyarrow on every node.
"""

from __future__ import annotations

import functools
import importlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.integrations.workers import WorkerRouter, for_workers

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

    from fastroute.batch.frames import OnBadRow
    from fastroute.routers import Router

__all__ = ["ArrowScoring", "score_arrow", "score_dataframe"]

_MOST_THREADS = 1024
_ROUTERS_KEPT = 4
_loading = threading.Lock()


def score_dataframe(
    frame: DataFrame,
    router: str | os.PathLike[str] | None = None,
    *,
    column: str = "prompt",
    score_column: str = "score",
    model_column: str = "model",
    threshold: float | None = None,
    on_error: OnBadRow = "fail",
    threads: int = 1,
) -> DataFrame:
    """Score every prompt of a Spark data frame, as `fastroute.score_table` does a table.

    Nothing is computed until Spark is asked for rows.

    Parameters
    ----------
    frame : pyspark.sql.DataFrame
        Of a classic session or of Spark Connect.
    router, column, score_column, model_column, threshold, on_error, threads
        As for `score_arrow`.

    Returns
    -------
    pyspark.sql.DataFrame
        With the frame's columns, and the two columns at the end; its partitions and the order in them are the frame's.

    Raises
    ------
    InvalidTypeError
        `frame` is no data frame of Spark.
    InvalidArgumentError, DataError, ArtifactError, MissingDependencyError
        As `score_arrow` and `ArrowScoring.schema` raise, before anything runs; and where rows are computed, as
        ``pyspark.errors.PythonException`` with fastroute's error at the end of its message.
    """
    if not (hasattr(frame, "mapInArrow") and hasattr(frame, "schema")):
        raise InvalidTypeError(f"frame: found {type(frame).__name__}, allowed: a pyspark.sql.DataFrame")
    scoring = score_arrow(
        router,
        column=column,
        score_column=score_column,
        model_column=model_column,
        threshold=threshold,
        on_error=on_error,
        threads=threads,
    )
    return frame.mapInArrow(scoring, scoring.schema(frame.schema))


def score_arrow(
    router: str | os.PathLike[str] | None = None,
    *,
    column: str = "prompt",
    score_column: str = "score",
    model_column: str = "model",
    threshold: float | None = None,
    on_error: OnBadRow = "fail",
    threads: int = 1,
) -> ArrowScoring:
    """Make a function for ``DataFrame.mapInArrow``.

    ::

        scoring = score_arrow("experts")
        scored = frame.mapInArrow(scoring, scoring.schema(frame.schema))

    Parameters
    ----------
    router
        Name of a built-in router, or a path that every node sees; the default router if None. It is loaded here too.
    column
        Column of the prompts, spelled as in the frame's schema: strings.
    score_column, model_column
        Names of the new columns: the score (float) and the model that it chooses (string).
    threshold
        A score of at least this goes to the strong model; the router's own if None.
    on_error
        "fail" ends the job at a prompt that is null or not UTF-8; "null" leaves its row without score and model.
    threads
        Threads that each Python worker may use, 1 to 1024; Spark runs a worker for every core of an executor.

    Returns
    -------
    ArrowScoring

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `router` is a router rather than its name or path, or another argument can't serve.
    UnknownRouterError, ArtifactError
        As `fastroute.load` raises.
    MissingDependencyError
        pyspark, or the pandas or pyarrow that its ``mapInArrow`` needs, is not installed.
    """
    import fastroute

    for package in ("pyspark", "pandas", "pyarrow"):
        _import(package)
    for name, given in (("column", column), ("score_column", score_column), ("model_column", model_column)):
        if not isinstance(given, str):
            raise InvalidTypeError(f"{name}: found {type(given).__name__}, allowed: the name of a column")
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise InvalidTypeError(f"threads: found {type(threads).__name__}, allowed: an int from 1 to {_MOST_THREADS}")
    if not 1 <= threads <= _MOST_THREADS:
        raise InvalidArgumentError(f"threads: found {threads}, allowed: 1 to {_MOST_THREADS}")
    source, loaded = for_workers(router)
    options: dict[str, Any] = {
        "column": column,
        "score_column": score_column,
        "model_column": model_column,
        "threshold": threshold,
        "on_error": on_error,
    }
    pa = _import("pyarrow")
    fastroute.score_table(pa.schema([(column, pa.string())]).empty_table(), loaded, **options)  # for its errors
    return ArrowScoring(source, threads=threads, **options)


@dataclass(frozen=True, slots=True)
class ArrowScoring:
    """Scores the record batches of one partition; made by `score_arrow`, which describes the fields.

    It holds names and numbers, so that Spark sends little; a Python worker loads the router at its first partition and
    keeps it for later ones.
    """

    router: WorkerRouter
    column: str
    score_column: str
    model_column: str
    threshold: float | None
    on_error: OnBadRow
    threads: int

    def schema(self, schema: StructType) -> StructType:
        """Return the schema of the scored frame for that of the frame to score.

        Raises
        ------
        InvalidTypeError
            `schema` is no StructType.
        InvalidArgumentError
            It has one of the new columns; as in Spark, names that differ in case alone are the same.
        DataError
            It lacks the column of the prompts, or that holds something other than strings.
        """
        from fastroute.batch.rows import AddedColumns, name_columns

        types = _import("pyspark.sql.types")
        if not isinstance(schema, types.StructType):
            raise InvalidTypeError(
                f"schema: found {type(schema).__name__}, allowed: a pyspark.sql.types.StructType, such as frame.schema"
            )
        names = list(schema.names)
        folded = AddedColumns(((self.score_column.casefold(), self.model_column.casefold()),))
        folded.refuse_clash([name.casefold() for name in names], "frame")
        if names.count(self.column) != 1:
            found = f"{names.count(self.column)} columns" if self.column in names else "no column"
            raise DataError(f"frame: {found} {self.column!r}; it has {name_columns(names)}")
        kind = schema[self.column].dataType
        if not isinstance(kind, types.StringType):
            raise DataError(f"frame: column {self.column!r}: expected strings, found {kind.simpleString()}")
        nullable = self.on_error == "null"
        score = types.StructField(self.score_column, types.FloatType(), nullable)
        model = types.StructField(self.model_column, types.StringType(), nullable)
        return types.StructType([*schema.fields, score, model])

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Score batches as they come; one is held at a time.

        Raises
        ------
        DataError
            A prompt is null or no text, with ``on_error="fail"``; the message names the partition and the row.
        ArtifactError
            The router here is not the one that `score_arrow` loaded.
        """
        import fastroute

        fastroute.set_num_threads(self.threads)
        router = _loaded(self.router)
        row = 0
        for batch in batches:
            try:
                scored = fastroute.score_table(
                    batch,
                    router,
                    column=self.column,
                    score_column=self.score_column,
                    model_column=self.model_column,
                    threshold=self.threshold,
                    on_error=self.on_error,
                )
            except DataError as error:
                raise DataError(f"partition {_partition()}, batch from row {row}: {error}") from error
            row += batch.num_rows
            yield scored


def _loaded(source: WorkerRouter) -> Router:
    """Load a router at its first use in this process, which Spark keeps for later partitions."""
    with _loading:  # else two threads that come at once would load it twice
        return _load(source)


@functools.lru_cache(maxsize=_ROUTERS_KEPT)
def _load(source: WorkerRouter) -> Router:
    return source.load()


def _partition() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return -1 if context is None else context.partitionId()


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f"scoring on Spark needs {module.partition('.')[0]}, which is not installed: pip install 'fastroute[spark]'"
        ) from error
