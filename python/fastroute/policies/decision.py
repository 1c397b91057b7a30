"""What was decided for a prompt."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True, slots=True, init=False)
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

    def __init__(self, model: str, score: float, threshold: float, router: str, artifact: str) -> None:
        # What a frozen dataclass would do with object.__setattr__, which takes twice as long as these.
        _set_model(self, model)
        _set_score(self, score)
        _set_threshold(self, threshold)
        _set_router(self, router)
        _set_artifact(self, artifact)


# Of the class that the decorator made, which is another one than that of the statement.
_set_model = Decision.__dict__["model"].__set__
_set_score = Decision.__dict__["score"].__set__
_set_threshold = Decision.__dict__["threshold"].__set__
_set_router = Decision.__dict__["router"].__set__
_set_artifact = Decision.__dict__["artifact"].__set__
