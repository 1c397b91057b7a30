"""Threads grow: batches of prompts, and of queries of similarity-weighted Elo."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

import fastroute
from benchmarks.curves.battles import DIM, heaped_rows, random_cells
from benchmarks.curves.measuring import CHECKOUT, Clock, cores, int8_rate, threads
from benchmarks.curves.plots import Curve, Plot, Point
from fastroute import _core

PROMPTS, QUERIES, BATTLES = 10_000, 512, 65_000


def mixed_prompts(count: int) -> list[str]:
    """Words of the README; lengths spread as those of an arena's prompts."""
    rng = random.Random(20240626)
    words = (CHECKOUT / "README.md").read_text(encoding="utf-8").split()
    return [" ".join(rng.choices(words, k=int(rng.lognormvariate(4, 0.8)) + 1)) for _ in range(count)]


def _weighted(battles: int) -> _core.SimilarityWeighted:
    rows = heaped_rows(battles)
    counts = _core.BattleCounts(10, np.arange(battles + 1), random_cells(battles), np.ones(battles, np.float32))
    index = _core.SimilarityIndex(rows.codes, rows.scales)
    return _core.SimilarityWeighted(index, counts, None, strong=0, weak=5, base=10.0, normalised=True)


def measure(clock: Clock) -> Plot:
    """From one thread to one per core; the answers are the same bits on any number."""
    most = cores()
    counts = sorted({1, most, *(2**k for k in range(1, 10) if 2**k < most)})
    prompts = mixed_prompts(1_000 if clock.quick else PROMPTS)
    battles = 5_000 if clock.quick else BATTLES
    weighted = _weighted(battles)
    queries = np.random.default_rng(8).standard_normal((128 if clock.quick else QUERIES, DIM)).astype(np.float32)
    mf, experts = fastroute.load("mf"), fastroute.load("experts")
    calls: dict[str, tuple[Callable[[], Any], int]] = {
        "experts": (lambda: experts.score(prompts), len(prompts)),
        "mf": (lambda: mf.score(prompts), len(prompts)),
        "sw_ranking": (lambda: weighted.score_embeddings(queries), len(queries)),
    }
    rate = int8_rate(clock)
    clock.say("threads grow")
    found: dict[str, list[Point]] = {}
    for name, (call, share) in calls.items():
        points: list[Point] = []
        answers = None
        for count in counts:
            with threads(count):
                answers = call() if answers is None else answers
                np.testing.assert_array_equal(call(), answers)
                alone = points[0].seconds if points else None
                timed = clock.time(call, count, share=share)
            limit = (timed.seconds if alone is None else alone) / count
            points.append(Point(timed.x, timed.seconds, timed.low, timed.high, timed.repetitions, limit))
            clock.show(name, points[-1])
        found[name] = points
    evenly = "one thread's time, shared evenly"
    curves = (
        Curve(f"sw_ranking, {len(queries)} embeddings over {battles:,} battles", tuple(found["sw_ranking"]), evenly),
        Curve(f"experts, {len(prompts):,} prompts", tuple(found["experts"]), evenly),
        Curve(f"mf, {len(prompts):,} prompts", tuple(found["mf"]), evenly),
    )
    measured = {"int8 multiply-adds a second, one thread": rate}
    return Plot("threads", "A batch as threads grow", "threads", "seconds a prompt", curves, measured)
