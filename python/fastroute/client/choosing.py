"""From a request to a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fastroute.errors import DataError, InvalidArgumentError, UnknownRouterError
from fastroute.messages import prompt_of
from fastroute.model_names import parse_model
from fastroute.policies import Decision

if TYPE_CHECKING:
    from fastroute.client.endpoint import Endpoint
    from fastroute.routers import Router

__all__ = ["Choice", "Chooser", "chat_text", "completion_text", "plain_messages"]

Role = Literal["strong", "weak"]
_PROBE = "."
# Whatever else computes may take longer than an event loop should wait.
_QUICK_KINDS = ("experts", "knn", "mf", "random", "sw_ranking")


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a request goes.

    Attributes
    ----------
    model
        Name of the model at its API.
    role
        Whose API is asked: "strong" or "weak".
    router
        Label of the router that was asked; None for a model's plain name.
    decision
        What it decided, with the model's name at its API; None for a plain name, and for a chat of which no message
        of the user has text: then the strong model answers.
    fell_back
        Whether the other model was decided for, and could not be reached.
    """

    model: str
    role: Role
    router: str | None
    decision: Decision | None
    fell_back: bool = False


class Chooser:
    """Routers, and the two models that they choose between. Any number of threads may use one at once.

    Parameters
    ----------
    routers
        By label; the first is the default one.
    strong, weak
        The models.
    """

    def __init__(self, routers: Mapping[str, Router], strong: Endpoint, weak: Endpoint) -> None:
        self.routers = dict(routers)
        self.strong = strong
        self.weak = weak
        self._default = next(iter(self.routers))

    def is_quick(self, model: object) -> bool:
        """Whether a choice takes no longer than an event loop may wait: well below a millisecond for short prompts."""
        name = parse_model(model)  # type: ignore[arg-type]
        if name is None:
            return True
        router = self.routers.get(name.router or self._default)
        return router is None or (
            router.kind in _QUICK_KINDS and type(router.encoder).__name__ in ("StaticEncoder", "NoneType")
        )

    def choose(self, model: object, text: str | None) -> Choice:
        """Choose for a request.

        Parameters
        ----------
        model
            The name that it has.
        text
            What to score; None for a request without text.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            `model` is no name, or one that is not allowed; UnknownRouterError where the router is not here.
        """
        name = parse_model(model)  # type: ignore[arg-type]
        if name is None:
            plain = str(model)
            return Choice(plain, "weak" if plain == self.weak.model != self.strong.model else "strong", None, None)
        label = self._default if name.router is None else name.router
        router = self.routers.get(label)
        if router is None:
            raise UnknownRouterError(
                f"model: found {model!r}, which asks for the router {label!r}; allowed: {', '.join(self.routers)}"
            )
        if text is None:
            return Choice(self.strong.model, "strong", label, None)
        made = router.route(text) if name.threshold is None else router.route(text, name.threshold)
        role: Role = "strong" if made.model == router.strong else "weak"
        named = self.strong.model if role == "strong" else self.weak.model
        return Choice(named, role, label, Decision(named, made.score, made.threshold, made.router, made.artifact))

    def other(self, choice: Choice) -> Choice:
        """Return the choice of the other model."""
        role: Role = "weak" if choice.role == "strong" else "strong"
        return replace(
            choice, model=self.strong.model if role == "strong" else self.weak.model, role=role, fell_back=True
        )


def plain_messages(messages: object) -> object:
    """Return messages as `prompt_of` takes them: the SDK also takes any iterable, and its own objects among them."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        return messages
    return [_plain(message) for message in messages]


def chat_text(messages: object) -> str | None:
    """Return the text of the last message of the user that has one, None where none has.

    Raises
    ------
    DataError
        As `fastroute.messages.prompt_of`, for messages that are not what they should be.
    """
    try:
        return prompt_of(messages)
    except DataError:
        # Either a message is malformed, which is said again, or none has text.
        if not isinstance(messages, list):
            raise
        prompt_of([*messages, {"role": "user", "content": _PROBE}], "first-user")
        return None


def completion_text(prompt: object) -> str:
    """Return the text of a completion's prompt.

    Raises
    ------
    InvalidArgumentError
        It is not one text.
    """
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise InvalidArgumentError(
            f"prompt: found {type(prompt).__name__}, allowed where a router chooses the model: one str; several, and "
            "tokens, go to a model's plain name"
        )
    return prompt


def _plain(message: Any) -> object:
    dump = getattr(message, "model_dump", None)
    return dump() if callable(dump) and not isinstance(message, Mapping) else message
