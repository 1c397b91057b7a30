"""The rows of a run's inputs, one file after the other, as batches between the files' beginnings and ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fastroute.batch.endpoints import open_source, refuse_irregular
from fastroute.batch.formats import open_reader, resolve_format
from fastroute.batch.rows import BadRow, Batch, Mark
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from fastroute.batch.inputs import Input
    from fastroute.batch.prompts import PromptColumn
    from fastroute.batch.rows import AddedColumns, Reader, Sink, Writer

__all__ = ["Begins", "Ends", "Event", "Lost", "Reading", "Rows"]


@dataclass(frozen=True, slots=True)
class Begins:
    """An input has been opened: how its output is written, and where its reading begins."""

    file: int
    writer: Callable[[Sink, Sequence[str] | None], Writer[Any]]
    total: int | None
    unit: str
    stored: int | None  # bytes of the file


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of an input; `position` is how much of the file has been read, in bytes, where it is known."""

    file: int
    batch: Batch[Any]
    position: int | None


@dataclass(frozen=True, slots=True)
class Lost:
    """An input can't be read, or not on from here."""

    file: int
    bad: BadRow


@dataclass(frozen=True, slots=True)
class Ends:
    """An input is at its end."""

    file: int


Event: TypeAlias = Begins | Rows | Lost | Ends


@dataclass(frozen=True, slots=True)
class Reading:
    """How the inputs are read.

    Attributes
    ----------
    inputs : sequence of Input
    column, added : PromptColumn, AddedColumns
    format : str or None
        Of all inputs, whatever their names.
    target : str
        The output of a single input, whose name may tell the format of a stream.
    skips : bool
        Whether what can't be read is left out, or ends the run.
    drops_rows : bool
        Whether it was to be left out when the run began: what is read and copied how depends on it.
    many : bool
        Whether the output is a folder.
    """

    inputs: Sequence[Input]
    column: PromptColumn
    added: AddedColumns
    format: str | None
    target: str
    skips: bool
    drops_rows: bool
    many: bool = False

    def events(self, first: int, start: Mark) -> Generator[tuple[Event, int], None, None]:
        """Yield what happens from a mark in input number `first` on, each with the bytes it holds.

        Raises
        ------
        DataError
            An input can't be read and `skips` is false.
        InvalidArgumentError
            An input has one of the added columns.
        """
        for number in range(first, len(self.inputs)):
            yield from self._file(number, start if number == first else Mark())

    def _file(self, number: int, start: Mark) -> Generator[tuple[Event, int], None, None]:
        file = self.inputs[number]
        reached = start
        try:
            kind = self.kind(number)
            if self.many:
                refuse_irregular(file.path)
            with open_source(file.path, seekable=kind == "parquet") as opened:
                reader: Reader[Any] = open_reader(
                    kind,
                    opened.stream,
                    name=opened.name,
                    column=self.column,
                    added=self.added,
                    size=opened.size,
                    whole_rows=False,
                    drops_rows=self.drops_rows,
                )
                yield Begins(number, reader.writer, reader.total, reader.unit, opened.stored), 0
                for batch in reader.batches(start):
                    position = opened.consumed() if reader.unit == "B" else _share(batch, reader.total, opened.stored)
                    yield Rows(number, batch, position), batch.size
                    reached = batch.mark
                yield Ends(number), 0
        except DataError as error:
            if not self.skips:
                raise
            text = str(error).removeprefix(f"{file.path}: ")
            row = reached.rows + 1 if reached.rows else None
            line = reached.lines + 1 if reached.lines else None
            yield Lost(number, BadRow(file.path, row, line, text)), 0
            yield Ends(number), 0

    def kind(self, number: int) -> str:
        """Return the format of an input; raises as `resolve_format` does."""
        path = self.inputs[number].path
        return resolve_format(path, path if self.many else self.target, self.format)


def _share(batch: Batch[Any], rows: int | None, size: int | None) -> int | None:
    return None if not rows or size is None else size * batch.mark.rows // rows


def check_formats(reading: Reading) -> None:
    """Raise InvalidArgumentError if the format of an input can't be known."""
    for number in range(len(reading.inputs)):
        reading.kind(number)
