"""How each server is started, on a core of its own, and what its process takes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.reference.routellm_peer import VARIABLE as ROUTELLM_PYTHON

from benchmarks.serving.traffic import CHAT, ScriptedModel, requests_for

LITELLM_PYTHON = "FASTROUTE_LITELLM_PYTHON"
KEY = "client-key-of-the-benchmark"
CORE = min(os.sched_getaffinity(0))  # the server's; clients and the model take the last one
STRONG, WEAK = "strong", "weak"
PATIENCE = 120.0  # seconds that a server may take to start


class Server:
    """A process that serves, with one core.

    Parameters
    ----------
    name
        What tables call it.
    command, environment
        Of the process.
    port
        Where it listens.
    model
        What requests ask it for.
    key
        What clients show, None where it takes none.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        port: int,
        model: str,
        key: str | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path,
        cores: set[int] | None = None,
    ) -> None:
        self.name, self.port, self.model, self.key = name, port, model, key
        self.python = command[0]
        self._log = log
        wanted = {CORE} if cores is None else cores
        start = time.perf_counter()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                stdout=file,
                stderr=file,
                env={**os.environ, "NO_PROXY": "127.0.0.1", **(environment or {})},
            )
        os.sched_setaffinity(self.process.pid, wanted)
        try:
            self._wait()
        except BaseException:
            self.end()
            raise
        self.start_seconds = time.perf_counter() - start

    def __enter__(self) -> Server:  # noqa: PYI034 - Self came with Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def requests(
        self, prompts: Sequence[str], model: str | None = None, path: str = CHAT, **members: Any
    ) -> list[bytes]:
        """Return requests as this server wants them."""
        return requests_for(prompts, model or self.model, key=self.key, path=path, **members)

    def version(self) -> str:
        """Of the package."""
        program = f"from importlib.metadata import version; print(version({self.name.lower()!r}))"
        return subprocess.run([self.python, "-c", program], check=True, capture_output=True, text=True).stdout.strip()

    def cpu_seconds(self) -> float:
        """Time that the process has had of a processor, to 10 ms."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def alone(self, begun: Sequence[Server]) -> Iterator[None]:
        """Keep the other servers of its core from running."""
        others = [server for server in begun if server is not self]
        for server in others:
            server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for server in others:
                server.process.send_signal(signal.SIGCONT)

    def resident_bytes(self) -> int:
        """Memory of the process."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) << 10
        raise RuntimeError(f"{self.name} has ended: {self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-2000:]

    def metric(self, sample: str) -> float:
        """A sample of fastroute's /metrics by its name and labels, 0 where there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/metrics", headers={"authorization": f"Bearer {self.key}"})
        text = connection.getresponse().read().decode()
        connection.close()
        for line in text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def end(self) -> None:
        """End it, at once if it does not want to."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _wait(self) -> None:
        """Wait until it passes on an answer."""
        (request,) = self.requests(["Hello"])
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} has ended: {self.tail()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    connection.sendall(request)
                    if connection.recv(1 << 16).startswith(b"HTTP/1.1 200"):
                        return
            except OSError:
                pass
            time.sleep(0.005)
        raise RuntimeError(f"{self.name} does not answer: {self.tail()}")


def fastroute(
    folder: Path,
    model: ScriptedModel,
    *,
    routers: Sequence[str | dict[str, Any]] = ("experts",),
    cores: set[int] | None = None,
    python: str = sys.executable,
    **changes: Any,
) -> Server:
    """Start ``fastroute serve`` with authentication, limits and metrics, as it always has them."""
    pair = {"strong": STRONG, "weak": WEAK}
    port = free_port()
    keys = folder / "keys"
    keys.write_text(KEY)
    config = {
        "listen": {"port": port},
        "client_keys": {"file": str(keys)},
        "models": [
            {"name": STRONG, "base_url": model.url, "price": {"input": 10, "output": 30}},
            {"name": WEAK, "base_url": model.url, "price": {"input": 0.24, "output": 0.24}},
        ],
        "routers": [each if isinstance(each, dict) else {"label": each, **pair} for each in routers],
    }
    if not routers:
        del config["routers"]
    path = folder / "fastroute.yaml"
    path.write_text(json.dumps(config | changes))
    command = [python, "-m", "fastroute", "serve", "--config", str(path)]
    model_name = "auto" if routers else WEAK
    return Server("fastroute", command, port=port, model=model_name, key=KEY, log=folder / "fastroute.log", cores=cores)


def litellm(folder: Path, model: ScriptedModel) -> Server | None:
    """Start LiteLLM's proxy, one worker, with its master key; None where no Python has it."""
    python = os.environ.get(LITELLM_PYTHON)
    if not python:
        return None
    parameters = {"model": f"openai/{WEAK}", "api_base": model.url, "api_key": "unused"}
    path = folder / "litellm.yaml"
    path.write_text(json.dumps({"model_list": [{"model_name": WEAK, "litellm_params": parameters}]}))
    port = free_port()
    environment = {
        "LITELLM_MASTER_KEY": KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
    }
    command = [
        python,
        str(Path(python).with_name("litellm")),
        "--config",
        str(path),
        "--port",
        str(port),
        "--num_workers",
        "1",
    ]
    command += ["--host", "127.0.0.1", "--telemetry", "False"]
    return Server(
        "LiteLLM", command, port=port, model=WEAK, key=KEY, environment=environment, log=folder / "litellm.log"
    )


def routellm(folder: Path, model: ScriptedModel) -> Server | None:
    """Start RouteLLM's server with its router `random`, which costs nothing; None where no Python has it.

    Its models are named as LiteLLM wants them, and it takes no keys.
    """
    python = os.environ.get(ROUTELLM_PYTHON)
    if not python:
        return None
    port = free_port()
    command = [python, "-m", "routellm.openai_server", "--routers", "random", "--port", str(port), "--workers", "1"]
    command += ["--base-url", model.url, "--api-key", "unused"]
    command += ["--strong-model", f"openai/{STRONG}", "--weak-model", f"openai/{WEAK}"]
    environment = {"OPENAI_API_KEY": "unused", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "HF_HUB_OFFLINE": "1"}
    return Server(
        "RouteLLM",
        command,
        port=port,
        model="router-random-0.5",
        environment=environment,
        log=folder / "routellm.log",
    )


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
