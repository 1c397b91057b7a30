"""A server in a process of its own, in front of models that are scripted."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.serving.scripted_upstream import ScriptedUpstream

HARD = "Prove that the square root of two is irrational, and that every bounded monotone sequence converges."
CLIENT_KEY = "client-canary-4f9b"
UPSTREAM_KEY = "upstream-canary-81aa"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def error(self) -> dict[str, Any]:
        """The error, which has OpenAI's shape."""
        assert self.headers["content-type"] == "application/json", self.headers
        error = self.json["error"]
        assert {"message", "type", "param", "code"} <= set(error), error
        assert isinstance(error["message"], str)
        assert error["message"]
        return error  # type: ignore[no-any-return]


class Served:
    """``fastroute serve`` and quick ways to ask it."""

    def __init__(
        self, folder: Path, config: dict[str, Any], environment: dict[str, str], program: list[str] | None = None
    ) -> None:
        self.path = folder / "fastroute.yaml"
        self.path.write_text(json.dumps(config))  # JSON is YAML
        self.process = subprocess.Popen(
            [*(program or [sys.executable, "-m", "fastroute"]), "serve", "--config", str(self.path)],
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.log: list[str] = []
        self._told = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        line = self.wait_for_log(r"serving http://.*:(\d+)/v1")
        self.port = int(line[1])
        self._connection: http.client.HTTPConnection | None = None

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._told:
                self.log.append(line.decode())
                self._told.notify_all()
        with self._told:
            self._ended = True
            self._told.notify_all()

    def wait_for_log(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        with self._told:
            while True:
                for line in self.log:
                    if found := re.search(pattern, line):
                        return found
                left = deadline - time.monotonic()
                assert left > 0, f"no {pattern!r} in {self.log}"
                assert not self._ended, self.log
                self._told.wait(left)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def ask(
        self,
        path: str = "/v1/chat/completions",
        body: Any = None,
        headers: dict[str, str] | None = None,
        method: str | None = None,
    ) -> Reply:
        """Ask over a connection that is kept open."""
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        for attempt in range(2):
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                self._connection.request(
                    method or ("GET" if content is None else "POST"),
                    path,
                    content,
                    {"content-type": "application/json", **(headers or {})},
                )
                response = self._connection.getresponse()
                reply = Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            except (ConnectionError, http.client.BadStatusLine):
                self._connection.close()
                self._connection = None
                if attempt:
                    raise
                continue
            if response.will_close:
                self._connection.close()
                self._connection = None
            return reply
        raise AssertionError

    def chat(self, model: str = "auto", content: Any = HARD, **members: Any) -> Reply:
        headers = members.pop("headers", None)
        return self.ask(
            body={"model": model, "messages": [{"role": "user", "content": content}], **members}, headers=headers
        )

    def counted(self, name: str, headers: dict[str, str] | None = None) -> float:
        """A sample of /metrics by its name and labels."""
        for line in self.ask("/metrics", headers=headers).body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found
        return int(found[1]) << 10

    def end(self) -> int:
        if self._connection is not None:
            self._connection.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


Start = Callable[..., Served]


def configuration(upstream: ScriptedUpstream, **changes: Any) -> dict[str, Any]:
    """Two models and three routers."""
    models = [
        {"name": "big", "base_url": upstream.url("big"), "model": "vendor/big-1", "price": {"input": 10, "output": 30}},
        {"name": "small", "base_url": upstream.url("small"), "price": {"input": 1, "output": 1}},
    ]
    pair = {"strong": "big", "weak": "small"}
    routers = [{"label": "mf", "threshold": 0.5, **pair}, {"label": "random", "artifact": "random", **pair}]
    limits = {"connect_seconds": 2, "read_seconds": 20}
    listen = {"port": 0}
    return {"listen": listen, "models": models, "routers": routers, "limits": limits} | changes


@pytest.fixture(scope="session")
def _needed() -> None:
    for name in ("aiohttp", "httptools", "orjson", "prometheus_client", "uvicorn", "uvloop", "yaml"):
        pytest.importorskip(name, reason="needs the extra [serve]")


@pytest.fixture(scope="module")
def upstream(_needed: None) -> Iterator[ScriptedUpstream]:
    scripted = ScriptedUpstream()
    try:
        yield scripted
    finally:
        scripted.close()


@pytest.fixture(autouse=True)
def _clear(request: pytest.FixtureRequest) -> None:
    if "upstream" in request.fixturenames:
        request.getfixturevalue("upstream").clear()


@pytest.fixture(scope="module")
def start(upstream: ScriptedUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start servers; those that still run at the end must end well."""
    started: list[Served] = []

    def begin(environment: dict[str, str] | None = None, program: list[str] | None = None, **changes: Any) -> Served:
        config = configuration(upstream, **changes)
        served = Served(tmp_path_factory.mktemp("served"), config, environment or {}, program)
        started.append(served)
        return served

    yield begin
    codes = [served.end() for served in started if served.process.returncode is None]
    assert set(codes) <= {0}


@pytest.fixture(scope="module")
def served(start: Start) -> Served:
    """A server without keys."""
    return start()
