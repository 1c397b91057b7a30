"""Nearest prompts: the native scan and FAISS Flat on the rows as they are stored, and inverted lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.reference.battle_sets import embedding_matrix

from benchmarks.conftest import BASELINE, FASTROUTE
from fastroute import _core
from fastroute.routers.neighbour_search import FaissSearch, build_lists

faiss = pytest.importorskip("faiss", reason="the baseline is FAISS: pip install 'fastroute[faiss]'")
SIZES = ((12_000, 256), (57_000, 384))
LARGE = 200_000


def index_of(rows: np.ndarray) -> _core.SimilarityIndex:
    coarse, _, scales = _core.quantise_rows(rows)
    return _core.SimilarityIndex(coarse, scales)


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def index(request: pytest.FixtureRequest) -> _core.SimilarityIndex:
    return index_of(embedding_matrix(*request.param))


@pytest.fixture(scope="module")
def flat(index: _core.SimilarityIndex) -> Any:
    faiss.omp_set_num_threads(1)
    made = faiss.IndexFlatIP(index.dim)
    made.add(index.unit_rows(np.arange(index.size)))
    return made


def queries(dim: int) -> np.ndarray:
    rows = embedding_matrix(64, dim, seed=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [1, 64], ids=["one query", "64 queries"])
@pytest.mark.parametrize("k", [10, 1000])
@pytest.mark.parametrize("role", [FASTROUTE, BASELINE])
def test_nearest(benchmark: Any, index: _core.SimilarityIndex, flat: Any, role: str, k: int, count: int) -> None:
    asked = queries(index.dim)[:count]
    benchmark.group = f"{k} nearest of {index.size:,} x {index.dim}, {count} at a time, against FAISS Flat"
    benchmark.extra_info |= {"role": role}
    ids, similarities = index.nearest(asked, k)
    if role == FASTROUTE:
        np.testing.assert_array_equal(benchmark(index.nearest, asked, k)[0], ids)
        return
    found, others = benchmark(flat.search, asked, k)
    np.testing.assert_allclose(found, similarities, atol=2e-6)
    assert (others != ids).mean() < 0.01  # near-ties


@pytest.fixture(scope="module")
def large() -> _core.SimilarityIndex:
    """Prompts lie in heaps, as prompts do."""
    rng = np.random.default_rng(3)
    heaps = rng.standard_normal((500, 256))
    rows = heaps[rng.integers(0, 500, LARGE)] + 0.7 * rng.standard_normal((LARGE, 256))
    return index_of(rows.astype(np.float32))


@pytest.fixture(scope="module")
def lists(large: _core.SimilarityIndex) -> FaissSearch:
    found = build_lists(large, "ivf", neighbours=30, seed=0)
    assert found is not None
    assert found.recall >= 0.99
    return FaissSearch(large, found)


@pytest.mark.parametrize("role", [FASTROUTE, BASELINE])
def test_inverted_lists(benchmark: Any, large: _core.SimilarityIndex, lists: FaissSearch, role: str) -> None:
    """Against the exact scan, fastroute's own."""
    asked = large.unit_rows(np.arange(0, LARGE, LARGE // 64)[:64])
    benchmark.group = f"30 nearest of {LARGE:,} x 256, one at a time: inverted lists against the exact scan"
    benchmark.extra_info |= {"role": role}
    search = {FASTROUTE: lists.nearest, BASELINE: large.nearest}[role]
    found = benchmark(lambda: [search(query[None], 30) for query in asked])
    exact = large.nearest(asked, 30)[0]
    recall = np.mean([len(np.intersect1d(a, b[0][0])) / 30 for a, b in zip(exact, found, strict=True)])
    assert recall > 0.95
