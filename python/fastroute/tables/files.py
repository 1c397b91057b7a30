"""Files as tables: Parquet, JSON lines, CSV, TSV; the name's ending tells which."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError
from fastroute.tables.columns import Table, as_table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

__all__ = ["SUFFIXES", "read_table"]

_JSON_LINES = (".jsonl", ".ndjson")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_PARQUET = (".parquet", ".pq")
SUFFIXES = (*_JSON_LINES, *_DELIMITERS, *_PARQUET)
"""How the name of a file that `read_table` reads ends, in any case."""


def read_table(path: str | os.PathLike[str], columns: Iterable[str] | Callable[[str], bool]) -> Table:
    """Read those of `columns` that a file has.

    A cell of CSV or TSV is a text, and `Table` knows the numbers in it. Objects of JSON lines need not have the same
    keys: what one lacks is None there.

    Parameters
    ----------
    path
        A .parquet, .pq, .jsonl, .ndjson, .csv or .tsv file.
    columns
        Names, or what says of a name whether it is wanted.

    Raises
    ------
    InvalidArgumentError
        The file's name does not tell its format.
    DataError
        There is no such file, or it is not what its name says; the line is named where there is one.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidArgumentError(f"{path}: the format can't be told by its name; allowed: {', '.join(SUFFIXES)}")
    wanted = columns if callable(columns) else frozenset(columns).__contains__
    if suffix in _PARQUET:
        return _read_parquet(file, wanted)
    text = _text_of(file)
    if suffix in _JSON_LINES:
        return _read_json_lines(file, text, wanted)
    return _read_delimited(file, text, wanted, _DELIMITERS[suffix])


def _read_parquet(file: Path, wanted: Callable[[str], bool]) -> Table:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'fastroute[batch]'") from error
    if not file.is_file():
        raise DataError(f"{file}: no such file; a Parquet file is needed")
    try:
        with pq.ParquetFile(file) as parquet:
            names = parquet.schema_arrow.names
            data = parquet.read([name for name in dict.fromkeys(names) if wanted(name)])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: can't be read as Parquet: {error}") from error
    return replace(as_table(data, str(file)), names=tuple(names))


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: expected UTF-8 text, found an invalid byte at {error.start + 1}") from error


def _read_json_lines(file: Path, text: str, wanted: Callable[[str], bool]) -> Table:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file}: line {number}: broken JSON: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{file}: line {number}: expected a JSON object, found {type(found).__name__}")
        objects.append(found)
        lines.append(number)
    names = tuple(dict.fromkeys(name for found in objects for name in found))
    columns = {name: [found.get(name) for found in objects] for name in names if wanted(name)}
    return Table(str(file), columns, len(objects), names, tuple(lines))


def _read_delimited(file: Path, text: str, wanted: Callable[[str], bool], delimiter: str) -> Table:
    if csv.field_size_limit() < len(text):  # of the whole process; left raised, as another thread may be reading
        csv.field_size_limit(len(text))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    records: list[list[str]] = []
    lines: list[int] = []
    try:
        header = next((record for record in reader if record), None)
        line = reader.line_num + 1
        for record in reader:
            if record:
                records.append(record)
                lines.append(line)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num}: broken quoting or line ends: {error}") from error
    if header is None:
        raise DataError(f"{file}: the file is empty; expected a header row that names the columns")
    twice = next((name for at, name in enumerate(header) if name in header[:at]), None)
    if twice is not None:
        raise DataError(f"{file}: its header names a column twice: {twice!r}")
    for record, line in zip(records, lines, strict=True):
        if len(record) != len(header):
            raise DataError(f"{file}: line {line}: expected {len(header)} fields, found {len(record)}")
    columns = {name: [record[at] for record in records] for at, name in enumerate(header) if wanted(name)}
    return Table(str(file), columns, len(records), tuple(header), tuple(lines))
