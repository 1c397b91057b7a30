"""The client whose calls are awaited."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fastroute.client.core import Core, endpoints_of
from fastroute.client.sdk import never_connected

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from types import TracebackType

    from openai import AsyncOpenAI
    from openai.resources import AsyncChat, AsyncCompletions, AsyncEmbeddings, AsyncModels
    from typing_extensions import Self

    from fastroute.client.choosing import Choice
    from fastroute.client.endpoint import Endpoint
    from fastroute.routers import Router

__all__ = ["AsyncClient"]


class AsyncClient:
    """`openai.AsyncOpenAI` with a router in it; `fastroute.Client` says what its arguments are and what it raises.

    Any number of tasks of one event loop may use one at once. Choosing takes microseconds with a router that runs in
    the core; others (networks, endpoints) run in a thread, so that the loop goes on. There, `on_decision` is still
    called in the loop's thread.
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
            "AsyncOpenAI",
            routers=routers,
            config=config,
            endpoints=endpoints,
            fallback=fallback,
            on_decision=on_decision,
            options=options,
        )
        self._use(core)

    @property
    def strong(self) -> AsyncOpenAI:
        """The SDK's client of the strong model's API."""
        return cast("AsyncOpenAI", self._core.clients["strong"])

    @property
    def weak(self) -> AsyncOpenAI:
        """The SDK's client of the weak model's API."""
        return cast("AsyncOpenAI", self._core.clients["weak"])

    @property
    def chat(self) -> AsyncChat:
        """Chat completions, routed."""
        return cast("AsyncChat", self._chat)

    @property
    def completions(self) -> AsyncCompletions:
        """Completions of text, routed."""
        return cast("AsyncCompletions", self._completions)

    @property
    def embeddings(self) -> AsyncEmbeddings:
        """Embeddings of a model that is named."""
        return cast("AsyncEmbeddings", self._embeddings)

    @property
    def models(self) -> AsyncModels:
        """Models of the strong model's API."""
        return self.strong.models

    @property
    def routers(self) -> dict[str, Router]:
        """Routers by label; the first is that of "auto"."""
        return dict(self._core.chooser.routers)

    async def route(self, messages: Any, model: str = "auto") -> Choice:
        """Choose a model for a chat, and ask none; `on_decision` is not called.

        Parameters
        ----------
        messages
            As `chat.completions.create` takes them.
        model
            As there. The choice's `model` may be given to `create` in its place.
        """
        return await _choice(self._core.silent(), "chat", {"model": model, "messages": messages})

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

    async def close(self) -> None:
        """Close the connections of both clients."""
        for client in self._core.clients.values():
            await client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

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

    async def create(self, **arguments: Any) -> Any:
        """Choose, and call the SDK's `create`."""
        return await self._send("create", arguments)

    async def parse(self, **arguments: Any) -> Any:
        """Choose, and call the SDK's `parse`."""
        return await self._send("parse", arguments)

    def stream(self, **arguments: Any) -> _Opening:
        """Return a context manager that chooses and calls the SDK's `stream` when it is entered."""
        return _Opening(self._core, self._kind, (*self._path, "stream"), arguments)

    async def _send(self, method: str, arguments: dict[str, Any]) -> Any:
        async def call(choice: Choice) -> Any:
            return await core.method(choice, (*self._path, method))(**{**arguments, "model": choice.model})

        core = self._core
        return await _attempt(core, await _choice(core, self._kind, arguments), call)


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

    async def __aenter__(self) -> Any:
        async def enter(choice: Choice) -> Any:
            manager = core.method(choice, self._path)(**{**self._arguments, "model": choice.model})
            entered = await manager.__aenter__()
            self._manager = manager
            return entered

        core = self._core
        return await _attempt(core, await _choice(core, self._kind, self._arguments), enter)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return await self._manager.__aexit__(kind, error, traceback)


async def _attempt(core: Core, choice: Choice, call: Callable[[Choice], Awaitable[Any]]) -> Any:
    try:
        return await call(choice)
    except core.connection_error as error:
        if not core.may_fall_back(choice) or not never_connected(error):
            raise
        return await call(core.other(choice))


async def _choice(core: Core, kind: str, arguments: dict[str, Any]) -> Choice:
    """Choose, in another thread where that may take long."""
    if core.chooser.is_quick(arguments.get("model")):
        return core.choice(kind, arguments)
    choice = await asyncio.to_thread(core.silent().choice, kind, arguments)
    core.tell(choice)
    return choice
