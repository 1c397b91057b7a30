"""An OpenAI-compatible API on a socket of this machine, which answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class ScriptedApi:
    """`faults` are used up from the front, one a request: "drop", "cut", "slow", or a status; then it answers."""

    def __init__(self, says: str) -> None:
        self.says = says
        self.asked: list[Asked] = []
        self.faults: list[str | int] = []
        self._lock = threading.Lock()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # or an answer in two parts waits for an acknowledgement

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                api._answer(self, {})

            def do_POST(self) -> None:
                api._answer(self, json.loads(self.rfile.read(int(self.headers["content-length"]))))

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *args: object) -> None:  # clients that went away
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def last(self) -> Asked:
        return self.asked[-1]

    @property
    def models(self) -> list[str]:
        return [each.body.get("model", "") for each in self.asked]

    def _answer(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            self.asked.append(Asked(handler.path, {k.lower(): v for k, v in handler.headers.items()}, body))
            fault = self.faults.pop(0) if self.faults else None
        if fault == "drop":
            handler.close_connection = True
            return
        if fault == "slow":
            time.sleep(0.6)
        if isinstance(fault, int):
            self._send(handler, {"error": {"message": "scripted", "type": "server_error", "code": None}}, fault)
        elif body.get("stream"):
            self._stream(handler, body, cut=fault == "cut")
        else:
            self._send(handler, self._content(handler.path, body), cut=fault == "cut")

    def _send(
        self, handler: BaseHTTPRequestHandler, content: dict[str, Any], status: int = 200, cut: bool = False
    ) -> None:
        data = json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.send_header("x-request-id", f"from-{self.says}")
        handler.end_headers()
        handler.wfile.write(data[:10] if cut else data)
        handler.close_connection |= cut

    def _content(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        model = body.get("model")
        if path.endswith("/models"):
            return {"object": "list", "data": [{"id": self.says, "object": "model", "created": 0, "owned_by": "me"}]}
        if path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
            usage = {"prompt_tokens": 1, "total_tokens": 1}
            return {"object": "list", "model": model, "data": [vector], "usage": usage}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        common = {"id": "1", "created": 0, "model": model, "usage": usage}
        if path.endswith("/chat/completions"):
            message: dict[str, Any] = {"role": "assistant", "content": self.says}
            if body.get("tools"):
                call = {"name": body["tools"][0]["function"]["name"], "arguments": '{"x": 1}'}
                message |= {"content": None, "tool_calls": [{"id": "c1", "type": "function", "function": call}]}
            elif body.get("response_format"):
                message["content"] = '{"answer": 4}'
            choice = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": None}
            return common | {"object": "chat.completion", "choices": [choice]}
        choice = {"index": 0, "finish_reason": "stop", "text": self.says, "logprobs": None}
        return common | {"object": "text_completion", "choices": [choice]}

    def _stream(self, handler: BaseHTTPRequestHandler, body: dict[str, Any], cut: bool) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        for index, part in enumerate([*self.says, ""]):
            delta = {"role": "assistant", "content": part} if part else {}
            choice = {"index": 0, "delta": delta, "finish_reason": None if part else "stop"}
            chunk = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": index,
                "model": body["model"],
                "choices": [choice],
            }
            self._chunk(handler, f"data: {json.dumps(chunk)}\n\n".encode())
            if cut:
                return
        self._chunk(handler, b"data: [DONE]\n\n")
        self._chunk(handler, b"")

    def _chunk(self, handler: BaseHTTPRequestHandler, data: bytes) -> None:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
