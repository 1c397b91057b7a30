"""Scores of matrix factorization, in NumPy float64, from the formula of arXiv 2406.18665, section 4.1."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Weights = Mapping[str, NDArray[np.float32]]


def deltas(weights: Weights, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """delta(m, e) = w . (v_m * (W e)) + b_m; shape (n, K)."""
    v, projection, w, b = (
        weights[name].astype(np.float64) for name in ("model_embedding", "projection", "classifier", "model_bias")
    )
    projected = embeddings.astype(np.float64) @ projection.T
    return np.einsum("r,kr,nr->nk", w, v, projected) + b


def win_rate(weights: Weights, embeddings: NDArray[np.floating], strong: int, weak: int) -> NDArray[np.float64]:
    """sigmoid(delta(strong, e) - delta(weak, e)); shape (n,)."""
    ratings = deltas(weights, embeddings)
    margin = ratings[:, strong] - ratings[:, weak]
    return np.where(margin < 0, np.exp(np.minimum(margin, 0)), 1) / (1 + np.exp(-np.abs(margin)))
