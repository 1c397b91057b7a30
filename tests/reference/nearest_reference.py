"""Nearest rows of an index by sorting all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastroute import _core

Neighbours = tuple[NDArray[np.int64], NDArray[np.float32]]


def index_of(rows: NDArray[np.float32], *, fine: bool) -> _core.SimilarityIndex:
    """The index that a router makes of these embeddings."""
    coarse, rest, scales = _core.quantise_rows(rows)
    return _core.SimilarityIndex(coarse, scales, rest if fine else None)


def fine_steps(dim: int) -> int:
    """Steps of a fine part within one of the coarse part."""
    return max(1, min(2**17 // dim, 254))


def stored_rows(index: _core.SimilarityIndex) -> NDArray[np.float64]:
    """The rows as they are stored; unit vectors up to rounding."""
    rows, fine = index.rows().astype(np.float64), index.fine()
    if fine is not None:
        rows += fine.astype(np.float64) / fine_steps(index.dim)
    return rows * index.scales().astype(np.float64)[:, None]


def similarities(index: _core.SimilarityIndex, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each embedding's unit vector with each row, in float64 until the end; 0 where it is zero."""
    wide = embeddings.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    unit = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    return (unit @ stored_rows(index).T).astype(np.float32)


def nearest(index: _core.SimilarityIndex, embeddings: NDArray[np.float32], k: int) -> Neighbours:
    """Rows of highest similarity, of equal ones the first."""
    found = similarities(index, embeddings)
    ids = np.argsort(-found, axis=1, kind="stable")[:, :k]
    return ids.astype(np.int64), np.take_along_axis(found, ids, axis=1)
