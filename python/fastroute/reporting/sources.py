"""Scored logs by path: which files they are, the format of each, and the reader for it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.endpoints import STANDARD
from fastroute.batch.formats import format_of, resolve_format
from fastroute.batch.inputs import find_inputs
from fastroute.errors import InvalidArgumentError
from fastroute.reporting.arrow import ParquetScores
from fastroute.reporting.text import DelimitedScores, JsonLinesScores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastroute.reporting.rows import Columns, ScoredReader

__all__ = ["LogFile", "LogFiles", "find_calibration", "find_log", "paths_of", "reader_of"]

_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of a log: its path, its format, and what messages call it."""

    path: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of a log, sorted by name, and what reports call them all; `many` unless it is given as one file."""

    files: tuple[LogFile, ...]
    name: str
    many: bool

    @property
    def kind(self) -> str | None:
        """The format of all files; None where they have several."""
        kinds = {file.kind for file in self.files}
        return kinds.pop() if len(kinds) == 1 else None


def paths_of(source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return what an argument gives, one path or several, as a list."""
    if isinstance(source, (str, os.PathLike)):
        return [os.fspath(source)]
    return [os.fspath(path) for path in source]


def find_log(paths: Sequence[str], given: str | None) -> LogFiles:
    """Find the files of a log, whose format is the one that is given, or the one that each name stands for.

    Raises
    ------
    InvalidArgumentError
        There is no file, one is there twice, or a format can't be told.
    """
    return _found(paths, given, lambda path: resolve_format(path, STANDARD, given))


def find_calibration(paths: Sequence[str], given: str | None, kind: str | None) -> LogFiles:
    """Find the files of a calibration set, whose format is the one that each name stands for, or else the log's.

    Raises as `find_log`.
    """
    fallback = given or kind
    return _found(paths, given, lambda path: resolve_format(path, STANDARD, None if format_of(path) else fallback))


def reader_of(stream: BinaryIO, file: LogFile, columns: Columns, size: int | None) -> ScoredReader:
    """Return a reader of a file's format; see the readers for what they raise."""
    if file.kind == "jsonl":
        return JsonLinesScores(stream, file.name, columns, size)
    if file.kind == "parquet":
        return ParquetScores(stream, file.name, columns)
    return DelimitedScores(stream, file.name, columns, "\t" if file.kind == "tsv" else ",", size)


def _found(paths: Sequence[str], given: str | None, kind_of: Callable[[str], str]) -> LogFiles:
    if STANDARD in paths and len(paths) > 1:
        raise InvalidArgumentError("'-': standard input can't be read together with files")
    inputs = find_inputs(paths, given)
    files = tuple(LogFile(file.path, kind_of(file.path), _source_name(file.path)) for file in inputs.files)
    named = ", ".join(map(_source_name, paths[:_MAX_NAMED]))
    left = len(paths) - _MAX_NAMED
    return LogFiles(files, f"{named} and {left} more" if left > 0 else named, inputs.many)


def _source_name(path: str) -> str:
    return "stdin" if path == STANDARD else path.encode(errors="backslashreplace").decode()
