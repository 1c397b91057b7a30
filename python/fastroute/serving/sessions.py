"""Decisions that stick to a session for a while, so that the caches of its prompts keep their value."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from fastroute.policies import Decision

__all__ = ["Sessions"]


class Sessions:
    """The latest sessions and what was decided for them; for use within one event loop.

    Parameters
    ----------
    seconds
        How long a session may be silent before it is decided anew; 0 keeps none.
    most
        Number of sessions; the one that was silent the longest makes room.
    clock
        Seconds, never back.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, Decision]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: Hashable) -> Decision | None:
        """Return what was decided and keep it for another while, None where nothing is known."""
        found = self._kept.get(key)
        if found is None:
            return None
        now = self._clock()
        if found[0] < now:
            del self._kept[key]
            return None
        self._kept[key] = now + self._seconds, found[1]
        self._kept.move_to_end(key)
        return found[1]

    def keep(self, key: Hashable, decision: Decision) -> None:
        """Remember a decision."""
        if not self._seconds:
            return
        now = self._clock()
        self._kept[key] = now + self._seconds, decision
        self._kept.move_to_end(key)
        while self._kept and (len(self._kept) > self._most or next(iter(self._kept.values()))[0] < now):
            self._kept.popitem(last=False)

    def resize(self, seconds: float, most: int) -> None:
        """Take other bounds from now on."""
        self._seconds, self._most = seconds, most
        while len(self._kept) > most or (not seconds and self._kept):
            self._kept.popitem(last=False)
