"""One router in many threads, and Python threads that go on during native work (scorecard 21)."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.reference.tiny_artifacts import random_weights, write_router

import fastroute
from fastroute.routers import MatrixFactorizationRouter

TEXTS = [f"prove that the sum of {n} is {'[MASK]' * (n % 3)} \u4e2d" for n in range(300)]


def test_mixed_calls_in_many_threads(router: MatrixFactorizationRouter, threads: Callable[[int], None]) -> None:
    rows = router.encoder.embed(TEXTS)
    scores, from_rows, ratings = router.score(TEXTS), router.score_embeddings(rows), router.score_models(TEXTS)
    ids = [router.encoder.tokenize(text) for text in TEXTS]

    def work(seed: int) -> int:
        rng = np.random.default_rng(seed)
        wrong = 0
        for _ in range(400):
            i = int(rng.integers(len(TEXTS) - 1))
            part = slice(i, int(rng.integers(i + 1, len(TEXTS))))
            match rng.integers(7):
                case 0:
                    wrong += not np.array_equal(router.score(TEXTS[part]), scores[part])
                case 1:
                    wrong += not np.array_equal(router.score_embeddings(rows[part]), from_rows[part])
                case 2:
                    wrong += not np.array_equal(router.encoder.embed(TEXTS[part]), rows[part])
                case 3:
                    wrong += not np.array_equal(router.score_models(TEXTS[part]), ratings[part])
                case 4:
                    wrong += router.encoder.tokenize(TEXTS[i]) != ids[i]
                case 5:
                    wrong += router.route(TEXTS[i]).score != scores[i]
                case _:
                    threads(int(rng.integers(1, 9)))
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 0


@pytest.fixture
def short_switches() -> Iterator[None]:
    """Ask for the interpreter more often, so that a held lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("work", ["score a batch", "score one", "score embeddings", "embed", "tokenize"])
@pytest.mark.usefixtures("short_switches")
def test_other_threads_run_during_native_work(
    work: str, router: MatrixFactorizationRouter, threads: Callable[[int], None], tmp_path: Path
) -> None:
    """A thread that counts makes much of the progress that it makes alone; with the lock held it would make none."""
    threads(1)  # leaves a processor to the one that counts
    write_router(tmp_path / "narrow", random_weights(1))
    narrow = fastroute.load(tmp_path / "narrow")
    rows = np.zeros((20_000_000, 1), np.float32) if work == "score embeddings" else None
    batch, long = ["a" * 20_000] * 10_000, "a" * 100_000_000
    calls: dict[str, Callable[[], object]] = {
        "score a batch": lambda: router.score(batch),
        "score one": lambda: router.score(long),
        "score embeddings": lambda: narrow.score_embeddings(rows),
        "embed": lambda: router.encoder.embed(batch),
        "tokenize": lambda: router.encoder.tokenize(long),
    }
    counted = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1

    def rate_during(call: Callable[[], object]) -> tuple[float, float]:
        before, start = counted, time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        return (counted - before) / seconds, seconds

    counter = threading.Thread(target=count)
    counter.start()
    try:
        alone, _ = rate_during(lambda: time.sleep(0.2))
        best, seconds = max(rate_during(calls[work]) for _ in range(3))
    finally:
        stop.set()
        counter.join()
    assert seconds > 20 * sys.getswitchinterval()  # long enough for others to get a turn
    assert best > 0.25 * alone
