"""Texts whose embeddings point the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fastroute.contamination.background import EVERYDAY_PROMPTS
from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastroute.encoders import Encoder

    Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    Engine = Literal["auto", "faiss", "numpy"]

__all__ = ["available_engine", "semantic_pairs"]

_BLOCK = 1024
_MARGIN = 1e-4  # float32 dot products of unit vectors are good to about 1e-6


def semantic_pairs(
    train: Sequence[str], evaluation: Sequence[str], *, cosine: float, encoder: Encoder, engine: Engine = "auto"
) -> Pairs:
    """Pairs of texts whose embeddings have at least this cosine, less the mean of everyday prompts.

    FAISS or NumPy find the candidates; the cosine that decides is formed in float64, so both give the same
    pairs. Texts without a token, whose embedding is zero, are like no other.

    Returns
    -------
    tuple of numpy.ndarray
        Indices into `train` and into `evaluation`, and the cosine; ascending.
    """
    centre = encoder.embed(list(EVERYDAY_PROMPTS)).mean(axis=0, dtype=np.float64)
    (unit_a, index_a), (unit_b, index_b) = (_directions(texts, encoder, centre) for texts in (train, evaluation))
    search = _search_faiss if available_engine(engine) == "faiss" else _search_numpy
    first, second, found = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    if len(unit_a) and len(unit_b):
        for one, other in search(unit_a.astype(np.float32), unit_b.astype(np.float32), cosine - _MARGIN):
            similarity = np.minimum(np.einsum("ij,ij->i", unit_a[one], unit_b[other]), 1.0)
            enough = similarity >= cosine
            first.append(index_a[one[enough]])
            second.append(index_b[other[enough]])
            found.append(similarity[enough])
    one, other, similarity = np.concatenate(first), np.concatenate(second), np.concatenate(found)
    order = np.lexsort((other, one))
    return one[order], other[order], similarity[order]


def available_engine(engine: Engine) -> Literal["faiss", "numpy"]:
    """Which engine "auto" is here; "faiss" where it is not installed raises `MissingDependencyError`."""
    if engine == "numpy":
        return "numpy"
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        if engine == "faiss":
            raise MissingDependencyError("the engine 'faiss' needs faiss: pip install 'fastroute[faiss]'") from error
        return "numpy"
    return "faiss"


def _directions(
    texts: Sequence[str], encoder: Encoder, centre: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Make unit vectors of the texts that have one, and say which these are."""
    embedded = encoder.embed(list(texts))
    known = np.flatnonzero(embedded.any(axis=1))
    moved = embedded[known].astype(np.float64) - centre
    length = np.linalg.norm(moved, axis=1)
    return moved[length > 0] / length[length > 0, None], known[length > 0]


def _search_numpy(
    unit_a: NDArray[np.float32], unit_b: NDArray[np.float32], least: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for start in range(0, len(unit_a), _BLOCK):
        one, other = np.nonzero(unit_a[start : start + _BLOCK] @ unit_b.T >= least)
        yield one + start, other


def _search_faiss(
    unit_a: NDArray[np.float32], unit_b: NDArray[np.float32], least: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    import faiss

    index = faiss.IndexFlatIP(unit_b.shape[1])
    index.add(unit_b)
    for start in range(0, len(unit_a), _BLOCK):
        block = unit_a[start : start + _BLOCK]
        bounds, _, other = index.range_search(block, least)
        yield np.repeat(np.arange(len(block)), np.diff(bounds.astype(np.int64))) + start, other
