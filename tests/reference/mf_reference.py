"""Training loss of matrix factorization and its gradient, in NumPy, from the equations in `mf_loops`."""

from __future__ import annotations

import numpy as np

Arrays = tuple[np.ndarray, ...]


def margins(features: np.ndarray, battles: Arrays, parameters: Arrays) -> np.ndarray:
    """(s_a - s_b) (1 + u.x) + (v_a - v_b) . (x P) + c_ga - c_gb of each battle."""
    prompt, a, b, source, _, _ = battles
    vectors, projection, axis, strength, offset = parameters
    x = features[prompt]
    ability = (strength[a] - strength[b]) * (1 + x @ axis)
    taste = ((vectors[a] - vectors[b]) * (x @ projection)).sum(axis=1)
    return ability + taste + offset[source, a] - offset[source, b]


def loss(features: np.ndarray, battles: Arrays, parameters: Arrays) -> float:
    """Weighted sum of the cross-entropies."""
    outcome, weight = battles[4:]
    margin = margins(features, battles, parameters)
    log_win, log_loss = -np.logaddexp(0, -margin), -np.logaddexp(0, margin)
    return float(-(weight * (outcome * log_win + (1 - outcome) * log_loss)).sum())


def gradient(features: np.ndarray, battles: Arrays, parameters: Arrays) -> Arrays:
    """Of `loss`, in the order of the parameters."""
    prompt, a, b, source, outcome, weight = battles
    vectors, projection, axis, strength, _ = parameters
    x = features[prompt]
    slope = weight * (1 / (1 + np.exp(-margins(features, battles, parameters))) - outcome)
    result = tuple(np.zeros_like(parameter) for parameter in parameters)
    for model, sign in ((a, 1), (b, -1)):
        np.add.at(result[0], model, sign * slope[:, None] * (x @ projection))
        np.add.at(result[3], model, sign * slope * (1 + x @ axis))
        np.add.at(result[4], (source, model), sign * slope)
    result[1][:] = x.T @ (slope[:, None] * (vectors[a] - vectors[b]))
    result[2][:] = x.T @ (slope * (strength[a] - strength[b]))
    return result
