"""Ray Data: a dataset of prompts comes back with scores and models, scored by a pool of actors.

>>> from fastroute.integrations.ray import score_dataset
>>> scored = score_dataset(ray.data.read_parquet("prompts/"), "mf", concurrency=4)
>>> scored.write_parquet("scored/")

Needs ``pip install 'fastroute[ray]'`` where the dataset is built and on every node; Ray is imported by the call.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.integrations.workers import WorkerRouter, for_workers

if TYPE_CHECKING:
    import os
    from types import ModuleType

    import pyarrow as pa
    import ray

    from fastroute.batch.frames import OnBadRow

__all__ = ["score_dataset"]


def score_dataset(
    ds: ray.data.Dataset,
    router: str | os.PathLike[str] | None = None,
    *,
    column: str = "prompt",
    score_column: str = "score",
    model_column: str = "model",
    threshold: float | None = None,
    on_error: OnBadRow = "fail",
    concurrency: int | tuple[int, int] | None = None,
    num_cpus: float = 1,
    batch_rows: int = 4096,
) -> ray.data.Dataset:
    """Score every prompt of a Ray dataset, lazily, in a pool of actors of which each loads the router once.

    Parameters
    ----------
    ds
        A dataset of any source. Its batches are read as Arrow tables, where they lie in Ray's object store.
    router
        A built-in name, the path of an artifact on storage that every node sees, or None for the default router. It is
        loaded here too, so that a wrong name or a damaged artifact is an error now; an actor takes no other artifact
        than the one that was loaded here.
    column, score_column, model_column, threshold, on_error
        As for `fastroute.score_table`.
    concurrency
        Number of actors, or the least and the most of a pool that grows with the work; None for one that begins with
        one actor and grows as far as Ray has CPUs for it. Leave CPUs to what reads and writes the dataset.
    num_cpus
        CPUs that Ray sets aside for each actor, whose batches are scored by as many threads, rounded down, at least
        one.
    batch_rows
        Rows that an actor scores at a time.

    Returns
    -------
    ray.data.Dataset
        The rows of `ds`, each once, with the two columns; scores are those of `fastroute.score_table`, bit for bit. The
        order of rows is Ray's affair: keep a column that names them.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed; the dataset has one of the new columns.
    UnknownRouterError, ArtifactError
        There is no such router, or it can't be loaded.
    DataError
        The dataset lacks the column, or it is of another type.
    MissingDependencyError
        Ray Data is not installed.

    Notes
    -----
    Columns are looked at now where Ray knows them without running what comes before, else by the actors. What goes
    wrong in an actor ends the execution; Ray raises an error of its own, in whose text fastroute's stands: what is
    wrong, and for a row that is no text its number in its batch, from 0. An actor that dies is replaced by Ray, and its
    batches are scored again.
    """
    data = _import_ray_data()
    if not isinstance(ds, data.Dataset):
        raise InvalidTypeError(f"ds: found {type(ds).__name__}, allowed: a ray.data.Dataset")
    strategy = _actor_pool(data, concurrency)
    threads = _threads(num_cpus)
    if isinstance(batch_rows, bool) or not isinstance(batch_rows, int):
        raise InvalidTypeError(f"batch_rows: found {type(batch_rows).__name__}, allowed: an int from 1 up")
    if batch_rows < 1:
        raise InvalidArgumentError(f"batch_rows: found {batch_rows}, allowed: an int from 1 up")
    source, loaded = for_workers(router)
    options: dict[str, Any] = {
        "column": column,
        "score_column": score_column,
        "model_column": model_column,
        "threshold": threshold,
        "on_error": on_error,
    }
    import fastroute

    fastroute.score_table(_no_rows(ds, column), loaded, **options)  # for its errors
    return ds.map_batches(
        ScorePrompts,
        fn_constructor_kwargs={"router": source, "threads": threads, "options": options},
        compute=strategy,
        num_cpus=num_cpus,
        batch_size=batch_rows,
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


class ScorePrompts:
    """What an actor holds: the router, loaded once, and how to score with it."""

    def __init__(self, *, router: WorkerRouter, threads: int, options: dict[str, Any]) -> None:
        import fastroute

        fastroute.set_num_threads(threads)
        self._router = router.load()
        self._options = options

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Score a batch."""
        import fastroute

        try:
            return fastroute.score_table(batch, self._router, **self._options)
        except DataError as error:
            raise DataError(f"in a batch of {batch.num_rows} rows: {error}") from None


def _actor_pool(data: ModuleType, concurrency: Any) -> Any:
    if concurrency is None:
        return data.ActorPoolStrategy(min_size=1)
    sizes = concurrency if isinstance(concurrency, tuple) else (concurrency, concurrency)
    allowed = "an int from 1 up, two of them as (least, most), or None"
    if len(sizes) != 2 or any(isinstance(size, bool) or not isinstance(size, int) for size in sizes):
        found = repr(concurrency) if isinstance(concurrency, tuple) else type(concurrency).__name__
        raise InvalidTypeError(f"concurrency: found {found:.60}, allowed: {allowed}")
    if not 1 <= sizes[0] <= sizes[1]:
        raise InvalidArgumentError(f"concurrency: found {concurrency!r}, allowed: {allowed}")
    return data.ActorPoolStrategy(min_size=sizes[0], max_size=sizes[1])


def _threads(num_cpus: Any) -> int:
    if isinstance(num_cpus, bool) or not isinstance(num_cpus, (int, float)):
        raise InvalidTypeError(f"num_cpus: found {type(num_cpus).__name__}, allowed: a number above 0")
    if not 0 < num_cpus < math.inf:
        raise InvalidArgumentError(f"num_cpus: found {num_cpus!r}, allowed: a number above 0")
    return max(1, int(num_cpus))


def _no_rows(ds: Any, column: str) -> pa.Table:
    """Return a table without rows that has the dataset's columns, as far as Ray knows them, and the prompts' type."""
    import pyarrow as pa

    try:
        schema = ds.schema(fetch_if_missing=False)
    except pa.ArrowException as error:
        raise DataError(f"ds: its blocks differ in their columns: {str(error).partition(chr(10))[0]}") from error
    names = [column] if schema is None else list(schema.names)
    types = {} if schema is None else dict(zip(names, schema.types, strict=True))
    prompts = types.get(column)
    if not isinstance(prompts, pa.DataType):  # of a pandas block, which says nothing of its strings
        prompts = pa.null()
    return pa.schema([pa.field(name, prompts if name == column else pa.null()) for name in names]).empty_table()


def _import_ray_data() -> ModuleType:
    try:
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            "scoring Ray datasets needs ray[data], which is not installed: pip install 'fastroute[ray]'"
        ) from error
    return ray.data  # type: ignore[no-any-return]
