"""Scoring a log, Parquet to Parquet, with two threads, against scoring the same strings from memory, and others.

The log has an identifier, a user and a prompt, drawn from the mixed prompts; row groups have 100,000 rows. The output
is complete, with its fsyncs, when the clock stops. RouteLLM gets its vectors for nothing and writes no file:
`Controller.batch_calculate_win_rate` is, for `mf`, pandas' `apply` of the router's `calculate_strong_win_rate`, and
that is what runs.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.reference.routellm_peer import VARIABLE, WITHOUT, RouteLLM

import fastroute
from benchmarks.conftest import BASELINE, FASTROUTE, SEED
from benchmarks.test_routellm_mf import DIM, PAIR, random_weights
from fastroute.batch import score_log

ROWS, FEWER = 1_000_000, 100_000
MEMORY = "1,000,000 prompts, Parquet to Parquet, against the same strings from memory, 2 threads"
TOKENIZERS = "100,000 prompts, Parquet to Parquet, 2 threads, against tokenizers and NumPy"
ROUTELLM = "100,000 prompts, Parquet to Parquet, 2 threads, against RouteLLM's batch_calculate_win_rate (mf)"
ROUNDS = {"rounds": 5, "iterations": 1, "warmup_rounds": 1}


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "true")
        before = fastroute.info().threads
        fastroute.set_num_threads(2)
        yield
        fastroute.set_num_threads(before)


@pytest.fixture(scope="module")
def logs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, prompts: list[str]
) -> dict[int, Path]:
    """Files of so many rows; of a fiftieth where only answers are checked."""
    folder = tmp_path_factory.mktemp("logs")
    scale = 50 if request.config.getoption("--benchmark-disable") else 1
    rng = random.Random(SEED)
    made = {}
    for rows in (ROWS, FEWER):
        made[rows] = folder / f"{rows}.parquet"
        with pq.ParquetWriter(made[rows], drawn(prompts, rng, 0, 1).schema) as writer:
            for start in range(0, rows // scale, FEWER // scale):
                writer.write_table(drawn(prompts, rng, start, FEWER // scale), row_group_size=FEWER)
    return made


def drawn(prompts: list[str], rng: random.Random, start: int, rows: int) -> pa.Table:
    """Return rows of a log."""
    return pa.table(
        {
            "id": range(start, start + rows),
            "user": [f"user{rng.randrange(10_000)}" for _ in range(rows)],
            "prompt": rng.choices(prompts, k=rows),
        }
    )


def scored(log: Path, router: Any) -> Path:
    target = log.with_name("scored.parquet")
    score_log(log, target, router, overwrite=True)
    return target


def scores_of(target: Path) -> np.ndarray:
    return pq.read_table(target, columns=["score"])["score"].to_numpy()


@pytest.mark.parametrize("name", ["mf", "experts"])
def test_a_log(benchmark: Any, logs: dict[int, Path], name: str) -> None:
    router = fastroute.load(name)
    benchmark.group = f"{MEMORY}, {name}"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": "at least 0.6x"}
    target = benchmark.pedantic(scored, (logs[ROWS], router), **ROUNDS)
    strings = pq.read_table(logs[ROWS], columns=["prompt"])["prompt"].to_pylist()
    np.testing.assert_array_equal(scores_of(target), router.score(strings))


@pytest.mark.parametrize("name", ["mf", "experts"])
def test_strings_from_memory(benchmark: Any, logs: dict[int, Path], name: str) -> None:
    router = fastroute.load(name)
    benchmark.group = f"{MEMORY}, {name}"
    benchmark.extra_info |= {"role": BASELINE}
    strings = pq.read_table(logs[ROWS], columns=["prompt"])["prompt"].to_pylist()
    scores = benchmark.pedantic(router.score, (strings,), **ROUNDS)
    np.testing.assert_array_equal(scores, scores_of(scored(logs[ROWS], router)))


@pytest.mark.parametrize("group", [TOKENIZERS, ROUTELLM])
def test_a_smaller_log(benchmark: Any, logs: dict[int, Path], router: Any, baseline: Any, group: str) -> None:
    benchmark.group = group
    aim = "at least 10x" if group == TOKENIZERS else "at least 200x"
    benchmark.extra_info |= {"role": FASTROUTE, "aim": aim}
    target = benchmark.pedantic(scored, (logs[FEWER], router), **ROUNDS)
    strings = pq.read_table(logs[FEWER], columns=["prompt"])["prompt"].to_pylist()[:1_000]
    np.testing.assert_allclose(scores_of(target)[:1_000], baseline.score_batch(strings), atol=1e-5)


def with_tokenizers(log: Path, baseline: Any, threshold: float) -> Path:
    target = log.with_name("tokenizers.parquet")
    source = pq.ParquetFile(log)
    fields = source.schema_arrow.append(pa.field("score", pa.float32())).append(pa.field("model", pa.string()))
    with pq.ParquetWriter(target, fields) as writer:
        for rows in source.iter_batches(8_192):
            scores = baseline.score_batch(rows.column("prompt").to_pylist())
            models = np.where(scores >= threshold, "strong", "weak")
            writer.write_batch(
                pa.RecordBatch.from_arrays([*rows.columns, pa.array(scores), pa.array(models)], schema=fields)
            )
    return target


def test_tokenizers_and_numpy(benchmark: Any, logs: dict[int, Path], router: Any, baseline: Any) -> None:
    benchmark.group = TOKENIZERS
    benchmark.extra_info |= {"role": BASELINE}
    arguments = (logs[FEWER], baseline, router.threshold)
    target = benchmark.pedantic(with_tokenizers, arguments, rounds=2, iterations=1)
    np.testing.assert_allclose(scores_of(target), scores_of(scored(logs[FEWER], router)), atol=1e-5)


def test_routellm(benchmark: Any) -> None:
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(WITHOUT)
    rng = np.random.default_rng(SEED)
    benchmark.group = ROUTELLM
    with RouteLLM(python) as routellm:
        routellm.load_mf(random_weights(rng), rng.standard_normal((64, DIM), np.float32), PAIR)
        benchmark.extra_info |= {"role": BASELINE, "versions": routellm.versions}
        scores = benchmark.pedantic(routellm.apply_mf, (FEWER,), rounds=1, iterations=1)
        np.testing.assert_allclose(scores[:64], routellm.score_mf(64), atol=1e-6)
