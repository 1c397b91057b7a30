"""Clients and a model, as bare protocols within one event loop: what is measured is the server between them."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

CHAT = "/v1/chat/completions"
CHUNKS = 20
UNSENT = -1  # in place of a status
COARSE_SECONDS = 0.002
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It is irrational: " + "a step of the proof. " * 10},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 95, "completion_tokens": 264, "total_tokens": 359},
    }
).encode()
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"transfer-encoding:\s*chunked", re.IGNORECASE)
_STREAM = re.compile(rb'"stream":\s*true')
_MARK = b"a step of the proof"
_DECISION = b'{"model": '
_DONE = b"[DONE]"


def _event(index: int) -> bytes:
    reason = "stop" if index == CHUNKS - 1 else None
    choice = {"index": 0, "delta": {"content": " a step of the proof"}, "finish_reason": reason}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "scripted", "choices": [choice]}
    event = b"data: " + json.dumps({**body, "n": index}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


EVENTS = [_event(index) for index in range(CHUNKS)]
STREAM_END = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Model(asyncio.Protocol):
    """Answers each request, after `delay` seconds; a stream has an event every `gap` seconds."""

    def __init__(self, scripted: ScriptedModel) -> None:
        self._scripted = scripted
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._scripted.connections += 1

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self._buffer, 0, end)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                return
            streams = _STREAM.search(self._buffer, end, size) is not None
            self._buffer = self._buffer[size:]
            self._scripted.requests += 1
            start = self._stream if streams else self._whole
            if self._scripted.delay:
                asyncio.get_running_loop().call_later(self._scripted.delay, start)
            else:
                start()

    def _whole(self) -> None:
        self._transport.write(WHOLE)

    def _stream(self, index: int = 0) -> None:
        if self._transport.is_closing():
            return
        if index == CHUNKS:
            self._transport.write(STREAM_END)
            return
        self._transport.write(EVENTS[index] if index else STREAM_HEAD + EVENTS[0])
        asyncio.get_running_loop().call_later(self._scripted.gap, self._stream, index + 1)


class ScriptedModel:
    """A model at ``http://127.0.0.1:PORT/v1``."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self.delay = 0.0
        self.gap = 0.002
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> ScriptedModel:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Model(self), "127.0.0.1", 0, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]
        return self


@dataclass
class Outcome:
    """What clients saw.

    Attributes
    ----------
    latencies
        Seconds, of answers with status 200 that are whole: from when a request was due to the last byte.
    firsts
        To the first event, of streams.
    refused
        Seconds of answers with status 429 or 503.
    statuses
        How many answers had which status; 0 is a connection that broke, `UNSENT` a request that found
        none of the connections free.
    late
        By how many seconds requests went out after they were due.
    seconds, answered, cpu_seconds
        How long was measured, the whole answers that came meanwhile, and what the server took of a processor.
    """

    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    seconds: float = 0.0
    answered: int = 0
    cpu_seconds: float = 0.0

    def rate(self) -> float:
        """Whole answers per second."""
        return self.answered / self.seconds

    def only_good(self) -> Outcome:
        """Return itself, if every answer was a good one."""
        if set(self.statuses) != {200}:
            raise RuntimeError(f"statuses: found {self.statuses}, expected 200 alone")
        return self


class Client(asyncio.Protocol):
    """A connection that is kept open; one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: Any = None
        self._buffer = b""
        self._due = 0.0
        self._first = 0.0
        self.busy = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        self.busy, self._due, self._first, self._buffer = True, due, 0.0, b""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        if not self._first and b"data:" in buffer:
            self._first = time.perf_counter()
        found = _LENGTH.search(buffer, 0, end)
        if found is not None:
            whole = len(buffer) >= end + 4 + int(found[1])
        else:
            whole = _CHUNKED.search(buffer, 0, end) is not None and buffer.endswith(b"0\r\n\r\n")
        if whole:
            self._answered(int(buffer[9:12]), buffer)

    def _answered(self, status: int, answer: bytes) -> None:
        now = time.perf_counter()
        outcome = self._load.outcome
        outcome.statuses[status] = outcome.statuses.get(status, 0) + 1
        if status == 200:
            marks = answer.count(_MARK)
            whole = _DONE in answer and marks == CHUNKS if self._first else marks == 10 or _DECISION in answer
            if not whole:
                self._load.wrong = answer
            outcome.latencies.append(now - self._due)
            if self._first:
                outcome.firsts.append(self._first - self._due)
        elif status in (429, 503):
            outcome.refused.append(now - self._due)
        self.busy = False
        self._load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            outcome = self._load.outcome
            outcome.statuses[0] = outcome.statuses.get(0, 0) + 1
        self.busy = False
        self._load.lost(self)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Load:
    """Clients of one server.

    Parameters
    ----------
    port
        Of the server, on this machine.
    requests
        Sent in turn.
    """

    def __init__(self, port: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._next = 0
        self._idle: deque[Client] = deque()
        self._all: set[Client] = set()
        self._closed = False  # whether the next request waits for an answer
        self.outcome = Outcome()
        self.wrong: bytes | None = None  # an answer that is not the model's

    async def closed(
        self, connections: int, seconds: float, *, warm_up: float = 0.0, cpu: Callable[[], float] = time.process_time
    ) -> Outcome:
        """Keep each connection busy: the next request goes out as an answer comes in.

        What is counted are the answers that come within `seconds`, after those of `warm_up`, at both ends with requests
        under way; and the time of a processor that `cpu` says was taken meanwhile.
        """
        await self._connect(connections)
        self._closed = True
        clients = tuple(self._idle)
        self._idle.clear()
        for client in clients:
            self._send(client, time.perf_counter())
        await asyncio.sleep(warm_up)
        self.outcome = outcome = Outcome()
        start, before = time.perf_counter(), cpu()
        await asyncio.sleep(seconds)
        outcome.seconds, outcome.cpu_seconds = time.perf_counter() - start, cpu() - before
        outcome.answered = len(outcome.latencies)
        self._closed = False
        self.outcome = Outcome()
        await self._drained()
        return outcome

    async def open(self, rate: float, seconds: float, *, connections: int = 64, most: int = 4096) -> Outcome:
        """Send requests at random times (Poisson), whatever the answers; a busy connection is not waited for.

        A request that is sent late counts from when it was due. Answers count that come while requests are due;
        latencies are those of all.
        """
        await self._connect(connections)
        self.outcome = outcome = Outcome()
        rng = random.Random(20240626)
        start = due = time.perf_counter()
        while (due := due + rng.expovariate(rate)) < start + seconds:
            if not await wait_until(due) and self._next % 64 == 0:
                await asyncio.sleep(0)
            if not self._idle:
                if len(self._all) >= most:
                    outcome.statuses[UNSENT] = outcome.statuses.get(UNSENT, 0) + 1
                    await asyncio.sleep(0)
                    continue
                await self._connect(1)
            outcome.late.append(time.perf_counter() - due)
            self._send(self._idle.popleft(), due)
        outcome.seconds = time.perf_counter() - start
        outcome.answered = len(outcome.latencies)
        await self._drained()
        return outcome

    def start_over(self) -> None:
        """Send the first request next."""
        self._next = 0

    def close(self) -> None:
        """Close all connections."""
        for client in tuple(self._all):
            client.close()

    def free(self, client: Client) -> None:
        """Take a client whose answer has come."""
        if self._closed:
            self._send(client, time.perf_counter())
        else:
            self._idle.append(client)

    def lost(self, client: Client) -> None:
        """Forget a client whose connection is gone."""
        self._all.discard(client)
        if client in self._idle:
            self._idle.remove(client)
        elif self._closed:
            asyncio.get_running_loop().create_task(self._again())

    async def _again(self) -> None:
        await self._connect(1)
        if self._closed and self._idle:
            self._send(self._idle.popleft(), time.perf_counter())

    def _send(self, client: Client, due: float) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        client.send(request, due)

    async def _connect(self, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections - len(self._idle)):
            _, client = await loop.create_connection(lambda: Client(self), "127.0.0.1", self._port)
            self._all.add(client)
            self._idle.append(client)

    async def _drained(self, patience: float = 30.0) -> None:
        deadline = time.perf_counter() + patience
        while any(client.busy for client in self._all):
            if time.perf_counter() > deadline:
                raise RuntimeError("requests without an answer")
            await asyncio.sleep(0.005)
        if self.wrong is not None:
            raise RuntimeError(f"an answer that is not the model's: {self.wrong[:300]!r}")


async def wait_until(due: float) -> bool:
    """Wait to within microseconds, for which timers of an event loop are too coarse; return whether there was time."""
    wait = due - time.perf_counter()
    if wait > COARSE_SECONDS:
        await asyncio.sleep(wait - COARSE_SECONDS)
    while time.perf_counter() < due:
        await asyncio.sleep(0)
    return wait > 0


def requests_for(
    prompts: Sequence[str], model: str, *, key: str | None = None, path: str = CHAT, **members: Any
) -> list[bytes]:
    """Return requests as bytes, one a prompt."""
    made = []
    for prompt in prompts:
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt}]
        body = json.dumps({"model": model, "messages": messages, "temperature": 0.7, **members}).encode()
        bearer = b"" if key is None else b"authorization: Bearer %s\r\n" % key.encode()
        head = b"POST %s HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n"
        made.append(head % (path.encode(), bearer, len(body)) + body)
    return made
