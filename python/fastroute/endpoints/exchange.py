"""One request to an API and its answer, over HTTP.

What comes back is read as hostile: bounded in size, never followed elsewhere, and rid of the API keys.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    import aiohttp

__all__ = ["MAX_RESPONSE_BYTES", "ExchangeError", "HttpClient", "import_aiohttp", "open_session", "parsed"]

MAX_RESPONSE_BYTES = 8 << 20
MOST_SHOWN = 300  # characters of a server's message
_CHUNK = 1 << 16
_CONNECT_SECONDS = 30.0
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
    summary
        The reason without any word of the server's, which may repeat what was sent.
    """

    def __init__(
        self,
        reason: str,
        *,
        transient: bool,
        billed: bool = False,
        retry_after: float | None = None,
        summary: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.transient = transient
        self.billed = billed
        self.retry_after = retry_after
        self.summary = reason if summary is None else summary


class HttpClient:
    """Sends requests within one event loop; see `open_session`.

    Parameters
    ----------
    session
        Of aiohttp.
    keys
        API keys by the names of their variables; none of them comes back in a message.
    timeout
        Seconds for one request.
    """

    def __init__(self, session: aiohttp.ClientSession, keys: Mapping[str, str], *, timeout: float) -> None:
        self._http = import_aiohttp()
        self._session = session
        self._keys = keys
        self._timeout = self._http.ClientTimeout(total=timeout, sock_connect=min(timeout, _CONNECT_SECONDS))

    async def post(
        self, url: str, body: Mapping[str, Any], *, key_env: str | None, most_bytes: int = MAX_RESPONSE_BYTES
    ) -> bytes:
        """Send one request, once, and return the body of an answer with status 200.

        Raises
        ------
        ExchangeError
            There is no such answer, or it is longer than `most_bytes`.
        """
        payload = json.dumps(body, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if key_env is not None:
            headers["Authorization"] = f"Bearer {self._keys[key_env]}"
        http = self._http
        try:
            async with self._session.post(
                url, data=payload, headers=headers, allow_redirects=False, timeout=self._timeout
            ) as response:
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise ExchangeError("the answer is compressed, which was not asked for", transient=False)
                content = await _bounded_body(response, most_bytes)
                if response.status != 200:
                    self._refuse(response.status, response.headers, content)
                return content
        except http.ClientSSLError as error:
            raise self._failed("no secure connection", error, transient=False) from None
        except (http.ClientConnectorError, http.ServerTimeoutError) as error:
            raise self._failed("no connection", error) from None
        except asyncio.TimeoutError:
            raise ExchangeError("no answer in time", transient=True, billed=True) from None
        except (http.ClientError, OSError) as error:
            raise self._failed("the connection broke", error, billed=True) from None

    def unexpected(self, what: str, body: bytes) -> ExchangeError:
        """Say that an answer is not what was asked for."""
        return ExchangeError(f"{what}: {self.shown(body)}", transient=True, billed=True, summary=what)

    def shown(self, body: bytes) -> str:
        """Return what a message may say of a body: the text of an error in OpenAI's form, or the first words."""
        text = body.decode("utf-8", "replace")
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            text = str(json.loads(text)["error"]["message"])
        # Cleaned first: a cut might leave a part of a key.
        return " ".join(self.cleaned(text).split())[:MOST_SHOWN] or "(no text)"

    def cleaned(self, text: str) -> str:
        """Take keys out of a server's text, and halves of surrogate pairs, which no file can hold."""
        for name, key in self._keys.items():
            text = text.replace(key, f"[{name}]")
        return _SURROGATE.sub("\ufffd", text)

    def _refuse(self, status: int, headers: Mapping[str, str], body: bytes) -> NoReturn:
        if 300 <= status < 400:
            target = self.cleaned(headers.get("Location", ""))[:MOST_SHOWN]
            raise ExchangeError(
                f"status {status}, a redirect to {target!r}: not followed", transient=False, summary=f"status {status}"
            )
        raise ExchangeError(
            f"status {status}: {self.shown(body)}",
            transient=status in _WORTH_ANOTHER_TRY or status >= 500,
            billed=status in _TIMED_OUT,
            retry_after=_seconds(headers.get("Retry-After")),
            summary=f"status {status}",
        )

    def _failed(
        self, what: str, error: BaseException, *, transient: bool = True, billed: bool = False
    ) -> ExchangeError:
        reason = self.cleaned(f"{what}: {error or type(error).__name__}")
        return ExchangeError(reason[:MOST_SHOWN], transient=transient, billed=billed, summary=what)


def open_session() -> aiohttp.ClientSession:
    """Open a session within the running event loop; it takes nothing from the environment and keeps no cookies.

    Raises
    ------
    MissingDependencyError
        aiohttp is not installed.
    """
    http = import_aiohttp()
    session: aiohttp.ClientSession = http.ClientSession(
        auto_decompress=False,  # a small body could become a huge one
        connector=http.TCPConnector(limit=0),
        cookie_jar=http.DummyCookieJar(),
    )
    return session


def import_aiohttp(extra: str = "endpoint") -> ModuleType:
    """Import aiohttp, or raise MissingDependencyError that names the extra."""
    try:
        import aiohttp
    except ImportError as error:
        raise MissingDependencyError(
            f"asking models needs aiohttp, which is not installed: pip install 'fastroute[{extra}]'"
        ) from error
    return aiohttp


def parsed(body: bytes) -> Any:
    """Parse JSON without NaN and infinity; raises ValueError or RecursionError."""
    return json.loads(body, parse_constant=_no_constant)


async def _bounded_body(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > most:
            raise ExchangeError(f"the answer is longer than {most >> 20} MiB", transient=False, billed=True)
    return bytes(body)


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
