"""Ray Data with two actors of one thread each, against one process with two threads, on the same blocks of prompts.

Both take Arrow blocks that lie in memory and give blocks with scores and models; Ray's come through its object store.
Start-up is left out: one process begins with its router loaded, and Ray's clock runs from the first block that comes
back to the last. Turn by turn, so that a busy machine is busy for both.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastroute
from benchmarks.conftest import CHECKOUT
from fastroute.integrations.ray import score_dataset

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
pa = pytest.importorskip("pyarrow", reason="needs the extra [ray]")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

ROWS = 1 << 20
BLOCK_ROWS = 1 << 14
COPIES = 2  # of the blocks, in one run
TURNS = 5
AIM = "at least 80% of one process with 2 threads"


@pytest.fixture(scope="module")
def blocks(prompts: list[str]) -> list[Any]:
    """Some 1 million prompts in blocks, numbered."""
    outcomes = CHECKOUT.parent / "shared" / "data" / "outcomes.parquet"
    if outcomes.is_file():
        import pyarrow.parquet as pq

        prompts = sorted(set(pq.read_table(outcomes, columns=["prompt"])["prompt"].to_pylist()))
    rows = np.random.default_rng(7).integers(0, len(prompts), ROWS)
    texts = pa.array(prompts)
    return [
        pa.table({"id": np.arange(start, start + BLOCK_ROWS), "prompt": texts.take(rows[start : start + BLOCK_ROWS])})
        for start in range(0, ROWS, BLOCK_ROWS)
    ]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=3 << 30,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


def score_here(blocks: list[Any], router: Any, copies: int) -> tuple[float, Any]:
    """Rows a second of one process with two threads, and the scores."""
    scores = []
    fastroute.set_num_threads(2)
    start = time.perf_counter()
    for _ in range(copies):
        scores = [fastroute.score_table(block, router)["score"].combine_chunks() for block in blocks]
    seconds = time.perf_counter() - start
    fastroute.set_num_threads(1)
    return copies * sum(map(len, scores)) / seconds, np.concatenate(scores)


def score_there(references: list[Any], copies: int) -> tuple[float, float, Any]:
    """Rows a second of two actors from the first block to the last, and over all; and the scores by id."""
    dataset = ray.data.from_arrow_refs(references * copies)
    found: list[tuple[Any, Any]] = []
    start = time.perf_counter()
    for table in score_dataset(dataset, concurrency=2).iter_batches(batch_size=None, batch_format="pyarrow"):
        if not found:
            first = time.perf_counter()
        found.append((np.asarray(table["id"]), np.asarray(table["score"])))
    end = time.perf_counter()
    ids, scores = (np.concatenate(each) for each in zip(*found, strict=True))
    assert np.array_equal(np.bincount(ids), np.full(ids.max() + 1, copies))
    by_id = np.full(ids.max() + 1, np.nan, np.float32)
    by_id[ids] = scores
    return (len(ids) - len(found[0][0])) / (end - first), len(ids) / (end - start), by_id


def test_two_actors(blocks: list[Any], cluster: None, benchmark: Any, figure: Callable[..., None]) -> None:
    turns, copies = (1, 1) if benchmark.disabled else (TURNS, COPIES)
    blocks = blocks[:4] if benchmark.disabled else blocks
    references = [ray.put(block) for block in blocks]
    router = fastroute.load()
    here, there, overall = [], [], []
    for _ in range(turns):
        rate, expected = score_here(blocks, router, copies)
        here.append(rate)
        rate, whole, scores = score_there(references, copies)
        there.append(rate)
        overall.append(whole)
        np.testing.assert_array_equal(scores, expected)
    benchmark.pedantic(score_here, (blocks[:4], router, 1), rounds=1)  # what pytest-benchmark asks for
    medians = [statistics.median(rates) for rates in (here, there, overall)]
    ratios = sorted(a / b for a, b in zip(there, here, strict=True))
    figure(
        f"Ray {ray.__version__}, 2 actors of 1 thread, beside one process with 2 threads, {router.kind}",
        f"{medians[1]:,.0f} rows/s ({medians[2]:,.0f} with start-up) beside {medians[0]:,.0f}: "
        f"{medians[1] / medians[0]:.0%}, by turns {ratios[0]:.0%} to {ratios[-1]:.0%}; {AIM}",
        here=here,
        there=there,
        overall=overall,
        rows=copies * sum(map(len, blocks)),
        load=os.getloadavg()[0],
    )
