"""A threshold with a guarantee, and the calibration that it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fastroute.errors import DataError, FastrouteError
from fastroute.policies.arguments import closed_unit, open_unit, positive_integer

__all__ = ["QualityFloor"]

_KIND: Final = "quality_floor"
_MOST_PROMPTS: Final = 2**53


@dataclass(frozen=True, slots=True)
class QualityFloor:
    """A threshold that recovers at least `quality` of the gap between the models, with probability `confidence`.

    `fastroute.calibration.calibrate_quality_floor` makes one of labelled prompts and says what is guaranteed and
    under which assumptions. As a policy it is `Threshold(threshold)`.

    Attributes
    ----------
    quality
        The share of the performance gap to recover, in (0, 1).
    confidence
        Probability, over the draw of the calibration set, that it is recovered; in (0, 1).
    threshold
        Scores from here up go to the strong model.
    prompts
        Labelled prompts of the calibration.
    recovered
        Share of the gap that the threshold recovered on them: an estimate, no guarantee.
    strong_fraction
        Share of them that it sent to the strong model.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        A value that is not allowed.
    """

    quality: float
    confidence: float
    threshold: float
    prompts: int
    recovered: float
    strong_fraction: float

    def __post_init__(self) -> None:
        """Check the values."""
        for name in ("quality", "confidence"):
            object.__setattr__(self, name, open_unit(name, getattr(self, name)))
        for name in ("threshold", "strong_fraction"):
            object.__setattr__(self, name, closed_unit(name, getattr(self, name)))
        object.__setattr__(self, "prompts", positive_integer("prompts", self.prompts, _MOST_PROMPTS))

    def wants_strong(self, score: float) -> bool:
        """Whether a prompt with this score goes to the strong model."""
        return score >= self.threshold

    def choose(self, score: float) -> tuple[bool, float]:
        """Choose for one prompt; see `Policy`."""
        return score >= self.threshold, self.threshold

    def record(self) -> dict[str, Any]:
        """Return what an artifact keeps under "calibration": JSON values."""
        return {"kind": _KIND, **asdict(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> QualityFloor:
        """Make the policy of what `record` returned, such as ``router.calibration``.

        Raises
        ------
        DataError
            The record is that of another calibration, or was altered.
        """
        if not isinstance(record, Mapping) or record.get("kind") != _KIND:
            raise DataError(f"calibration: found {_kind_of(record)}, expected the kind {_KIND!r}")
        names = ("quality", "confidence", "threshold", "prompts", "recovered", "strong_fraction")
        missing = [name for name in names if name not in record]
        if missing:
            raise DataError(f"calibration: {missing[0]!r} is missing")
        try:
            return cls(**{name: record[name] for name in names})
        except FastrouteError as error:
            raise DataError(f"calibration: {error}") from error


def _kind_of(record: object) -> str:
    if not isinstance(record, Mapping):
        return type(record).__name__
    kind = record.get("kind")
    return "no kind" if kind is None else f"the kind {str(kind)[:80]!r}"
