"""Clients that leave before they have their answer, or take nothing more of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONNECTION", "Connection", "Patience", "Watch"]

# In ASGI's scope, where `protocol` puts it: a task for each request that waits for a disconnection costs a sixth of it.
CONNECTION: Final = "fastroute.connection"


class Connection:
    """A client's connection, as the requests over it see it; for use within one event loop.

    Parameters
    ----------
    abort
        Ends it at once; `lose` follows.
    """

    __slots__ = ("_lost", "_watches", "abort")

    def __init__(self, abort: Callable[[], None]) -> None:
        self.abort = abort
        self._lost = False
        self._watches: set[Watch] = set()

    def add(self, watch: Watch) -> None:
        """Tell it once the connection is lost; at once if it is."""
        self._watches.add(watch)
        if self._lost:
            watch.leave()

    def discard(self, watch: Watch) -> None:
        """Tell it nothing any more."""
        self._watches.discard(watch)

    def lose(self) -> None:
        """Tell all that wait."""
        self._lost = True
        for watch in tuple(self._watches):
            watch.leave()


class Watch:
    """Cancels the task that made it once the client has gone.

    Attributes
    ----------
    gone
        Whether it has.
    """

    __slots__ = ("_connection", "_owner", "gone")

    def __init__(self, connection: Connection) -> None:
        self.gone = False
        self._owner = asyncio.current_task()
        self._connection = connection
        connection.add(self)

    def leave(self) -> None:
        """Take the client for one that has gone."""
        self.gone = True
        if self._owner is not None:
            self._owner.cancel()

    def end(self) -> None:
        """Take the client for one that has gone, and end its connection."""
        self.leave()
        self._connection.abort()

    def stop(self) -> None:
        """Watch no longer."""
        self._connection.discard(self)


class Patience:
    """Ends the connection of a client that takes nothing of an answer for so long.

    One timer for all parts of an answer: one for each would cost as much as sending it.

    Parameters
    ----------
    watch
        Told when it is over.
    seconds
        For one part.
    """

    __slots__ = ("_loop", "_seconds", "_since", "_timer", "_watch")

    def __init__(self, watch: Watch, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._watch, self._seconds = watch, seconds
        self._since: float | None = None
        self._timer = self._loop.call_later(seconds, self._look)

    def begin(self) -> None:
        """Begin to wait for a part to be taken."""
        self._since = self._loop.time()

    def end(self) -> None:
        """Wait no longer: it has been taken."""
        self._since = None

    def stop(self) -> None:
        """Look no longer."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        left = self._seconds if self._since is None else self._since + self._seconds - now
        if left <= 0:
            self._watch.end()
        else:
            self._timer = self._loop.call_later(left, self._look)
