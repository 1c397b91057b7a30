"""The last stage of a run: outputs, rejects, counts, and the checkpoints from which a run can go on."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.artifact.atomic import reported
from fastroute.batch.compression import compression_of
from fastroute.batch.outputs import FileSink, StreamSink
from fastroute.batch.reading import Begins, Ends, Lost, Rows
from fastroute.batch.rows import BadRow, LostRowsError, Mark
from fastroute.batch.runs.journal import Checkpoint, Counts, FileCounts
from fastroute.batch.runs.manifest import check_unchanged
from fastroute.batch.summary import MAX_NAMED_ROWS
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fastroute.batch.inputs import Input
    from fastroute.batch.reading import Event
    from fastroute.batch.rows import Batch, Writer
    from fastroute.batch.runs.workspace import Workspace
    from fastroute.batch.scoring import Scored

__all__ = ["FileWriting", "StreamWriting", "Writing", "read_rejects"]


class Writing(ABC):
    """Takes events in order, writes what they bring and counts it.

    Parameters
    ----------
    counts : Counts
        To go on from.
    fallbacks : callable
        How often each router has given its fallback score since it was made.
    skips : bool
        Whether an input that can't be read on is left out, or ends the run.
    """

    def __init__(self, counts: Counts, fallbacks: Callable[[], list[int]], *, skips: bool) -> None:
        self._skips = skips
        self._is_lost = False  # the rest of the input is not written
        self.counts = counts
        self.first_skipped: list[BadRow] = []
        self._fallbacks = fallbacks
        self._fallbacks_before = [now - done for now, done in zip(fallbacks(), counts.fallbacks, strict=True)]
        self._writer: Writer[Any] | None = None

    @property
    @abstractmethod
    def rejects(self) -> StreamSink | None:
        """Where rows that are left out are named."""

    @abstractmethod
    def _begin(self, event: Begins) -> None: ...

    @abstractmethod
    def _end(self, file: int) -> None: ...

    def handle(self, item: tuple[Event, Sequence[Scored]]) -> None:
        """Write what an event brings, with the scores of its rows."""
        event, scored = item
        if isinstance(event, Rows):
            self._write(event.batch, scored)
        elif isinstance(event, Begins):
            self._is_lost = False
            self._begin(event)
        elif isinstance(event, Lost):
            self._lose(event.bad)
        elif isinstance(event, Ends):
            self._is_lost = False
            self._end(event.file)

    def close(self) -> None:
        """Let go of an output that is not complete."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    def _write(self, batch: Batch[Any], scored: Sequence[Scored]) -> None:
        assert self._writer is not None
        if self._is_lost:
            return
        self._skip(batch.bad)
        self.counts.skipped += len(batch.bad)
        self.counts.rows += len(batch.prompts)
        for at, one in enumerate(scored):
            self.counts.strong_rows[at] += int(np.count_nonzero(one.models.wants_strong))
        now = zip(self._fallbacks(), self._fallbacks_before, strict=True)
        self.counts.fallbacks = [count - before for count, before in now]
        try:
            self._writer.write(batch, scored)
        except LostRowsError as error:
            if not self._skips:
                raise
            self._lose(BadRow(error.source, batch.mark.rows + 1, None, error.reason))

    def _lose(self, bad: BadRow) -> None:
        """Count an input that can't be read on; rows of a row group that will not end are taken back."""
        if self._is_lost:
            return
        self._is_lost = True
        if self._writer is not None:
            rows, dropped = self._writer.cut()
            if rows:
                assert bad.row is not None
                bad = replace(bad, row=bad.row - rows)
            for scored in dropped:
                self._take_back(scored)
        self.counts.lost += 1
        self._skip([bad])

    def _take_back(self, scored: Sequence[Scored]) -> None:
        self.counts.rows -= len(scored[0].scores)
        for at, one in enumerate(scored):
            self.counts.strong_rows[at] -= int(np.count_nonzero(one.models.wants_strong))

    def _skip(self, bad: Sequence[BadRow]) -> None:
        self.first_skipped.extend(bad[: MAX_NAMED_ROWS - len(self.first_skipped)])
        if bad and self.rejects is not None:
            self.rejects.write(b"".join(map(_line_of, bad)))


class StreamWriting(Writing):
    """Writes to standard output or a pipe, from which nobody can go on."""

    def __init__(
        self,
        sink: StreamSink,
        rejects: StreamSink | None,
        counts: Counts,
        fallbacks: Callable[[], list[int]],
        *,
        skips: bool,
    ) -> None:
        super().__init__(counts, fallbacks, skips=skips)
        self._sink = sink
        self._rejects = rejects

    @property
    def rejects(self) -> StreamSink | None:
        """Where rows that are left out are named, if anywhere."""
        return self._rejects

    def _begin(self, event: Begins) -> None:
        self._writer = event.writer(self._sink, None)

    def _end(self, file: int) -> None:  # noqa: ARG002
        if self._writer is not None:
            self._writer.complete()
            self._writer = None
        self._sink.complete()


class FileWriting(Writing):
    """Writes the outputs of a workspace, with a checkpoint after every so many bytes.

    Parameters
    ----------
    workspace : Workspace
    files : sequence of Input
    described : sequence of mapping
        Their entries in the manifest; empty where they can't be read again, so that there are no checkpoints.
    every : int
        Bytes between two checkpoints.
    fallbacks, skips
        As for `Writing`.
    """

    def __init__(
        self,
        workspace: Workspace,
        files: Sequence[Input],
        described: Sequence[Any],
        every: int,
        fallbacks: Callable[[], list[int]],
        *,
        skips: bool,
    ) -> None:
        reached = workspace.reached
        counts = replace(reached.counts)
        routers = len(fallbacks())
        counts.strong_rows = list(counts.strong_rows) or [0] * routers
        counts.fallbacks = list(counts.fallbacks) or [0] * routers
        super().__init__(counts, fallbacks, skips=skips)
        self._workspace = workspace
        self._files = files
        self._described = described
        self._every = every
        self._rejects = FileSink(workspace.rejects, workspace.places.rejects, length=reached.rejected)
        try:
            self.first_skipped = list(read_rejects(workspace.rejects, MAX_NAMED_ROWS))
        except BaseException:
            self._rejects.close()
            raise
        self._sink: FileSink | None = None
        self._mark = Mark()
        self._last_checkpoint = 0
        self._skipped_before = self._rows_before = 0

    @property
    def rejects(self) -> StreamSink:
        """The file that names the rows that are left out."""
        return self._rejects

    def close(self) -> None:
        """Let go of all files; an output that is not complete stays as it was at the last checkpoint, or longer."""
        super().close()
        if self._sink is not None:
            self._sink.close()
            self._sink = None
        self._rejects.close()

    def _begin(self, event: Begins) -> None:
        reached = self._workspace.reached
        goes_on = event.file == reached.file and reached.written > 0
        name = self._files[event.file].name
        shown = self._workspace.shown(name)
        length = reached.written if goes_on else 0
        self._sink = FileSink(self._workspace.output(name), shown, compression_of(str(shown)), length)
        self._writer = event.writer(self._sink, reached.carried if goes_on else None)
        self._mark = reached.mark if goes_on else Mark()
        self._last_checkpoint = self._sink.tell()
        before = reached.file_counts if goes_on else FileCounts(0, 0, None)
        self._rows_before = self.counts.rows - before.rows
        self._skipped_before = self.counts.skipped - before.skipped

    def _write(self, batch: Batch[Any], scored: Sequence[Scored]) -> None:
        super()._write(batch, scored)
        assert self._sink is not None
        if self._is_lost:
            return
        self._mark = batch.mark
        if self._described and self._sink.tell() - self._last_checkpoint >= self._every:
            self._checkpoint()

    def _checkpoint(self) -> None:
        assert self._writer is not None
        assert self._sink is not None
        carried = self._writer.checkpoint()
        if carried is None:
            return
        self._record(self._workspace.reached.file, self._sink.commit(), carried, ends_file=False)
        self._last_checkpoint = self._sink.tell()

    def _end(self, file: int) -> None:
        written = None
        if self._writer is None or self._sink is None:  # it could not be opened
            self._rows_before, self._skipped_before = self.counts.rows, self.counts.skipped
            name = self._files[file].name
            with reported(self._workspace.shown(name)):
                self._workspace.output(name).unlink(missing_ok=True)
        else:
            self._writer.complete()
            written = self._sink.commit()
            self._sink.close()
        self._writer = self._sink = None
        if self._described and written is not None:
            check_unchanged(self._files[file].path, self._described[file])
        self._record(file, written, [], ends_file=True)

    def _record(self, file: int, written: int | None, carried: list[str], *, ends_file: bool) -> None:
        rows, skipped = self.counts.rows - self._rows_before, self.counts.skipped - self._skipped_before
        point = Checkpoint(
            file=file,
            mark=self._mark,
            written=written or 0,
            rejected=self._rejects.commit(),
            carried=carried,
            counts=replace(
                self.counts, strong_rows=list(self.counts.strong_rows), fallbacks=list(self.counts.fallbacks)
            ),
            file_counts=FileCounts(rows, skipped, written),
            ends_file=ends_file,
        )
        if self._described:
            self._workspace.journal.add(point)
        self._workspace.reached.add(point)


def read_rejects(path: Path, at_most: int) -> Iterator[BadRow]:
    """Read the first rows that a file of rejects names.

    Raises
    ------
    DataError
        A line names none.
    """
    with suppress(FileNotFoundError), path.open("rb") as file:
        for number, line in enumerate(islice(file, at_most), start=1):
            yield _named_in(line, f"{path}: line {number}")


def _named_in(line: bytes, place: str) -> BadRow:
    try:
        return BadRow(**json.loads(line))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{place} names no row that was left out") from error


def _line_of(bad: BadRow) -> bytes:
    values = {"source": bad.source, "row": bad.row, "line": bad.line, "reason": bad.reason}
    return json.dumps(values, ensure_ascii=True).encode() + b"\n"
