"""A fixed threshold."""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.policies.arguments import closed_unit

__all__ = ["Threshold"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Scores from `value` up go to the strong model, as in RouteLLM (arXiv 2406.18665, section 3).

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `value` is no real number, or outside [0, 1].
    """

    value: float

    def __post_init__(self) -> None:
        """Check the value."""
        object.__setattr__(self, "value", closed_unit("threshold", self.value))

    def wants_strong(self, score: float) -> bool:
        """Whether a prompt with this score goes to the strong model."""
        return score >= self.value

    def choose(self, score: float) -> tuple[bool, float]:
        """Choose for one prompt; see `Policy`."""
        return score >= self.value, self.value
