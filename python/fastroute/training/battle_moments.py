"""Moments of battles: for each cell the mean of its prompts' unit vectors, and the directions in which they vary."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["fit_moments"]


def fit_moments(
    lengths: NDArray[np.integer],
    cells: NDArray[np.uint16],
    counts: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    rank: int,
) -> tuple[NDArray[np.uint16], NDArray[np.float32], NDArray[np.float32]]:
    """Fit the arrays that `fastroute._core.BattleMoments` takes, in float64.

    Parameters
    ----------
    lengths
        (P,): how many cells each prompt has.
    cells, counts
        (n,): cells, prompt after prompt, and the battles that they count.
    embeddings
        (P, d), finite; their lengths don't matter.
    rank
        How many directions of each cell: those in which its unit vectors vary the most. 0 asks for means alone.

    Returns
    -------
    cells
        (C,), ascending.
    means
        (C, d): of the unit vectors, each counted as often as the cell has its prompt.
    factors
        (C, rank, d): eigenvectors of their covariance times the square root of their eigenvalue, the largest
        first and each with its largest element positive; zeros beyond what varies.
    """
    squares = np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64)
    norms = np.where(squares > 0, np.sqrt(squares), 1.0)
    prompts = np.repeat(np.arange(len(lengths)), lengths)
    order = np.argsort(cells, kind="stable")
    found, starts = np.unique(cells[order], return_index=True)
    means = np.zeros((len(found), embeddings.shape[1]), np.float32)
    factors = np.zeros((len(found), rank, embeddings.shape[1]), np.float32)
    with _one_blas_thread():
        for c, entries in enumerate(np.split(order, starts[1:])):
            units = embeddings[prompts[entries]] / norms[prompts[entries], None]
            share = counts[entries].astype(np.float64)
            share /= share.sum()
            mean = share @ units
            means[c] = mean
            if rank:
                rows = _factors((units - mean) * np.sqrt(share)[:, None], rank)
                factors[c, : len(rows)] = rows
    return found.astype(np.uint16), means, factors


def _factors(rows: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """Eigenvectors of rows' @ rows times the square root of their eigenvalue, at most `rank`."""
    count, dim = rows.shape
    # Of the two products that have the same eigenvalues, the smaller one.
    if count < dim:
        _, vectors = np.linalg.eigh(rows @ rows.T)
        found = vectors.T[::-1][:rank] @ rows
    else:
        values, vectors = np.linalg.eigh(rows.T @ rows)
        found = (vectors * np.sqrt(np.maximum(values, 0))).T[::-1][:rank]
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    signed: NDArray[np.float64] = found * np.where(largest < 0, -1.0, 1.0)
    return signed


def _one_blas_thread() -> AbstractContextManager[Any]:
    """Let sums have one order whatever the number of cores, where something can see to it: the same bits."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
