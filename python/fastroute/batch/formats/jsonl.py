"""JSON Lines: one object a line, kept byte for byte; new members are spliced in before its closing brace."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.formats.lines import Lines, too_long
from fastroute.batch.rows import AddedColumns, Batch, PendingRows, RawCopier, name_columns, score_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fastroute.batch.scoring import Choices

_JSON_WHITESPACE = b" \t\r\n"
_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
# Numbers are only looked at, never written back: as floats they parse at any length.
_DECODER = json.JSONDecoder(parse_int=float)


class _NoPromptError(Exception):
    """A line holds no prompt; the message is the reason."""


class JsonLinesReader:
    """Reads JSON Lines.

    Blank lines are skipped and a byte order mark is dropped. Where a key occurs twice the last one counts,
    as for Python's json.

    Parameters
    ----------
    stream : binary file
    name : str
        What messages call the input.
    column : str
        Key of the prompt.
    added : AddedColumns
    total : int or None
        Size of the stream in bytes, where known.
    """

    unit = "B"

    def __init__(self, stream: BinaryIO, name: str, column: str, added: AddedColumns, total: int | None = None) -> None:
        self._lines = Lines(stream, name)
        self._name = name
        self._column = column
        self._added = added
        self.total = total

    def batches(self) -> Iterator[Batch[list[bytes]]]:
        """Read the rows in batches."""
        pending = PendingRows(self._name)
        row = 0
        for line in self._lines:
            if line.raw is not None and line.raw.isspace():
                continue
            row += 1
            try:
                prompt = self._prompt(line.raw)
            except _NoPromptError as problem:
                pending.reject(row, line.number, str(problem))
            else:
                assert line.raw is not None
                pending.add(prompt, line.raw)
            if pending.full:
                yield pending.batch(self._lines.position)
                pending = PendingRows(self._name)
        if not pending.empty:
            yield pending.batch(self._lines.position)

    @contextmanager
    def writer(self, sink: BinaryIO) -> Iterator[JsonLinesWriter]:
        """Give a writer of the same rows with the added members."""
        yield JsonLinesWriter(sink, self._added)

    @contextmanager
    def copier(self, sink: BinaryIO) -> Iterator[RawCopier]:
        """Give a writer of the same rows as they are."""
        yield RawCopier(sink)

    def _prompt(self, raw: bytes | None) -> str:
        members = _parse_object(raw)
        self._added.refuse_clash(members, self._name)
        if self._column not in members:
            found = name_columns(list(members))
            raise _NoPromptError(f"column {self._column!r} is missing; this row has {found}")
        prompt = members[self._column]
        if not isinstance(prompt, str):
            found = _TYPE_NAMES[type(prompt)]
            raise _NoPromptError(f"column {self._column!r}: expected a string, found {found}")
        return prompt


class JsonLinesWriter:
    """Writes each row's own bytes with a score and a model before the closing brace."""

    def __init__(self, sink: BinaryIO, added: AddedColumns) -> None:
        self._sink = sink
        self._before_score = f", {json.dumps(added.score)}: ".encode()
        self._before_model = f", {json.dumps(added.model)}: ".encode()

    def write(self, batch: Batch[list[bytes]], scores: NDArray[np.float32], models: Choices) -> None:
        """Write the rows of `batch`, each ended by a newline."""
        quoted = {model: json.dumps(model).encode() for model in models.names}
        self._sink.writelines(
            self._scored(raw, score_text(score).encode(), quoted[model])
            for raw, score, model in zip(batch.payload, scores, models, strict=True)
        )

    def _scored(self, raw: bytes, score: bytes, model: bytes) -> bytes:
        text = raw.rstrip(_JSON_WHITESPACE)
        end = raw[len(text) :] if raw.endswith(b"\n") else b"\n"
        return b"".join((text[:-1], self._before_score, score, self._before_model, model, b"}", end))


def _parse_object(raw: bytes | None) -> dict[str, object]:
    if raw is None:
        raise _NoPromptError(too_long())
    try:
        value = _DECODER.decode(raw.rstrip(_JSON_WHITESPACE).decode())
    except UnicodeDecodeError as error:
        raise _NoPromptError(f"invalid UTF-8 at byte {error.start + 1} of the line") from None
    except json.JSONDecodeError as error:
        raise _NoPromptError(f"broken JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise _NoPromptError("JSON nested too deeply") from None
    if not isinstance(value, dict):
        raise _NoPromptError(f"expected a JSON object, found {_TYPE_NAMES[type(value)]}")
    return value
