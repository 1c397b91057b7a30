"""One chat completion of an OpenAI-compatible API."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastroute.augmentation.journal import Completion
from fastroute.endpoints.exchange import MOST_SHOWN, HttpClient, open_session, parsed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fastroute.augmentation.endpoint import Endpoint

__all__ = ["ChatClient", "open_client"]


class ChatClient:
    """Sends chat completions; see `open_client`."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def complete(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion:
        """Send one request, once.

        Raises
        ------
        ExchangeError
            There is no answer.
        """
        url = f"{endpoint.url.rstrip('/')}/chat/completions"
        content = await self._http.post(url, body, key_env=endpoint.key_env)
        try:
            answer = parsed(content)
            choice = answer["choices"][0]
            message = choice["message"]
            text, finish = message.get("content"), choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise self._http.unexpected("the answer is no chat completion", content) from None
        usage = answer.get("usage")
        return Completion(
            self._http.cleaned(text) if isinstance(text, str) and text.strip() else None,
            self._http.cleaned(finish)[:MOST_SHOWN] if isinstance(finish, str) else None,
            _tokens(usage, "prompt_tokens"),
            _tokens(usage, "completion_tokens"),
        )


@asynccontextmanager
async def open_client(endpoints: Sequence[Endpoint], *, timeout: float) -> AsyncIterator[ChatClient]:
    """Open a client for these endpoints; `timeout` is in seconds, for one request.

    Raises
    ------
    InvalidArgumentError
        The key of one of them is not in the environment.
    MissingDependencyError
        aiohttp is not installed.
    """
    keys = {endpoint.key_env: key for endpoint in endpoints if endpoint.key_env and (key := endpoint.key())}
    async with open_session() as session:
        yield ChatClient(HttpClient(session, keys, timeout=timeout))


def _tokens(usage: object, name: str) -> int | None:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**40 else None
