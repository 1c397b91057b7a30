"""What both clients share: their two endpoints, the choice for a request, the SDK's method that is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.client.choosing import Choice, Chooser, chat_text, completion_text, plain_messages
from fastroute.client.endpoint import Endpoint
from fastroute.client.loading import load_routers
from fastroute.client.sdk import import_openai, made_of
from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

__all__ = ["Core", "endpoints_of"]


def endpoints_of(
    *, strong_model: object, weak_model: object, strong: object, weak: object, api_base: str | None, api_key: Any
) -> tuple[Endpoint, Endpoint]:
    """Make the two endpoints of a client's arguments; raises as `Endpoint` does."""
    first = _endpoint("strong", strong_model, strong, api_base, api_key)
    second = _endpoint("weak", weak_model, weak, api_base, api_key)
    if (first.model, first.base_url) == (second.model, second.base_url):
        raise InvalidArgumentError(f"strong, weak: found {first.model!r} of one API for both, allowed: two models")
    return first, second


def _endpoint(role: str, model: object, given: object, api_base: str | None, api_key: Any) -> Endpoint:
    if (model is None) == (given is None):
        found = "neither" if model is None else "both"
        raise InvalidArgumentError(f"{role}, {role}_model: found {found}, allowed: one of them")
    if given is None:
        # The user names the one API for both models, so the SDK's own rule for keys is the right one.
        return Endpoint(model, api_base, _environment_key() if api_key is None else api_key)  # type: ignore[arg-type]
    if isinstance(given, str):
        return Endpoint(given)
    if not isinstance(given, Endpoint):
        raise InvalidTypeError(f"{role}: found {type(given).__name__}, allowed: an Endpoint, or the name of a model")
    return given


def _environment_key() -> str | None:
    import os

    return os.environ.get("OPENAI_API_KEY") or None


class Core:
    """A chooser, and a client of the SDK for each model. Never changes; any number of threads may use one at once."""

    def __init__(
        self,
        sdk: str,
        *,
        routers: object,
        config: object,
        endpoints: tuple[Endpoint, Endpoint],
        fallback: bool,
        on_decision: Callable[[Choice], object] | None,
        options: Mapping[str, Any],
    ) -> None:
        package = import_openai()
        strong, weak = endpoints
        self.chooser = Chooser(load_routers(routers, config), strong, weak)
        self.clients = {
            role: made_of(getattr(package, sdk), at, options)
            for role, at in zip(("strong", "weak"), endpoints, strict=True)
        }
        self.fallback = fallback
        self.on_decision = _callback(on_decision)
        self.connection_error: type[Exception] = package.APIConnectionError

    def with_options(self, options: dict[str, Any]) -> Self:
        """Return a core with other options; connections are shared."""
        for name in ("api_key", "base_url"):
            if name in options:
                raise InvalidArgumentError(f"{name}: found one, allowed: one for each model, when a client is made")
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.fallback = options.pop("fallback", self.fallback)
        other.on_decision = _callback(options.pop("on_decision", self.on_decision))
        other.clients = {role: client.with_options(**options) for role, client in self.clients.items()}
        return other

    def choice(self, kind: str, arguments: dict[str, Any]) -> Choice:
        """Choose for a request of a kind: "chat", "completion", or "embedding", which no router takes."""
        model = arguments.get("model")
        choice = self.chooser.choose(model, self._text(kind, model, arguments))
        self.tell(choice)
        return choice

    def silent(self) -> Self:
        """Return a core that tells nobody."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.on_decision = None
        return other

    def tell(self, choice: Choice) -> None:
        """Tell the user of a choice that a router made."""
        if self.on_decision is not None and choice.router is not None:
            self.on_decision(choice)

    def other(self, choice: Choice) -> Choice:
        """Return the choice of the other model, and tell the user."""
        other = self.chooser.other(choice)
        self.tell(other)
        return other

    def may_fall_back(self, choice: Choice) -> bool:
        """Whether another model may be asked: a router chose this one, and the user allows it."""
        return self.fallback and choice.router is not None

    def method(self, choice: Choice, path: tuple[str, ...]) -> Any:
        """Find the method of the SDK's client for the chosen model."""
        found = self.clients[choice.role]
        for name in path:
            found = getattr(found, name)
        return found

    def _text(self, kind: str, model: object, arguments: dict[str, Any]) -> str | None:
        from fastroute.model_names import parse_model

        if parse_model(model) is None:  # type: ignore[arg-type]
            return None
        if kind == "chat":
            messages = plain_messages(arguments.get("messages"))
            if isinstance(messages, list) and not isinstance(arguments["messages"], (list, tuple)):
                arguments["messages"] = messages  # what could be read once only has been
            return chat_text(messages)
        if kind == "completion":
            return completion_text(arguments.get("prompt"))
        raise InvalidArgumentError(f"model: found {model!r}, allowed for embeddings: the name of a model")


def _callback(on_decision: object) -> Callable[[Choice], object] | None:
    if on_decision is not None and not callable(on_decision):
        raise InvalidTypeError(f"on_decision: found {type(on_decision).__name__}, allowed: a callable")
    return on_decision
