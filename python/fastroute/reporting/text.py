"""Scored logs in JSON lines, CSV and TSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.formats.delimited import Records
from fastroute.batch.formats.jsonl import parsed_line
from fastroute.batch.formats.lines import Lines
from fastroute.batch.rows import UnusableRowError, name_columns
from fastroute.errors import DataError
from fastroute.reporting.rows import Columns, PendingRows, ScoredRows, other_scores

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DelimitedScores", "JsonLinesScores"]

_LONGEST_INTEGER = 18  # digits; a longer one is read as a float, at any length


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


_DECODER = json.JSONDecoder(parse_int=_whole)


class JsonLinesScores:
    """Reads JSON lines; blank ones are skipped.

    A line without the group's key is of the partition, or where the file is in none of the group None.

    Parameters
    ----------
    stream : binary file
    name : str
        What messages call the input.
    columns : Columns
    total : int or None
        Size of the stream in bytes, where known.
    """

    unit = "B"

    def __init__(self, stream: BinaryIO, name: str, columns: Columns, total: int | None) -> None:
        self._lines = Lines(stream, name)
        self._name = name
        self._columns = columns
        self.total = total

    def batches(self) -> Iterator[ScoredRows]:
        """Read the rows in batches."""
        columns = self._columns
        group_seen = columns.group is None or columns.partition is not None
        pending = PendingRows(self._name, columns)
        row = 0
        for line in self._lines:
            if line.raw is not None and line.raw.isspace():
                continue
            row += 1
            try:
                members = parsed_line(line.raw, _DECODER)
                if columns.score not in members:
                    raise UnusableRowError(_no_score(columns.score, list(members)))  # noqa: TRY301
                if isinstance(members[columns.score], str):
                    found = "expected a number from 0 to 1, found a string"
                    raise UnusableRowError(f"column {columns.score!r}: {found}")  # noqa: TRY301
                group_seen = group_seen or columns.group in members
                group = members.get(columns.group, columns.partition)  # type: ignore[arg-type]
                pending.add(members[columns.score], members.get(columns.model), group)  # type: ignore[arg-type]
            except UnusableRowError as problem:
                pending.reject(row, line.number, str(problem))
            if pending.full:
                yield pending.batch(self._lines.position)
                pending = PendingRows(self._name, columns)
        if not pending.empty:
            yield pending.batch(self._lines.position)
        if row and not group_seen:
            raise DataError(f"{self._name}: no row has the column {columns.group!r}")


class DelimitedScores:
    """Reads CSV or TSV under a header row; quoting is checked strictly.

    Parameters
    ----------
    stream : binary file
    name : str
        What messages call the input.
    columns : Columns
    delimiter : str
        One character.
    total : int or None
        Size of the stream in bytes, where known.

    Raises
    ------
    DataError
        No header, a broken one, or one without a column that is asked for.

    Notes
    -----
    Raises the csv module's limit, as `Records` says.
    """

    unit = "B"

    def __init__(self, stream: BinaryIO, name: str, columns: Columns, delimiter: str, total: int | None) -> None:
        self._name = name
        self._columns = columns
        self._records = Records(Lines(stream, name), delimiter)
        self._header = self._records.header(name)
        check_names(name, self._header, columns)
        self.total = total

    def batches(self) -> Iterator[ScoredRows]:
        """Read the rows in batches."""
        columns, records = self._columns, self._records
        score_at, model_at, group_at = (
            None if name is None or name not in self._header else self._header.index(name)
            for name in (columns.score, columns.model, columns.group)
        )
        assert score_at is not None
        pending = PendingRows(self._name, columns)
        row = 0
        while (fields := records.next_row(len(self._header))) is not None:
            row += 1
            try:
                if isinstance(fields, str):
                    raise UnusableRowError(fields)  # noqa: TRY301
                pending.add(
                    fields[score_at],
                    None if model_at is None else fields[model_at],
                    columns.partition if group_at is None else fields[group_at],
                )
            except UnusableRowError as problem:
                pending.reject(row, records.line, str(problem))
            if pending.full:
                yield pending.batch(records.lines.position)
                pending = PendingRows(self._name, columns)
        if not pending.empty:
            yield pending.batch(records.lines.position)


def check_names(source: str, names: list[str], columns: Columns) -> None:
    """Raise DataError where the columns of a table lack one that is asked for, or have it twice."""
    if columns.score not in names:
        found = other_scores(columns.score, names)
        found = found or f"; the file has {name_columns(names)} (choose one with --score-column)"
        raise DataError(f"{source}: no column {columns.score!r}{found}")
    if columns.group is not None and columns.group not in names and columns.partition is None:
        raise DataError(
            f"{source}: no column {columns.group!r}; the file has {name_columns(names)} "
            "(choose one with --by or --by-day)"
        )
    for name in (columns.score, columns.model, columns.group):
        if name is not None and names.count(name) > 1:
            raise DataError(f"{source}: {names.count(name)} columns are named {name!r}")


def _no_score(column: str, names: list[str]) -> str:
    found = other_scores(column, names) or f"; this row has {name_columns(names)}"
    return f"column {column!r} is missing{found}"
