"""CSV and TSV: each record's own bytes are kept, quoting included; the new fields are appended to them."""

from __future__ import annotations

import csv
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.formats.lines import Lines, too_long
from fastroute.batch.rows import (
    MAX_ROW_BYTES,
    START,
    AddedColumns,
    Batch,
    Mark,
    PendingRows,
    RawCopier,
    RawWriter,
    Sink,
    UnusableRowError,
    name_columns,
    score_text,
)
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastroute.batch.prompts import PromptColumn
    from fastroute.batch.scoring import Scored

_BOM = b"\xef\xbb\xbf"


class DelimitedReader:
    """Reads comma- or tab-separated records under a header row.

    Quoted fields may hold delimiters, quotes and newlines; blank lines are skipped. Quoting is checked
    strictly, as a stray quote would otherwise swallow the rows after it.

    Parameters
    ----------
    stream : binary file
    name : str
        What messages call the input.
    column : PromptColumn
        Header of the prompt's column.
    added : AddedColumns
    delimiter : str
        One character.
    total : int or None
        Size of the stream in bytes, where known.

    Raises
    ------
    DataError
        No header, a broken one, or one without `column`.
    InvalidArgumentError
        The header has one of the added columns already.

    Notes
    -----
    Raises the csv module's limit, as `Records` says.
    """

    unit = "B"

    def __init__(
        self,
        stream: BinaryIO,
        name: str,
        column: PromptColumn,
        added: AddedColumns,
        *,
        delimiter: str = ",",
        total: int | None = None,
    ) -> None:
        self._name = name
        self._column = column
        self._added = added
        self._delimiter = delimiter
        self._records = Records(Lines(stream, name), delimiter)
        self._header = self._read_header()
        self._prompt_at = self._header.index(column.name)
        self.total = total

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return list(self._header)

    def batches(self, start: Mark = START) -> Iterator[Batch[list[bytes]]]:
        """Read the rows in batches."""
        pending = PendingRows(self._name)
        row = start.rows
        if row:
            self._records.lines.go_to(start)
        while True:
            try:
                outcome = self._records.next_row(len(self._header))
            except DataError:
                if not pending.empty:  # what came before the damage is sound
                    yield pending.batch(self._records.mark_before(row))
                raise
            if outcome is None:
                break
            row += 1
            if isinstance(outcome, str):
                pending.reject(row, self._records.line, outcome)
                continue
            try:
                prompt = self._column.of_text(outcome[self._prompt_at])
            except UnusableRowError as problem:
                pending.reject(row, self._records.line, str(problem))
            else:
                pending.add(prompt, self._records.raw)
            if pending.full:
                yield pending.batch(self._records.lines.mark(row))
                pending = PendingRows(self._name)
        if not pending.empty:
            yield pending.batch(self._records.lines.mark(row))

    def writer(self, sink: Sink, carried: Sequence[str] | None = None) -> DelimitedWriter:
        """Give a writer of the same records with the added fields; at the beginning the header is written at once."""
        writer = DelimitedWriter(sink, self._header_bytes, self._added, self._delimiter)
        if carried is None:
            writer.write_header()
        return writer

    @contextmanager
    def copier(self, sink: BinaryIO) -> Iterator[RawCopier]:
        """Give a writer of the same records as they are; the header is written at once."""
        sink.write(self._header_bytes)
        yield RawCopier(sink)

    def _read_header(self) -> list[str]:
        header = self._records.header(self._name)
        self._added.refuse_clash(header, self._name)
        if self._column.name not in header:
            raise DataError(
                f"{self._name}: no column {self._column.name!r}; the header has {name_columns(header)} "
                "(choose one with --column)"
            )
        if header.count(self._column.name) > 1:
            raise DataError(f"{self._name}: {header.count(self._column.name)} columns are named {self._column.name!r}")
        # Spreadsheets tell UTF-8 by the mark, so it stays.
        self._header_bytes = (_BOM if self._records.has_bom else b"") + self._records.raw
        return header


class DelimitedWriter(RawWriter):
    """Writes each record's own bytes, then scores and models."""

    def __init__(self, sink: Sink, header: bytes, added: AddedColumns, delimiter: str) -> None:
        self._sink = sink
        self._header = header
        self._added = added
        self._delimiter = delimiter
        self._newline = b"\r\n" if header.endswith(b"\r\n") else b"\n"

    def write_header(self) -> None:
        """Write the input's header with the new names."""
        self._sink.write(self._extended(self._header, self._tail(*self._added.names)))

    def write(self, batch: Batch[list[bytes]], scored: Sequence[Scored]) -> None:
        """Write the records of `batch`."""
        fields = [self._fields(one) for one in scored]
        self._sink.write(
            b"".join(self._extended(raw, b"".join(new)) for raw, *new in zip(batch.payload, *fields, strict=True))
        )

    def _fields(self, scored: Scored) -> Iterator[bytes]:
        start = self._delimiter.encode()
        ends = {model: self._tail(model) for model in scored.models.names}
        for score, model in zip(scored.scores, scored.models, strict=True):
            yield start + score_text(score).encode() + ends[model]

    def _extended(self, raw: bytes, tail: bytes) -> bytes:
        text = raw.rstrip(b"\r\n")
        return text + tail + (raw[len(text) :] or self._newline)

    def _tail(self, *fields: str) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self._delimiter, lineterminator="").writerow(["", *fields])
        return text.getvalue().encode()


class _RecordLines:
    """Hands lines to a `csv.reader` and keeps those of the record under way."""

    def __init__(self, lines: Lines) -> None:
        self.lines = lines
        self.first = 0
        self.taken: list[bytes] = []
        self.problem: str | None = None
        self._size = 0

    def begin(self) -> None:
        self.taken.clear()
        self.problem = None
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    # Not a generator: one that raises is finished, and the lines after a bad record are still wanted.
    def __next__(self) -> str:
        line = next(self.lines)
        if not self.taken:
            self.first = line.number
        if line.raw is None or self._size + len(line.raw) > MAX_ROW_BYTES:
            raise UnusableRowError(too_long())
        self.taken.append(line.raw)
        self._size += len(line.raw)
        try:
            return line.raw.decode()
        except UnicodeDecodeError as error:
            self.problem = f"invalid UTF-8 at byte {error.start + 1} of line {line.number}"
            return line.raw.decode(errors="surrogateescape")


class Records:
    """Splits lines into records and keeps the bytes of the last one.

    `csv.reader` takes just the lines that a record needs: what it took since the last record is the record.

    Raises the csv module's process-wide field size limit, and leaves it raised: another thread may be reading long
    fields too.
    """

    def __init__(self, lines: Lines, delimiter: str) -> None:
        if csv.field_size_limit() < MAX_ROW_BYTES:
            csv.field_size_limit(MAX_ROW_BYTES)
        self.lines = lines
        self._source = _RecordLines(lines)
        self._reader = csv.reader(self._source, delimiter=delimiter, strict=True)

    def header(self, name: str) -> list[str]:
        """Return the fields of the first record; raises DataError, which calls the input `name`, if it has none."""
        try:
            header = self._next_filled()
        except UnusableRowError as problem:
            raise DataError(f"{name}: header (line {self.line}): {problem}") from None
        if header is None:
            raise DataError(f"{name}: the file is empty; expected a header row that names the columns")
        return header

    def next_row(self, width: int) -> list[str] | str | None:
        """Return the fields of the next record, the reason for which it can't be used, or None at the end.

        Blank lines are passed over; a record that has not `width` fields can't be used.
        """
        try:
            fields = self._next_filled()
        except UnusableRowError as problem:
            return str(problem)
        if fields is not None and len(fields) != width:
            return f"expected {width} fields, as in the header, found {len(fields)}"
        return fields

    def _next_filled(self) -> list[str] | None:
        while (fields := self._next()) == []:
            pass
        return fields

    def _next(self) -> list[str] | None:
        self._source.begin()
        try:
            fields = next(self._reader, None)
        except csv.Error as error:
            raise UnusableRowError(self._source.problem or f"broken quoting or line ends: {error}") from None
        if self._source.problem:
            raise UnusableRowError(self._source.problem)
        return fields

    @property
    def raw(self) -> bytes:
        """Bytes of the last record, its line end included."""
        return b"".join(self._source.taken)

    def mark_before(self, rows: int) -> Mark:
        """Return the place before the record under way, which is record `rows` + 1."""
        return Mark(rows, self.lines.number - len(self._source.taken), self.lines.position - len(self.raw))

    @property
    def line(self) -> int:
        """Number of the line on which the last record began."""
        return self._source.first

    @property
    def has_bom(self) -> bool:
        """Whether the stream began with a byte order mark."""
        return self.lines.has_bom
