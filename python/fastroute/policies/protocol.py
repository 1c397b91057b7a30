"""What every policy has."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Policy"]


@runtime_checkable
class Policy(Protocol):
    """From a score to a choice. Any number of threads may use one policy at once."""

    def choose(self, score: float) -> tuple[bool, float]:
        """Choose for one prompt; a batch is one call per prompt, in order.

        Parameters
        ----------
        score
            The router's score, in [0, 1].

        Returns
        -------
        tuple of bool and float
            Whether the strong model is to answer, and the threshold that the score was compared with: the
            first is true exactly where `score` is at least the second.
        """
        ...
