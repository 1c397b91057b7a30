"""The server as raw ASGI: routes, authentication, limits."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fastroute.serving.config import is_loopback
from fastroute.serving.leaving import CONNECTION, Watch
from fastroute.serving.naming import models_of, target_of
from fastroute.serving.pressure import Pressure
from fastroute.serving.refusals import LATER, RefusalError, error_body, too_many
from fastroute.serving.relaying import Call, Relay, send_answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastroute.serving.bodies import Body
    from fastroute.serving.gateway import Gateway, Plan
    from fastroute.serving.metrics import Metrics
    from fastroute.serving.playground import Playground
    from fastroute.serving.relaying import Receive, Send
    from fastroute.serving.sessions import Sessions
    from fastroute.serving.upstreams import Upstreams

__all__ = ["App"]

_LOG: Final = logging.getLogger("fastroute.serving")
# What is appended to an upstream's base.
_PROXIED: Final = {
    "/v1/chat/completions": "/chat/completions",
    "/v1/completions": "/completions",
    "/v1/embeddings": "/embeddings",
}
_POSTED: Final = {*_PROXIED, "/v1/route"}
_GOTTEN: Final = {"/v1/models", "/health", "/ready", "/metrics"}
_OPEN: Final = {"/health", "/ready"}
_PLAYGROUND: Final = {"/playground/scores": (b"POST",), "/playground/hour": (b"GET", b"HEAD")}
_CLOSE: Final = ((b"connection", b"close"),)
_MOST_SESSION_BYTES: Final = 256

Headers = dict[bytes, bytes]


class App:
    """An ASGI application; for one event loop.

    Parameters
    ----------
    gateway
        Answers requests until `use` puts another in its place.
    upstreams, metrics, sessions
        Shared by all gateways, one after the other.

    Attributes
    ----------
    ready
        Whether ``/ready`` says so.
    in_flight
        Requests that are with a model, or being decided.
    pressure
        Of the event loop; runs beside it.
    """

    def __init__(self, gateway: Gateway, upstreams: Upstreams, metrics: Metrics, sessions: Sessions) -> None:
        self.ready = True
        self.in_flight = 0
        self.pressure = Pressure(self._room)
        self._metrics = metrics
        self._sessions = sessions
        self._relay = Relay(upstreams, metrics)
        self._held_bytes = 0
        metrics.in_flight.set_function(lambda: self.in_flight)
        self._playground: Playground | None = None
        self.use(gateway)

    def use(self, gateway: Gateway) -> None:
        """Answer requests that are yet to come under this configuration."""
        self.gateway = gateway
        if not gateway.config.playground:
            self._playground = self._metrics.hour = None
            return
        if self._playground is None:
            from fastroute.serving.playground import Playground

            self._playground = Playground()
            self._metrics.hour = self._playground.hour
        self._playground.follow(gateway)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected scope {scope['type']!r}")
        started = False

        async def sending(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            status = await self._answered(scope, receive, sending)
        except RefusalError as refusal:
            status = refusal.status
            await send_answer(send, status, refusal.body(), refusal.headers)
        except Exception as error:  # noqa: BLE001 - the client gets an answer all the same
            # Neither the message nor the traceback: they may quote the request.
            _LOG.error("an error within fastroute: %s at %s", type(error).__name__, _place_of(error))
            if started:
                raise ConnectionAbortedError("an answer could not be finished") from None
            status = 500
            body = error_body(500, "an error within fastroute; its log has more", "internal_error")
            await send_answer(send, status, body, _CLOSE)
        if status:
            self._metrics.of(self._metrics.answers, str(status)).inc()

    def turns_away(self) -> bool:
        """Whether one more request is too much, which is counted as its answer."""
        if self._room() > 0:
            return False
        self._metrics.of(self._metrics.answers, "503").inc()
        return True

    def _room(self) -> int:
        return self.gateway.config.limits.concurrency - self.in_flight

    async def _answered(self, scope: Any, receive: Receive, send: Send) -> int:
        """Answer, and return the status; 0 where there is nothing to count: a client that has gone, the playground."""
        gateway, path, method = self.gateway, scope["path"], scope["method"]
        headers = _headers(scope["headers"])
        playground, client = self._playground, None
        if playground is not None and path in playground.files:  # which hold no data, and need no key
            if gateway.config.client_keys is None:
                _see_local(headers)
            _see_method(method, (b"GET", b"HEAD"))
            content, kind = playground.files[path]
            await send_answer(send, 200, content, playground.page_headers, kind)
            return 0
        if path not in _OPEN:
            client = _authenticated(gateway, headers)
        if playground is not None and path in _PLAYGROUND:
            _see_method(method, _PLAYGROUND[path])
            if path == "/playground/hour":
                await send_answer(send, 200, playground.last_hour(gateway), playground.data_headers)
            else:
                await self._scored(playground, scope, headers, receive, send)
            return 0
        if path in _POSTED:
            _see_method(method, (b"POST",))
            return await self._posted(gateway, scope, headers, receive, send, client=client)
        if path in _GOTTEN or path.startswith("/v1/models/"):
            _see_method(method, (b"GET", b"HEAD"))
            return await self._gotten(gateway, path, send)
        raise RefusalError(404, "found no such path; see docs/serving.md for those there are", code="not_found")

    async def _gotten(self, gateway: Gateway, path: str, send: Send) -> int:
        status, kind = 200, b"application/json"
        if path == "/metrics":
            body, kind = self._metrics.text(), b"text/plain; version=0.0.4; charset=utf-8"
        elif path == "/health":
            body = b'{"status":"ok"}'
        elif path == "/ready":
            status, body = (200, b'{"status":"ready"}') if self.ready else (503, b'{"status":"draining"}')
        else:
            names = models_of(gateway.config)
            name = path.removeprefix("/v1/models").removeprefix("/")
            if name:
                target_of(name, gateway.config)
                body = json.dumps(_model(name)).encode()
            else:
                body = json.dumps({"object": "list", "data": [_model(each) for each in names]}).encode()
        await send_answer(send, status, body, content_type=kind)
        return status

    async def _posted(
        self, gateway: Gateway, scope: Any, headers: Headers, receive: Receive, send: Send, *, client: int | None
    ) -> int:
        path = scope["path"]
        session = headers.get(b"x-session-id")
        if session is not None and len(session) > _MOST_SESSION_BYTES:
            raise RefusalError(400, f"x-session-id: allowed: {_MOST_SESSION_BYTES} bytes", code="invalid_session")
        held = _Held(self)
        try:
            raw = await self._read(gateway, headers, receive, held)
            body = gateway.bodies.read(raw, needs_model=path in _PROXIED)
            del raw
            target = target_of(body.model, gateway.config)
            if path == "/v1/embeddings" and target.router is not None:
                message = "model: found a router, allowed here: the name of a model; routers choose between chat models"
                raise RefusalError(400, message, code="invalid_model", param="model")
            with self._seat(scope) as watch:
                key = None if session is None else (client, session)
                plan = await gateway.plan(target, body, key, self._sessions, self._metrics)
                if watch.gone:  # in the same moment as the score came, and its cancellation was lost
                    return 0
                self._log(gateway, plan, body)
                if path in _PROXIED:
                    call = Call(gateway, plan, _PROXIED[path], body, headers, send, watch)
                    return await self._relay(call)
                watch.stop()
                await send_answer(send, 200, _decision_body(gateway, plan))
                return 200
            return 0
        finally:
            held.release()

    async def _scored(self, playground: Playground, scope: Any, headers: Headers, receive: Receive, send: Send) -> None:
        """Say what each router makes of a prompt."""
        gateway, held = self.gateway, _Held(self)
        try:
            body = gateway.bodies.read(await self._read(gateway, headers, receive, held), needs_model=False)
            with self._seat(scope) as watch:
                answer = await playground.scores(gateway, body.members)
                watch.stop()
                await send_answer(send, 200, answer, playground.data_headers)
        finally:
            held.release()

    @contextlib.contextmanager
    def _seat(self, scope: Any) -> Iterator[Watch]:
        """Be one of the requests under way, and ended without an error where the client leaves."""
        if self._room() <= 0:
            raise too_many()
        watch = Watch(scope[CONNECTION])
        self.in_flight += 1
        try:
            yield watch
        except asyncio.CancelledError:
            if not watch.gone:
                raise
        finally:
            watch.stop()
            self.in_flight -= 1
            self.pressure.release()

    async def _read(self, gateway: Gateway, headers: Headers, receive: Receive, held: _Held) -> bytes:
        """Read a body within the limits of size and time."""
        limits = gateway.config.limits
        most = limits.body_bytes
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RefusalError(415, "content-encoding: allowed: identity", code="unsupported_encoding", headers=_CLOSE)
        length = headers.get(b"content-length")
        if length is not None and (not length.isdigit() or int(length[:20]) > most):
            raise _too_large(most)
        task, expired = asyncio.current_task(), False

        def expire() -> None:
            nonlocal expired
            expired = True
            if task is not None:
                task.cancel()

        timer = asyncio.get_running_loop().call_later(limits.body_seconds, expire)
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusalError(400, "the request broke off", code="incomplete", headers=_CLOSE)
                part = message.get("body", b"")
                size += len(part)
                if size > most:
                    raise _too_large(most)
                held.add(len(part), limits.all_body_bytes)
                parts.append(part)
                if not message.get("more_body"):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        except asyncio.CancelledError:
            if not expired:
                raise
            getattr(task, "uncancel", int)()
            raise RefusalError(408, "the body took too long", code="timeout", headers=_CLOSE) from None
        finally:
            timer.cancel()

    def _log(self, gateway: Gateway, plan: Plan, body: Body) -> None:
        if plan.reason is not None:
            _LOG.warning("router %s: no decision (%s); the default model answers", plan.router, plan.reason)
        if gateway.config.log_prompts:
            asked = {key: body.members[key] for key in ("messages", "prompt", "input") if key in body.members}
            _LOG.info("asked %s: %s", plan.models[0], json.dumps(asked, default=str))

    def hold(self, count: int, most: int) -> None:
        """Count bytes of bodies that are in memory, over all requests."""
        if self._held_bytes + count > most:
            raise RefusalError(503, "too many bytes of requests at once", code="overloaded", headers=(*LATER, *_CLOSE))
        self._held_bytes += count

    def release(self, count: int) -> None:
        """Count bytes that are no longer in memory."""
        self._held_bytes -= count


class _Held:
    """The bytes of one request."""

    __slots__ = ("_app", "_count")

    def __init__(self, app: App) -> None:
        self._app = app
        self._count = 0

    def add(self, count: int, most: int) -> None:
        self._app.hold(count, most)
        self._count += count

    def release(self) -> None:
        self._app.release(self._count)
        self._count = 0


def _headers(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """Return headers by name; of an Authorization that comes twice, none is believed."""
    found = dict(pairs)
    if b"authorization" in found and sum(name == b"authorization" for name, _ in pairs) > 1:
        found[b"authorization"] = b""
    return found


def _authenticated(gateway: Gateway, headers: Headers) -> int | None:
    """Return which key the client has; None where none is asked for."""
    keys = gateway.config.client_keys
    if keys is not None:
        found = keys.match(headers.get(b"authorization"))
        if found is None:
            message = "found no valid API key, expected the header 'Authorization: Bearer KEY'"
            raise RefusalError(
                401, message, code="invalid_api_key", headers=((b"www-authenticate", b"Bearer"), *_CLOSE)
            )
        return found
    _see_local(headers)
    return None


def _see_local(headers: Headers) -> None:
    """Refuse what a foreign page in a browser makes it send to this machine.

    By the page's origin, and by the name that the page may have pointed at this machine.
    """
    for name in (b"host", b"origin"):
        if name in headers and not _is_local(headers[name], is_url=name == b"origin"):
            raise RefusalError(
                403,
                f"{name.decode()}: found another than this machine's; set client_keys",
                code="not_local",
                headers=_CLOSE,
            )


def _is_local(value: bytes, *, is_url: bool) -> bool:
    text = value.decode("latin-1")
    try:
        host = urlsplit(text if is_url else f"//{text}").hostname
    except ValueError:
        return False
    return host is not None and is_loopback(host)


def _decision_body(gateway: Gateway, plan: Plan) -> bytes:
    decision = plan.decision
    return json.dumps(
        {
            "model": plan.models[0],
            "score": None if decision is None else decision.score,
            "threshold": None if decision is None else decision.threshold,
            "router": plan.router,
            "artifact": "" if decision is None else decision.artifact,
            "upstream_model": gateway.config.upstreams[plan.models[0]].model,
        }
    ).encode()


def _model(name: str) -> Mapping[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "fastroute"}


def _see_method(method: str, allowed: tuple[bytes, ...]) -> None:
    if method.encode() not in allowed:
        names = b", ".join(allowed)
        message = f"method: allowed here: {names.decode()}"
        raise RefusalError(405, message, code="method_not_allowed", headers=((b"allow", names), *_CLOSE))


def _too_large(most: int) -> RefusalError:
    return RefusalError(413, f"body: allowed: {most} bytes", code="body_too_large", headers=_CLOSE)


def _place_of(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
