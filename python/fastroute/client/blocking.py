"""The client whose calls wait for their answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fastroute.client.core import Core, endpoints_of
from fastroute.client.sdk import never_connected

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from openai import OpenAI
    from openai.resources import Chat, Completions, Embeddings, Models
    from typing_extensions import Self

    from fastroute.client.choosing import Choice
    from fastroute.client.endpoint import Endpoint
    from fastroute.routers import Router

__all__ = ["Client"]


class Client:
    """`openai.OpenAI` with a router in it. Any number of threads may use one at once.

    ``client.chat.completions.create(model="router-mf-0.5", messages=...)`` scores the last message of the user in
    this process, and calls the SDK's client of the model that is chosen with all else as it is given; what it returns
    or raises is the SDK's. "auto" and "router-mf" use the router's own threshold. A plain name goes to the model of
    that name, or to the strong model's API. Nothing connects when a client is made.

    Routed are ``create``, ``parse``, ``stream``, ``with_raw_response`` and ``with_streaming_response`` of
    ``chat.completions``, and ``completions.create`` of one text. ``embeddings`` takes plain names. ``models`` is that
    of the strong model's API. All else is on `strong` and `weak`, clients of the SDK.

    Parameters
    ----------
    routers
        Labels: names of built-in routers, or of entries in `config`; or a mapping of labels to routers, names or
        paths of artifacts. The first is that of "auto". None: the default router.
    strong_model, weak_model
        Names of the models, both at `api_base` with `api_key`, as RouteLLM's Controller takes them.
    config
        ``{"mf": {"checkpoint_path": PATH}}``, PATH that of an artifact.
    api_base, api_key
        Of both models; OPENAI_BASE_URL and OPENAI_API_KEY, or OpenAI, if None.
    progress_bar
        Accepted, and of no effect: loading takes milliseconds.
    strong, weak
        In place of `strong_model` and `weak_model`: an `Endpoint` each, or a name at the SDK's default API.
    fallback
        Whether a routed request goes to the other model when the chosen one could not be reached, after the SDK's
        own retries: no connection, or one that broke before the first byte. An answer of any status is an answer.
    on_decision
        Called with the `Choice` of each routed request before it is sent, and again before it is sent to the other
        model; in the thread of the request, whose exception an exception of it becomes.
    **options
        Other arguments of `openai.OpenAI` for both models: timeout, max_retries, default_headers, http_client, ...

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument is not as above; a key is missing. Of requests also: a name that is not allowed, a router that
        the client lacks (UnknownRouterError).
    DataError
        Of requests: messages that are not what they should be.
    FastrouteError
        As `fastroute.load`.
    MissingDependencyError
        The package openai is not installed: extra [client].
    """

    def __init__(  # noqa: PLR0917 - the order is RouteLLM's
        self,
        routers: Iterable[str] | Mapping[str, Router | str | os.PathLike[str]] | None = None,
        strong_model: str | None = None,
        weak_model: str | None = None,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        progress_bar: bool = False,  # noqa: ARG002
        *,
        strong: Endpoint | str | None = None,
        weak: Endpoint | str | None = None,
        fallback: bool = False,
        on_decision: Callable[[Choice], object] | None = None,
        **options: Any,
    ) -> None:
        endpoints = endpoints_of(
            strong_model=strong_model,
            weak_model=weak_model,
            strong=strong,
            weak=weak,
            api_base=api_base,
            api_key=api_key,
        )
        core = Core(
            "OpenAI",
            routers=routers,
            config=config,
            endpoints=endpoints,
            fallback=fallback,
            on_decision=on_decision,
            options=options,
        )
        self._use(core)

    @property
    def strong(self) -> OpenAI:
        """The SDK's client of the strong model's API."""
        return cast("OpenAI", self._core.clients["strong"])

    @property
    def weak(self) -> OpenAI:
        """The SDK's client of the weak model's API."""
        return cast("OpenAI", self._core.clients["weak"])

    @property
    def chat(self) -> Chat:
        """Chat completions, routed."""
        return cast("Chat", self._chat)

    @property
    def completions(self) -> Completions:
        """Completions of text, routed."""
        return cast("Completions", self._completions)

    @property
    def embeddings(self) -> Embeddings:
        """Embeddings of a model that is named."""
        return cast("Embeddings", self._embeddings)

    @property
    def models(self) -> Models:
        """Models of the strong model's API."""
        return self.strong.models

    @property
    def routers(self) -> dict[str, Router]:
        """Routers by label; the first is that of "auto"."""
        return dict(self._core.chooser.routers)

    def route(self, messages: Any, model: str = "auto") -> Choice:
        """Choose a model for a chat, and ask none; `on_decision` is not called.

        Parameters
        ----------
        messages
            As `chat.completions.create` takes them.
        model
            As there. The choice's `model` may be given to `create` in its place.
        """
        return self._core.silent().choice("chat", {"model": model, "messages": messages})

    def with_options(self, **options: Any) -> Self:
        """Return a client with other options for its requests, on the same connections.

        Parameters
        ----------
        **options
            `fallback` and `on_decision`; all else is for the SDK's `with_options`: timeout, max_retries, ...
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._use(self._core.with_options(options))
        return other

    copy = with_options

    def close(self) -> None:
        """Close the connections of both clients."""
        for client in self._core.clients.values():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _use(self, core: Core) -> None:
        self._core = core
        self._chat = SimpleNamespace(completions=_Routed(core, "chat", ("chat", "completions")))
        self._completions = _Routed(core, "completion", ("completions",))
        self._embeddings = _Routed(core, "embedding", ("embeddings",))


class _Routed:
    """A resource of the SDK whose requests go to the model that is chosen."""

    def __init__(self, core: Core, kind: str, path: tuple[str, ...]) -> None:
        self._core = core
        self._kind = kind
        self._path = path

    @property
    def with_raw_response(self) -> _Routed:
        """The same with the response's headers."""
        return _Routed(self._core, self._kind, (*self._path, "with_raw_response"))

    @property
    def with_streaming_response(self) -> _RoutedLater:
        """The same with the response's body not yet read."""
        return _RoutedLater(self._core, self._kind, (*self._path, "with_streaming_response"))

    def create(self, **arguments: Any) -> Any:
        """Choose, and call the SDK's `create`."""
        return self._send("create", arguments)

    def parse(self, **arguments: Any) -> Any:
        """Choose, and call the SDK's `parse`."""
        return self._send("parse", arguments)

    def stream(self, **arguments: Any) -> _Opening:
        """Return a context manager that chooses and calls the SDK's `stream` when it is entered."""
        return _Opening(self._core, self._kind, (*self._path, "stream"), arguments)

    def _send(self, method: str, arguments: dict[str, Any]) -> Any:
        def call(choice: Choice) -> Any:
            return core.method(choice, (*self._path, method))(**{**arguments, "model": choice.model})

        core = self._core
        return _attempt(core, core.choice(self._kind, arguments), call)


class _RoutedLater(_Routed):
    """A resource whose requests are sent when a context is entered."""

    def create(self, **arguments: Any) -> Any:
        return _Opening(self._core, self._kind, (*self._path, "create"), arguments)

    def parse(self, **arguments: Any) -> Any:
        return _Opening(self._core, self._kind, (*self._path, "parse"), arguments)


class _Opening:
    """A context manager of the SDK, for the model that is chosen when it is entered."""

    def __init__(self, core: Core, kind: str, path: tuple[str, ...], arguments: dict[str, Any]) -> None:
        self._core = core
        self._kind = kind
        self._path = path
        self._arguments = arguments
        self._manager: Any = None

    def __enter__(self) -> Any:
        def enter(choice: Choice) -> Any:
            manager = core.method(choice, self._path)(**{**self._arguments, "model": choice.model})
            entered = manager.__enter__()
            self._manager = manager
            return entered

        core = self._core
        return _attempt(core, core.choice(self._kind, self._arguments), enter)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return self._manager.__exit__(kind, error, traceback)


def _attempt(core: Core, choice: Choice, call: Callable[[Choice], Any]) -> Any:
    try:
        return call(choice)
    except core.connection_error as error:
        if not core.may_fall_back(choice) or not never_connected(error):
            raise
        return call(core.other(choice))
