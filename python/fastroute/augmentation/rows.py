"""Prompts from a file, with the answers and references that it has."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastroute.batch.endpoints import STANDARD, check_endpoints, open_source
from fastroute.batch.formats import open_reader, resolve_format
from fastroute.batch.rows import NoColumns, name_columns
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fastroute.batch.rows import Batch, Reader

__all__ = ["Columns", "Row", "read_rows"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder(parse_int=float)  # numbers are only looked at
_DEFAULTS = {"strong_answer": "strong_answer", "weak_answer": "weak_answer", "reference": "reference"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns.

    Attributes
    ----------
    prompt
        Must be there.
    strong_answer, weak_answer, reference
        A name that is given must be there; for None the attribute's own name is looked for.
    """

    prompt: str = "prompt"
    strong_answer: str | None = None
    weak_answer: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, and what the file has besides; None where it has nothing."""

    prompt: str
    strong_answer: str | None
    weak_answer: str | None
    reference: str | None


def read_rows(source: str | os.PathLike[str], columns: Columns, format: str | None = None) -> list[Row]:  # noqa: A002
    """Read a .jsonl, .ndjson, .csv, .tsv or .parquet file; "-" is standard input.

    A cell without text is null, or empty in a .csv or .tsv file, which has no null.

    Raises
    ------
    InvalidArgumentError
        There is no such file, or its format can't be known.
    DataError
        It can't be read, lacks a column, or holds a row without a prompt or with a cell that is no text.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    source = os.fspath(source)
    check_endpoints(source, STANDARD, overwrite=True)
    kind = resolve_format(source, STANDARD, format)
    wanted = {role: getattr(columns, role) or name for role, name in _DEFAULTS.items()}
    names = [columns.prompt, *wanted.values()]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(f"columns: found {name_columns(names)}; allowed: four different names")
    with open_source(source, seekable=kind == "parquet") as opened:
        reader = open_reader(
            kind, opened.stream, name=opened.name, column=columns.prompt, added=NoColumns(), size=opened.size
        )
        cells = _Cells(kind, reader, opened.name)
        rows: list[Row] = []
        found: set[str] = set()
        for number, (prompt, record) in enumerate(_records(reader, cells), start=1):
            found.update(record)
            texts = {role: cells.text(record, name, number) for role, name in wanted.items()}
            rows.append(Row(cells.checked(prompt, columns.prompt, number), **texts))
    for role in _DEFAULTS:
        name = getattr(columns, role)
        if rows and name is not None and name not in found:
            raise DataError(f"{opened.name}: no column {name!r}; it has {name_columns(sorted(found))}")
    return rows


def _records(reader: Reader[Any], cells: _Cells) -> Iterator[tuple[str, Mapping[str, object]]]:
    for batch in reader.batches():
        if batch.bad:
            raise DataError(str(batch.bad[0]))
        yield from zip(batch.prompts, cells.records(batch), strict=True)


class _Cells:
    """Takes a batch's payload apart, which is another thing in each format."""

    def __init__(self, kind: str, reader: Any, name: str) -> None:
        self._kind = kind
        self._name = name
        self._empty_is_null = kind in ("csv", "tsv")
        self._header: list[str] = reader.header if self._empty_is_null else []

    def records(self, batch: Batch[Any]) -> Iterable[Mapping[str, object]]:
        if self._kind == "parquet":
            records: list[dict[str, object]] = batch.payload.table.to_pylist()
            return records
        if self._kind == "jsonl":
            return [_DECODER.decode(raw.decode()) for raw in batch.payload]
        delimiter = "\t" if self._kind == "tsv" else ","
        texts = (io.StringIO(raw.decode(), newline="") for raw in batch.payload)
        lines = [next(csv.reader(text, delimiter=delimiter)) for text in texts]
        return [dict(zip(self._header, fields, strict=True)) for fields in lines]

    def text(self, record: Mapping[str, object], column: str, row: int) -> str | None:
        cell = record.get(column)
        if cell is None or (cell == "" and self._empty_is_null):
            return None
        return self.checked(cell, column, row)

    def checked(self, cell: object, column: str, row: int) -> str:
        if not isinstance(cell, str):
            raise DataError(f"{self._name}: row {row}: column {column!r}: expected a string, found {cell!r:.60}")
        if _SURROGATE.search(cell):
            raise DataError(f"{self._name}: row {row}: column {column!r}: holds half of a surrogate pair")
        return cell
