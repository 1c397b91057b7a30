"""Times of single calls: one prompt in, one decision out, on one thread."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute import _core
from fastroute.errors import InvalidArgumentError
from fastroute.overhead.prompts import prompts_of, tokenizer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.routers import Router

__all__ = ["Timing", "time_router"]

_FEWEST, _MOST = 20, 1_000_000  # calls


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a decision takes.

    Attributes
    ----------
    tokens
        Of a prompt: the median of those that were asked.
    own_tokenizer
        Whether the router's tokenizer counted them; the built-in one did where it has none.
    calls
        How many were timed.
    median, p99
        Seconds of one call.
    core
        Seconds of processor time of one call, the mean: what a core is busy for, whoever else wants the machine.
        The clock's own time, some 50 ns a reading, is in all three.
    """

    tokens: int
    own_tokenizer: bool
    calls: int
    median: float
    p99: float
    core: float


def time_router(router: Router, tokens: int, *, seconds: float = 1.0) -> Timing:
    """Time `router.route` on ten prompts by turns, each a str, tokenization and embedding included.

    Not for two threads at once: batches of the whole process use one thread meanwhile.

    Parameters
    ----------
    router
        Any.
    tokens
        Of a prompt, by the router's own tokenizer where it has one.
    seconds
        Calls are timed for about so long, 20 of them however long they take; above 0.

    Raises
    ------
    InvalidArgumentError
        `tokens` or `seconds` is outside its range.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidArgumentError(f"seconds: found {seconds!r}, allowed: a finite number above 0")
    own = tokenizer_of(router)
    prompts = prompts_of(tokens, own)
    before = _core.num_threads()
    _core.set_num_threads(1)
    try:
        taken, core = _times(router, prompts, seconds)
    finally:
        _core.set_num_threads(before)
    counted = tokens if own is None else int(np.median([len(own(prompt)) for prompt in prompts]))
    return Timing(
        tokens=counted,
        own_tokenizer=own is not None,
        calls=len(taken),
        median=float(np.median(taken)) / 1e9,
        p99=float(np.percentile(taken, 99)) / 1e9,
        core=core,
    )


def _times(router: Router, prompts: tuple[str, ...], seconds: float) -> tuple[NDArray[np.int64], float]:
    """Nanoseconds of each call, and mean seconds of processor time."""
    route, clock = router.route, time.perf_counter_ns
    for prompt in prompts:  # what is slow the first time only
        route(prompt)
    rounds: list[list[int]] = []
    calls = 0
    ends, busy = clock() + int(seconds * 1e9), time.process_time_ns()
    while calls < _FEWEST or (calls < _MOST and clock() < ends):
        times = []
        for prompt in prompts:
            start = clock()
            route(prompt)
            times.append(clock() - start)
        rounds.append(times)
        calls += len(times)
    busy = time.process_time_ns() - busy
    return np.array(rounds, np.int64).reshape(-1), busy / calls / 1e9
