"""Large indexes: loading one of 65,000 battles, and a million rows against only reading them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.battle_sets import large_set

from benchmarks.conftest import BASELINE, FASTROUTE
from fastroute import _core
from fastroute.routers import SimilarityWeightedRouter

MILLION = 1_000_000
ONE = "1,000,000 rows, d = 384: one query against reading them"
BATCH = "1,000,000 rows, d = 384: 64 queries, against one at a time"
PROBE = """
import json, sys, time
import numpy as np
import fastroute
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS")) * 1024
before, start = resident(), time.perf_counter()
router = fastroute.load(sys.argv[1])
took, grown = time.perf_counter() - start, resident() - before
query = np.random.default_rng(0).standard_normal((1, 1536)).astype(np.float32)
print(json.dumps({"load": took, "grown": grown, "score": float(router.score_embeddings(query)[0])}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_loading_65_000_battles(benchmark: Any, tmp_path: Path, compiled: dict[str, str]) -> None:
    """Prints medians of processes; the time of the group is that of a whole process."""
    benchmark.group = "loading an index of 65,000 battles, d = 1536: a process"
    battles = large_set(dim=1536)
    router = SimilarityWeightedRouter(battles.strong, battles.weak, encoder=None)
    router.fit(battles.columns(), embeddings=battles.embeddings).save(tmp_path / "it")
    size = sum(file.stat().st_size for file in (tmp_path / "it").iterdir())
    probes: list[dict[str, float]] = []

    def probe() -> None:
        command = [sys.executable, "-c", PROBE, tmp_path / "it"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=compiled)
        probes.append(json.loads(done.stdout))

    benchmark.pedantic(probe, rounds=7, iterations=1, warmup_rounds=1)
    load = float(np.median([each["load"] for each in probes]))
    grown = float(np.median([each["grown"] for each in probes]))
    benchmark.extra_info |= {"role": FASTROUTE, "load": load, "grown": grown, "files": size}
    print(
        f"\nload: {load:.3f} s (at most 0.5); resident memory grows by {grown / 2**20:.0f} MiB, {grown / size:.2f} x "
        f"the {size / 2**20:.0f} MiB of files (at most 1.3)",
        end="",
    )
    query = np.random.default_rng(0).standard_normal((1, 1536)).astype(np.float32)
    assert {each["score"] for each in probes} == {float(router.score_embeddings(query)[0])}


@pytest.fixture(scope="module")
def million() -> _core.SimilarityWeighted:
    """Rows and battles from a seed: what they say does not matter here."""
    rng = np.random.default_rng(0)
    rows = rng.integers(-127, 128, (MILLION, 384), np.int8)
    battles = large_set(1000, dim=1, embeddings=np.ones((1000, 1), np.float32))
    tiers = np.array(battles.tier)
    cells = tiers[battles.model_a] * 11 + tiers[battles.model_b]
    cells = np.sort(np.resize(cells[tiers[battles.model_a] != tiers[battles.model_b]], MILLION)).astype(np.uint16)
    counts = _core.BattleCounts(10, np.arange(MILLION + 1), cells, np.ones(MILLION, np.float32))
    index = _core.SimilarityIndex(rows, np.full(MILLION, 1 / (73 * 384**0.5), np.float32))
    return _core.SimilarityWeighted(index, counts, None, strong=0, weak=5, base=10.0, normalised=True)


QUERIES = np.random.default_rng(1).standard_normal((64, 384)).astype(np.float32)


def test_one_query_of_a_million_rows(benchmark: Any, million: _core.SimilarityWeighted) -> None:
    benchmark.group = ONE
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at most 1.5 times as long"}
    score = benchmark(million.score_embeddings, QUERIES[:1])
    assert score == million.score_embeddings(QUERIES)[:1]


def test_reading_a_million_rows(benchmark: Any) -> None:
    """The sum of as many bytes as the rows are, eight at a time."""
    benchmark.group = ONE
    benchmark.extra_info |= {"role": BASELINE}
    words = np.ones(MILLION * 384 // 8, np.int64)
    assert benchmark(words.sum) == len(words)


def test_a_batch_of_a_million_rows(benchmark: Any, million: _core.SimilarityWeighted) -> None:
    benchmark.group = BATCH
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at most 1.6 ms a query"}
    scores = benchmark.pedantic(million.score_embeddings, args=(QUERIES,), rounds=5, warmup_rounds=1)
    np.testing.assert_array_equal(scores[:2], [million.score_embeddings(query[None])[0] for query in QUERIES[:2]])


def test_one_at_a_time(benchmark: Any, million: _core.SimilarityWeighted) -> None:
    benchmark.group = BATCH
    benchmark.extra_info |= {"role": BASELINE}

    def alone() -> list[float]:
        return [float(million.score_embeddings(query[None])[0]) for query in QUERIES]

    scores = benchmark.pedantic(alone, rounds=2, warmup_rounds=1)
    np.testing.assert_array_equal(np.float32(scores), million.score_embeddings(QUERIES))
