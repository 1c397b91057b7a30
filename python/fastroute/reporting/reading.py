"""A scored log as one stream of rows, however many files it has; it can be read again."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fastroute.batch.endpoints import STANDARD, open_source
from fastroute.batch.rows import BadRow
from fastroute.errors import DataError
from fastroute.reporting.partitions import partition_of
from fastroute.reporting.sources import reader_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from fastroute.batch.endpoints import Source
    from fastroute.batch.summary import Progress
    from fastroute.reporting.rows import Columns, ScoredReader, ScoredRows
    from fastroute.reporting.sources import LogFile, LogFiles

__all__ = ["OnError", "ScoredLog"]

OnError = Literal["fail", "skip"]
MAX_NAMED_ROWS = 10


class ScoredLog:
    """A log that can be read, and with `again` once more. One file is open at a time.

    Use as a context manager, which lets go of the copies of what can't be opened twice: standard input and pipes.

    Parameters
    ----------
    log : LogFiles
    on_error : {"fail", "skip"}
        Whether a row that can't be used, or one of several files, ends the run or is left out.
    progress : Progress or None
        Is told how far each reading has got: in bytes of all files, or the unit of one.
    again : bool
        Whether there will be a second reading.

    Attributes
    ----------
    name
        What messages and reports call the log.
    skipped, lost
        Rows left out by the last reading, and files that it left out or broke off.
    first_skipped : list of BadRow
        The first ten of both.
    """

    def __init__(self, log: LogFiles, on_error: OnError, progress: Progress | None, *, again: bool) -> None:
        self.name = log.name
        self._log = log
        self._on_error = on_error
        self._meter = _Meter(log, progress)
        self._again = again
        self._copies = ExitStack()
        self._copied: dict[str, Source] = {}
        self._states: dict[str, tuple[int, ...]] = {}
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._copies.close()

    @property
    def files(self) -> int:
        """How many files it has."""
        return len(self._log.files)

    def batches(self, columns: Columns) -> Iterator[ScoredRows]:
        """Read the rows.

        Raises
        ------
        DataError
            A row or a file that can't be used, unless they are left out; a file that has changed since it was read.
        """
        self._forget()
        rows = 0
        self._meter.start()
        try:
            for file in self._log.files:
                self._refuse_changed(file)
                self._meter.enter(file)
                for batch in self._file(file, columns):
                    if batch.bad and self._on_error == "fail":
                        raise DataError(str(batch.bad[0]))
                    self.skipped += len(batch.bad)
                    self.first_skipped.extend(batch.bad[: MAX_NAMED_ROWS - len(self.first_skipped)])
                    rows += len(batch.scores)
                    yield batch
                    self._meter.update(rows + self.skipped)
                if self._again and file.path not in self._copied and file.path not in self._states:
                    self._states[file.path] = _state_of(file.path)
        finally:
            self._meter.close()

    def _forget(self) -> None:
        self.skipped = self.lost = 0
        self.first_skipped: list[BadRow] = []

    def _file(self, file: LogFile, columns: Columns) -> Iterator[ScoredRows]:
        """Read one of the files; where it can't be read, or not on, and that is no error, take note of it."""
        if columns.group is not None:
            columns = replace(columns, partition=partition_of(file.path, columns.group))
        reached = 0
        try:
            with self._opened(file) as opened:
                reader = reader_of(opened.stream, file, columns, opened.size)
                self._meter.begin(opened, reader)
                for batch in reader.batches():
                    self._meter.reach(batch.position)
                    reached += len(batch.scores) + len(batch.bad)
                    yield batch
        except DataError as error:
            if self._on_error == "fail" or not self._log.many:
                raise
            self.lost += 1
            if len(self.first_skipped) < MAX_NAMED_ROWS:
                reason = str(error).removeprefix(f"{file.name}: ")
                self.first_skipped.append(BadRow(file.name, reached + 1 if reached else None, None, reason))

    @contextmanager
    def _opened(self, file: LogFile) -> Iterator[Source]:
        if file.path in self._copied:
            source = self._copied[file.path]
            source.stream.seek(0)
            yield source
        elif self._again and not _can_be_reopened(file.path):
            source = self._copies.enter_context(open_source(file.path, seekable=True))
            self._copied[file.path] = source
            yield source
        else:
            with open_source(file.path, seekable=file.kind == "parquet") as source:
                yield source

    def _refuse_changed(self, file: LogFile) -> None:
        before = self._states.get(file.path)
        if before is not None and before != _state_of(file.path):
            raise DataError(f"{file.name}: the file has changed while it was read")


class _Meter:
    """Tells how far a reading has got."""

    def __init__(self, log: LogFiles, progress: Progress | None) -> None:
        self._progress = progress
        self._log = log
        self._opened: Source | None = None
        self._unit = "B"
        self._total: int | None = None
        self._before = self._position = self._stored = 0

    def start(self) -> None:
        """Begin a reading."""
        self._before = self._stored = 0
        if self._progress is not None and self._log.many:
            self._progress.start(sum(_size_of(file.path) for file in self._log.files), "B")

    def enter(self, file: LogFile) -> None:
        """Take note that the file before is done."""
        self._before += self._stored
        self._stored = _size_of(file.path) if self._log.many else 0

    def begin(self, opened: Source, reader: ScoredReader) -> None:
        """Take note of a file that has been opened."""
        self._opened, self._unit, self._total = opened, reader.unit, reader.total
        if self._progress is not None and not self._log.many:
            whole = reader.total if reader.unit != "B" or opened.stored is None else opened.stored
            self._progress.start(whole, reader.unit)

    def reach(self, position: int) -> None:
        """Take note of the place that has been reached in the file, in its reader's unit."""
        assert self._opened is not None
        consumed = self._opened.consumed() if self._unit == "B" else None
        if consumed is not None:
            position = consumed
        elif self._log.many and self._unit != "B":
            position = self._stored * position // self._total if self._total else 0
        self._position = self._before + position

    def update(self, rows: int) -> None:
        """Show it."""
        if self._progress is not None:
            self._progress.update(self._position, rows)

    def close(self) -> None:
        """End the display."""
        if self._progress is not None and (self._log.many or self._opened is not None):
            self._progress.close()


def _can_be_reopened(path: str) -> bool:
    try:
        return path != STANDARD and stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except (OSError, ValueError):
        return True  # opening it tells what is wrong


def _state_of(path: str) -> tuple[int, ...]:
    try:
        status = Path(path).stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
