"""Scored logs by path: the format, and the reader for it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.endpoints import STANDARD, open_source
from fastroute.batch.formats import FORMATS
from fastroute.batch.formats import format_of as format_by_name
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.reporting.arrow import ParquetScores
from fastroute.reporting.text import DelimitedScores, JsonLinesScores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastroute.reporting.rows import Columns, ScoredReader

__all__ = ["format_of", "opened_source", "reader_of", "source_name"]


def format_of(path: str, given: str | None) -> str:
    """Return the format of a log: the one that is given, or the one that the file's name stands for.

    Raises
    ------
    InvalidArgumentError
        It can't be told, or there is no such format.
    """
    if given is not None:
        if given not in FORMATS:
            raise InvalidArgumentError(f"format: found {given!r}, allowed: {', '.join(FORMATS)}")
        return given
    implied = format_by_name(path)
    if implied is None:
        raise InvalidArgumentError(f"{source_name(path)}: the format can't be told; pass --format {'|'.join(FORMATS)}")
    return implied


def source_name(path: str) -> str:
    """Return what messages and reports call a path."""
    return "stdin" if path == STANDARD else path.encode(errors="backslashreplace").decode()


@contextmanager
def opened_source(path: str, *, seekable: bool) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a log; gives the stream and its size in bytes, where known. A pipe that must be seekable is copied."""
    if path != STANDARD and Path(path).is_dir():
        raise DataError(f"{path}: expected a file, found a folder")
    with open_source(path, seekable=seekable) as opened:
        yield opened.stream, opened.size


def reader_of(stream: BinaryIO, kind: str, name: str, columns: Columns, size: int | None) -> ScoredReader:
    """Return a reader of the format `kind`; see the readers for what they raise."""
    if kind == "jsonl":
        return JsonLinesScores(stream, name, columns, size)
    if kind == "parquet":
        return ParquetScores(stream, name, columns)
    return DelimitedScores(stream, name, columns, "\t" if kind == "tsv" else ",", size)
