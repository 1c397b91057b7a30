"""Which of two models answers a chat: what the plugs for LiteLLM, LangChain and LlamaIndex have in common."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fastroute.errors import FastrouteError, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from fastroute.policies import Decision, Policy
    from fastroute.routers import Router

__all__ = ["Choice", "Chooser", "OnChoice", "OnFailure"]

OnFailure = Literal["strong", "weak", "raise"]

_log = logging.getLogger("fastroute.integrations")
_IN_PLACE = ("experts", "mf")  # microseconds a prompt with a static encoder; any other router scores in a thread
_LONGEST_IN_PLACE = 16_384  # characters, some tenths of a millisecond


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for a chat, and why. Quotes nothing of the chat.

    Attributes
    ----------
    strong : bool
        Whether the strong model answers.
    name : str
        What the plug calls the chosen one: a group of LiteLLM, a model.
    decision : Decision or None
        The router's decision, whose `model` is of the router's own pair; None where there is none.
    failure : str or None
        Why there is none, such as "no message of role 'user' has text".
    """

    strong: bool
    name: str
    decision: Decision | None
    failure: str | None


OnChoice = Callable[[Choice], object]


class Chooser:
    """Chooses between two names by the last turn of the user.

    Parameters
    ----------
    router
        A router, a built-in name, the path of an artifact, or None for the default router.
    strong, weak
        What the two are called; of one name each, not the same.
    threshold, policy
        As for ``router.route``.
    on_failure : {"strong", "weak", "raise"}
        What answers a chat that can't be scored: it has no text of the user, or the router fails with an error of
        fastroute. "raise" raises that error.
    on_choice
        Called with every `Choice`, on the thread that asked; what it raises reaches the caller.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.
    UnknownRouterError, ArtifactError, MissingDependencyError
        As `fastroute.load` raises.

    Notes
    -----
    Any number of threads may use one at once.
    """

    def __init__(
        self,
        router: Router | str | os.PathLike[str] | None,
        *,
        strong: str,
        weak: str,
        threshold: float | None,
        policy: Policy | None,
        on_failure: OnFailure,
        on_choice: OnChoice | None,
    ) -> None:
        for argument, name in (("strong", strong), ("weak", weak)):
            if not isinstance(name, str):
                raise InvalidTypeError(f"{argument}: found {type(name).__name__}, allowed: a name")
            if not name:
                raise InvalidArgumentError(f"{argument}: found an empty name, allowed: a name")
        if strong == weak:
            raise InvalidArgumentError(f"strong, weak: found {strong!r} for both, allowed: two names")
        if on_failure not in ("strong", "weak", "raise"):
            raise InvalidArgumentError(f"on_failure: found {on_failure!r:.60}, allowed: 'strong', 'weak', 'raise'")
        if on_choice is not None and not callable(on_choice):
            raise InvalidTypeError(f"on_choice: found {type(on_choice).__name__}, allowed: a function of a Choice")
        self.router: Router = _loaded(router)
        self.router.route([], threshold, policy)  # for its errors
        self._names = (weak, strong)
        self._threshold = threshold
        self._policy = policy
        self._on_failure = on_failure
        self._on_choice = on_choice
        self._quick = self.router.kind in _IN_PLACE and _is_static(self.router.encoder)

    def __deepcopy__(self, memo: object) -> Chooser:
        return self  # frameworks copy their settings; routers can't be copied, and need not be

    def choose(self, messages: object) -> Choice:
        """Choose for messages as `fastroute.messages.prompt_of` takes them, or for a prompt.

        Raises
        ------
        FastrouteError
            They can't be scored, and `on_failure` is "raise".
        """
        return self._told(self._chosen(messages))

    async def achoose(self, messages: object) -> Choice:
        """Choose as `choose` does; the event loop is not held up by routers that take more than microseconds."""
        if self._quick and _characters(messages) <= _LONGEST_IN_PLACE:
            return self.choose(messages)
        return self._told(await asyncio.to_thread(self._chosen, messages))

    def _chosen(self, messages: object) -> Choice:
        from fastroute.messages import prompt_of

        try:
            prompt = messages if isinstance(messages, str) and messages.strip() else prompt_of(_as_chat(messages))
            decision = self.router.route(prompt, self._threshold, self._policy)
        except FastrouteError as error:
            if self._on_failure == "raise":
                raise
            strong = self._on_failure == "strong"
            return Choice(strong, self._names[strong], None, str(error))
        strong = decision.score >= decision.threshold
        return Choice(strong, self._names[strong], decision, None)

    def _told(self, choice: Choice) -> Choice:
        if choice.failure is not None:
            _log.warning("no decision, so %s answers: %s", choice.name, choice.failure)
        if self._on_choice is not None:
            self._on_choice(choice)
        return choice


def _loaded(router: Any) -> Router:
    if router is None or isinstance(router, (str, os.PathLike)):
        from fastroute.loading import load

        return load(router)
    if not all(hasattr(router, name) for name in ("route", "kind", "encoder")):
        raise InvalidTypeError(f"router: found {type(router).__name__}, allowed: a router, its name or its path")
    loaded: Router = router
    return loaded


def _is_static(encoder: object) -> bool:
    from fastroute.encoders import StaticEncoder

    return isinstance(encoder, StaticEncoder)


def _as_chat(messages: object) -> object:
    """Return messages of mappings; a chat's objects of pydantic, as clients return them, become mappings."""
    if not isinstance(messages, (list, tuple)):
        return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return [_as_mapping(message) for message in messages]


def _as_mapping(message: object) -> object:
    dump = getattr(message, "model_dump", None)
    return dump() if callable(dump) else message


def _characters(messages: object) -> int:
    """Return about how many characters of text there are; parts of other types count for nothing."""
    if isinstance(messages, str):
        return len(messages)
    if isinstance(messages, (list, tuple)):
        return sum(_characters(each) for each in messages)
    content = messages.get("content", messages.get("text")) if isinstance(messages, dict) else None
    return 0 if content is None else _characters(content)
