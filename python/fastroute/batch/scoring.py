"""Scoring a batch with any router, and choosing the models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastroute.errors import FastrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastroute.batch.rows import Texts
    from fastroute.policies import Threshold

__all__ = ["Choices", "Scored", "Scorer", "score_texts"]


class Scorer(Protocol):
    """What scoring a file or a table asks of a router.

    Where it has an attribute `reads_arrow` that is true, the core reads the strings of Arrow tables in place;
    others get a list of them.
    """

    @property
    def strong(self) -> str:
        """Name of the model for scores from the threshold up."""
        ...

    @property
    def weak(self) -> str:
        """Name of the model for scores below it."""
        ...

    @property
    def threshold(self) -> float:
        """Threshold to use where none is given."""
        ...

    def score(self, prompts: list[str], /) -> NDArray[np.float32]:
        """Return one score in [0, 1] per prompt."""
        ...


@dataclass(frozen=True, slots=True)
class Choices:
    """Which of two models each row goes to; iterating gives their names.

    Attributes
    ----------
    strong, weak : str
        The two models.
    wants_strong : numpy.ndarray
        bool (rows,).
    """

    strong: str
    weak: str
    wants_strong: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.wants_strong)

    def __iter__(self) -> Iterator[str]:
        return (self.strong if wanted else self.weak for wanted in self.wants_strong.tolist())

    @property
    def names(self) -> tuple[str, str]:
        """The names that iterating can give."""
        return self.weak, self.strong


@dataclass(frozen=True, slots=True)
class Scored:
    """What one router says of rows: the scores, float32 (rows,), and the models that they choose."""

    scores: NDArray[np.float32]
    models: Choices


def score_texts(router: Scorer, texts: Texts, policy: Threshold) -> Scored:
    """Score texts, in place where the router can.

    Raises
    ------
    FastrouteError
        The router does not give one finite score for each.
    """
    in_place = isinstance(texts, list) or getattr(router, "reads_arrow", False) is True
    given = texts if in_place else list(texts)
    scores = np.asarray(router.score(given) if len(given) else (), dtype=np.float32)  # type: ignore[arg-type]
    finite = np.isfinite(scores).all()
    if scores.shape != (len(texts),) or not finite:
        raise FastrouteError(
            f"router {type(router).__name__}: expected {len(texts)} finite scores, "
            f"found an array of shape {scores.shape}{'' if finite else ' with NaN or Inf'}"
        )
    # Compared as Python compares them, in double.
    return Scored(scores, Choices(router.strong, router.weak, scores.astype(np.float64) >= policy.value))
