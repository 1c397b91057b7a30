"""Timing, what this machine can do at best, and what it is."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import fastroute
from benchmarks.curves.plots import FORMAT, Plot, Point
from benchmarks.results import commit
from fastroute import _core

CHECKOUT = Path(__file__).resolve().parents[2]
SHORTEST = 200e-6  # seconds: shorter calls are timed many at a time
_SMALLEST, _LARGEST = 1 << 15, 1 << 28  # bytes: what fits a core's first cache, and what is many times the last one
PACKAGES = ("numpy", "faiss-cpu")


class Clock:
    """Medians of repeated calls; progress goes to stderr."""

    def __init__(self, *, quick: bool) -> None:
        self.quick = quick
        self._repetitions, self._budget = (5, 0.1) if quick else (101, 1.5)

    def time(self, call: Callable[[], Any], x: float, *, share: int = 1, limit: float | None = None) -> Point:
        """Time a call.

        Parameters
        ----------
        x
            Where the point lies.
        share
            How many of what is counted the call does at once: the time is that of one.
        limit
            Seconds that one of them needs at least.
        """
        times = np.array(self._times(call)) / share
        low, median, high = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
        return Point(x, median, low, high, len(times), limit)

    def best(self, call: Callable[[], Any]) -> float:
        """Seconds of the quickest repetition: for limits, which other work on the machine must not move."""
        return min(self._times(call))

    def _times(self, call: Callable[[], Any]) -> list[float]:
        call()  # caches, workspaces and branches
        together = 1
        while (took := self._run(call, together)) < SHORTEST:
            together *= 2
        repetitions = int(min(self._repetitions, max(3, self._budget / took)))
        return [self._run(call, together) / together for _ in range(repetitions)]

    @staticmethod
    def _run(call: Callable[[], Any], times: int) -> float:
        start = perf_counter()
        for _ in itertools.repeat(None, times):
            call()
        return perf_counter() - start

    def say(self, text: str) -> None:
        print(f"{dt.datetime.now(dt.timezone.utc):%H:%M:%S} {text}", file=sys.stderr, flush=True)

    def show(self, name: str, point: Point) -> Point:
        """Print a point and pass it on."""
        ratio = "" if point.ratio is None else f", {point.ratio:.2f} times the limit"
        self.say(f"  {name}, {point.x:,.0f}: {point.seconds * 1e6:,.2f} us{ratio}")
        return point


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let batches use so many threads meanwhile."""
    before = fastroute.info().threads
    fastroute.set_num_threads(count)
    try:
        yield
    finally:
        fastroute.set_num_threads(before)


class Reader:
    """How long one thread reads so many bytes: the quicker of NumPy's sum of int64 and BLAS's product of floats.

    A buffer that fits a cache is read from there, as it is between calls of what is measured. What a call of the
    function takes on next to nothing is taken off. Fewer bytes than `_SMALLEST` and more than `_LARGEST` are in
    proportion to those.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[int, float] = {}
        self._calls: tuple[float, float] | None = None

    def seconds(self, count: int) -> float:
        """Seconds to read `count` bytes, on one thread."""
        within = min(max(count, _SMALLEST), _LARGEST) // 8 * 8
        if within not in self._known:
            if self._calls is None:
                self._calls = self._times(8)
            self._known[within] = min(a - b for a, b in zip(self._times(within), self._calls, strict=True))
        return self._known[within] * count / within

    def _times(self, count: int) -> tuple[float, float]:
        words = np.ones(count // 8, np.int64)
        floats = words.view(np.float32)
        floats[:] = 1.0
        return self._clock.best(words.sum), self._clock.best(lambda: np.dot(floats, floats))

    def rate(self, count: int) -> float:
        """Bytes a second, of so many bytes."""
        return count / self.seconds(count)


def native_call(clock: Clock) -> float:
    """Seconds of a native call that does nothing, as Python makes it."""
    return clock.best(_core.num_threads)


def int8_rate(clock: Clock) -> float:
    """Products of int8 and sums a second of the kernel on one thread: 64 queries over rows that fit the cache.

    From what twice the dimensions take longer, so that only the kernel and reading the queries are in it; the most
    of some shapes.
    """
    rng = np.random.default_rng(2)
    best = 0.0
    with threads(1):
        for rows, dim in ((2048, 1024), (4096, 1024), (8192, 512)):
            took = []
            for columns in (dim, 2 * dim):
                codes = rng.integers(-127, 128, (rows, columns), np.int8)
                index = _core.SimilarityIndex(codes, np.full(rows, 1 / (73 * columns**0.5), np.float32))
                queries = rng.standard_normal((64, columns)).astype(np.float32)
                took.append(clock.best(partial(index.nearest, queries, 1)))
            best = max(best, 64 * rows * dim / (took[1] - took[0]))
    return best


def _from_proc(file: str, name: str) -> str | None:
    path = Path("/proc") / file
    found = re.search(rf"^{name}\s*:\s*(.*)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1] if found else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def document(plots: list[Plot], *, command: str, load: tuple[float, ...], quick: bool) -> dict[str, Any]:
    """The whole of a result file."""
    versions = {"python": platform.python_version(), "fastroute": fastroute.__version__}
    return {
        "format": FORMAT,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "command": command,
        "quick": quick,
        "commit": commit(),
        "machine": {
            "cpu": _from_proc("cpuinfo", "model name") or platform.processor() or platform.machine(),
            "family": _from_proc("cpuinfo", "cpu family"),
            "model": _from_proc("cpuinfo", "model"),
            "cores": cores(),
            "simd": fastroute.info().simd,
            "memory": _from_proc("meminfo", "MemTotal"),
            "system": f"{platform.system()} {platform.machine()}",
            "load": [round(each, 2) for each in load],
        },
        "versions": versions | {name: found for name in PACKAGES if (found := _version(name)) is not None},
        "plots": [plot.plain() for plot in plots],
    }
