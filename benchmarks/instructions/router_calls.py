"""Calls the built-in routers under callgrind: ``python -m benchmarks.instructions.router_calls counting_requests.so``.

Each call is counted twice, at n and at 2 n repetitions: the difference is n calls, without what surrounds them.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastroute
from benchmarks.instructions.prompts import PROMPTS, SHORT
from fastroute.routers import MatrixFactorizationRouter

ROUTERS = ("experts", "mf", "sw_ranking", "knn")
# CPython 3.11 specialises code to the class it meets, and needs more than a hundred calls to change its mind.
WARM_UP = 500
REPETITIONS = 50
# Millions of instructions a call: two are as exact as many.
LONG_CALLS = ("sw_ranking", "knn")


class Counter:
    def __init__(self, library: Path) -> None:
        self._requests = ctypes.PyDLL(str(library))
        self._requests.end.argtypes = [ctypes.c_char_p]
        gc.collect()
        gc.disable()
        self._requests.switch_on()

    def count(self, label: str, call: Callable[[str], Any], prompt: str, repetitions: int) -> None:
        if repetitions == REPETITIONS:
            self._run(call, "why", WARM_UP)
        self._run(call, prompt, repetitions)
        for times in (repetitions, 2 * repetitions):
            name = f"{label} x {times}".encode()
            self._requests.begin()
            self._run(call, prompt, times)
            self._requests.end(name)

    @staticmethod
    def _run(call: Callable[[str], Any], prompt: str, times: int) -> None:
        for _ in itertools.repeat(None, times):
            call(prompt)


def with_extra_call(router: MatrixFactorizationRouter) -> Callable[[str], float]:
    """A regression to be found: one more function of Python between the caller and the score, that reads the prompt."""

    def score(prompt: str) -> float:
        checked = prompt.strip()
        return router.score(checked)

    return score


def main() -> None:
    """Count what the arguments name."""
    (library,) = sys.argv[1:]
    fastroute.set_num_threads(1)
    routers = {name: fastroute.load(name) for name in ROUTERS}
    print("simd", fastroute.info().simd)
    counter = Counter(Path(library))
    for name, router in routers.items():
        for length, prompt in PROMPTS.items():
            for call in (router.score, router.route):
                repetitions = 2 if name in LONG_CALLS else REPETITIONS
                counter.count(f"{name}.{call.__name__}, {length}", call, prompt, repetitions)
        if isinstance(router, MatrixFactorizationRouter):
            counter.count("slowed mf.score, 20 tokens", with_extra_call(router), SHORT, REPETITIONS)


if __name__ == "__main__":
    main()
