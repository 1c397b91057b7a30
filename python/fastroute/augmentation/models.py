"""Who answers and who judges, and the requests that each of them gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastroute.augmentation.endpoint import Endpoint
from fastroute.augmentation.judge import Judgement, MalformedError, ask_again, judge_messages, parse_judgement
from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Generator

    from fastroute.augmentation.journal import Completion
    from fastroute.augmentation.rows import Row

__all__ = ["ANSWERING", "ORDERS", "Models", "NoJudgementError", "judging"]

ANSWERING = ("strong", "weak")
ORDERS = {"strong_first": ("strong", "weak"), "weak_first": ("weak", "strong")}
"""Both orders of a pair: the role that the judge reads as A, and as B."""


@dataclass(frozen=True, slots=True)
class Models:
    """The three models of a run; a model that is only a name has its answers in the input."""

    judge: Endpoint
    strong: Endpoint | str
    weak: Endpoint | str

    def __post_init__(self) -> None:
        if not isinstance(self.judge, Endpoint):
            raise InvalidTypeError(f"judge: found {type(self.judge).__name__}; allowed: an Endpoint")
        for role in ANSWERING:
            if not isinstance(getattr(self, role), (Endpoint, str)):
                found = type(getattr(self, role)).__name__
                raise InvalidTypeError(f"{role}: found {found}; allowed: an Endpoint or a model's name")
            if not self.name(role):
                raise InvalidArgumentError(f"{role}: found an empty name")
        if self.name("strong") == self.name("weak"):
            raise InvalidArgumentError(f"weak: found {self.name('weak')!r}; allowed: another model than strong")

    def name(self, role: str) -> str:
        """Name of the model in this role."""
        model: Endpoint | str = getattr(self, role)
        return model.model if isinstance(model, Endpoint) else model

    def endpoint(self, role: str) -> Endpoint | None:
        """Where to ask the model in this role; None if it is not to be asked."""
        model: Endpoint | str = getattr(self, role)
        return model if isinstance(model, Endpoint) else None

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """Endpoints by role, those that are asked."""
        found = {role: self.endpoint(role) for role in (*ANSWERING, "judge")}
        return {role: endpoint for role, endpoint in found.items() if endpoint is not None}


class NoJudgementError(Exception):
    """Every reply of the judge was malformed; the message is the last reason.

    Attributes
    ----------
    replies
        All of them.
    """

    def __init__(self, reason: str, replies: list[str]) -> None:
        super().__init__(reason)
        self.replies = replies


def judging(
    judge: Endpoint, row: Row, first: str, second: str, reasks: int
) -> Generator[dict[str, Any], Completion, Judgement]:
    """Yield a request, take its answer; after a malformed one yield another, at most `reasks` times.

    Raises
    ------
    NoJudgementError
        All replies were malformed.
    """
    messages = judge_messages(row.prompt, first, second, row.reference)
    replies: list[str] = []
    while True:
        completion = yield judge.body(messages, temperature=0)
        reply = completion.text or ""
        try:
            return parse_judgement(reply)
        except MalformedError as error:
            reason = f"{error} (cut at max_tokens)" if completion.finish_reason == "length" else str(error)
        replies.append(reply)
        if len(replies) > reasks:
            raise NoJudgementError(reason, replies)
        messages = ask_again(messages, reply, reason)
