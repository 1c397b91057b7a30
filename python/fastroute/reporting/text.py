"""Scored logs in JSON lines, CSV and TSV."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.formats.lines import Lines, too_long
from fastroute.batch.rows import MAX_ROW_BYTES, name_columns
from fastroute.errors import DataError
from fastroute.reporting.rows import BadCellError, Columns, PendingRows, ScoredRows

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DelimitedScores", "JsonLinesScores"]

_TYPE_NAMES = {list: "an array", str: "a string", float: "a number", int: "a number", bool: "a boolean"}
_LONGEST_INTEGER = 18  # digits; a longer one is read as a float, at any length


def _whole(text: str) -> int | float:
    return int(text) if len(text) <= _LONGEST_INTEGER else float(text)


_DECODER = json.JSONDecoder(parse_int=_whole)


class JsonLinesScores:
    """Reads JSON lines; blank ones are skipped. A line without the group's key is of the group None.

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
        group_seen = columns.group is None
        pending = PendingRows(self._name, columns)
        row = 0
        for line in self._lines:
            if line.raw is not None and line.raw.isspace():
                continue
            row += 1
            try:
                members = _parse_object(line.raw)
                if columns.score not in members:
                    found = name_columns(list(members))
                    raise BadCellError(f"column {columns.score!r} is missing; this row has {found}")  # noqa: TRY301
                if isinstance(members[columns.score], str):
                    found = "expected a number from 0 to 1, found a string"
                    raise BadCellError(f"column {columns.score!r}: {found}")  # noqa: TRY301
                group_seen = group_seen or columns.group in members
                pending.add(members[columns.score], members.get(columns.model), members.get(columns.group))  # type: ignore[arg-type]
            except BadCellError as problem:
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
    Raises the csv module's process-wide field size limit, and leaves it raised: another thread may be reading.
    """

    unit = "B"

    def __init__(self, stream: BinaryIO, name: str, columns: Columns, delimiter: str, total: int | None) -> None:
        if csv.field_size_limit() < MAX_ROW_BYTES:
            csv.field_size_limit(MAX_ROW_BYTES)
        self._name = name
        self._columns = columns
        self._lines = Lines(stream, name)
        self._texts = _Texts(self._lines)
        self._records = csv.reader(self._texts, delimiter=delimiter, strict=True)
        self._header = self._read_header()
        self.total = total

    def batches(self) -> Iterator[ScoredRows]:
        """Read the rows in batches."""
        columns = self._columns
        score_at, model_at, group_at = (
            None if name is None or name not in self._header else self._header.index(name)
            for name in (columns.score, columns.model, columns.group)
        )
        assert score_at is not None
        pending = PendingRows(self._name, columns)
        row = 0
        while True:
            self._texts.begin()
            try:
                fields = next((fields for fields in self._records if fields), None)
                if fields is None:
                    break
                row += 1
                self._check(fields)
                pending.add(
                    fields[score_at],
                    None if model_at is None else fields[model_at],
                    None if group_at is None else fields[group_at],
                )
            except csv.Error as error:
                row += 1
                pending.reject(row, self._texts.first, f"broken quoting or line ends: {error}")
            except BadCellError as problem:
                row += not self._texts.whole
                pending.reject(row, self._texts.first, str(problem))
            if pending.full:
                yield pending.batch(self._lines.position)
                pending = PendingRows(self._name, columns)
        if not pending.empty:
            yield pending.batch(self._lines.position)

    def _check(self, fields: list[str]) -> None:
        if self._texts.problem:
            raise BadCellError(self._texts.problem)
        if len(fields) != len(self._header):
            raise BadCellError(f"expected {len(self._header)} fields, as in the header, found {len(fields)}")

    def _read_header(self) -> list[str]:
        self._texts.begin()
        try:
            header = next((fields for fields in self._records if fields), None)
        except (csv.Error, BadCellError) as problem:
            raise DataError(f"{self._name}: header (line {self._texts.first}): {problem}") from None
        if header is None:
            raise DataError(f"{self._name}: the file is empty; expected a header row that names the columns")
        check_names(self._name, header, self._columns)
        return header


def check_names(source: str, names: list[str], columns: Columns) -> None:
    """Raise DataError where the columns of a table lack one that is asked for, or have it twice."""
    for name, option in ((columns.score, "--score-column"), (columns.group, "--by or --by-day")):
        if name is not None and name not in names:
            raise DataError(
                f"{source}: no column {name!r}; the file has {name_columns(names)} (choose one with {option})"
            )
    for name in (columns.score, columns.model, columns.group):
        if name is not None and names.count(name) > 1:
            raise DataError(f"{source}: {names.count(name)} columns are named {name!r}")


class _Texts:
    """Gives the csv module decoded lines, and remembers where a record began and what was wrong with it."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.begin()

    def begin(self) -> None:
        self.first = 0
        self.problem: str | None = None
        self.whole = True
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    # Not a generator: one that raises is finished, and the lines after a bad record are still wanted.
    def __next__(self) -> str:
        line = next(self._lines)
        if not self._size:
            self.first = line.number
            if line.raw is not None and line.raw.isspace():
                return line.raw.decode()
        if line.raw is None or self._size + len(line.raw) > MAX_ROW_BYTES:
            self.whole = False
            raise BadCellError(too_long())
        self._size += len(line.raw)
        try:
            return line.raw.decode()
        except UnicodeDecodeError as error:
            self.problem = f"invalid UTF-8 at byte {error.start + 1} of line {line.number}"
            return line.raw.decode(errors="surrogateescape")


def _parse_object(raw: bytes | None) -> dict[str, object]:
    if raw is None:
        raise BadCellError(too_long())
    try:
        value = _DECODER.decode(raw.decode().strip())
    except UnicodeDecodeError as error:
        raise BadCellError(f"invalid UTF-8 at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise BadCellError(f"broken JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise BadCellError("JSON nested too deeply") from None
    if not isinstance(value, dict):
        found = _TYPE_NAMES.get(type(value), "null")
        raise BadCellError(f"expected a JSON object, found {found}")
    return value
