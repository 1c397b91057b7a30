"""What passes from a reader through the router to a writer: batches, and rows that can't be scored.

Readers and writers come in pairs, one pair per file format. A reader yields `Batch` objects whose payload
only the writer of the same format understands, so a row is never translated on its way through.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Generic, Protocol, TypeVar

from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

    from fastroute.batch.scoring import Scored

MAX_BATCH_ROWS = 4096
MAX_BATCH_BYTES = 4 << 20
# A longer row is a bad row: one missing newline or quote would else pull the whole file into memory.
MAX_ROW_BYTES = 64 << 20

PayloadT = TypeVar("PayloadT")


class Texts(Protocol):
    """A list of str, or texts in Arrow's buffers, which iterating turns into str."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[str]: ...


class UnusableRowError(Exception):
    """A row can't be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be scored.

    Attributes
    ----------
    source : str
        The input, as messages call it.
    row : int or None
        Number of the data row, from 1; a header and blank lines are not counted. None where a whole file can't be read.
    line : int or None
        Number of the line it begins on, from 1, where the format has lines.
    reason : str
        What was expected and what was found.
    """

    source: str
    row: int | None
    line: int | None
    reason: str

    def __str__(self) -> str:
        if self.row is None:
            return f"{self.source}: {self.reason}"
        place = f"row {self.row}" if self.line is None else f"row {self.row} (line {self.line})"
        return f"{self.source}: {place}: {self.reason}"


class LostRowsError(DataError):
    """What a writer needs of its input besides the prompts can't be read; the rows are not written."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two rows of an input, from which reading can go on.

    Attributes
    ----------
    rows : int
        Rows before it, good and bad.
    lines, offset : int
        Lines and bytes before it, in text; bytes of what a compressed file holds.
    """

    rows: int = 0
    lines: int = 0
    offset: int = 0


START = Mark()


@dataclass(frozen=True, slots=True)
class Batch(Generic[PayloadT]):
    """Rows read together.

    Attributes
    ----------
    prompts : Texts
        Prompts of the rows that can be scored, in the order of the input.
    payload
        The same rows as the writer of this format wants them.
    bad : tuple of BadRow
        The rows in between that can't be scored.
    mark : Mark
        Where the rows end.
    size : int
        Bytes that they take, roughly.
    """

    prompts: Texts
    payload: PayloadT
    bad: tuple[BadRow, ...]
    mark: Mark
    size: int


@dataclass(frozen=True, slots=True)
class AddedColumns:
    """Names of the columns that scoring adds: for each router its scores and its models.

    Raises
    ------
    InvalidArgumentError
        Two of them are the same.
    """

    pairs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise InvalidArgumentError(
                    f"two of the new columns would be named {name!r}; they need different names "
                    "(--score-column, --model-column)"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order of the output."""
        return tuple(name for pair in self.pairs for name in pair)

    def refuse_clash(self, columns: Container[str], source: str) -> None:
        """Raise InvalidArgumentError if `columns`, those of `source`, have one of these names."""
        for pair in self.pairs:
            for name, option in zip(pair, ("--score-column", "--model-column"), strict=True):
                if name in columns:
                    raise InvalidArgumentError(
                        f"{source}: there is a column {name!r} already; name the new one with {option}"
                    )


NO_COLUMNS = AddedColumns(())  # where rows are only read or copied


class Sink(Protocol):
    """Where the bytes of an output go."""

    def write(self, data: bytes, /) -> int:
        """Take in bytes, all of them."""
        ...

    def tell(self) -> int:
        """Return how many bytes the output has."""
        ...


class Writer(Protocol[PayloadT]):
    """Writes scored batches of one format."""

    def write(self, batch: Batch[PayloadT], scored: Sequence[Scored]) -> None:
        """Write the rows of `batch`, each with the score and the model of every router.

        Raises
        ------
        LostRowsError
            They, and others since the last checkpoint, can't be written; `cut` gives them up.
        """
        ...

    def checkpoint(self) -> list[str] | None:
        """Hand all rows so far to the sink, so that another writer can go on from here.

        Returns
        -------
        list of str or None
            What that writer needs to know besides; None where a file can't be parted here.
        """
        ...

    def cut(self) -> tuple[int, list[Sequence[Scored]]]:
        """Give up rows that only the end of their row group would let be written, which will not come.

        Returns
        -------
        (int, list)
            How many rows of the input, and the scores of the good ones among them.
        """
        ...

    def complete(self) -> None:
        """Write what is left."""
        ...

    def abandon(self) -> None:
        """Let go of the output, which must not look complete."""
        ...


class Copier(Protocol[PayloadT]):
    """Writes some of the rows of one format as they are."""

    def write(self, batch: Batch[PayloadT], keep: NDArray[np.bool_]) -> None:
        """Write the rows of `batch` for which `keep`, one value per good row, is true."""
        ...


class Reader(Protocol[PayloadT]):
    """Reads one input in batches of bounded size."""

    @property
    def total(self) -> int | None:
        """Size of the input in `unit`, None where it is not known."""
        ...

    @property
    def unit(self) -> str:
        """What `total` counts: "B" or "rows"."""
        ...

    def batches(self, start: Mark = START) -> Iterator[Batch[PayloadT]]:
        """Read the rows from a mark of an earlier reading, in order; may be called once."""
        ...

    def writer(self, sink: Sink, carried: Sequence[str] | None = None) -> Writer[PayloadT]:
        """Give a writer that continues this input's columns into `sink`.

        With `carried` it goes on with an output of which `sink` has the beginning: it is what the checkpoints before
        returned, one after the other.
        """
        ...

    def copier(self, sink: BinaryIO) -> AbstractContextManager[Copier[PayloadT]]:
        """Give a writer of this input's own columns, nothing added.

        The end of the block completes the output; an exception must not leave it looking complete.
        """
        ...


class RawWriter:
    """What is common to writers of text: every row is in the sink once it is written."""

    def checkpoint(self) -> list[str]:
        """Need nothing more to go on from here."""
        return []

    def cut(self) -> tuple[int, list[Sequence[Scored]]]:
        """Have nothing to give up."""
        return 0, []

    def complete(self) -> None:
        """Have nothing left to write."""

    def abandon(self) -> None:
        """Have nothing to let go of."""


class RawCopier:
    """Copies rows of a text format, each with its own bytes."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, batch: Batch[list[bytes]], keep: NDArray[np.bool_]) -> None:
        """Write the bytes of the rows to keep."""
        self._sink.writelines(raw for raw, kept in zip(batch.payload, keep, strict=True) if kept)


@dataclass(slots=True)
class PendingRows:
    """Rows of a text format on their way into a batch; their payload is the bytes of each row."""

    source: str
    prompts: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    size: int = 0

    def add(self, prompt: str, raw: bytes) -> None:
        """Take in a row that can be scored."""
        self.prompts.append(prompt)
        self.raw.append(raw)
        self.size += len(raw)

    def reject(self, row: int, line: int, reason: str) -> None:
        """Take note of a row that can't be scored."""
        self.bad.append(BadRow(self.source, row, line, reason))

    @property
    def full(self) -> bool:
        """Whether this is as much as one batch may hold."""
        return len(self.prompts) + len(self.bad) >= MAX_BATCH_ROWS or self.size >= MAX_BATCH_BYTES

    @property
    def empty(self) -> bool:
        """Whether there is neither a good row nor a bad one."""
        return not self.prompts and not self.bad

    def batch(self, mark: Mark) -> Batch[list[bytes]]:
        """Return the rows as a batch that ends at `mark`."""
        return Batch(self.prompts, self.raw, tuple(self.bad), mark, 2 * self.size)  # as bytes and as str


def score_text(score: np.float32) -> str:
    """Return the shortest decimal text that reads back as the same float32."""
    return str(score)


def name_columns(columns: Sequence[str], at_most: int = 20) -> str:
    """Return the column names for a message: quoted, with a count instead of a very long tail."""
    if not columns:
        return "no columns"
    shown = ", ".join(repr(name) for name in columns[:at_most])
    left = len(columns) - at_most
    return f"{shown} and {left} more" if left > 0 else shown
