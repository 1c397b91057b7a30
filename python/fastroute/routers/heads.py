"""What the logits of a classifier mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Head", "head_of"]

KINDS: Final = ("binary", "three_class", "regression")
_WIDTHS = {"binary": (1, 2), "three_class": (3,), "regression": (1,)}


@dataclass(frozen=True, slots=True)
class Head:
    """From logits to a score in [0, 1].

    Attributes
    ----------
    kind
        "binary": the sigmoid of one logit, or the softmax of two at `strong_class`. "three_class": labels are strong
        model wins, tie, weak model wins, as RouteLLM's checkpoint has them, and the score is one less the probability
        of the last two (routellm 0.2.0, routers/routers.py: ``binary_prob = np.sum(softmax_scores[-2:]); return 1 -
        binary_prob``). "regression": one number that is the score.
    strong_class
        Of two binary logits, the one that says that the strong model is needed: 0 or 1.
    sigmoid
        Whether the number of a regression goes through a sigmoid; otherwise it is in [0, 1] already, and cut off where
        it isn't.
    """

    kind: str
    strong_class: int = 1
    sigmoid: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str):
            raise InvalidTypeError(f"head: found {type(self.kind).__name__}, allowed: {', '.join(KINDS)} or a Head")
        if self.kind not in KINDS:
            raise InvalidArgumentError(f"head: found {self.kind!r:.60}, allowed: {', '.join(KINDS)}")
        if isinstance(self.strong_class, bool) or not isinstance(self.strong_class, int):
            raise InvalidTypeError(f"head.strong_class: found {type(self.strong_class).__name__}, allowed: 0 or 1")
        if self.strong_class not in (0, 1):
            raise InvalidArgumentError(f"head.strong_class: found {self.strong_class!s:.40}, allowed: 0 or 1")
        if not isinstance(self.sigmoid, bool):
            raise InvalidTypeError(f"head.sigmoid: found {type(self.sigmoid).__name__}, allowed: a bool")

    @classmethod
    def usual(cls, width: int) -> Head:
        """Head of a graph with so many logits, where nothing says what they mean."""
        return cls("three_class" if width == 3 else "binary")

    @classmethod
    def from_manifest(cls, value: Any) -> Head:
        """Read what `manifest` gave."""
        if not isinstance(value, dict) or not set(value) <= {"kind", "strong_class", "sigmoid"} or "kind" not in value:
            raise InvalidTypeError(f"head: found {value!r:.80}, allowed: an object with kind, strong_class, sigmoid")
        return cls(**value)

    def manifest(self) -> dict[str, Any]:
        """Return what an artifact says of it."""
        return {"kind": self.kind, "strong_class": self.strong_class, "sigmoid": self.sigmoid}

    def check_width(self, width: int, argument: str) -> None:
        """See that a graph with so many logits can have this head."""
        allowed = _WIDTHS[self.kind]
        if width not in allowed:
            needed = " or ".join(map(str, allowed))
            raise InvalidArgumentError(
                f"{argument}: found {self.kind}, which has {needed} logits; the graph has {width}"
            )

    def scores(self, logits: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Scores, (n,) float32 in [0, 1], of finite logits (n, width); worked out in float64."""
        values = logits.astype(np.float64)
        if self.kind == "three_class":
            scores = 1 - _softmax(values)[:, -2:].sum(axis=1)
        elif values.shape[1] == 2:
            scores = _softmax(values)[:, self.strong_class]
        elif self.kind == "binary" or self.sigmoid:
            scores = _sigmoid(values[:, 0])
        else:
            scores = values[:, 0]
        cut: NDArray[np.float32] = np.clip(scores, 0, 1).astype(np.float32)
        return cut


def head_of(value: object) -> Head:
    """Return a head of its kind or of itself, or say what was found."""
    return value if isinstance(value, Head) else Head(value)  # type: ignore[arg-type]


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    normalised: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return normalised


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    small = np.exp(-np.abs(x))  # at most 1: no overflow
    result: NDArray[np.float64] = np.where(x >= 0, 1, small) / (1 + small)
    return result
