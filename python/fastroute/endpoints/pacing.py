"""When the next request is sent: evenly spaced, later where the server says so, at random after a failure."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RateLimit", "backoff_seconds"]

_LONGEST_BACKOFF = 60.0  # seconds


class RateLimit:
    """Spaces the requests of one model evenly; a server's wish to wait holds for all of them.

    Parameters
    ----------
    per_minute
        None for no limit.
    clock
        Seconds since any fixed time.
    """

    def __init__(self, per_minute: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 0.0 if per_minute is None else 60.0 / per_minute
        self._clock = clock
        self._next = -math.inf

    def take(self) -> float:
        """Return 0 if a request may be sent now, and count it; else the seconds to wait before asking again."""
        now = self._clock()
        if now < self._next:
            return self._next - now
        self._next = now + self._interval
        return 0.0

    def pause(self, seconds: float) -> None:
        """Let nothing be sent for so long."""
        self._next = max(self._next, self._clock() + seconds)


def backoff_seconds(first: float, failed: int) -> float:
    """Draw the wait after so many failures: at most `first` seconds, doubled for each one but the first."""
    most = min(first * 2.0 ** (failed - 1), _LONGEST_BACKOFF)
    return random.uniform(most / 2, most)  # noqa: S311  spreads load, keeps no secret
