"""JSON Lines: one object a line, kept byte for byte; new members are spliced in before its closing brace."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.formats.lines import Lines, too_long
from fastroute.batch.rows import (
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
from fastroute.messages import json_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastroute.batch.prompts import PromptColumn
    from fastroute.batch.scoring import Scored

_JSON_WHITESPACE = b" \t\r\n"
# Numbers are only looked at, never written back: as floats they parse at any length.
_DECODER = json.JSONDecoder(parse_int=float)


class JsonLinesReader:
    """Reads JSON Lines.

    Blank lines are skipped and a byte order mark is dropped. Where a key occurs twice the last one counts,
    as for Python's json.

    Parameters
    ----------
    stream : binary file
    name : str
        What messages call the input.
    column : PromptColumn
        Key of the prompt.
    added : AddedColumns
    total : int or None
        Size of the stream in bytes, where known.
    """

    unit = "B"

    def __init__(
        self, stream: BinaryIO, name: str, column: PromptColumn, added: AddedColumns, total: int | None = None
    ) -> None:
        self._lines = Lines(stream, name)
        self._name = name
        self._column = column
        self._added = added
        self.total = total

    def batches(self, start: Mark = START) -> Iterator[Batch[list[bytes]]]:
        """Read the rows in batches."""
        pending = PendingRows(self._name)
        row = start.rows
        if row:
            self._lines.go_to(start)
        while True:
            try:
                line = next(self._lines, None)
            except DataError:
                if not pending.empty:  # what came before the damage is sound
                    yield pending.batch(self._lines.mark(row))
                raise
            if line is None:
                break
            if line.raw is not None and line.raw.isspace():
                continue
            row += 1
            try:
                prompt = self._prompt(line.raw)
            except UnusableRowError as problem:
                pending.reject(row, line.number, str(problem))
            else:
                assert line.raw is not None
                pending.add(prompt, line.raw)
            if pending.full:
                yield pending.batch(self._lines.mark(row))
                pending = PendingRows(self._name)
        if not pending.empty:
            yield pending.batch(self._lines.mark(row))

    def writer(self, sink: Sink, carried: Sequence[str] | None = None) -> JsonLinesWriter:  # noqa: ARG002
        """Give a writer of the same rows with the added members."""
        return JsonLinesWriter(sink, self._added)

    @contextmanager
    def copier(self, sink: BinaryIO) -> Iterator[RawCopier]:
        """Give a writer of the same rows as they are."""
        yield RawCopier(sink)

    def _prompt(self, raw: bytes | None) -> str:
        members = parsed_line(raw)
        self._added.refuse_clash(members, self._name)
        if self._column.name not in members:
            found = name_columns(list(members))
            raise UnusableRowError(f"column {self._column.name!r} is missing; this row has {found}")
        return self._column.of_value(members[self._column.name])


class JsonLinesWriter(RawWriter):
    """Writes each row's own bytes with scores and models before the closing brace."""

    def __init__(self, sink: Sink, added: AddedColumns) -> None:
        self._sink = sink
        self._before = [
            (f", {json.dumps(score)}: ".encode(), f", {json.dumps(model)}: ".encode()) for score, model in added.pairs
        ]

    def write(self, batch: Batch[list[bytes]], scored: Sequence[Scored]) -> None:
        """Write the rows of `batch`, each ended by a newline."""
        members = [self._members(one, *before) for one, before in zip(scored, self._before, strict=True)]
        self._sink.write(
            b"".join(_extended(raw, b"".join(new)) for raw, *new in zip(batch.payload, *members, strict=True))
        )

    def _members(self, scored: Scored, before_score: bytes, before_model: bytes) -> Iterator[bytes]:
        quoted = {model: before_model + json.dumps(model).encode() for model in scored.models.names}
        for score, model in zip(scored.scores, scored.models, strict=True):
            yield before_score + score_text(score).encode() + quoted[model]


def _extended(raw: bytes, members: bytes) -> bytes:
    text = raw.rstrip(_JSON_WHITESPACE)
    end = raw[len(text) :] if raw.endswith(b"\n") else b"\n"
    return b"".join((text[:-1], members, b"}", end))


def parsed_line(raw: bytes | None, decoder: json.JSONDecoder = _DECODER) -> dict[str, object]:
    """Return the object on a line, None standing for one that is too long; or raise UnusableRowError."""
    if raw is None:
        raise UnusableRowError(too_long())
    try:
        value = decoder.decode(raw.rstrip(_JSON_WHITESPACE).decode())
    except UnicodeDecodeError as error:
        raise UnusableRowError(f"invalid UTF-8 at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise UnusableRowError(f"broken JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise UnusableRowError("JSON nested too deeply") from None
    if not isinstance(value, dict):
        raise UnusableRowError(f"expected a JSON object, found {json_type(value)}")
    return value
