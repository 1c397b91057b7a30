"""The way of a file: read a batch, score it, write it, until the input ends."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from fastroute.batch.endpoints import check_endpoints, open_source, open_target
from fastroute.batch.formats import open_reader, resolve_format
from fastroute.batch.rows import AddedColumns, BadRow, Batch, Reader, Texts, Writer
from fastroute.batch.scoring import Choices, Scorer, score_texts
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.policies import Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

OnError = Literal["fail", "skip"]
MAX_NAMED_ROWS = 10


class Progress(Protocol):
    """Is told how far a run has got."""

    def start(self, total: int | None, unit: str) -> None:
        """Begin a run over `total` of `unit` ("B" or "rows"); None where the size is not known."""
        ...

    def update(self, position: int, rows: int) -> None:
        """Report the position in the input, and how many rows were read."""
        ...

    def close(self) -> None:
        """End the run, well or badly."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a run has done.

    Attributes
    ----------
    rows : int
        Rows scored and written.
    skipped : int
        Rows left out.
    strong_rows : int
        Rows sent to the strong model.
    strong, weak : str
        The two models.
    threshold : float
        Lowest score that goes to the strong model.
    seconds : float
        Wall time.
    first_skipped : tuple of BadRow
        The first ten of the rows left out.
    fallbacks : int
        How often the router had no answer of its endpoint and gave its fallback score.
    """

    rows: int
    skipped: int
    strong_rows: int
    strong: str
    weak: str
    threshold: float
    seconds: float
    first_skipped: tuple[BadRow, ...]
    fallbacks: int = 0


def score_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    router: Scorer,
    *,
    column: str = "prompt",
    score_column: str = "score",
    model_column: str = "model",
    threshold: float | None = None,
    format: str | None = None,  # noqa: A002
    on_error: OnError = "fail",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ScoreSummary:
    """Score every row of a file, in memory that does not grow with it.

    The output has the input's format, columns and order, and two columns more. It appears under its name
    complete or not at all; standard output is written as it comes.

    Parameters
    ----------
    source, target : path
        .jsonl, .ndjson, .csv, .tsv or .parquet; "-" is standard input or output.
    router : Scorer
        Any router of fastroute.
    column : str
        Column of the prompts.
    score_column, model_column : str
        Names of the new columns: the score (float32) and the model that it chooses.
    threshold : float, optional
        A score of at least this goes to the strong model; the router's own by default.
    format : {"jsonl", "csv", "tsv", "parquet"}, optional
        The input's format, where its name does not tell.
    on_error : {"fail", "skip"}
        Whether a row that can't be scored ends the run or is left out.
    overwrite : bool
        Whether an output that exists may be replaced.
    progress : Progress, optional
        Is told how far the run has got.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    InvalidArgumentError
        An argument that can't serve, or an input that has one of the new columns.
    DataError
        An input that can't be read, lacks the column or, with ``on_error="fail"``, holds a bad row.
    ArtifactError
        An output that can't be written.
    MissingDependencyError
        A Parquet file without pyarrow.

    Notes
    -----
    Threads may run this at once on different outputs, with one router.
    """
    source, target = os.fspath(source), os.fspath(target)
    if on_error not in ("fail", "skip"):
        raise InvalidArgumentError(f"on_error: found {on_error!r}, allowed: 'fail' or 'skip'")
    tally = _Tally(router, Threshold(router.threshold if threshold is None else threshold))
    added = AddedColumns(score_column, model_column)
    check_endpoints(source, target, overwrite=overwrite)
    kind = resolve_format(source, target, format)
    started = time.perf_counter()
    with open_source(source, seekable=kind == "parquet") as opened:
        reader = open_reader(kind, opened.stream, name=opened.name, column=column, added=added, size=opened.size)
        with open_target(target) as sink, reader.writer(sink) as writer:
            _score_rows(reader, writer, tally, on_error, progress)
    return tally.summary(time.perf_counter() - started)


@dataclass(slots=True)
class _Tally:
    """Scores batches and counts."""

    router: Scorer
    policy: Threshold
    rows: int = 0
    skipped: int = 0
    strong_rows: int = 0
    fallbacks: int = 0
    first_skipped: list[BadRow] = field(default_factory=list)

    def score(self, prompts: Texts) -> tuple[NDArray[np.float32], Choices]:
        before = self._fallbacks_so_far()
        scores, models = score_texts(self.router, prompts, self.policy)
        self.fallbacks += self._fallbacks_so_far() - before
        self.rows += len(scores)
        self.strong_rows += int(np.count_nonzero(models.wants_strong))
        return scores, models

    def _fallbacks_so_far(self) -> int:
        return int(getattr(self.router, "fallbacks", 0))

    def skip(self, bad: Sequence[BadRow]) -> None:
        self.skipped += len(bad)
        self.first_skipped.extend(bad[: MAX_NAMED_ROWS - len(self.first_skipped)])

    def summary(self, seconds: float) -> ScoreSummary:
        return ScoreSummary(
            rows=self.rows,
            skipped=self.skipped,
            strong_rows=self.strong_rows,
            strong=self.router.strong,
            weak=self.router.weak,
            threshold=self.policy.value,
            seconds=seconds,
            first_skipped=tuple(self.first_skipped),
            fallbacks=self.fallbacks,
        )


def _score_rows(
    reader: Reader[Any], writer: Writer[Any], tally: _Tally, on_error: OnError, progress: Progress | None
) -> None:
    if progress is not None:
        progress.start(reader.total, reader.unit)
    try:
        for batch in reader.batches():
            _score_batch(batch, writer, tally, on_error)
            if progress is not None:
                progress.update(batch.position, tally.rows + tally.skipped)
    finally:
        if progress is not None:
            progress.close()


def _score_batch(batch: Batch[Any], writer: Writer[Any], tally: _Tally, on_error: OnError) -> None:
    if batch.bad and on_error == "fail":
        raise DataError(str(batch.bad[0]))
    tally.skip(batch.bad)
    scores, models = tally.score(batch.prompts)
    writer.write(batch, scores, models)
