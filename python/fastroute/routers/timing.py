"""How long a prompt takes."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["mean_microseconds"]

_SECONDS: Final = 1.0
_ROUNDS: Final = 3


def mean_microseconds(call: Callable[..., Any], prompts: Sequence[str]) -> float:
    """Mean time of a call with one prompt, in the best of three rounds, or over as many as a second has room for."""
    call(prompts[0])  # what is slow the first time only
    best, ends = math.inf, time.perf_counter() + _SECONDS
    for _ in range(_ROUNDS):
        started, done = time.perf_counter(), 0
        for prompt in prompts:
            call(prompt)
            done += 1
            if time.perf_counter() > ends:
                break
        if best == math.inf or done == len(prompts):
            best = min(best, (time.perf_counter() - started) / done)
        if time.perf_counter() > ends:
            break
    return best * 1e6
