"""Battles grow: similarity-weighted Elo by a scan of all of them, from moments, and from the nearest by inverted lists.

Each battle has a prompt of its own, the costliest case: a scan's cost goes by distinct prompts, not battles. The rows
are made as int8 in pieces, never all of them as floats.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tests.reference.moments_reference import CellTable, rate_of_sums

from benchmarks.curves.measuring import Clock, Reader, int8_rate, threads
from benchmarks.curves.plots import Curve, Plot, Point, at_least
from fastroute import _core
from fastroute.routers.neighbour_search import FaissSearch, InvertedLists, SearchedScorer, faiss_or_none
from fastroute.training.battle_moments import fit_moments

DIM = 256
TIERS, STRONG, WEAK = 10, 0, 5
RANK = 32
TOGETHER = 64
NEIGHBOURS = 1000
FEWEST_FOR_LISTS = 100_000  # from where search="auto" takes lists
ROWS_FOR_MOMENTS = 100_000
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK = (1_000, 10_000)
_CHUNK = 1 << 16
_KINDS = 16  # heaps of a topic
_SAMPLE = 64
_RECALL = 0.99
# What rounding the query to int8 may move a win rate by, and what moments may.
ROUNDED = 5e-5
APPROXIMATE = 2e-3


@dataclass(frozen=True)
class Rows:
    """Unit vectors as int8, heap by heap: `heaps` of them, which lie in topics as prompts do."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    lists: NDArray[np.int32]
    centroids: NDArray[np.float32]

    def units(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.codes[rows] * self.scales[rows, None]


def heaped_rows(count: int, seed: int = 0) -> Rows:
    """As many heaps as `build_lists` would make lists."""
    rng = np.random.default_rng([seed, count])
    heaps = max(_KINDS, int(4 * count**0.5))
    topics = rng.normal(0, 35, (heaps // _KINDS, DIM))
    centres = topics[np.arange(heaps) % len(topics)] + rng.normal(0, 18, (heaps, DIM))
    steps = np.rint(np.clip(centres, -100, 100)).astype(np.int8)
    codes, scales = np.empty((count, DIM), np.int8), np.empty(count, np.float32)
    lists = rng.integers(0, heaps, count, np.int32)
    for begin in range(0, count, _CHUNK):
        part = slice(begin, min(begin + _CHUNK, count))
        made = codes[part]
        made[:] = rng.integers(-27, 28, made.shape, np.int8)
        made += steps[lists[part]]  # at most 127
        floats = made.astype(np.float32)
        scales[part] = 1 / np.sqrt(np.einsum("ij,ij->i", floats, floats))
    centroids = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    return Rows(codes, scales, lists, np.ascontiguousarray(centroids, np.float32))


def random_cells(count: int, seed: int = 1) -> NDArray[np.uint16]:
    """Who beat whom, one battle a row, sorted as an index has them: all 90 cells of ten tiers where there is room."""
    rng = np.random.default_rng([seed, count])
    a = rng.integers(0, TIERS, count)
    b = (a + rng.integers(1, TIERS, count)) % TIERS
    stronger_wins = rng.random(count) < 0.7
    winner, loser = np.where(stronger_wins, np.minimum(a, b), a), np.where(stronger_wins, np.maximum(a, b), b)
    return np.sort(winner * (TIERS + 1) + loser).astype(np.uint16)


def reference_rate(rows: Rows, cells: NDArray[np.uint16], query: NDArray[np.float32], *, base: float | None) -> float:
    """The win rate in NumPy and decimal arithmetic; base 10 over the best cosine where `base` is None."""
    unit = query.astype(np.float64) / np.linalg.norm(query.astype(np.float64))
    cosine = np.empty(len(rows.codes))
    for begin in range(0, len(cosine), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        cosine[part] = (rows.codes[part].astype(np.float32) @ unit.astype(np.float32)) * rows.scales[part]
    slope = np.log(10) / cosine.max() if base is None else np.log(base)
    sums = np.bincount(cells, weights=np.exp(slope * (cosine - cosine.max())), minlength=(TIERS + 1) ** 2)
    none = np.zeros(0)
    return rate_of_sums(CellTable(TIERS, STRONG, WEAK, none, none, none, none), sums)


class _Size:
    """Everything at one number of battles."""

    def __init__(self, clock: Clock, reader: Reader, rate: float, count: int) -> None:
        self._clock, self._reader, self._rate, self.count = clock, reader, rate, count
        clock.say(f"{count:,} battles: making them")
        self.rows, self.cells = heaped_rows(count), random_cells(count)
        self.index = _core.SimilarityIndex(self.rows.codes, self.rows.scales)
        self.counts = _core.BattleCounts(TIERS, np.arange(count + 1), self.cells, np.ones(count, np.float32))
        rng = np.random.default_rng([2, count])
        near = self.rows.units(rng.integers(0, count, TOGETHER))
        noise = rng.standard_normal(near.shape, np.float32)
        self.queries = np.ascontiguousarray(near + np.float32(0.3 / DIM**0.5) * noise)

    def _scorer(self, *, base: float = 10.0, normalised: bool = True, **options: object) -> _core.SimilarityWeighted:
        return _core.SimilarityWeighted(
            self.index, self.counts, None, strong=STRONG, weak=WEAK, base=base, normalised=normalised, **options
        )

    def scan(self) -> tuple[Point, Point]:
        """One query at a time, and 64 in a pass."""
        scorer, count = self._scorer(), self.count
        one, alone = self.queries[:1], scorer.score_embeddings(self.queries[:1])
        np.testing.assert_array_equal(scorer.score_embeddings(self.queries)[:1], alone)
        assert abs(reference_rate(self.rows, self.cells, one[0], base=None) - float(alone[0])) < ROUNDED
        work = count * DIM / self._rate
        limit = at_least(read=self._reader.seconds(count * DIM), work=work)
        single = self._clock.time(lambda: scorer.score_embeddings(one), count, limit=limit)
        many = self._clock.time(lambda: scorer.score_embeddings(self.queries), count, share=TOGETHER, limit=work)
        return self._clock.show("scan", single), self._clock.show("scan, 64 at a time", many)

    def moments(self) -> Point:
        """From moments; those of a sample where there are more rows than it takes."""
        sample = np.arange(0, self.count, max(1, self.count // ROWS_FOR_MOMENTS))
        cells = self.cells[sample]
        weights = np.ones(len(sample), np.float32)
        fitted = fit_moments(np.ones(len(sample), np.int64), cells, weights, self.rows.units(sample), RANK)
        scorer = self._scorer(base=3.0, normalised=False, moments=_core.BattleMoments(*fitted))
        one = self.queries[:1]
        found, exact = scorer.approximate_embeddings(self.queries), scorer.score_embeddings(self.queries)
        assert np.abs(found - exact).max() < (APPROXIMATE if len(sample) == self.count else 10 * APPROXIMATE)
        limit = self._reader.seconds(len(fitted[0]) * (1 + RANK) * DIM * 4)
        return self._clock.show(
            "moments", self._clock.time(lambda: scorer.approximate_embeddings(one), self.count, limit=limit)
        )

    def inverted_lists(self) -> tuple[Point, str]:
        """The 1,000 nearest through lists that are the heaps: what k-means would look for, without its minutes.

        At least as many lists are read as hold twice the neighbours, and as find 99% of them.
        """
        exact = self.index.nearest(self.queries[:_SAMPLE], NEIGHBOURS)[0]
        heaps = len(self.rows.centroids)
        # Fewer lists than hold the neighbours would have the exact scan look for them.
        probes = -(-2 * NEIGHBOURS * heaps // self.count)
        search = FaissSearch(self.index, InvertedLists(self.rows.centroids, self.rows.lists, probes, 1.0))
        faiss = faiss_or_none()
        while True:
            search._parameters = faiss.SearchParametersIVF(nprobe=probes)
            found = search.nearest(self.queries[:_SAMPLE], NEIGHBOURS)[0]
            recall = float(np.mean([len(np.intersect1d(a, b)) / NEIGHBOURS for a, b in zip(exact, found, strict=True)]))
            if recall >= _RECALL or probes >= heaps:
                break
            probes = min(2 * probes, heaps)
        scorer = SearchedScorer(self._scorer(neighbours=NEIGHBOURS), search, NEIGHBOURS, None)
        one = self.queries[:1]
        native = self._scorer(neighbours=NEIGHBOURS).score_embeddings(one)
        assert abs(float(native[0]) - float(scorer.score_embeddings(one)[0])) < 0.02
        read = heaps * DIM * 4 + int(probes * self.count / heaps) * DIM + 2 * NEIGHBOURS * DIM
        point = self._clock.time(lambda: scorer.score_embeddings(one), self.count, limit=self._reader.seconds(read))
        return self._clock.show("lists", point), f"{self.count:,}: {heaps:,} lists, {probes} read, recall {recall:.3f}"


def measure(clock: Clock, reader: Reader) -> Plot:
    """All sizes, on one thread."""
    rate = int8_rate(clock)
    single, many, moments, lists, notes = [], [], [], [], []
    with threads(1):
        for count in QUICK if clock.quick else SIZES:
            size = _Size(clock, reader, rate, count)
            one, batch = size.scan()
            single.append(one)
            many.append(batch)
            moments.append(size.moments())
            if count >= FEWEST_FOR_LISTS and faiss_or_none() is not None:
                point, note = size.inverted_lists()
                lists.append(point)
                notes.append(note)
            del size
            gc.collect()
    reading = "reading the rows once, or their products at the kernel's best rate"
    curves = [
        Curve("exact scan, one query", tuple(single), reading),
        Curve("exact scan, 64 queries in a pass, each", tuple(many), "the products at the kernel's best rate"),
        Curve(
            "moments, one query",
            tuple(moments),
            f"reading the moments of {(TIERS - 1) * TIERS} cells",
            (f"above {ROWS_FOR_MOMENTS:,} battles fitted to a sample of them: the cost depends on the cells alone",),
        ),
    ]
    if lists:
        what = "reading the centroids, the lists and the candidates"
        curves.append(Curve(f"{NEIGHBOURS:,} nearest by inverted lists, one query", tuple(lists), what, tuple(notes)))
    largest = int(single[-1].x) * DIM
    measured = {"int8 multiply-adds a second": rate, "bytes a second, largest index": reader.rate(largest)}
    return Plot(
        "battles",
        f"Similarity-weighted Elo as battles grow (int8 rows, d = {DIM}, one thread)",
        "battles, each over a prompt of its own",
        "seconds a query",
        tuple(curves),
        measured,
    )
