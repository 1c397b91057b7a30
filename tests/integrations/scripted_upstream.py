"""An OpenAI-compatible server on a local socket that says what it is told to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HEAD = {"id": "chatcmpl-1", "created": 1, "system_fingerprint": "scripted"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


class Upstream:
    """What was asked of the server, in order, and which models it refuses to answer for."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.failing: set[str] = set()
        self.url = ""

    @property
    def models(self) -> list[str]:
        """The models that were asked for."""
        return [body["model"] for body in self.bodies]

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the message for a body: a call of the first tool, JSON where a schema is given, or else a text."""
        if tools := body.get("tools"):
            function = {"name": tools[0]["function"]["name"], "arguments": json.dumps({"answer": body["model"]})}
            calls = [{"index": 0, "id": "call_1", "type": "function", "function": function}]
            return {"role": "assistant", "content": None, "tool_calls": calls}
        if body.get("response_format"):
            return {"role": "assistant", "content": json.dumps({"answer": body["model"]})}
        return {"role": "assistant", "content": f"{body['model']} answers"}


def _chunks(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if message["content"] is None:
        yield message
        return
    for number, word in enumerate(message["content"].split(" ")):
        yield {"role": "assistant", "content": word if number == 0 else f" {word}"}


@contextmanager
def serving() -> Iterator[Upstream]:
    """Serve on a free port of this host, in a thread, until the block ends."""
    from aiohttp import web

    upstream = Upstream()

    async def complete(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        upstream.bodies.append(body)
        model = body["model"]
        if model in upstream.failing:
            return web.json_response({"error": {"message": "out of order", "type": "server_error"}}, status=500)
        message = upstream.answer(body)
        ending = "tool_calls" if message.get("tool_calls") else "stop"
        if not body.get("stream"):
            choice = {"index": 0, "message": message, "finish_reason": ending}
            whole = {**HEAD, "object": "chat.completion", "model": model, "choices": [choice], "usage": USAGE}
            return web.json_response(whole)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        deltas = [(delta, None) for delta in _chunks(message)] + [({}, ending)]
        for delta, reason in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            chunk = {**HEAD, "object": "chat.completion.chunk", "model": model, "choices": [choice]}
            await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
        await response.write(b"data: [DONE]\n\n")
        return response

    loop = asyncio.new_event_loop()
    started = threading.Event()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        upstream.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    def run() -> None:
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run, name="scripted upstream", daemon=True)
    thread.start()
    assert started.wait(30), "the scripted upstream did not start"
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
