"""From the start of a server to its last request."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from fastroute.errors import EndpointError, MissingDependencyError
from fastroute.serving.app import App
from fastroute.serving.config import read_config
from fastroute.serving.gateway import load_gateway
from fastroute.serving.metrics import Metrics
from fastroute.serving.protocol import bounded_protocol
from fastroute.serving.reload import Reloader
from fastroute.serving.sessions import Sessions
from fastroute.serving.upstreams import Upstreams

if TYPE_CHECKING:
    import os
    import socket
    from collections.abc import Callable, Iterator

    from fastroute.serving.gateway import Gateway

__all__ = ["check", "serve"]

_LOG: Final = logging.getLogger("fastroute.serving")
_SWITCH_SECONDS: Final = 5e-4  # after them a scoring thread makes way for the event loop; Python's own are 5 ms
_COLLECTED_AFTER: Final = (5_000, 20, 100)  # requests make next to no cycles; a collection of 50,000 took 15 to 25 ms
_NEEDED: Final = ("aiohttp", "httptools", "orjson", "prometheus_client", "uvicorn", "uvloop", "yaml")


def check(path: str | os.PathLike[str]) -> Gateway:
    """Read a configuration and load its routers, as `serve` does at its start.

    Raises
    ------
    DataError
        It is not allowed, or a router can't be loaded.
    MissingDependencyError
        The extra [serve] is not installed.
    """
    _see_installed()
    return load_gateway(read_config(path))


def serve(path: str | os.PathLike[str], *, on_start: Callable[[str, int], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, and then until the requests under way are answered; main thread only.

    Parameters
    ----------
    path
        Of the configuration.
    on_start
        Called with the host and the port once connections are taken.

    Raises
    ------
    DataError, MissingDependencyError
        As `check`.
    EndpointError
        The address can't be listened at.
    """
    gateway = check(path)
    _log_to_stderr(gateway.config.log_level)
    _tune_interpreter()
    listener = _listener(gateway.config.host, gateway.config.port)
    import uvloop

    if sys.version_info >= (3, 12):
        asyncio.run(_run(gateway, listener, on_start), loop_factory=uvloop.new_event_loop)
        return
    loop = uvloop.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(_run(gateway, listener, on_start))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _run(gateway: Gateway, listener: socket.socket, on_start: Callable[[str, int], None] | None) -> None:
    import uvicorn

    from fastroute.endpoints.exchange import open_session

    config = gateway.config
    metrics, sessions = Metrics(), Sessions(config.session_seconds, config.most_sessions)
    session = open_session()
    app = App(gateway, Upstreams(session), metrics, sessions)
    reloader = Reloader(app, sessions, metrics)
    metrics.loop_delay.set_function(lambda: app.pressure.seconds)
    settings = uvicorn.Config(
        app,
        http=bounded_protocol(lambda: app.gateway.config.limits, app.turns_away, app.pressure),
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(config.limits.drain_seconds)),
    )

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # they are taken below, and not raised again at the end

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if on_start is not None:
                host, port = listener.getsockname()[:2]
                on_start(host, port)

    server = Server(settings)
    loop = asyncio.get_running_loop()

    def end() -> None:
        app.ready = False
        server.force_exit = server.should_exit
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, reloader.ask)
    watching = [loop.create_task(reloader.run()), loop.create_task(app.pressure.run())]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        await session.close()


def _listener(host: str, port: int) -> socket.socket:
    import socket

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise EndpointError(f"listen: found {host}:{port}, which is not free or not here ({error.strerror})") from None
    listener.setblocking(False)
    return listener


def _tune_interpreter() -> None:
    """Set what a process that only serves can set: how often threads and the garbage collector get their turn."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.set_threshold(*_COLLECTED_AFTER)


def _log_to_stderr(level: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("fastroute", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())


def _see_installed() -> None:
    from importlib.util import find_spec

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"serving needs {', '.join(missing)}, which is not installed: pip install 'fastroute[serve]'"
        )
