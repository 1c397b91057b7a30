"""SimilarityIndex.nearest against a sort of all similarities and against FAISS."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.reference import nearest_reference as reference
from tests.reference.battle_sets import embedding_matrix
from tests.reference.nearest_reference import index_of

from fastroute import _core, info, set_num_threads
from fastroute.errors import InvalidArgumentError

# float64 sums in another order may round to a neighbouring float32.
ROUNDING = {"rtol": 3e-7, "atol": 1e-12}


def check(index: _core.SimilarityIndex, queries: NDArray[np.float32], k: int) -> int:
    """Compare with the reference; returns how many places have another row than it, all of them near-ties."""
    ids, found = index.nearest(queries, k)
    expected_ids, expected = reference.nearest(index, queries, k)
    assert ids.dtype == np.int64
    assert found.dtype == np.float32
    assert ids.shape == found.shape == (len(queries), min(k, index.size))
    np.testing.assert_allclose(found, expected, **ROUNDING)
    every = reference.similarities(index, queries)
    np.testing.assert_allclose(np.take_along_axis(every, ids, axis=1), found, **ROUNDING)
    for places, values in zip(ids, found, strict=True):
        assert len(set(places.tolist())) == len(places)
        falls = values[1:] < values[:-1]
        assert (falls | ((values[1:] == values[:-1]) & (places[1:] > places[:-1]))).all()
    return int((ids != expected_ids).sum())


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_random_rows(seed: int, fine: bool) -> None:
    rng = np.random.default_rng([6, seed])
    size = int(rng.choice([1, 2, 15, 16, 17, 63, 64, 65, 300, 1500]))
    dim = int(rng.choice([1, 2, 3, 4, 5, 16, 31, 33, 100, 256, 384, 1536]))
    mean = rng.uniform(0, 2)
    rows = (mean + rng.standard_normal((size, dim))).astype(np.float32)
    rows[rng.random(size) < 0.1] = 0
    rows[rng.random(size) < 0.3] = rows[0]
    queries = rows[rng.integers(0, size, 9)] + rng.standard_normal((9, dim)).astype(np.float32)
    queries[3], queries[4], queries[5, 1:] = 0, rows[0], 0
    rows *= np.float32(rng.choice([1e-30, 1, 1e30]))
    queries *= np.float32(rng.choice([1e-30, 1, 1e30]))
    index = index_of(rows, fine=fine)
    # In one or two dimensions similarities are all alike, and the last bit of many decides.
    wrong = sum(check(index, queries, k) for k in (1, 2, 10, size - 1, size, size + 1, 10**6) if k >= 1)
    assert wrong == 0 or dim <= 3


@pytest.mark.parametrize("fine", [False, True])
def test_rows_that_are_nearly_alike(fine: bool) -> None:
    """Closer together than their int8 dot products can tell."""
    rng = np.random.default_rng(7)
    base = rng.standard_normal(64)
    rows = (base + 1e-3 * rng.standard_normal((3000, 64))).astype(np.float32)
    queries = (base + 1e-2 * rng.standard_normal((70, 64))).astype(np.float32)
    index = index_of(rows, fine=fine)
    assert sum(check(index, queries, k) for k in (1, 10, 500)) <= 20


@pytest.mark.parametrize("fine", [False, True])
def test_rows_of_every_length(fine: bool) -> None:
    """Rows as given, far from unit vectors, a few elements much larger than others."""
    rng = np.random.default_rng(8)
    dim = 48
    coarse = rng.integers(-127, 128, (2000, dim)).astype(np.int8)
    coarse[::3, 1:] = rng.integers(-1, 2, (len(coarse[::3]), dim - 1))
    half = reference.fine_steps(dim) // 2
    rest = rng.integers(-half, half + 1, coarse.shape).astype(np.int8)
    scales = (10.0 ** rng.uniform(-5, 0, 2000)).astype(np.float32)
    scales[rng.random(2000) < 0.05] = 0
    index = _core.SimilarityIndex(coarse, scales, rest if fine else None)
    queries = rng.standard_normal((30, dim)).astype(np.float32)
    queries[::2, 1:] *= 1e-3
    queries[::5, 1:] = np.float32(0.49 / 127) * queries[::5, :1]
    assert sum(check(index, queries, k) for k in (1, 7, 100, 1999)) == 0


def test_ties_come_by_index() -> None:
    rows = np.repeat(np.eye(3, dtype=np.float32), 200, axis=0)
    ids, found = index_of(rows, fine=True).nearest(np.array([[0, 5, 0], [0, 0, 0], [-1, 0, 0]], np.float32), 250)
    np.testing.assert_array_equal(ids[0], [*range(200, 400), *range(50)])
    np.testing.assert_array_equal(ids[1], np.arange(250))
    np.testing.assert_array_equal(ids[2], np.arange(200, 450))
    assert (found[1] == 0).all()
    assert not np.signbit(found[2]).any()


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize("dim", [32, 256])
def test_faiss_finds_the_same(dim: int, fine: bool) -> None:
    faiss = pytest.importorskip("faiss")
    index = index_of(embedding_matrix(5000, dim), fine=fine)
    queries = embedding_matrix(100, dim, seed=1)
    flat = faiss.IndexFlatIP(dim)
    flat.add(reference.stored_rows(index).astype(np.float32))
    for k in (1, 10, 300):
        expected, expected_ids = flat.search(queries, k)
        ids, found = index.nearest(queries, k)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        differs = ids != expected_ids
        assert differs.mean() < 1e-3  # near-ties of its float32 sums


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = info().threads
    yield set_num_threads
    set_num_threads(before)


def test_same_bits_alone_and_in_any_batch(threads: Callable[[int], None]) -> None:
    index = index_of(embedding_matrix(1000, 40), fine=True)
    queries = embedding_matrix(300, 40, seed=1)
    queries[17] = 0
    alone = [index.nearest(query[None], 20) for query in queries]
    for count in (1, 2, 4):
        threads(count)
        ids, found = index.nearest(queries, 20)
        np.testing.assert_array_equal(ids, np.concatenate([ids for ids, _ in alone]))
        np.testing.assert_array_equal(found, np.concatenate([found for _, found in alone]))
    ids, found = index.nearest(queries[:0], 20)
    assert ids.shape == found.shape == (0, 20)


@pytest.mark.parametrize("fine", [False, True])
def test_given_rows_ranked_as_all_are(fine: bool) -> None:
    """Whatever finds the candidates, those that are found have the similarities of the scan, bit for bit."""
    rng = np.random.default_rng(9)
    rows = rng.standard_normal((500, 33)).astype(np.float32)
    rows[::5] = rows[0]
    queries = np.concatenate([rng.standard_normal((70, 33)), np.zeros((1, 33))]).astype(np.float32)
    index = index_of(rows, fine=fine)
    everything = np.tile(rng.permutation(500), (len(queries), 1))
    for k in (1, 7, 500, 501):
        for ranked, scanned in zip(index.rank(queries, everything, k), index.nearest(queries, k), strict=True):
            np.testing.assert_array_equal(ranked, scanned)
    some = np.sort(rng.integers(0, 500, (len(queries), 40)), axis=1)
    ids, found = index.rank(queries, some, 10)
    every = reference.similarities(index, queries)
    expected = -np.sort(-np.take_along_axis(every, some, axis=1), axis=1)[:, :10]
    np.testing.assert_allclose(found, expected, **ROUNDING)
    assert all(set(row) <= set(candidates) for row, candidates in zip(ids.tolist(), some.tolist(), strict=True))
    assert index.rank(queries, some[:, :0], 3)[0].shape == (len(queries), 0)


@pytest.mark.parametrize("fine", [False, True])
def test_rows_as_they_are_stored(fine: bool) -> None:
    index = index_of(np.random.default_rng(10).standard_normal((50, 7)).astype(np.float32), fine=fine)
    wanted = np.array([3, 49, 0, 3])
    stored = reference.stored_rows(index)[wanted]
    found = index.unit_rows(wanted)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, stored, rtol=1e-6)
    assert index.unit_rows(wanted[:0]).shape == (0, 7)


def test_rows_that_are_not_there() -> None:
    index = index_of(np.eye(3, dtype=np.float32), fine=False)
    query = np.ones((1, 3), np.float32)
    for bad in (-1, 3, 2**62):
        with pytest.raises(InvalidArgumentError, match=rf"candidates: found {bad}, allowed: 0 to 2"):
            index.rank(query, np.array([[0, bad]]), 1)
        with pytest.raises(InvalidArgumentError, match=rf"rows: found {bad}, allowed: 0 to 2"):
            index.unit_rows(np.array([bad]))
    with pytest.raises(InvalidArgumentError, match="candidates: found 2 rows, allowed: one for each of 1 embeddings"):
        index.rank(query, np.zeros((2, 2), np.int64), 1)
    with pytest.raises(InvalidArgumentError, match="row 0, column 1: found NaN"):
        index.rank(np.array([[1, np.nan, 0]], np.float32), np.array([[0]]), 1)
