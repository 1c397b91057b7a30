"""From a score to a model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["Decision", "Threshold"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Which model should answer a prompt, and why.

    Attributes
    ----------
    model
        The model chosen: the strong one where `score >= threshold`.
    score
        The router's score, in [0, 1]; higher means that the prompt needs the strong model more.
    threshold
        What the score was compared with.
    router
        Kind of the router, such as "mf".
    artifact
        SHA-256 of the router's artifact; empty for a router that was never saved.
    """

    model: str
    score: float
    threshold: float
    router: str
    artifact: str


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
        if isinstance(self.value, bool) or not isinstance(self.value, Real):
            raise InvalidTypeError(f"threshold: found {type(self.value).__name__}, allowed: a number from 0 to 1")
        try:
            value = float(self.value)
        except OverflowError:
            value = math.inf if self.value > 0 else -math.inf
        if math.isnan(value) or not 0 <= value <= 1:
            raise InvalidArgumentError(f"threshold: found {value}, allowed: 0 to 1")
        object.__setattr__(self, "value", value)

    def wants_strong(self, score: float) -> bool:
        """Whether a prompt with this score goes to the strong model."""
        return score >= self.value
