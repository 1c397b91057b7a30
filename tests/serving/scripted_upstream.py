"""A small HTTP server that plays the models: it does what each is told, well or badly, and remembers what it got."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "as-upstream-calls-it",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
}
WORDS = ["Hel", "lo", " the", "re", "."]


@dataclass
class Received:
    """One request."""

    model: str  # the part of the path that names it
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    gone_at: float | None = None  # when the other side broke off
    gone: threading.Event = field(default_factory=threading.Event)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


def chunk_event(word: str) -> bytes:
    choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


class ScriptedUpstream:
    """Models at ``/NAME/v1``; `script` says what each does, ``ok`` by default."""

    def __init__(self) -> None:
        self.script: dict[str, str] = {}
        self.answers: dict[str, Any] = {}
        self.received: list[Received] = []
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26), self._loop
        ).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    def url(self, model: str) -> str:
        return f"http://127.0.0.1:{self.port}/{model}/v1"

    def clear(self) -> None:
        self.script.clear()
        self.answers.clear()
        self.received.clear()

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        path = head[0].split(" ")[1]
        headers = [(k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in head[1:] if line)]
        length = int(dict(headers).get("content-length", 0))
        body = await reader.readexactly(length)
        model = path.split("/")[1]
        got = Received(model, path, headers, body)
        self.received.append(got)
        mode, _, argument = self.script.get(model, "ok").partition(":")
        act: Callable[..., Any] = getattr(self, f"_{mode}")
        return bool(await act(got, argument, reader, writer))

    async def _ok(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        if argument:
            await asyncio.sleep(float(argument))
        if json.loads(got.body.decode("utf-8", "replace"), parse_int=float).get("stream"):
            stream = [chunk_event(word) for word in WORDS]
            stream.append(b'data: {"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":100}}\n\n')
            return await self._events([*stream, b"data: [DONE]\n\n"], writer, end=True)
        content = json.dumps(self.answers.get(got.model, ANSWER)).encode()
        return await self._answer(writer, 200, content, "x-request-id: up-1\r\nset-cookie: a=b\r\n")

    async def _status(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        content = json.dumps({"error": {"message": f"status {argument}", "type": "t", "param": None, "code": None}})
        extra = "retry-after: 7\r\nlocation: http://127.0.0.1:9/elsewhere\r\n"
        return await self._answer(writer, int(argument), content.encode(), extra)

    async def _flaky(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        """Be too busy for so many requests, then answer."""
        if sum(each.model == got.model for each in self.received) > int(argument):
            return await self._ok(got, "", reader, writer)
        return await self._answer(writer, 429, b'{"error": {"message": "busy"}}', "retry-after-ms: 20\r\n")

    async def _events_of(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        """Stream what `answers` has for the model."""
        events = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in self.answers[got.model]]
        return await self._events([*events, b"data: [DONE]\n\n"], writer, end=True)

    async def _echo(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        """Refuse, and say the key that came."""
        message = f"bad key {got.header('authorization')}"
        return await self._answer(writer, int(argument), json.dumps({"error": {"message": message}}).encode())

    async def _close(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        return False

    async def _reset(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        writer.transport.abort()
        return False

    async def _garbage(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
        await writer.drain()
        return False

    async def _hang(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        await self._until_gone(got, reader)
        return False

    async def _headers_only(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        if argument != "close":
            await self._until_gone(got, reader)
        return False

    async def _short(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        """Begin an answer and close."""
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n" + b'{"id":')
        await writer.drain()
        return False

    async def _empty(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        return await self._answer(writer, 200, b"")

    async def _huge(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        return await self._answer(writer, 200, b" " * int(argument))

    async def _gzip(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        return await self._answer(writer, 200, b"\x1f\x8b00000000", "content-encoding: gzip\r\n")

    async def _break(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        """Break off in the middle of a stream, and of an event."""
        await self._events([chunk_event("Hel"), chunk_event("lo")[:20]], writer, end=False)
        return False

    async def _stall(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        await self._events([chunk_event("Hel")], writer, end=False)
        await self._until_gone(got, reader)
        return False

    async def _flood(self, got: Received, argument: str, reader: Any, writer: Any) -> bool:
        """Send without end."""
        try:
            while True:
                await self._events([chunk_event("word " * 2000)] * 10, writer, end=False, head=not got.gone_at)
                got.gone_at = time.monotonic()
        except ConnectionError:
            got.gone.set()
        return False

    async def _events(self, events: list[bytes], writer: Any, *, end: bool, head: bool = True) -> bool:
        if head:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in events:
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
        if end:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        return end

    async def _answer(self, writer: Any, status: int, content: bytes, extra: str = "") -> bool:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n{extra}\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        return True

    async def _until_gone(self, got: Received, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(1)
        got.gone_at = time.monotonic()
        got.gone.set()
