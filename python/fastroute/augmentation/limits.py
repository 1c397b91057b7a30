"""How fast, how often and for how much requests are sent."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from fastroute.errors import InvalidArgumentError

__all__ = ["CapReachedError", "Limits", "Spending"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a run.

    Attributes
    ----------
    concurrency
        Requests under way at once.
    requests_per_minute
        Of each model, evenly spaced; None for no limit.
    max_dollars
        What the labels of an output folder may cost, earlier runs included. A request is sent only if its worst case
        fits, with those under way at their worst.
    tries
        How often a request is sent until it is answered.
    timeout
        Seconds for an answer.
    backoff
        Seconds before the second try, at most; doubled for each one after it, up to a minute, and drawn at random.
    reasks
        How often the judge is asked again after a malformed reply.
    failures_in_a_row
        So many requests that failed for good, with no answer in between, end the run.

    Raises
    ------
    InvalidArgumentError
        One of them has a value that is not allowed.
    """

    concurrency: int = 8
    requests_per_minute: float | None = None
    max_dollars: float | None = None
    tries: int = 5
    timeout: float = 120.0
    backoff: float = 1.0
    reasks: int = 1
    failures_in_a_row: int = 10

    def __post_init__(self) -> None:
        for name, least in (("concurrency", 1), ("tries", 1), ("reasks", 0), ("failures_in_a_row", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InvalidArgumentError(f"{name}: found {value!r}; allowed: a whole number, {least} or more")
        for name in ("requests_per_minute", "max_dollars", "timeout", "backoff"):
            value = getattr(self, name)
            optional = name in ("requests_per_minute", "max_dollars")
            if not (value is None and optional) and not (isinstance(value, (int, float)) and 0 < value < math.inf):
                raise InvalidArgumentError(f"{name}: found {value!r}; allowed: a number above 0")


class CapReachedError(Exception):
    """The next request could take the cost past the cap."""


class Spending:
    """Holds the dollars of requests under way against a cap; used within one event loop."""

    def __init__(self, cap: float | None, spent: float) -> None:
        self._cap = cap
        self._spent = spent
        self._held: list[float] = []
        self._settled = asyncio.Event()

    async def hold(self, worst: float) -> None:
        """Set aside the worst case of a request, once it fits.

        Raises
        ------
        CapReachedError
            It does not fit with nothing under way.
        """
        while self._cap is not None and self._spent + math.fsum(self._held) + worst > self._cap:
            if not self._held:
                raise CapReachedError
            await self._settled.wait()
        self._held.append(worst)

    def settle(self, worst: float, charged: float) -> None:
        """Replace what was held by what it came to."""
        self._held.remove(worst)
        self._spent += charged
        self._settled.set()
        self._settled = asyncio.Event()
