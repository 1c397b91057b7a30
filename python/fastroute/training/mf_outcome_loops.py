"""The compiled loops of matrix factorization on scores; as strict about their order as `mf_loops`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastroute.training.mf_loops import njit, project, sigmoid

__all__ = ["outcome_gradient", "outcome_loss"]


@njit(cache=False)
def outcome_gradient(units: Any, features: Any, outcomes: Any, parameters: Any, gradients: Any) -> Any:
    """Weighted cross-entropy of the scores of some units; its gradient is added to `gradients`.

    A unit is a prompt of a source. Model m is right on one with features x in source g with probability
    ``h + (1 - h) sigmoid(l)``, where h is the guess rate and ``l = s_m + a_gm u.x + v_m . (x P) + q.x + o_g + c_gm``.

    Parameters
    ----------
    units
        (m,) int64 units of the batch.
    features
        (n units, d) float64.
    outcomes
        Tuple of starts (n units + 1,) int64, the scores of unit p being ``starts[p] .. starts[p + 1]``; of model,
        source int64 and score, guess, weight float64, all (n scores,); and of the abilities a (G, K) float64.
    parameters, gradients
        Tuples of float64 arrays: vectors v (K, r), projection P (d, r), axis u (d,), strength s (K,),
        offset c (G, K), ease q (d,), level o (G,).

    Returns
    -------
    tuple
        Summed loss; weight of the scores that are on the same side of one half as the probability; weight of all
        scores but those of one half.
    """
    starts, model, source, score, guess, weight, ability = outcomes
    vectors, projection, axis, _, _, ease, _ = parameters
    vectors_g, projection_g, axis_g, strength_g, offset_g, ease_g, level_g = gradients
    width, rank = projection.shape
    hidden, hidden_g = np.empty(rank), np.empty(rank)
    loss, right, decided = 0.0, 0.0, 0.0
    for p in units:
        stretch = project(features, p, projection, axis, hidden) - 1.0
        easy = _along(features, p, ease)
        stretch_g, easy_g = 0.0, 0.0
        hidden_g[:] = 0.0
        for i in range(starts[p], starts[p + 1]):
            m, g = model[i], source[i]
            logit = easy + ability[g, m] * stretch + _logit(m, g, hidden, parameters)
            known = _known(logit, guess[i])
            loss += weight[i] * _cross_entropy(logit, known, score[i], guess[i])
            if score[i] != 0.5:
                decided += weight[i]
                if (_probability(logit, guess[i]) > 0.5) == (score[i] > 0.5):
                    right += weight[i]
            slope = weight[i] * (sigmoid(logit) - score[i] * known)
            stretch_g += slope * ability[g, m]
            easy_g += slope
            strength_g[m] += slope
            offset_g[g, m] += slope
            level_g[g] += slope
            for k in range(rank):
                hidden_g[k] += slope * vectors[m, k]
                vectors_g[m, k] += slope * hidden[k]
        for j in range(width):
            axis_g[j] += features[p, j] * stretch_g
            ease_g[j] += features[p, j] * easy_g
            for k in range(rank):
                projection_g[j, k] += features[p, j] * hidden_g[k]
    return loss, right, decided


@njit(cache=False)
def outcome_loss(units: Any, features: Any, outcomes: Any, parameters: Any) -> Any:
    """Return what `outcome_gradient` returns, without the gradient."""
    starts, model, source, score, guess, weight, ability = outcomes
    _, projection, axis, _, _, ease, _ = parameters
    hidden = np.empty(projection.shape[1])
    loss, right, decided = 0.0, 0.0, 0.0
    for p in units:
        stretch = project(features, p, projection, axis, hidden) - 1.0
        easy = _along(features, p, ease)
        for i in range(starts[p], starts[p + 1]):
            m, g = model[i], source[i]
            logit = easy + ability[g, m] * stretch + _logit(m, g, hidden, parameters)
            loss += weight[i] * _cross_entropy(logit, _known(logit, guess[i]), score[i], guess[i])
            if score[i] != 0.5:
                decided += weight[i]
                if (_probability(logit, guess[i]) > 0.5) == (score[i] > 0.5):
                    right += weight[i]
    return loss, right, decided


@njit(cache=False)
def _along(features: Any, unit: int, direction: Any) -> float:
    total = 0.0
    for j in range(direction.size):
        total += features[unit, j] * direction[j]
    return total


@njit(cache=False)
def _logit(m: int, g: int, hidden: Any, parameters: Any) -> float:
    """Sum what of the logit does not go by a unit's stretch and ease."""
    vectors, _, _, strength, offset, _, level = parameters
    logit: float = strength[m] + level[g] + offset[g, m]
    for k in range(hidden.size):
        logit += vectors[m, k] * hidden[k]
    return logit


@njit(cache=False)
def _probability(logit: float, guess: float) -> float:
    probability: float = guess + (1.0 - guess) * sigmoid(logit)
    return probability


@njit(cache=False)
def _known(logit: float, guess: float) -> float:
    """Share of the right answers that are not guessed, e^l / (h + e^l), without overflow."""
    if logit >= 0.0 or guess == 0.0:
        return 1.0 / (1.0 + guess * math.exp(-max(logit, 0.0)))
    small = math.exp(logit)
    return small / (guess + small)


@njit(cache=False)
def _cross_entropy(logit: float, known: float, score: float, guess: float) -> float:
    """-y log(h + (1 - h) sigmoid(l)) - (1 - y) log((1 - h) (1 - sigmoid(l))), without overflow.

    The two probabilities are (h + e^l) / (1 + e^l) and (1 - h) / (1 + e^l), and h + e^l is e^l / known.
    """
    softplus = max(logit, 0.0) + math.log1p(math.exp(-abs(logit)))
    if guess == 0.0:
        return softplus - score * logit
    top = logit - math.log(known) if logit >= 0.0 else math.log(guess + math.exp(logit))
    return softplus - score * top - (1.0 - score) * math.log1p(-guess)
