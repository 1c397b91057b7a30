"""100,000 prompts of an Arrow array: read in place, against a Python string for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import fastroute
from benchmarks.conftest import BASELINE, FASTROUTE

PROMPTS = 100_000
ROUNDS = {"rounds": 7, "iterations": 1, "warmup_rounds": 1}


@pytest.fixture(scope="module")
def table(prompts: list[str]) -> pa.Table:
    return pa.table({"prompt": (prompts * -(-PROMPTS // len(prompts)))[:PROMPTS]})


def score_strings(router: Any, table: pa.Table) -> np.ndarray:
    return router.score(table["prompt"].to_pylist())


def test_in_place(benchmark: Any, router: Any, table: pa.Table) -> None:
    benchmark.group = "100,000 prompts of an Arrow table"
    benchmark.extra_info |= {"role": FASTROUTE}
    scored = benchmark.pedantic(fastroute.score_table, (table, router), **ROUNDS)
    np.testing.assert_array_equal(scored["score"], score_strings(router, table))


def test_strings_of_python(benchmark: Any, router: Any, table: pa.Table) -> None:
    benchmark.group = "100,000 prompts of an Arrow table"
    benchmark.extra_info |= {"role": BASELINE}
    scores = benchmark.pedantic(score_strings, (router, table), **ROUNDS)
    np.testing.assert_array_equal(scores, fastroute.score_table(table, router)["score"])
