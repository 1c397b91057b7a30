"""One request to an OpenAI-compatible API and its answer, over HTTP.

What comes back is read as hostile: bounded in size, never followed elsewhere, and rid of the API keys.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import re
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from fastroute.augmentation.journal import Completion
from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import ModuleType

    import aiohttp

    from fastroute.augmentation.endpoint import Endpoint

__all__ = ["ChatClient", "ExchangeError", "import_aiohttp", "open_client"]

MAX_RESPONSE_BYTES = 8 << 20
_CHUNK = 1 << 16
_CONNECT_SECONDS = 30.0
_MOST_SHOWN = 300  # characters of a server's message
_TIMED_OUT = (408, 504, 524)  # the model may have answered all the same
_WORTH_ANOTHER_TRY = (408, 409, 429)
_SURROGATE = re.compile("[\ud800-\udfff]")


class ExchangeError(Exception):
    """A request has no answer; the message is the reason.

    Attributes
    ----------
    transient
        Whether another try may help.
    billed
        Whether it may have been billed all the same.
    retry_after
        Seconds that the server wants to be left alone, where it says so.
    """

    def __init__(self, reason: str, *, transient: bool, billed: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.transient = transient
        self.billed = billed
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


class ChatClient:
    """Sends chat completions; see `open_client`."""

    def __init__(self, session: aiohttp.ClientSession, keys: Mapping[str, str]) -> None:
        self._aiohttp = import_aiohttp()
        self._session = session
        self._keys = keys

    async def complete(self, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion:
        """Send one request, once.

        Raises
        ------
        ExchangeError
            There is no answer.
        """
        response = await self._exchange(endpoint, json.dumps(body, allow_nan=False).encode())
        if response.status != 200:
            self._refuse(response)
        try:
            answer = json.loads(response.body, parse_constant=_no_constant)
            choice = answer["choices"][0]
            message = choice["message"]
            text, finish = message.get("content"), choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            shown = self._shown(response.body)
            raise ExchangeError(f"the answer is no chat completion: {shown}", transient=True, billed=True) from None
        usage = answer.get("usage")
        return Completion(
            self._cleaned(text) if isinstance(text, str) and text.strip() else None,
            self._cleaned(finish)[:_MOST_SHOWN] if isinstance(finish, str) else None,
            _tokens(usage, "prompt_tokens"),
            _tokens(usage, "completion_tokens"),
        )

    async def _exchange(self, endpoint: Endpoint, payload: bytes) -> _Response:
        url = f"{endpoint.url.rstrip('/')}/chat/completions"
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if endpoint.key_env is not None:
            headers["Authorization"] = f"Bearer {self._keys[endpoint.key_env]}"
        http = self._aiohttp
        try:
            async with self._session.post(url, data=payload, headers=headers, allow_redirects=False) as response:
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise ExchangeError("the answer is compressed, which was not asked for", transient=False)
                return _Response(response.status, response.headers, await _bounded_body(response))
        except http.ClientSSLError as error:
            raise self._failed("no secure connection", error, transient=False) from None
        except (http.ClientConnectorError, http.ServerTimeoutError) as error:
            raise self._failed("no connection", error) from None
        except asyncio.TimeoutError:
            raise ExchangeError("no answer in time", transient=True, billed=True) from None
        except (http.ClientError, OSError) as error:
            raise self._failed("the connection broke", error, billed=True) from None

    def _refuse(self, response: _Response) -> NoReturn:
        status = response.status
        if 300 <= status < 400:
            target = self._cleaned(response.headers.get("Location", ""))[:_MOST_SHOWN]
            raise ExchangeError(f"status {status}, a redirect to {target!r}: not followed", transient=False)
        raise ExchangeError(
            f"status {status}: {self._shown(response.body)}",
            transient=status in _WORTH_ANOTHER_TRY or status >= 500,
            billed=status in _TIMED_OUT,
            retry_after=_seconds(response.headers.get("Retry-After")),
        )

    def _failed(
        self, what: str, error: BaseException, *, transient: bool = True, billed: bool = False
    ) -> ExchangeError:
        reason = self._cleaned(f"{what}: {error or type(error).__name__}")
        return ExchangeError(reason[:_MOST_SHOWN], transient=transient, billed=billed)

    def _shown(self, body: bytes) -> str:
        """Return what a message may say of a body: the text of an error in OpenAI's form, or the first words."""
        text = body.decode("utf-8", "replace")
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            text = str(json.loads(text)["error"]["message"])
        # Cleaned first: a cut might leave a part of a key.
        return " ".join(self._cleaned(text).split())[:_MOST_SHOWN] or "(no text)"

    def _cleaned(self, text: str) -> str:
        """Take keys out of a server's text, and halves of surrogate pairs, which no file can hold."""
        for name, key in self._keys.items():
            text = text.replace(key, f"[{name}]")
        return _SURROGATE.sub("\ufffd", text)


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
    http = import_aiohttp()
    keys = {endpoint.key_env: key for endpoint in endpoints if endpoint.key_env and (key := endpoint.key())}
    session = http.ClientSession(
        auto_decompress=False,  # a small body could become a huge one
        connector=http.TCPConnector(limit=0),
        cookie_jar=http.DummyCookieJar(),
        timeout=http.ClientTimeout(total=timeout, sock_connect=min(timeout, _CONNECT_SECONDS)),
    )
    async with session:
        yield ChatClient(session, keys)


def import_aiohttp() -> ModuleType:
    """Import aiohttp, or raise MissingDependencyError."""
    try:
        import aiohttp
    except ImportError as error:
        raise MissingDependencyError(
            "asking models needs aiohttp, which is not installed: pip install 'fastroute[augment]'"
        ) from error
    return aiohttp


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_RESPONSE_BYTES:
            raise ExchangeError(
                f"the answer is longer than {MAX_RESPONSE_BYTES >> 20} MiB", transient=False, billed=True
            )
    return bytes(body)


def _tokens(usage: object, name: str) -> int | None:
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**40 else None


def _seconds(header: str | None) -> float | None:
    """Read a Retry-After header: seconds or a date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
