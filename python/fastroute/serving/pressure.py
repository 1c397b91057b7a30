"""How far the event loop is behind, and what those who ask too much are made to wait for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pressure"]

_TICK_SECONDS: Final = 0.01
_FADES: Final = 0.8  # of the delay that a tick leaves for the next one
_TOLERATED_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 1.0  # what a refusal's Retry-After says


class Pressure:
    """Watches an event loop, and keeps refused connections unread while it is behind; for use within that loop.

    Thousands of connections that ask again as soon as they are refused would get all of the loop's time for refusals.
    So each waits, for a second at most, until a request that was taken is done.

    Parameters
    ----------
    room
        Returns how many more requests can be taken now.

    Attributes
    ----------
    seconds
        By how much a timer was late, lately.
    """

    def __init__(self, room: Callable[[], int]) -> None:
        self.seconds = 0.0
        self._room = room
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    async def run(self) -> None:
        """Watch until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _TICK_SECONDS
            await asyncio.sleep(_TICK_SECONDS)
            now = clock()
            self.seconds = max(now - due, self.seconds * _FADES)
            for _ in range(min(self._room(), len(self._waiting))):
                self.release()
            while self._waiting and self._waiting[0][0] < now:
                self.release()

    def hold(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Leave a refused connection unread for a while; not at all where the loop keeps up."""
        if self.seconds > _TOLERATED_SECONDS:
            pause()
            self._waiting.append((asyncio.get_running_loop().time() + _LONGEST_SECONDS, resume))

    def release(self) -> None:
        """Read the connection again that has waited the longest."""
        if self._waiting:
            self._waiting.popleft()[1]()
