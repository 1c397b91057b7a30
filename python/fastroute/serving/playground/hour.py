"""What was routed in the last hour, minute by minute, in memory of a fixed size.

Each figure is a ring of 60 minutes. Counting touches two or three cells of an array; whatever can be left to the
reader of the figures is.
"""

from __future__ import annotations

import math
import time
from array import array
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from numpy.typing import NDArray

__all__ = ["BINS", "MINUTES", "Hour"]

MINUTES: Final = 60
BINS: Final = 1000  # of scores, each closed below; a score of 1 has one more to itself
_SCORES: Final = BINS + 1
_SECONDS_A_MINUTE: Final = 60.0
# Buckets of times: eight to a doubling, from a nanosecond to 18 minutes. Their middles are within 4.5% of what is in.
_AN_OCTAVE: Final = 8
_TIMES: Final = 40 * _AN_OCTAVE


class Hour:
    """Counts of the last 60 minutes, of which the last one is under way; for use within one event loop.

    Parameters
    ----------
    clock
        Seconds, never back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = clock() + _SECONDS_A_MINUTE
        self._slot = 0
        self._routers: dict[str, _Routed] = {}
        self._direct: dict[str, _Ring] = {}
        self._upstreams: dict[str, _Ring] = {}
        self._kept: Mapping[str, Hashable] = {}

    def decided(self, router: str, model: str, score: float, seconds: float | None) -> None:
        """Count a request that a router decided, in `seconds`; None where the decision is that of its session."""
        slot = self._now()
        routed = self._routers.get(router) or self._router(router)
        (routed.models.get(model) or routed.model(model)).cells[slot] += 1
        # A score such as .57 is as it is read, though its float is a hair below.
        routed.scores.cells[slot * _SCORES + int(score * BINS + 1e-9)] += 1
        if seconds is None:
            routed.sticky.cells[slot] += 1
        else:
            routed.times.cells[slot * _TIMES + _bucket(seconds)] += 1

    def undecided(self, router: str, model: str) -> None:
        """Count a request that went to the default model since routing failed."""
        slot = self._now()
        routed = self._routers.get(router) or self._router(router)
        (routed.models.get(model) or routed.model(model)).cells[slot] += 1
        routed.failures.cells[slot] += 1

    def chosen(self, model: str) -> None:
        """Count a request whose client chose the model."""
        slot = self._now()
        ring = self._direct.get(model)
        if ring is None:
            ring = self._direct[model] = _Ring()
        ring.cells[slot] += 1

    def fell_back(self, router: str) -> None:
        """Count a request that the router's other model was asked, since the first failed."""
        slot = self._now()
        self._router(router).fallbacks.cells[slot] += 1

    def saved(self, router: str, dollars: float) -> None:
        """Add dollars against the strong model's price."""
        slot = self._now()
        self._router(router).dollars.cells[slot] += dollars

    def answered(self, model: str, seconds: float) -> None:
        """Count an answer of a model by the time to the first byte of a stream, the last of another answer."""
        slot = self._now()
        ring = self._upstreams.get(model)
        if ring is None:
            ring = self._upstreams[model] = _Ring(_TIMES)
        ring.cells[slot * _TIMES + _bucket(seconds)] += 1

    def keep(self, routers: Mapping[str, Hashable], models: Mapping[str, object]) -> None:
        """Follow a new configuration: forget what is not in it.

        Parameters
        ----------
        routers
            By label, what tells a router from another under the same label, whose counts would mean something else.
        models
            By name.
        """
        for label in list(self._routers):
            if label not in routers or routers[label] != self._kept.get(label):
                del self._routers[label]
        for rings in (self._direct, self._upstreams):
            for name in rings.keys() - models.keys():
                del rings[name]
        self._kept = dict(routers)

    def router(self, label: str) -> dict[str, Any]:
        """Return a router's figures for JSON: lists have a value for each minute, the oldest first, but for scores.

        ``scores`` counts requests by score in thousandths, 1,001 of them; ``seconds`` holds quantiles.
        """
        self._now()
        routed = self._routers.get(label) or _Routed()
        return {
            "requests": {name: self._minutes(ring) for name, ring in routed.models.items()},
            "scores": self._table(routed.scores).sum(axis=0).tolist(),
            "seconds": self._times(routed.times),
            "sticky": self._minutes(routed.sticky),
            "failures": self._minutes(routed.failures),
            "fallbacks": self._minutes(routed.fallbacks),
            "dollars": self._minutes(routed.dollars),
        }

    def direct(self) -> dict[str, list[int]]:
        """Return requests a minute for each model that clients chose, the oldest first."""
        self._now()
        return {name: self._minutes(ring) for name, ring in self._direct.items()}

    def upstream(self, model: str) -> dict[str, Any]:
        """Return the quantiles of a model's times, for JSON."""
        self._now()
        return self._times(self._upstreams.get(model) or _Ring(_TIMES))

    def _router(self, label: str) -> _Routed:
        routed = self._routers.get(label)
        if routed is None:
            routed = self._routers[label] = _Routed()
        return routed

    def _now(self) -> int:
        """Return the place of this minute."""
        now = self._clock()
        if now >= self._ends:
            self._turn(now)
        return self._slot

    def _turn(self, now: float) -> None:
        """Clear what is older than an hour."""
        passed = 1 + int((now - self._ends) / _SECONDS_A_MINUTE)
        self._ends += passed * _SECONDS_A_MINUTE
        rings = [*self._direct.values(), *self._upstreams.values()]
        for routed in self._routers.values():
            rings += routed.rings()
        for _ in range(min(passed, MINUTES)):
            self._slot = (self._slot + 1) % MINUTES
            for ring in rings:
                ring.clear(self._slot)

    def _table(self, ring: _Ring) -> NDArray[Any]:
        """Return (60, width), the oldest minute first."""
        return np.roll(ring.table(), -(self._slot + 1), axis=0)

    def _minutes(self, ring: _Ring) -> list[Any]:
        return self._table(ring)[:, 0].tolist()  # type: ignore[no-any-return]

    def _times(self, ring: _Ring) -> dict[str, Any]:
        table = self._table(ring)
        whole = table.sum(axis=0, keepdims=True)
        found: dict[str, Any] = {"count": int(whole.sum())}
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            found[name] = _quantiles(whole, share)[0]
            found[f"{name}_by_minute"] = _quantiles(table, share)
        return found


class _Ring:
    """Counts of 60 minutes, `width` of each."""

    __slots__ = ("_width", "cells")

    def __init__(self, width: int = 1, kind: str = "I") -> None:
        self._width = width
        self.cells: array[Any] = array(kind, bytes(MINUTES * width * array(kind).itemsize))

    def clear(self, slot: int) -> None:
        """Forget a minute."""
        first = slot * self._width
        self.cells[first : first + self._width] = array(self.cells.typecode, bytes(self._width * self.cells.itemsize))

    def table(self) -> NDArray[Any]:
        """Return a view, (60, width)."""
        kind = np.float64 if self.cells.typecode == "d" else np.uintc
        return np.frombuffer(self.cells, kind).reshape(MINUTES, self._width)


class _Routed:
    """The rings of one router."""

    __slots__ = ("dollars", "failures", "fallbacks", "models", "scores", "sticky", "times")

    def __init__(self) -> None:
        self.models: dict[str, _Ring] = {}
        self.scores = _Ring(_SCORES)
        self.times = _Ring(_TIMES)
        self.sticky, self.failures, self.fallbacks = _Ring(), _Ring(), _Ring()
        self.dollars = _Ring(kind="d")

    def model(self, name: str) -> _Ring:
        """Return a new ring for a model."""
        ring = self.models[name] = _Ring()
        return ring

    def rings(self) -> list[_Ring]:
        """Return all of them."""
        one_by_one = (self.scores, self.times, self.sticky, self.failures, self.fallbacks, self.dollars)
        return [*self.models.values(), *one_by_one]


def _bucket(seconds: float) -> int:
    nanoseconds = seconds * 1e9
    if nanoseconds <= 1:
        return 0
    return min(int(math.log2(nanoseconds) * _AN_OCTAVE), _TIMES - 1)


def _quantiles(table: NDArray[Any], share: float) -> list[float | None]:
    """Return a quantile in seconds for each row of counts; None where a row is empty."""
    below = np.cumsum(table, axis=1, dtype=np.int64)
    total = below[:, -1:]
    buckets = (below < np.maximum(np.ceil(total * share), 1)).sum(axis=1)
    seconds = np.exp2((buckets + 0.5) / _AN_OCTAVE) / 1e9
    return [float(s) if n else None for s, n in zip(seconds, total[:, 0], strict=True)]
