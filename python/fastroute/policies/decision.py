"""What was decided for a prompt."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True)
class Decision:
    """Which model should answer a prompt, and why.

    Attributes
    ----------
    model
        The model chosen: the strong one where `score >= threshold`, whatever the policy.
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
