"""An OpenAI-compatible API that does as a test says, on a real socket."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What is sent back; `cut` bytes of the body are announced and then withheld. `reset` sends nothing at all."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    reset: bool = False


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float

    @property
    def model(self) -> str:
        return self.body["model"]

    @property
    def text(self) -> str:
        """All messages in one."""
        return "\n".join(message["content"] for message in self.body["messages"])

    @property
    def key(self) -> str:
        return json.dumps(self.body, sort_keys=True)


Script = Callable[[Request, int], "Reply | None"]


class ScriptedServer:
    """Answers with `script(request, how many like it came before)`; with `honest` where that returns None.

    Attributes
    ----------
    requests
        All of them, in order of arrival.
    answered
        How often each request was answered in full with status 200, by its body.
    under_way, most_at_once
        Requests without an answer so far, and the most that there were.
    ports
        The clients', one for each connection that a request came by.
    """

    def __init__(self, port: int = 0) -> None:
        self.script: Script = lambda request, seen: None
        self.requests: list[Request] = []
        self.answered: Counter[str] = Counter()
        self.most_at_once = 0
        self.ports: set[int] = set()
        self.released = threading.Event()
        self.under_way = 0
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def of(self, model: str) -> list[Request]:
        return [request for request in self.requests if request.model == model]

    def honest(self, request: Request) -> Reply:
        """Answer as the API does that this server stands for."""
        return Reply(b"", status=404)

    def hold(self) -> Reply:
        """Answer nothing until the test is over."""
        self.released.wait(30)
        return Reply(b"", status=503)

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        request = Request(handler.path, dict(handler.headers), body, time.monotonic())
        with self._lock:
            self.requests.append(request)
            self.ports.add(handler.client_address[1])
            seen = self._seen[request.key]
            self._seen[request.key] += 1
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            reply = self.script(request, seen) or self.honest(request)
        finally:
            with self._lock:
                self.under_way -= 1
        if reply.reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.close_connection = True
            return
        if reply.status == 200 and not reply.cut:
            with self._lock:
                self.answered[request.key] += 1
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body[: len(reply.body) - reply.cut])
        if reply.cut:
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128  # or a burst of connections waits a second for one to be tried again

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        """End those that a killed or impatient client left open."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


def _handler(scripted: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            scripted.serve(self)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
