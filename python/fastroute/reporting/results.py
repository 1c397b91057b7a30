"""What a report holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from fastroute.batch.rows import BadRow
    from fastroute.reporting.cuts import Cut
    from fastroute.reporting.drift import Drift
    from fastroute.reporting.prices import Prices

__all__ = ["Calibration", "Group", "Grouping", "Report", "Routed", "ScoredBy", "Shape", "Target"]

TargetKind = Literal["threshold", "budget", "strong_fraction", "logged", "half"]


@dataclass(frozen=True, slots=True)
class Target:
    """A cut that was asked for, or that the log itself tells.

    Attributes
    ----------
    kind
        "threshold", "budget" (dollars) and "strong_fraction" are asked for; "logged" is what the log's models
        amount to; "half" is the even split, taken where there is no other.
    asked
        The number that was asked for; None for "logged".
    cut
        The cut; None where there is none.
    reason
        Why there is none, else "".
    """

    kind: TargetKind
    asked: float | None
    cut: Cut | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Routed:
    """What the log's column of models says: two models, one for the scores above those of the other.

    Attributes
    ----------
    strong, weak
        Their names.
    strong_rows, rows
        Rows of the strong model, and of both.
    above, up_to
        The threshold of the run lay above the one, the weak model's highest score, and at the other or below.
    """

    strong: str
    weak: str
    strong_rows: int
    rows: int
    above: float
    up_to: float


@dataclass(frozen=True, slots=True)
class ScoredBy:
    """What made the scores of some files, as the manifests beside them say.

    Attributes
    ----------
    kind
        Of the router.
    artifact
        SHA-256 of its artifact in hexadecimal; empty where it was never saved.
    fastroute
        The version that scored.
    files
        How many files it scored.
    """

    kind: str
    artifact: str
    fastroute: str
    files: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Equal bins for a picture of the scores.

    Attributes
    ----------
    edges
        (bins + 1,) rising.
    log, calibration
        (bins,) counts, exact; None without a calibration set.
    """

    edges: tuple[float, ...]
    log: tuple[int, ...]
    calibration: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The scores that the log is compared with.

    Attributes
    ----------
    source
        Its files, as messages call them.
    files
        How many files it has.
    rows, skipped
        Rows counted, and left out.
    lost
        Files that could not be read, or not to their end.
    mean
        Mean score.
    drift
        From these scores to those of the whole log.
    scored_by
        What made the scores; empty where no manifest says.
    """

    source: str
    files: int
    rows: int
    skipped: int
    lost: int
    mean: float
    drift: Drift
    scored_by: tuple[ScoredBy, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that share a value.

    Attributes
    ----------
    value
        The value or the day; None stands for null, and for what is missing.
    rows
        How many.
    mean
        Their mean score.
    cut
        What the report's threshold does to them.
    drift
        From the calibration set; None where there is none.
    """

    value: str | None
    rows: int
    mean: float
    cut: Cut
    drift: Drift | None


@dataclass(frozen=True, slots=True)
class Grouping:
    """The log by the values of a column.

    Attributes
    ----------
    column
        Name of the column.
    by_day
        Whether its values are days, of timestamps.
    groups
        The groups with most rows: days in their order, other values by their rows.
    rest
        All other rows together; None where there are none.
    values
        How many values there are; None where there are more than were counted at once (10,000).
    overlooked
        A value that is not among the groups has at most this many rows more than the smallest group; 0 where `values`
        is known.
    """

    column: str
    by_day: bool
    groups: tuple[Group, ...]
    rest: Group | None
    values: int | None
    overlooked: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a scored log would have cost, and how its scores have drifted.

    Attributes
    ----------
    source
        The log, as messages call it.
    files
        How many files it has.
    score_column
        The column of its scores.
    scored_by
        What made the scores; empty where no manifest says.
    rows, skipped
        Rows counted, and left out.
    lost
        Files that could not be read, or not to their end; the rows left in them are not in `skipped`.
    first_skipped
        The first ten rows and files left out, of the log and the calibration set.
    least, mean, most
        Of the scores.
    prices
        Dollars per 1,000 answers.
    strong_dollars, weak_dollars
        What the log's answers cost with one model alone.
    routed
        What the log's column of models says; None where it says nothing.
    targets
        The cuts that were asked for, and the logged one. The first that has a cut is the report's threshold.
    curve
        Cuts by rising threshold, nearest to the shares 1, 0.99, .., 0 and some in the tails, each once.
    shape
        A histogram for pictures.
    calibration
        What the log is compared with; None without.
    grouping
        The log by a column; None without.
    """

    source: str
    files: int
    score_column: str
    scored_by: tuple[ScoredBy, ...]
    rows: int
    skipped: int
    lost: int
    first_skipped: tuple[BadRow, ...]
    least: float
    mean: float
    most: float
    prices: Prices
    strong_dollars: float
    weak_dollars: float
    routed: Routed | None
    targets: tuple[Target, ...]
    curve: tuple[Cut, ...]
    shape: Shape
    calibration: Calibration | None
    grouping: Grouping | None

    @property
    def cut(self) -> Cut:
        """The cut of the report's threshold, at which groups are compared."""
        return next(target.cut for target in self.targets if target.cut is not None)

    def tenths(self) -> tuple[Cut, ...]:
        """Cuts of the curve nearest to the shares 1, 0.9, .., 0, each once."""
        places = (
            min(range(len(self.curve)), key=lambda at: abs(self.curve[at].share - wanted / 10))
            for wanted in range(10, -1, -1)
        )
        return tuple(self.curve[at] for at in dict.fromkeys(places))

    def record(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return asdict(self)
