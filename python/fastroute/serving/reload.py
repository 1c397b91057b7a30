"""A new configuration in place of the old, when a signal or a changed file asks for it."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastroute.errors import FastrouteError
from fastroute.loading import locate
from fastroute.serving.config import read_config
from fastroute.serving.gateway import load_gateway
from fastroute.serving.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastroute.serving.app import App
    from fastroute.serving.config import Config
    from fastroute.serving.gateway import Gateway
    from fastroute.serving.metrics import Metrics
    from fastroute.serving.sessions import Sessions

__all__ = ["Reloader"]

_LOG: Final = logging.getLogger("fastroute.serving")

State = tuple[int, int, int] | None


class Reloader:
    """Watches the files of a configuration and loads them anew. What is bad is logged, and the old stays.

    Parameters
    ----------
    app
        Which gets the new gateway; requests under way keep theirs.
    """

    def __init__(self, app: App, sessions: Sessions, metrics: Metrics) -> None:
        self._app = app
        self._sessions = sessions
        self._metrics = metrics
        self._asked = asyncio.Event()
        self._seen = _states(app.gateway.config)
        # Always the same one: each thread keeps the memory of what it has loaded for what it loads next.
        self._thread = one_thread("loading")

    def ask(self) -> None:
        """Reload soon, whether anything has changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever there is reason to, until cancelled."""
        while True:
            config = self._app.gateway.config
            seconds = config.watch_seconds or None
            try:
                await asyncio.wait_for(self._asked.wait(), seconds)
            except asyncio.TimeoutError:
                if _states(config) == self._seen:
                    continue
            self._asked.clear()
            await self.reload()

    async def reload(self) -> bool:
        """Reload now, and return whether that went well."""
        old = self._app.gateway.config
        self._seen = _states(old)
        try:
            gateway = await asyncio.get_running_loop().run_in_executor(self._thread, _loaded, old.path)
        except FastrouteError as error:
            _LOG.error("not reloaded, the old configuration stays: %s", error)
            self._metrics.of(self._metrics.reloads, "failed").inc()
            return False
        new = gateway.config
        if (new.host, new.port) != (old.host, old.port):
            _LOG.warning("listen: takes effect at the next start")
        if new.client_keys is None and old.client_keys is not None:
            _LOG.error("not reloaded, the old configuration stays: client_keys can't be removed while running")
            self._metrics.of(self._metrics.reloads, "failed").inc()
            return False
        self._app.use(gateway)
        self._sessions.resize(new.session_seconds, new.most_sessions)
        # What was seen before the files were read: a change since then is one more reason.
        states = _states(new)
        self._seen = {path: self._seen.get(path, state) for path, state in states.items()}
        self._metrics.of(self._metrics.reloads, "done").inc()
        _LOG.info("reloaded %s", new.path)
        return True


def _loaded(path: Path) -> Gateway:
    return load_gateway(read_config(path))


def _states(config: Config) -> Mapping[Path, State]:
    """Return what tells that a file has changed, for each file."""
    paths = [config.path, *config.files]
    for settings in config.routers.values():
        if settings.artifact != "random":
            try:
                paths.append(locate(settings.artifact) / "router.json")
            except FastrouteError:
                paths.append(Path(settings.artifact))
    return {path: _state(path) for path in paths}


def _state(path: Path) -> State:
    try:
        found = os.stat(path)  # noqa: PTH116 - one call
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
