"""Finding an index's nearest prompts without reading all of it: inverted lists, searched by FAISS.

Prompts are sorted into lists by the nearest of some centroids, and a search reads the lists next to the prompt. What
FAISS finds is ranked again by the exact similarities of `fastroute._core.SimilarityIndex`, so a neighbour that is found
has the similarity of the exact scan. An artifact has centroids and lists (`ivf.safetensors`), and no file of
FAISS's own: those are not written to be read from strangers. Where FAISS is not installed the exact scan serves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, overload

import numpy as np

from fastroute.artifact import Artifact, safetensors
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fastroute import _core
    from fastroute.encoders import Encoder

__all__ = [
    "IVF_FILE",
    "SEARCHES",
    "InvertedLists",
    "SearchedScorer",
    "build_lists",
    "checked_search",
    "faiss_or_none",
    "read_lists",
    "search_of",
    "searched",
]

SEARCHES: Final = ("auto", "exact", "ivf")
IVF_FILE: Final = "ivf.safetensors"
LARGE_INDEX: Final = 100_000  # prompts from which "auto" is "ivf"
_SLACK = 2  # candidates for each neighbour
_CHUNK = 1 << 16
_SAMPLE = 256  # queries that the number of lists to read is chosen on
_RECALL = 0.99
_PER_LIST = 64  # training prompts for each centroid, at most


@dataclass(frozen=True, slots=True)
class InvertedLists:
    """Which prompts lie together.

    Attributes
    ----------
    centroids
        (L, d) float32.
    lists
        (P,) int32: the list of each prompt of the index.
    probes
        Lists to read for a prompt.
    recall
        Share of the exact neighbours that this finds, measured when the lists were made on prompts of the index.
    """

    centroids: NDArray[np.float32]
    lists: NDArray[np.int32]
    probes: int
    recall: float

    def take(self, rows: NDArray[np.int64]) -> InvertedLists:
        """Keep these prompts."""
        return InvertedLists(self.centroids, self.lists[rows], self.probes, self.recall)

    def encoded(self) -> bytes:
        """Return the file that `read_lists` reads."""
        return safetensors.encode({"centroids": self.centroids, "lists": self.lists})

    def member(self) -> dict[str, Any]:
        """Return what the manifest says of them."""
        return {"probes": self.probes, "recall": self.recall}


class FaissSearch:
    """A search through inverted lists; any number of threads may use one at once."""

    def __init__(self, index: _core.SimilarityIndex, lists: InvertedLists) -> None:
        faiss = faiss_or_none()
        if faiss is None:
            raise MissingDependencyError("search through inverted lists needs faiss: pip install 'fastroute[faiss]'")
        self._index = index
        self._faiss = _filled(faiss, index, lists)
        self._parameters = faiss.SearchParametersIVF(nprobe=lists.probes)

    def nearest(self, embeddings: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find about the k nearest prompts of each of n embeddings, as `_core.SimilarityIndex.nearest` gives them."""
        # Refuses what is no such array, as the exact scan does.
        count = len(embeddings) if isinstance(embeddings, np.ndarray) and embeddings.ndim else 0
        self._index.rank(embeddings, np.zeros((count, 0), np.int64), 1)
        k = min(k, self._index.size)
        wanted = min(k * _SLACK, self._index.size)
        ids = self._faiss.search(_unit(embeddings), wanted, params=self._parameters)[1].astype(np.int64)
        known = (ids >= 0).sum(axis=1)
        found, similarities = np.empty((len(ids), k), np.int64), np.empty((len(ids), k), np.float32)
        # The lists that were read may hold fewer prompts than were asked for, or even than are needed.
        for count in np.unique(known).tolist():
            mine = np.flatnonzero(known == count)
            rows, candidates = embeddings[mine], np.ascontiguousarray(ids[mine, :count])
            ranked = self._index.rank(rows, candidates, k) if count >= k else self._index.nearest(rows, k)
            found[mine], similarities[mine] = ranked
        return found, similarities


class NativeScorer(Protocol):
    """The native side of a router of neighbours."""

    def score_neighbours(self, ids: NDArray[np.int64], similarities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score prompts whose neighbours are these."""


Native = TypeVar("Native", bound=NativeScorer)


class SearchedScorer:
    """Scores by the neighbours that a search finds, in place of the native scan."""

    def __init__(self, native: NativeScorer, search: FaissSearch, neighbours: int, encoder: Encoder | None) -> None:
        self._native, self._search, self._neighbours, self._encoder = native, search, neighbours, encoder

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts."""
        if self._encoder is None:
            raise InvalidArgumentError(
                "prompts: this router was trained on embeddings and has no text encoder; score embeddings"
            )
        if isinstance(prompts, str):
            return float(self.score_embeddings(self._encoder.embed([prompts]))[0])
        return self.score_embeddings(self._encoder.embed(prompts))

    def score_embeddings(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score embeddings."""
        return self._native.score_neighbours(*self.nearest(embeddings, self._neighbours))

    def nearest(self, embeddings: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the neighbours that scores are made of, or more or fewer of them."""
        return self._search.nearest(embeddings, k)


def searched(
    native: Native, index: _core.SimilarityIndex, lists: InvertedLists | None, neighbours: int, encoder: Encoder | None
) -> Native | SearchedScorer:
    """Let a search through lists find a router's neighbours, where there are lists and FAISS."""
    if lists is None or faiss_or_none() is None:
        return native
    return SearchedScorer(native, FaissSearch(index, lists), neighbours, encoder)


def faiss_or_none() -> Any:
    """Return FAISS where it is installed."""
    try:
        import faiss
    except ImportError:
        return None
    _survive_forks()
    return faiss


@lru_cache(maxsize=1)
def _survive_forks() -> None:
    """Give FAISS one thread in forked children: its OpenMP waits there for threads that only the parent has."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_one_thread)


def _one_thread() -> None:
    import faiss

    faiss.omp_set_num_threads(1)


def checked_search(search: object) -> str:
    """Return how neighbours are to be found, or say what was found instead."""
    if not isinstance(search, str) or search not in SEARCHES:
        raise InvalidArgumentError(f"search: found {search!r}, allowed: {', '.join(SEARCHES)}")
    return search


def search_of(artifact: Artifact) -> str:
    """Read how an artifact's neighbours are found; "auto" where an older one does not say."""
    search = artifact.manifest.get("search", "auto")
    if search not in SEARCHES:
        raise ArtifactCorruptError(f"{artifact.path}: search is {search!r}; one of {', '.join(SEARCHES)} is needed")
    return str(search)


def build_lists(index: _core.SimilarityIndex, search: str, *, neighbours: int, seed: int) -> InvertedLists | None:
    """Sort the prompts of an index into lists; None where `search` means the exact scan.

    "auto" means lists from 100,000 prompts up where FAISS is installed. There are about the square root of the prompts'
    number times 4 of them, and as many are read as hold twice the neighbours and, on a sample of the index, find 99%
    of them.

    Raises
    ------
    MissingDependencyError
        "ivf" is asked for, and FAISS is not installed.
    """
    faiss = faiss_or_none()
    if search == "exact" or (search == "auto" and (faiss is None or index.size < LARGE_INDEX)):
        return None
    if faiss is None:
        raise MissingDependencyError("search='ivf' needs faiss: pip install 'fastroute[faiss]'")
    count = max(1, min(int(4 * index.size**0.5), index.size // 8))
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(index.size, min(index.size, count * _PER_LIST), replace=False))
    clustering = faiss.Kmeans(index.dim, count, niter=10, seed=seed + 1, spherical=True, min_points_per_centroid=1)
    clustering.train(index.unit_rows(sample))
    centroids = np.ascontiguousarray(clustering.centroids, np.float32)
    flat = faiss.IndexFlatIP(index.dim)
    flat.add(centroids)
    lists = np.empty(index.size, np.int32)
    for begin in range(0, index.size, _CHUNK):
        rows = np.arange(begin, min(begin + _CHUNK, index.size))
        lists[rows] = flat.search(index.unit_rows(rows), 1)[1][:, 0]
    own = np.sort(rng.choice(index.size, min(index.size, _SAMPLE), replace=False))
    asked = index.unit_rows(own)
    exact = _others(index.nearest(asked, neighbours + 1)[0], own)
    # Where fewer lists were read than hold the candidates, the exact scan would find the neighbours after all.
    probes = min(count, max(1, -(-(neighbours + 1) * _SLACK * count // index.size)))
    while True:
        found = InvertedLists(centroids, lists, probes, 1.0)
        ids = _others(FaissSearch(index, found).nearest(asked, neighbours + 1)[0], own)
        shares = [len(a & b) / len(a) for a, b in zip(exact, ids, strict=True) if a]
        recall = float(np.mean(shares)) if shares else 1.0
        if recall >= _RECALL or probes >= count:
            return InvertedLists(centroids, lists, probes, recall)
        probes = min(2 * probes, count)


def read_lists(artifact: Artifact, *, prompts: int, dim: int) -> InvertedLists | None:
    """Read the lists of an index; None where the artifact has none."""
    if IVF_FILE not in artifact.files:
        return None
    source = str(artifact.path / IVF_FILE)
    tensors = safetensors.decode(artifact.files[IVF_FILE], source=source)
    centroids = safetensors.expect_tensor(tensors, "centroids", source=source, dtype="float32", shape=(None, dim))
    lists = safetensors.expect_tensor(tensors, "lists", source=source, dtype="int32", shape=(prompts,))
    if not len(centroids) or (lists < 0).any() or (lists >= len(centroids)).any():
        raise ArtifactCorruptError(f"{source}: tensor 'lists' names lists other than the {len(centroids)} there are")
    said = artifact.manifest.get("ivf")
    known: dict[str, Any] = said if isinstance(said, dict) else {}
    probes, recall = known.get("probes"), known.get("recall")
    if type(probes) is not int or not 1 <= probes <= len(centroids):
        raise ArtifactCorruptError(f"{artifact.path}: ivf.probes is {probes!r}; 1 to {len(centroids)} is needed")
    if isinstance(recall, bool) or not isinstance(recall, (int, float)) or not 0 <= recall <= 1:
        raise ArtifactCorruptError(f"{artifact.path}: ivf.recall is {recall!r}; 0 to 1 is needed")
    return InvertedLists(centroids.copy(), lists.copy(), probes, float(recall))


def _others(ids: NDArray[np.int64], own: NDArray[np.int64]) -> list[set[int]]:
    """Neighbours of prompts of the index, without the prompts themselves: those are always found."""
    return [set(found) - {row} for found, row in zip(ids.tolist(), own.tolist(), strict=True)]


def _filled(faiss: Any, index: _core.SimilarityIndex, lists: InvertedLists) -> Any:
    quantizer = faiss.IndexFlatIP(index.dim)
    quantizer.add(lists.centroids)
    found = faiss.IndexIVFScalarQuantizer(
        quantizer, index.dim, len(lists.centroids), faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT, False
    )
    step = max(1, index.size // _CHUNK)
    found.train(index.unit_rows(np.arange(0, index.size, step)))
    for begin in range(0, index.size, _CHUNK):
        rows = np.arange(begin, min(begin + _CHUNK, index.size), dtype=np.int64)
        vectors, assigned = index.unit_rows(rows), lists.lists[rows].astype(np.int64)
        pointers = (faiss.swig_ptr(each) for each in (vectors, rows, assigned))
        found.add_core(len(rows), *pointers)
    return found


def _unit(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(embeddings, length, out=np.zeros_like(embeddings), where=length > 0)
    return np.ascontiguousarray(unit)
