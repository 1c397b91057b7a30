"""Softmax over labels by Newton's method: weights of a few labels for rows of numbers, with soft targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["cross_entropy", "fit_softmax", "log_shares"]

_STEPS = 50
_CLOSE = 1e-9
_ON_BIASES = 1e-8  # labels' biases could all rise together


def fit_softmax(
    rows: NDArray[np.float64],
    targets: NDArray[np.float64],
    *,
    l2: float,
    start: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Fit weights that minimise the mean cross-entropy plus half of `l2` times the sum of their squares.

    Parameters
    ----------
    rows
        (n, d), of about unit variance.
    targets
        (n, K): how likely each label is; rows add up to 1.
    l2
        Above 0. Biases are left out of it.
    start
        Weights of a like fit, to begin with.

    Returns
    -------
    numpy.ndarray
        (K, d + 1): weights, and the bias last.
    """
    n, labels = targets.shape
    wide = np.concatenate([rows, np.ones((n, 1))], axis=1)
    size = wide.shape[1]
    penalty = np.full(size, l2)
    penalty[-1] = _ON_BIASES
    weights = np.zeros((labels, size)) if start is None else start.copy()

    def loss(at: NDArray[np.float64]) -> float:
        return cross_entropy(wide @ at.T, targets) + 0.5 * float((penalty * at**2).sum())

    value = loss(weights)
    for _ in range(_STEPS):
        shares = np.exp(log_shares(wide @ weights.T))
        slope = ((shares - targets).T @ wide) / n + penalty * weights
        curve = np.empty((labels, size, labels, size))
        for a in range(labels):
            for b in range(a, labels):
                each = shares[:, a] * (float(a == b) - shares[:, b]) / n
                curve[a, :, b] = (wide * each[:, None]).T @ wide
                curve[b, :, a] = curve[a, :, b]
            curve[a, np.arange(size), a, np.arange(size)] += penalty
        step = np.linalg.solve(curve.reshape(labels * size, -1), slope.reshape(-1)).reshape(labels, size)
        length, gain = 1.0, float((slope * step).sum())
        while length > 1e-6 and loss(weights - length * step) > value - 1e-4 * length * gain:
            length /= 2
        weights = weights - length * step
        before, value = value, loss(weights)
        if before - value < _CLOSE * max(1.0, abs(value)):
            break
    return weights


def log_shares(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the softmax of logits (n, K)."""
    moved = logits - logits.max(axis=1, keepdims=True)
    shares: NDArray[np.float64] = moved - np.log(np.exp(moved).sum(axis=1, keepdims=True))
    return shares


def cross_entropy(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Mean cross-entropy of logits (n, K) with soft targets (n, K)."""
    return float(-(targets * log_shares(logits)).sum(axis=1).mean())
