"""How far a run got: a line for every checkpoint, each on disk before the next begins."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, astuple, dataclass, field
from typing import TYPE_CHECKING, Any

from fastroute.artifact.atomic import reported
from fastroute.artifact.folder import write_all
from fastroute.batch.rows import START, Mark
from fastroute.batch.runs.manifest import is_count, is_counts
from fastroute.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Checkpoint", "Counts", "FileCounts", "Journal", "Reached"]


@dataclass(slots=True)
class Counts:
    """What a run has done so far.

    Attributes
    ----------
    rows, skipped : int
        Rows written, and rows left out.
    lost : int
        Files of which a part could not be read.
    strong_rows, fallbacks : list of int
        For each router.
    """

    rows: int = 0
    skipped: int = 0
    lost: int = 0
    strong_rows: list[int] = field(default_factory=list)
    fallbacks: list[int] = field(default_factory=list)


@dataclass(slots=True)
class FileCounts:
    """What became of one input: its rows, those left out, the output's bytes; None for no output."""

    rows: int
    skipped: int
    bytes: int | None


@dataclass(slots=True)
class Checkpoint:
    """Where a run can go on.

    Attributes
    ----------
    file : int
        Number of the input.
    mark : Mark
        Where to go on in it.
    written, rejected : int
        Bytes of its output and of the rejects.
    carried : list of str
        What its writer needs besides, since the last checkpoint.
    counts : Counts
        Of the whole run.
    file_counts : FileCounts
        Of this input.
    ends_file : bool
        Whether the input is done.
    """

    file: int
    mark: Mark
    written: int
    rejected: int
    carried: list[str]
    counts: Counts
    file_counts: FileCounts
    ends_file: bool


@dataclass(slots=True)
class Reached:
    """What the checkpoints of a journal come to."""

    file: int = 0
    mark: Mark = field(default_factory=Mark)
    written: int = 0
    rejected: int = 0
    carried: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    file_counts: FileCounts = field(default_factory=lambda: FileCounts(0, 0, None))
    done: list[FileCounts] = field(default_factory=list)
    begun: bool = False
    complete: bool = False

    def add(self, point: Checkpoint) -> None:
        """Go on to the next checkpoint; ValueError if it is none."""
        if point.file != self.file:
            raise ValueError(f"expected input {self.file}, found {point.file}")
        self.begun = True
        self.counts = point.counts
        self.rejected = point.rejected
        if point.ends_file:
            self.done.append(point.file_counts)
            self.file, self.mark, self.written = point.file + 1, Mark(), 0
            self.carried, self.file_counts = [], FileCounts(0, 0, None)
        else:
            self.file, self.mark, self.written = point.file, point.mark, point.written
            self.carried += point.carried
            self.file_counts = point.file_counts


class Journal:
    """A file of checkpoints.

    Parameters
    ----------
    descriptor : int
        Open for reading and writing, at the end once `replay` was called; closed by the caller.
    name : str
        What messages call it.
    shown : Path
        The output whose journal it is, as messages call it.
    """

    def __init__(self, descriptor: int, name: str, shown: Path) -> None:
        self._descriptor = descriptor
        self._name = name
        self._shown = shown

    def replay(self, files: int) -> Reached:
        """Read the checkpoints; a last line that was not completed is cut off.

        Parameters
        ----------
        files : int
            How many inputs the run has.

        Raises
        ------
        DataError
            A line before the last is damaged, or does not follow from the lines before it.
        """
        reached = Reached()
        end = 0
        lines = list(self._lines())
        for number, line in enumerate(lines, start=1):
            values = _checked(line)
            if values is None:
                if number == len(lines):
                    break
                raise DataError(f"{self._name}: line {number} is damaged; --overwrite begins anew")
            end += len(line)
            try:
                _follow(reached, values, files)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{self._name}: line {number} is not what fastroute writes ({error}); --overwrite begins anew"
                ) from error
        os.ftruncate(self._descriptor, end)
        os.lseek(self._descriptor, end, os.SEEK_SET)
        return reached

    def add(self, point: Checkpoint) -> None:
        """Add a checkpoint; on disk when this returns. ArtifactError where the operating system refuses."""
        self._append(asdict(point))

    def complete(self) -> None:
        """Say that all inputs are done and nothing is left but to publish the output."""
        self._append({"complete": True})

    def _append(self, values: dict[str, Any]) -> None:
        text = json.dumps(values, separators=(",", ":"))
        with reported(self._shown):
            write_all(self._descriptor, f"{zlib.crc32(text.encode()):08x} {text}\n".encode())
            os.fsync(self._descriptor)

    def _lines(self) -> Iterator[bytes]:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with open(self._descriptor, "rb", closefd=False) as file:
            yield from file


def _checked(line: bytes) -> dict[str, Any] | None:
    digest, _, text = line.partition(b" ")
    if not line.endswith(b"\n") or digest != b"%08x" % zlib.crc32(text[:-1]):
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _follow(reached: Reached, values: dict[str, Any], files: int) -> None:
    """Go on to what a line says; one of these errors where nothing of the kind can follow."""
    if reached.complete:
        raise ValueError("a line after the last")
    if values == {"complete": True}:
        reached.complete = True
    else:
        reached.add(_checkpoint(values))
    # A run over a pipe has no checkpoints.
    if reached.file > files or (reached.complete and reached.begun and reached.file < files):
        raise ValueError("another number of inputs")


def _checkpoint(values: dict[str, Any]) -> Checkpoint:
    """Return what a line says; one of these errors where it says something else."""
    counts, mark, of_file = values["counts"], values["mark"], values["file_counts"]
    numbers = [values["file"], values["written"], values["rejected"], *mark.values(), of_file["rows"]]
    numbers += [of_file["skipped"], of_file["bytes"] or 0, counts["rows"], counts["skipped"], counts["lost"]]
    sound = (
        len(mark) == len(astuple(START))
        and all(map(is_count, numbers))
        and all(is_counts(counts[key]) for key in ("strong_rows", "fallbacks"))
        and isinstance(values["ends_file"], bool)
        and all(isinstance(text, str) for text in values["carried"])
    )
    if not sound:
        raise ValueError("a number or text is missing")
    parts = {"mark": Mark(**mark), "counts": Counts(**counts), "file_counts": FileCounts(**of_file)}
    return Checkpoint(**(values | parts))
