"""A request on its way to a model, and the answer on its way back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastroute.serving.leaving import Patience
from fastroute.serving.metrics import usage_in
from fastroute.serving.upstreams import UpstreamFailureError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from fastroute.serving.bodies import Body
    from fastroute.serving.gateway import Gateway, Plan
    from fastroute.serving.leaving import Watch
    from fastroute.serving.metrics import Metrics
    from fastroute.serving.upstreams import Answer, Headers, Upstreams

    Receive = Callable[[], Awaitable[Any]]
    Send = Callable[[Any], Awaitable[None]]

__all__ = ["Call", "Relay", "decision_headers", "send_answer"]

_TAIL: Final = 4096  # bytes at the end of a stream, where its usage is
_LONGEST_EVENT: Final = 1 << 20
_BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is to be relayed.

    Attributes
    ----------
    path
        Appended to a model's base.
    headers
        The client's, by name.
    send
        Of ASGI.
    """

    gateway: Gateway
    plan: Plan
    path: str
    body: Body
    headers: Mapping[bytes, bytes]
    send: Send
    watch: Watch


class Relay:
    """Sends requests to models and their answers to clients.

    Parameters
    ----------
    upstreams
        Connections.
    metrics
        What is counted.
    """

    def __init__(self, upstreams: Upstreams, metrics: Metrics) -> None:
        self._upstreams = upstreams
        self._metrics = metrics

    async def __call__(self, call: Call) -> int:
        """Answer one request; returns the status.

        At most two requests are sent, the second only if not one byte of an answer to the first has come.
        """
        plan, send, watch = call.plan, call.send, call.watch
        try:
            answer, name = await self._answered(call)
        except _AllFailedError as failed:
            failure = failed.failure
            watch.stop()
            extra = [*failure.headers, *decision_headers(plan, failed.name)]
            await send_answer(send, failure.status, failure.body, extra)
            return failure.status
        sent = [*answer.headers, *decision_headers(plan, name)]
        if not answer.streams:
            watch.stop()
            self._count_saved(call, name, answer.first)
            sent.append((b"content-length", str(len(answer.first)).encode()))
            await send({"type": "http.response.start", "status": answer.status, "headers": sent})
            await send({"type": "http.response.body", "body": answer.first})
            return answer.status
        try:
            await self._stream(call, name, answer, sent)
        finally:
            answer.response.close()
        return answer.status

    async def _answered(self, call: Call) -> tuple[Answer, str]:
        gateway, plan = call.gateway, call.plan
        metrics, hour, name = self._metrics, self._metrics.hour, plan.models[0]
        for tried in range(2):
            settings = gateway.config.upstreams[name]
            metrics.of(metrics.requests, name, plan.router or "").inc()
            start = time.perf_counter()
            try:
                answer = await self._upstreams.ask(
                    settings, call.path, call.body.with_model(settings.model), call.headers, gateway.config.limits
                )
            except UpstreamFailureError as failure:
                metrics.of(metrics.failures, name).inc()
                # Without another model, the same one again, if it has not seen the request.
                again = failure.elsewhere and (len(plan.models) > 1 or failure.kind == "unreachable")
                if tried or not again:
                    raise _AllFailedError(failure, name) from None
                if len(plan.models) > 1:
                    name = plan.models[1]
                    metrics.of(metrics.fallbacks, name).inc()
                    if hour is not None and plan.router is not None:
                        hour.fell_back(plan.router)
            else:
                seconds = time.perf_counter() - start
                metrics.of(metrics.upstream, name).observe(seconds)
                if hour is not None:
                    hour.answered(name, seconds)
                return answer, name
        raise AssertionError

    async def _stream(self, call: Call, name: str, answer: Answer, headers: Headers) -> None:
        plan, send = call.plan, call.send
        settings = call.gateway.config.upstreams[name]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        chunk, tail, rest = answer.first, b"", b""
        patience = Patience(call.watch, call.gateway.config.limits.write_seconds)
        counts = plan.router is not None and settings.price is not None
        try:
            try:
                while chunk:
                    if counts:
                        tail = (tail + chunk)[-_TAIL:]
                    whole, rest = _whole_events(rest + chunk)
                    if whole:
                        patience.begin()
                        await send({"type": "http.response.body", "body": whole, "more_body": True})
                        patience.end()
                    chunk = await self._upstreams.more(settings, answer)
            except UpstreamFailureError as failure:
                # An event that clients raise as an error, in place of the one that is not whole; what ends a whole
                # answer, [DONE], is never made up.
                rest = b"data: " + failure.body + b"\n\n"
                self._metrics.of(self._metrics.failures, name).inc()
            if counts:
                self._count_saved(call, name, tail)
            patience.begin()
            await send({"type": "http.response.body", "body": rest})
        finally:
            patience.stop()

    def _count_saved(self, call: Call, name: str, answer: bytes) -> None:
        plan, config = call.plan, call.gateway.config
        if plan.router is None:
            return
        upstreams = config.upstreams
        strong = upstreams[config.routers[plan.router].strong].price
        used = upstreams[name].price
        if strong is None or used is None or strong is used:
            return
        usage = usage_in(answer)
        if usage is not None:
            self._metrics.save(plan.router, usage, strong, used)


class _AllFailedError(Exception):
    def __init__(self, failure: UpstreamFailureError, name: str) -> None:
        super().__init__(failure)
        self.failure = failure
        self.name = name


def _whole_events(data: bytes) -> tuple[bytes, bytes]:
    """Split a stream behind its last blank line; what is longer than an event should be goes on as it is."""
    if data.endswith(b"\n\n") or len(data) > _LONGEST_EVENT:
        return data, b""
    ends = [at + len(blank) for blank in _BLANK_LINES if (at := data.rfind(blank)) >= 0]
    end = max(ends, default=0)
    return data[:end], data[end:]


def decision_headers(plan: Plan, model: str) -> Headers:
    """Return the headers that say who answered, and why."""
    headers = [(b"x-fastroute-model", model.encode())]
    if plan.router is not None:
        headers.append((b"x-fastroute-router", plan.router.encode()))
    if plan.decision is not None:
        headers.append((b"x-fastroute-score", b"%.7g" % plan.decision.score))
        headers.append((b"x-fastroute-threshold", b"%.7g" % plan.decision.threshold))
    return headers


async def send_answer(
    send: Send,
    status: int,
    body: bytes,
    headers: Headers | tuple[tuple[bytes, bytes], ...] = (),
    content_type: bytes = b"application/json",
) -> None:
    """Send a whole answer."""
    fixed = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": body})
