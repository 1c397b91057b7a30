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
from fastroute.batch.rows import NO_COLUMNS, name_columns
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastroute.batch.rows import Batch

__all__ = ["Columns", "Row", "read_rows"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder(parse_int=float)  # numbers are only looked at
_OPTIONAL = ("strong_answer", "weak_answer", "reference")


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
    wanted = {role: getattr(columns, role) or role for role in _OPTIONAL}
    names = [columns.prompt, *wanted.values()]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(f"columns: found {name_columns(names)}; allowed: four different names")
    with open_source(source, seekable=kind == "parquet") as opened:
        reader = open_reader(
            kind, opened.stream, name=opened.name, column=columns.prompt, added=NO_COLUMNS, size=opened.size
        )
        cells = _Cells(kind, reader, opened.name, frozenset(wanted.values()))
        rows: list[Row] = []
        for batch in reader.batches():
            if batch.bad:
                raise DataError(str(batch.bad[0]))
            for prompt, record in zip(batch.prompts, cells.records(batch), strict=True):
                number = len(rows) + 1
                texts = {role: cells.text(record.get(name), name, number) for role, name in wanted.items()}
                rows.append(Row(cells.checked(prompt, columns.prompt, number), **texts))
    for role in _OPTIONAL:
        name = getattr(columns, role)
        if rows and name is not None and name not in cells.names:
            raise DataError(f"{opened.name}: no column {name!r}; it has {name_columns(sorted(cells.names))}")
    return rows


class _Cells:
    """Takes rows apart, which are another thing in each format.

    Attributes
    ----------
    names
        The columns that were there.
    """

    def __init__(self, kind: str, reader: Any, source: str, wanted: frozenset[str]) -> None:
        self._kind = kind
        self._source = source
        self._wanted = wanted
        self._empty_is_null = kind in ("csv", "tsv")
        self._header: list[str] = reader.header if self._empty_is_null else []
        self.names: set[str] = set()
        self._see(self._header)

    def records(self, batch: Batch[Any]) -> Iterable[Mapping[str, object]]:
        """Yield the cells of each good row by column."""
        if self._kind == "parquet":
            return self._arrow_records(batch.payload.table)
        if self._kind == "jsonl":
            records = [_DECODER.decode(raw.decode()) for raw in batch.payload]
            self.names.update(*records)
            return records
        delimiter = "\t" if self._kind == "tsv" else ","
        texts = (io.StringIO(raw.decode(), newline="") for raw in batch.payload)
        return (dict(zip(self._header, next(csv.reader(text, delimiter=delimiter)), strict=True)) for text in texts)

    def text(self, cell: object, column: str, row: int) -> str | None:
        """Return a cell's text; None where it has none."""
        return None if cell is None or (cell == "" and self._empty_is_null) else self.checked(cell, column, row)

    def checked(self, cell: object, column: str, row: int) -> str:
        """Return a cell that must have text."""
        if not isinstance(cell, str):
            raise DataError(f"{self._source}: row {row}: column {column!r}: expected a string, found {cell!r:.60}")
        if _SURROGATE.search(cell):
            raise DataError(f"{self._source}: row {row}: column {column!r}: holds half of a surrogate pair")
        return cell

    def _arrow_records(self, table: Any) -> list[dict[str, object]]:
        self._see(table.column_names)
        wanted = [at for at, name in enumerate(table.column_names) if name in self._wanted]
        if not wanted:  # a table of no columns has no rows either
            return [{}] * int(table.num_rows)
        try:
            records: list[dict[str, object]] = table.select(wanted).to_pylist()
        except UnicodeDecodeError:
            raise DataError(f"{self._source}: a cell of {name_columns(sorted(self._wanted))} is not UTF-8") from None
        return records

    def _see(self, names: list[str]) -> None:
        self.names.update(names)
        for name in self._wanted:
            if names.count(name) > 1:
                raise DataError(f"{self._source}: {names.count(name)} columns are named {name!r}")
