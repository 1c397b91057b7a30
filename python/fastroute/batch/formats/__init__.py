"""File formats: which one a path or an option means, and its reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fastroute.batch.compression import compression_of, without_compression
from fastroute.batch.endpoints import STANDARD
from fastroute.batch.formats.delimited import DelimitedReader
from fastroute.batch.formats.jsonl import JsonLinesReader
from fastroute.batch.formats.parquet import ParquetReader
from fastroute.batch.prompts import PromptColumn
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from fastroute.batch.rows import AddedColumns, Reader

FORMATS = ("jsonl", "csv", "tsv", "parquet")
_BY_SUFFIX = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def resolve_format(source: str, target: str, given: str | None = None) -> str:
    """Return the format of a run; the output's is always the input's.

    Parameters
    ----------
    source, target : str
        Paths, or "-".
    given : str or None
        The format that the user names, which has the last word on the input.

    Raises
    ------
    InvalidArgumentError
        The format can't be known, or the output's file name stands for another one.
    """
    if given is not None and given not in FORMATS:
        raise InvalidArgumentError(f"format: found {given!r}, allowed: {', '.join(FORMATS)}")
    wanted, implied = format_of(target), format_of(source)
    # A pipe says nothing about what it carries, but the file that it ends in does.
    known = given or implied or (wanted if source == STANDARD else None)
    if known is None:
        what = "standard input" if source == STANDARD else source
        raise InvalidArgumentError(f"{what}: the format can't be told; pass --format {'|'.join(FORMATS)}")
    if wanted not in (None, known):
        raise InvalidArgumentError(
            f"{target}: the output keeps the input's format, which is {known}; the name stands for {wanted}"
        )
    for path in (source, target):
        if known == "parquet" and compression_of(path) is not None:
            raise InvalidArgumentError(f"{path}: Parquet is compressed inside, and not once more as a file")
    return known


def open_reader(
    kind: str,
    stream: BinaryIO,
    *,
    name: str,
    column: str | PromptColumn,
    added: AddedColumns,
    size: int | None,
    whole_rows: bool = True,
    drops_rows: bool = True,
) -> Reader[Any]:
    """Return a reader of the format `kind`, the stream not being compressed.

    `whole_rows` and `drops_rows` are those of `ParquetReader`; see the readers for what they raise.
    """
    if isinstance(column, str):
        column = PromptColumn(column)
    if kind == "jsonl":
        return JsonLinesReader(stream, name, column, added, size)
    if kind == "parquet":
        return ParquetReader(stream, name, column, added, whole_rows=whole_rows, drops_rows=drops_rows)
    delimiter = "\t" if kind == "tsv" else ","
    return DelimitedReader(stream, name, column, added, delimiter=delimiter, total=size)


def format_of(path: str) -> str | None:
    """Return the format that a path's name tells, compressed or not; None where it tells none."""
    return None if path == STANDARD else _BY_SUFFIX.get(Path(without_compression(path)).suffix.lower())
