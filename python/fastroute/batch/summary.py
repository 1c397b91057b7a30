"""What a run has done, as it is told to callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fastroute.batch.rows import BadRow

__all__ = ["MAX_NAMED_ROWS", "Progress", "RouterSummary", "ScoreSummary"]

MAX_NAMED_ROWS = 10


class Progress(Protocol):
    """Is told how far a run has got."""

    def start(self, total: int | None, unit: str) -> None:
        """Begin a run over `total` of `unit` ("B" or "rows"); None where the size is not known."""
        ...

    def update(self, position: int, rows: int) -> None:
        """Report the position in the input, and how many rows were read."""
        ...

    def close(self) -> None:
        """End the run, well or badly."""
        ...


@dataclass(frozen=True, slots=True)
class RouterSummary:
    """What one router said of a log.

    Attributes
    ----------
    label : str
        What its columns are named after; empty where there is one router only.
    strong, weak : str
        The two models.
    threshold : float
        Lowest score that goes to the strong model.
    strong_rows : int
        Rows sent to the strong model.
    fallbacks : int
        How often the router had no answer of its endpoint and gave its fallback score.
    """

    label: str
    strong: str
    weak: str
    threshold: float
    strong_rows: int
    fallbacks: int


@dataclass(frozen=True, slots=True)
class ScoreSummary:
    """What a run has done.

    Attributes
    ----------
    rows : int
        Rows scored and written.
    skipped : int
        Rows left out.
    files : int
        Files read.
    lost : int
        Files that could not be read, or not to their end; their rows are not in `skipped`.
    routers : tuple of RouterSummary
        In the order of their columns.
    seconds : float
        Wall time of this run, without what it went on with.
    resumed_rows : int
        Rows, written or left out, that an earlier run had done.
    first_skipped : tuple of BadRow
        The first ten rows and files that were left out.
    rejects : str or None
        The file that names all of these, where there are any and the output is a file or folder.
    """

    rows: int
    skipped: int
    files: int
    lost: int
    routers: tuple[RouterSummary, ...]
    seconds: float
    resumed_rows: int
    first_skipped: tuple[BadRow, ...]
    rejects: str | None
