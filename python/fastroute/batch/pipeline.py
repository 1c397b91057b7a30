"""The way of a log: read ahead, score, write behind, so that it can be killed anywhere and goes on from there."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastroute.batch.compression import compression_of
from fastroute.batch.endpoints import STANDARD, check_endpoints, open_target
from fastroute.batch.inputs import find_inputs
from fastroute.batch.outputs import StreamSink
from fastroute.batch.overlapping import ReadAhead, WriteBehind
from fastroute.batch.progress import Meter
from fastroute.batch.prompts import PromptColumn
from fastroute.batch.reading import Lost, Reading, Rows, check_formats
from fastroute.batch.rejects import check_rejects, rejects_file
from fastroute.batch.rows import AddedColumns
from fastroute.batch.runs.journal import Counts, Reached
from fastroute.batch.runs.manifest import describe
from fastroute.batch.runs.places import Places
from fastroute.batch.runs.workspace import Workspace, finished_run
from fastroute.batch.scoring import Scored, Scorer, score_texts
from fastroute.batch.summary import MAX_NAMED_ROWS, Progress, RouterSummary, ScoreSummary
from fastroute.batch.writing import FileWriting, StreamWriting, Writing, read_rejects
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.policies import Threshold

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from concurrent.futures import Future

    from fastroute.batch.inputs import Inputs
    from fastroute.batch.reading import Event
    from fastroute.batch.rows import BadRow, Texts

OnError = Literal["fail", "skip"]
DEFAULT_MEMORY = 256 << 20
MIN_MEMORY = 32 << 20
DEFAULT_CHECKPOINT = 64 << 20
# More would only wait: reading is ahead of scoring already.
_MAX_WAITING = 32 << 20
_TOGETHER = 2


def score_log(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    router: Scorer | Mapping[str, Scorer],
    *,
    column: str | None = None,
    turn: str | None = None,
    score_column: str = "score",
    model_column: str = "model",
    threshold: float | None = None,
    format: str | None = None,  # noqa: A002
    on_error: OnError = "fail",
    rejects: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    memory: int = DEFAULT_MEMORY,
    checkpoint: int = DEFAULT_CHECKPOINT,
    progress: Progress | None = None,
) -> ScoreSummary:
    """Score every row of a log, in memory that does not grow with it.

    The output has the input's formats, columns and order, and two columns more for each router. It appears under its
    name complete or not at all; standard output is written as it comes. While the run is under way it is in the folder
    ``TARGET.partial``, which a run that is killed leaves there: with `resume` the next one goes on where that one got.
    ``TARGET.manifest.json``, or ``_manifest.json`` in a folder, says what was scored, with what, and how many rows.

    Parameters
    ----------
    source : path or sequence of paths
        A file: .jsonl, .ndjson, .csv, .tsv (also .gz, .zst, .bz2, .xz) or .parquet; "-" is standard input. Or a folder,
        a pattern (``logs/**/*.parquet``), or several of these.
    target : path
        A file for a file, "-" for standard output; a folder for anything else, in which each input's output has the
        input's name.
    router : Scorer, or mapping of str to Scorer
        Any router of fastroute. A mapping scores with several in one pass; their columns are `score_column` and
        `model_column` with an underscore and the mapping's key.
    column : str, optional
        Column of the prompts; by default "prompt", or "messages" with a turn.
    turn : {"last-user", "first-user", "users", "all"}, optional
        The column holds chats, as lists of OpenAI's messages or JSON text of them, of which this is scored; see
        `fastroute.messages`.
    score_column, model_column : str
        Names of the new columns: the score (float32) and the model that it chooses.
    threshold : float, optional
        A score of at least this goes to the strong model; the router's own by default. For one router only.
    format : {"jsonl", "csv", "tsv", "parquet"}, optional
        The inputs' format, where their names do not tell.
    on_error : {"fail", "skip"}
        Whether a row that can't be scored, or a file that can't be read, ends the run or is left out.
    rejects : path, optional
        JSON Lines of what was left out: source, row, line, reason. ``TARGET.rejects.jsonl`` by default, and only where
        there is something.
    overwrite : bool
        Whether an output that exists, or an unfinished run, may be replaced.
    resume : bool
        Whether to go on with an unfinished run, if there is one, which `overwrite` then leaves alone. If the output is
        there and was made by the same run, nothing is done.
    memory : int
        Bytes that the rows under way may take, 32 MiB or more. Python, pyarrow and the router come on top, and the
        longest row where it is longer.
    checkpoint : int
        Bytes of output after which the run can go on from there when it is killed. In Parquet at the end of the row
        group.
    progress : Progress, optional
        Is told how far the run has got.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    InvalidArgumentError
        An argument that can't serve, an input that has one of the new columns, an unfinished run without `resume`.
    DataError
        An input that can't be read, lacks the column or, with ``on_error="fail"``, holds a bad row; with `resume`, an
        input or an artifact that has changed.
    ArtifactError
        An output that can't be written.
    MissingDependencyError
        A Parquet file, or zstd, without pyarrow.

    Notes
    -----
    Threads may run this at once on different outputs, with one router. Files are read and written in threads of their
    own. A router that scores in the core is called by two threads at once, any other by the caller's.
    """
    started = time.perf_counter()
    if on_error not in ("fail", "skip"):
        raise InvalidArgumentError(f"on_error: found {on_error!r}, allowed: 'fail' or 'skip'")
    if memory < MIN_MEMORY:
        raise InvalidArgumentError(f"memory: found {memory:,} bytes, allowed: {MIN_MEMORY:,} or more")
    if checkpoint < 1:
        raise InvalidArgumentError(f"checkpoint: found {checkpoint}, allowed: 1 byte or more")
    sources = [os.fspath(source)] if isinstance(source, (str, os.PathLike)) else [os.fspath(path) for path in source]
    if rejects is not None and os.fspath(rejects) == STANDARD:
        raise InvalidArgumentError("rejects: expected a file, found '-'")
    panel = _Panel.of(router, score_column, model_column, threshold)
    inputs = find_inputs(sources, format, os.fspath(target))
    reading = Reading(
        inputs=inputs.files,
        column=PromptColumn(column or ("prompt" if turn is None else "messages"), turn),
        added=panel.added,
        format=format,
        target=os.fspath(target),
        skips=on_error == "skip",
        drops_rows=on_error == "skip",
        many=inputs.many,
    )
    run = _Run(panel, reading, inputs, memory, checkpoint, progress, started)
    if not inputs.many:
        # What exists may be the end of the run that is to be gone on with.
        check_endpoints(inputs.files[0].path, reading.target, overwrite=overwrite or resume)
    check_formats(reading)
    if not inputs.many and not _is_file(reading.target):
        if resume:
            raise InvalidArgumentError(f"{reading.target}: a run can only be gone on with where its output is a file")
        if rejects is not None:
            check_rejects(os.fspath(rejects), [inputs.files[0].path], overwrite=overwrite)
        return run.streamed(None if rejects is None else os.fspath(rejects))
    places = Places(reading.target, many=inputs.many, rejects=None if rejects is None else os.fspath(rejects))
    return run.kept(places, resume=resume, overwrite=overwrite)


def _is_file(target: str) -> bool:
    """Whether an output is, or will be, a regular file."""
    return target != STANDARD and (Path(target).is_file() or not Path(target).exists())


@dataclass(frozen=True, slots=True)
class _Panel:
    """The routers of a run, and the columns of each."""

    routers: Mapping[str, Scorer]
    policies: Sequence[Threshold]
    added: AddedColumns

    @classmethod
    def of(
        cls, router: Scorer | Mapping[str, Scorer], score_column: str, model_column: str, threshold: float | None
    ) -> _Panel:
        if not isinstance(router, Mapping):
            policy = Threshold(router.threshold if threshold is None else threshold)
            return cls({"": router}, [policy], AddedColumns(((score_column, model_column),)))
        if not router:
            raise InvalidArgumentError("router: found an empty mapping, expected at least one router")
        if threshold is not None and len(router) > 1:
            raise InvalidArgumentError("threshold: is of one router; with several each has its own")
        added = AddedColumns(tuple((f"{score_column}_{label}", f"{model_column}_{label}") for label in router))
        policies = [Threshold(one.threshold if threshold is None else threshold) for one in router.values()]
        return cls(router, policies, added)

    def score(self, prompts: Texts) -> list[Scored]:
        pairs = zip(self.routers.values(), self.policies, strict=True)
        return [score_texts(router, prompts, policy) for router, policy in pairs]

    @property
    def in_core(self) -> bool:
        """Whether all routers score in the core, which holds no lock of Python's."""
        return all(getattr(router, "reads_arrow", False) is True for router in self.routers.values())

    def fallbacks(self) -> list[int]:
        return [int(getattr(router, "fallbacks", 0)) for router in self.routers.values()]


@dataclass(slots=True)
class _Run:
    panel: _Panel
    reading: Reading
    inputs: Inputs
    memory: int
    checkpoint: int
    progress: Progress | None
    started: float

    def streamed(self, rejects: str | None) -> ScoreSummary:
        """Score into a stream, which has what was written when the run ends early."""
        with ExitStack() as stack:
            named = None if rejects is None else stack.enter_context(rejects_file(rejects))
            stream = stack.enter_context(open_target(self.reading.target))
            sink = StreamSink(stream, compression_of(self.reading.target))
            routers = len(self.panel.routers)
            counts = Counts(strong_rows=[0] * routers, fallbacks=[0] * routers)
            writing = StreamWriting(sink, named, counts, self.panel.fallbacks, skips=self.reading.skips)
            try:
                self._through(writing, Reached())
            finally:
                writing.close()
        return replace(
            self._summary(writing.counts, writing.first_skipped),
            rejects=rejects if named is not None and named.tell() else None,
        )

    def kept(self, places: Places, *, resume: bool, overwrite: bool) -> ScoreSummary:
        """Score into files that can be gone on with."""
        thresholds = [policy.value for policy in self.panel.policies]
        described = [] if self.inputs.stream else self.inputs.files
        if resume and not described:
            raise InvalidArgumentError(f"{self.inputs.files[0].path!r}: a run over a stream can't be gone on with")
        self._refuse_nested(places)
        taken = [str(path) for path in (places.target, places.partial, places.manifest)]
        check_rejects(str(places.rejects), [*taken, *(file.path for file in described)], overwrite=True)
        manifest = describe(described, self.panel.routers, thresholds, self._options())
        manifest["drops_rows"] = self.reading.drops_rows
        if resume and (found := finished_run(places, manifest, overwrite=overwrite)) is not None:
            return self._found(found, places)
        if not (resume and places.partial.exists()):
            places.check(overwrite=overwrite)
        workspace = Workspace.opened(places, manifest, resume=resume, overwrite=overwrite)
        try:
            return self._into(workspace, manifest["inputs"])
        except BaseException:
            if not (described and workspace.reached.begun):
                workspace.discard()
            raise
        finally:
            workspace.close()

    def _into(self, workspace: Workspace, described: Sequence[Mapping[str, Any]]) -> ScoreSummary:
        reached = workspace.reached
        before = reached.counts.rows + reached.counts.skipped
        self.reading = replace(self.reading, drops_rows=workspace.manifest.get("drops_rows") is True)
        if reached.complete:  # killed as it gave the output its name
            summary = self._summary(reached.counts, self._first_rejects(workspace.published_rejects), before)
        else:
            writing = FileWriting(
                workspace,
                self.inputs.files,
                described,
                self.checkpoint,
                self.panel.fallbacks,
                skips=self.reading.skips,
            )
            try:
                self._through(writing, reached)
            finally:
                writing.close()
            summary = self._summary(writing.counts, writing.first_skipped, before)
        if reached.rejected:
            summary = replace(summary, rejects=str(workspace.places.rejects))
        workspace.publish(workspace.manifest | self._results(summary, reached))
        workspace.discard()
        return summary

    def _through(self, writing: Writing, reached: Reached) -> None:
        """Take every event through its three stages; in threads of their own where nothing can block for good."""
        events = self.reading.events(reached.file, reached.mark)
        meter = Meter(self.progress, self.inputs, writing.counts.rows + writing.counts.skipped)
        waiting = min(_MAX_WAITING, self.memory // 4)
        try:
            if self.inputs.stream or isinstance(writing, StreamWriting):
                with closing(events):
                    for event, _ in events:
                        meter.update(event)
                        writing.handle((event, self._scored(event)))
                return
            with WriteBehind(writing.handle, waiting) as behind, ReadAhead(events, waiting) as ahead:
                with closing(self._all_scored(ahead)) as scored:
                    for item in scored:
                        meter.update(item[0])
                        behind.put(item, item[0].batch.size if isinstance(item[0], Rows) else 0)
                behind.finish()
        finally:
            meter.close()

    def _all_scored(self, events: Iterable[Event]) -> Generator[tuple[Event, list[Scored]], None, None]:
        """Score what comes, in order: by the core two batches at a time, as the threads of one wait for each other."""
        if not self.panel.in_core:
            for event in events:
                yield event, self._scored(event)
            return
        pending: deque[tuple[Event, Future[list[Scored]]]] = deque()
        pool = ThreadPoolExecutor(_TOGETHER, "fastroute-score")
        try:
            for event in events:
                pending.append((event, pool.submit(self._scored, event)))
                if len(pending) > _TOGETHER:
                    first, scored = pending.popleft()
                    yield first, scored.result()
            for event, scored in pending:
                yield event, scored.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _scored(self, event: Event) -> list[Scored]:
        if isinstance(event, Lost) and event.bad.row is None and not self.inputs.many:
            raise DataError(str(event.bad))
        if not isinstance(event, Rows):
            return []
        if event.batch.bad and not self.reading.skips:
            raise DataError(str(event.batch.bad[0]))
        return self.panel.score(event.batch.prompts)

    def _options(self) -> dict[str, Any]:
        return {
            "column": self.reading.column.name,
            "turn": self.reading.column.turn,
            "columns": [list(pair) for pair in self.reading.added.pairs],
            "format": self.reading.format,
        }

    def _summary(self, counts: Counts, first_skipped: Sequence[BadRow], before: int = 0) -> ScoreSummary:
        return ScoreSummary(
            rows=counts.rows,
            skipped=counts.skipped,
            files=len(self.inputs.files),
            lost=counts.lost,
            routers=self._routers(counts),
            seconds=time.perf_counter() - self.started,
            resumed_rows=before,
            first_skipped=tuple(first_skipped),
            rejects=None,
        )

    def _routers(self, counts: Counts) -> tuple[RouterSummary, ...]:
        rows = zip(self.panel.routers.items(), self.panel.policies, counts.strong_rows, counts.fallbacks, strict=True)
        return tuple(
            RouterSummary(label, router.strong, router.weak, policy.value, strong, fallbacks)
            for (label, router), policy, strong, fallbacks in rows
        )

    def _results(self, summary: ScoreSummary, reached: Reached) -> dict[str, Any]:
        files = [
            {"name": file.name, "rows": done.rows, "skipped": done.skipped, "bytes": done.bytes}
            for file, done in zip(self.inputs.files, reached.done, strict=True)
        ]
        return {
            "outputs": files,
            "rows": summary.rows,
            "skipped": summary.skipped,
            "lost": summary.lost,
            "strong_rows": [router.strong_rows for router in summary.routers],
            "fallbacks": [router.fallbacks for router in summary.routers],
            "complete": True,
        }

    def _found(self, manifest: Mapping[str, Any], places: Places) -> ScoreSummary:
        """Return the summary of the run that made the output that is there."""
        counts = Counts(
            manifest["rows"], manifest["skipped"], manifest["lost"], manifest["strong_rows"], manifest["fallbacks"]
        )
        named = places.rejects if places.rejects.is_file() and counts.skipped + counts.lost else None
        summary = self._summary(counts, self._first_rejects(named), counts.rows + counts.skipped)
        return replace(summary, rejects=None if named is None else str(named))

    @staticmethod
    def _first_rejects(path: Path | None) -> list[BadRow]:
        """Return the first rows that were left out; none where somebody has changed the file since."""
        if path is None:
            return []
        try:
            return list(read_rejects(path, MAX_NAMED_ROWS))
        except (DataError, OSError):
            return []

    def _refuse_nested(self, places: Places) -> None:
        for file in self.inputs.files:
            if places.many and places.target in Path(os.path.realpath(file.path)).parents:
                raise InvalidArgumentError(f"{places.target}: the output folder holds an input, {file.path}")
