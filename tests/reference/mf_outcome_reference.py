"""Loss and gradient of matrix factorization on scores in plain NumPy, from the equations in `mf_outcome_loops`."""

from __future__ import annotations

import numpy as np

Arrays = tuple[np.ndarray, ...]


def logits(features: np.ndarray, scores: Arrays, parameters: Arrays) -> np.ndarray:
    """s_m + a_gm u.x + v_m . (x P) + q.x + o_g + c_gm of each score."""
    unit, model, source, _, _, _, ability = scores
    vectors, projection, axis, strength, offset, ease, level = parameters
    x = features[unit]
    taste = (vectors[model] * (x @ projection)).sum(axis=1)
    return (
        strength[model] + ability[source, model] * (x @ axis) + taste + x @ ease + level[source] + offset[source, model]
    )


def probabilities(features: np.ndarray, scores: Arrays, parameters: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """h + (1 - h) sigmoid(l), and one less that: each as it is exact where it is small."""
    guess, logit = scores[4], logits(features, scores, parameters)
    return guess + (1 - guess) / (1 + np.exp(-logit)), (1 - guess) / (1 + np.exp(logit))


def loss(features: np.ndarray, scores: Arrays, parameters: Arrays) -> float:
    """Weighted sum of the cross-entropies."""
    score, _, weight = scores[3:6]
    right, wrong = probabilities(features, scores, parameters)
    return float(-(weight * (score * np.log(right) + (1 - score) * np.log(wrong))).sum())


def gradient(features: np.ndarray, scores: Arrays, parameters: Arrays) -> Arrays:
    """Of `loss`, in the order of the parameters, by the chain rule."""
    unit, model, source, score, guess, weight, ability = scores
    vectors, projection, *_ = parameters
    x = features[unit]
    right, wrong = probabilities(features, scores, parameters)
    logit = logits(features, scores, parameters)
    win, lose = 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(logit))
    slope = weight * ((1 - score) / wrong - score / right) * (1 - guess) * win * lose
    result = tuple(np.zeros_like(parameter) for parameter in parameters)
    np.add.at(result[0], model, slope[:, None] * (x @ projection))
    result[1][:] = x.T @ (slope[:, None] * vectors[model])
    result[2][:] = x.T @ (slope * ability[source, model])
    np.add.at(result[3], model, slope)
    np.add.at(result[4], (source, model), slope)
    result[5][:] = x.T @ slope
    np.add.at(result[6], source, slope)
    return result
