"""Requests to models: what is sent, how long is waited, and what counts as a failure."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from fastroute.endpoints.exchange import import_aiohttp
from fastroute.serving.refusals import error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from fastroute.serving.config import Limits, UpstreamSettings

__all__ = ["Answer", "UpstreamFailureError", "Upstreams"]

Headers = list[tuple[bytes, bytes]]
Kind = Literal["unreachable", "timeout", "broken", "status"]

# All that is sent on of what a client sends: no credential, cookie or hop-by-hop header is among them.
_SENT_ON: Final = (
    b"content-type",
    b"accept",
    b"idempotency-key",
    b"openai-beta",
    b"traceparent",
    b"tracestate",
    b"user-agent",
    b"x-request-id",
)
_SENT_BACK: Final = (b"content-type", b"retry-after", b"retry-after-ms", b"x-request-id")
_SENT_BACK_PREFIXES: Final = (b"openai-processing", b"openai-version", b"x-ratelimit-")
_CLIENT_FAULTS: Final = frozenset(range(400, 500)) - {401, 403, 408, 429}
_MOST_ERROR_BYTES: Final = 1 << 16
_CONTEXT: Final = {"unreachable": (502, "upstream_unreachable"), "broken": (502, "upstream_broke")}


class UpstreamFailureError(Exception):
    """A model gave no answer.

    Attributes
    ----------
    kind
        "unreachable" where nothing was sent.
    status
        To answer with.
    body
        To answer with, in OpenAI's form; without keys.
    headers
        To answer with.
    elsewhere
        Whether another model may do better: nothing of an answer has come, and the request is not to blame.
    """

    def __init__(
        self,
        kind: Kind,
        status: int,
        message: str,
        code: str,
        *,
        elsewhere: bool = True,
        headers: Headers | None = None,
    ) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.status = status
        self.body = error_body(status, message, code)
        self.headers = headers or []
        self.elsewhere = elsewhere


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status of success.

    Attributes
    ----------
    response
        Open where it is a stream, else read to its end.
    first
        The first bytes of a stream, else all.
    """

    response: aiohttp.ClientResponse
    status: int
    headers: Headers
    first: bytes
    streams: bool


class Upstreams:
    """Connections to all models, kept open; for use within one event loop.

    Parameters
    ----------
    session
        Of aiohttp; takes nothing from the environment, follows nothing, keeps no cookies.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._http = import_aiohttp("serve")
        self._session = session
        self._timeouts: dict[tuple[float, float], Any] = {}

    async def ask(
        self, settings: UpstreamSettings, path: str, body: bytes, headers: Mapping[bytes, bytes], limits: Limits
    ) -> Answer:
        """Send one request, once, and wait for the first byte of a stream or the last of another answer.

        Raises
        ------
        UpstreamFailureError
            There is none.
        """
        sent = {name.decode(): headers[name].decode("latin-1") for name in _SENT_ON if name in headers}
        sent.setdefault("content-type", "application/json")
        sent["accept-encoding"] = "identity"
        if settings.key is not None:
            sent["authorization"] = f"Bearer {settings.key.reveal()}"
        http, begun = self._http, False
        response = None
        try:
            response = await self._session.post(
                settings.base_url + path,
                data=body,
                headers=sent,
                allow_redirects=False,
                skip_auto_headers=("User-Agent",),
                timeout=self._timeout(limits),
            )
            if not 200 <= response.status < 300:
                await self._refuse(settings, response)
            first = await _first(settings, response)
            begun = True
            streams = response.content_type == "text/event-stream"
            if not streams:
                first = await _rest(settings, response, first, limits.answer_bytes)
            return Answer(response, response.status, _sent_back(response), first, streams)
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, (http.ClientConnectorError, http.ConnectionTimeoutError)):
                raise _failed(settings, "unreachable", "can't be reached") from None
            if isinstance(error, asyncio.TimeoutError):
                raise _timed_out(settings, elsewhere=not begun) from None
            if isinstance(error, (http.ClientError, OSError, ValueError)):
                raise _failed(settings, "broken", "broke the connection", elsewhere=not begun) from None
            raise

    async def more(self, settings: UpstreamSettings, answer: Answer) -> bytes:
        """Return the next bytes of a stream, none at its end.

        Raises
        ------
        UpstreamFailureError
            It broke, or is silent for too long.
        """
        try:
            return await answer.response.content.readany()
        except asyncio.TimeoutError:
            raise _timed_out(settings, elsewhere=False) from None
        except (self._http.ClientError, OSError):
            raise _failed(settings, "broken", "broke the connection", elsewhere=False) from None

    def _timeout(self, limits: Limits) -> Any:
        seconds = limits.connect_seconds, limits.read_seconds
        if seconds not in self._timeouts:
            self._timeouts[seconds] = self._http.ClientTimeout(total=None, connect=seconds[0], sock_read=seconds[1])
        return self._timeouts[seconds]

    async def _refuse(self, settings: UpstreamSettings, response: aiohttp.ClientResponse) -> None:
        """Raise what an answer without success means."""
        status = response.status
        headers = _sent_back(response)
        content = await _up_to(response, _MOST_ERROR_BYTES)
        if status in _CLIENT_FAULTS or status == 429:
            raise _own_words(settings, status, content, headers)
        if status in (401, 403):
            raise _refused(settings, 502, "refuses the key that fastroute has for it", "upstream_refused_key")
        if 300 <= status < 400:
            raise _refused(settings, 502, "redirects, which is not followed", "upstream_redirected")
        if status in (408, 504):
            raise _timed_out(settings, elsewhere=True)
        answered = 503 if status == 503 else 502
        raise _refused(settings, answered, f"failed with status {status}", "upstream_failed", headers)


def _own_words(settings: UpstreamSettings, status: int, content: bytes, headers: Headers) -> UpstreamFailureError:
    """Return a failure that has the upstream's own words, where they are an error in OpenAI's form."""
    failure = _refused(
        settings, status, f"answered with status {status}", "upstream_refused", headers, elsewhere=status == 429
    )
    try:
        shaped = isinstance(json.loads(content)["error"], dict)
    except (ValueError, LookupError, TypeError, RecursionError):
        shaped = False
    key = settings.key.reveal() if settings.key is not None else ""
    if shaped and not (key and key in content.decode("utf-8", "replace")):
        failure.body = content
    failure.headers = [(name, value) for name, value in failure.headers if name != b"content-type"]
    return failure


def _refused(
    settings: UpstreamSettings,
    status: int,
    what: str,
    code: str,
    headers: Headers | None = None,
    *,
    elsewhere: bool = True,
) -> UpstreamFailureError:
    kept = [(name, value) for name, value in headers or [] if name.startswith((b"retry-after", b"x-r"))]
    return UpstreamFailureError(
        "status", status, f"model {settings.name!r} {what}", code, elsewhere=elsewhere, headers=kept
    )


def _failed(settings: UpstreamSettings, kind: Kind, what: str, *, elsewhere: bool = True) -> UpstreamFailureError:
    status, code = _CONTEXT[kind]
    return UpstreamFailureError(kind, status, f"model {settings.name!r} {what}", code, elsewhere=elsewhere)


def _timed_out(settings: UpstreamSettings, *, elsewhere: bool) -> UpstreamFailureError:
    message = f"model {settings.name!r} did not answer in time"
    return UpstreamFailureError("timeout", 504, message, "upstream_timeout", elsewhere=elsewhere)


def _sent_back(response: aiohttp.ClientResponse) -> Headers:
    found = ((name.lower(), value) for name, value in response.raw_headers)
    return [(name, value) for name, value in found if name in _SENT_BACK or name.startswith(_SENT_BACK_PREFIXES)]


async def _first(settings: UpstreamSettings, response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise _failed(settings, "broken", "sent a compressed answer, which was not asked for")
    first = await response.content.readany()
    if not first:
        raise _failed(settings, "broken", "sent an empty answer")
    return first


async def _rest(settings: UpstreamSettings, response: aiohttp.ClientResponse, first: bytes, most: int) -> bytes:
    parts, size = [first], len(first)
    while size <= most and not response.content.at_eof() and (chunk := await response.content.readany()):
        parts.append(chunk)
        size += len(chunk)
    if size > most:
        message = f"model {settings.name!r} sent more than {most} bytes"
        raise UpstreamFailureError("broken", 502, message, "upstream_answer_too_long", elsewhere=False)
    return b"".join(parts)


async def _up_to(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return an error's body; of one that is too long, nothing."""
    content = bytearray()
    while chunk := await response.content.readany():
        content += chunk
        if len(content) > most:
            response.close()
            return b""
    return bytes(content)
