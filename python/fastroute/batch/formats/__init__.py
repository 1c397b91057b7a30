"""File formats: which one a path or an option means, and its reader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fastroute.batch.formats.delimited import DelimitedReader
from fastroute.batch.endpoints import STANDARD
from fastroute.batch.formats.jsonl import JsonLinesReader
from fastroute.batch.formats.parquet import ParquetReader
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
_COMPRESSED = {".gz": "gunzip -c", ".zst": "zstd -dc", ".bz2": "bunzip2 -c", ".xz": "xz -dc"}


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
    wanted, implied = _format_of(target), _format_of(source)
    if given is None and implied is None:
        _refuse_compressed(source)
    # A pipe says nothing about what it carries, but the file that it ends in does.
    known = given or implied or (wanted if source == STANDARD else None)
    if known is None:
        what = "standard input" if source == STANDARD else source
        raise InvalidArgumentError(f"{what}: the format can't be told; pass --format {'|'.join(FORMATS)}")
    if wanted not in (None, known):
        raise InvalidArgumentError(
            f"{target}: the output keeps the input's format, which is {known}; the name stands for {wanted}"
        )
    return known


def open_reader(
    kind: str, stream: BinaryIO, *, name: str, column: str, added: AddedColumns, size: int | None
) -> Reader[Any]:
    """Return a reader of the format `kind`; see the readers for what they raise."""
    if kind == "jsonl":
        return JsonLinesReader(stream, name, column, added, size)
    if kind == "parquet":
        return ParquetReader(stream, name, column, added)
    delimiter = "\t" if kind == "tsv" else ","
    return DelimitedReader(stream, name, column, added, delimiter=delimiter, total=size)


def _format_of(path: str) -> str | None:
    return None if path == STANDARD else _BY_SUFFIX.get(Path(path).suffix.lower())


def _refuse_compressed(path: str) -> None:
    command = _COMPRESSED.get(Path(path).suffix.lower())
    if command is not None:
        raise InvalidArgumentError(
            f"{path}: compressed files are not read; use: {command} {path} | fastroute score - --format ..."
        )
