"""The compiled loops of matrix-factorization training.

Strictly sequential and without fast-math: the same input gives the same bits on one machine. Everything is
float64 here; parameters are rounded to float32 when training ends.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastroute.errors import MissingDependencyError

try:
    from numba import njit
except ImportError as error:
    raise MissingDependencyError("training needs numba: pip install 'fastroute[train]'") from error

__all__ = ["adam_step", "loss_and_gradient", "loss_only", "njit", "project", "sigmoid"]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


@njit(cache=False)
def loss_and_gradient(prompts: Any, features: Any, battles: Any, parameters: Any, gradients: Any) -> Any:
    """Weighted cross-entropy of the battles of some prompts; its gradient is added to `gradients`.

    The margin of a over b on a prompt with features x, in a battle of source g, is
    ``(s_a - s_b) (1 + u.x) + (v_a - v_b) . (x P) + c_ga - c_gb``.

    Parameters
    ----------
    prompts
        (m,) int64 prompts of the batch.
    features
        (n prompts, d) float64.
    battles
        Tuple of starts (n prompts + 1,) int64, the battles of prompt p being ``starts[p] .. starts[p + 1]``,
        and of model_a, model_b, source int64 and outcome, weight float64, all (n battles,).
    parameters, gradients
        Tuples of float64 arrays: vectors v (K, r), projection P (d, r), axis u (d,), strength s (K,),
        offset c (G, K).

    Returns
    -------
    tuple
        Summed loss; weight of the battles whose winner is predicted; weight of all battles but ties.
    """
    starts, model_a, model_b, source, outcome, weight = battles
    vectors, projection, axis, strength, _ = parameters
    vectors_g, projection_g, axis_g, strength_g, offset_g = gradients
    width, rank = projection.shape
    hidden, hidden_g = np.empty(rank), np.empty(rank)
    loss, right, decided = 0.0, 0.0, 0.0
    for p in prompts:
        stretch = project(features, p, projection, axis, hidden)
        stretch_g = 0.0
        hidden_g[:] = 0.0
        for i in range(starts[p], starts[p + 1]):
            a, b, g = model_a[i], model_b[i], source[i]
            margin = _margin((a, b, g), stretch, hidden, parameters)
            loss += weight[i] * _cross_entropy(margin, outcome[i])
            if outcome[i] != 0.5:
                decided += weight[i]
                if (margin > 0.0) == (outcome[i] > 0.5):
                    right += weight[i]
            slope = weight[i] * (sigmoid(margin) - outcome[i])
            stretch_g += slope * (strength[a] - strength[b])
            strength_g[a] += slope * stretch
            strength_g[b] -= slope * stretch
            offset_g[g, a] += slope
            offset_g[g, b] -= slope
            for k in range(rank):
                hidden_g[k] += slope * (vectors[a, k] - vectors[b, k])
                vectors_g[a, k] += slope * hidden[k]
                vectors_g[b, k] -= slope * hidden[k]
        for j in range(width):
            axis_g[j] += features[p, j] * stretch_g
            for k in range(rank):
                projection_g[j, k] += features[p, j] * hidden_g[k]
    return loss, right, decided


@njit(cache=False)
def loss_only(prompts: Any, features: Any, battles: Any, parameters: Any) -> Any:
    """Return what `loss_and_gradient` returns, without the gradient."""
    starts, model_a, model_b, source, outcome, weight = battles
    _, projection, axis, _, _ = parameters
    hidden = np.empty(projection.shape[1])
    loss, right, decided = 0.0, 0.0, 0.0
    for p in prompts:
        stretch = project(features, p, projection, axis, hidden)
        for i in range(starts[p], starts[p + 1]):
            margin = _margin((model_a[i], model_b[i], source[i]), stretch, hidden, parameters)
            loss += weight[i] * _cross_entropy(margin, outcome[i])
            if outcome[i] != 0.5:
                decided += weight[i]
                if (margin > 0.0) == (outcome[i] > 0.5):
                    right += weight[i]
    return loss, right, decided


@njit(cache=False)
def adam_step(arrays: Any, step: int, scale: float, rate: float, decay: float) -> None:
    """One step of AdamW (arXiv 1711.05101), in place; the gradient is zeroed.

    Parameters
    ----------
    arrays
        Tuple of flat float64 arrays: parameter, gradient, first moment, second moment.
    step
        From 1.
    scale
        Multiplies the gradient: one over the weight of the batch turns a sum into a mean.
    rate, decay
        Learning rate, and weight decay in units of it.
    """
    parameter, gradient, first, second = arrays
    correction_1, correction_2 = 1.0 - _BETA_1**step, 1.0 - _BETA_2**step
    for i in range(parameter.size):
        slope = gradient[i] * scale
        first[i] = _BETA_1 * first[i] + (1.0 - _BETA_1) * slope
        second[i] = _BETA_2 * second[i] + (1.0 - _BETA_2) * slope * slope
        update = (first[i] / correction_1) / (math.sqrt(second[i] / correction_2) + _EPSILON)
        parameter[i] -= rate * (update + decay * parameter[i])
        gradient[i] = 0.0


@njit(cache=False)
def project(features: Any, prompt: int, projection: Any, axis: Any, hidden: Any) -> float:
    """Fill `hidden` with x P and return 1 + u.x."""
    hidden[:] = 0.0
    stretch = 1.0
    for j in range(axis.size):
        stretch += features[prompt, j] * axis[j]
        for k in range(hidden.size):
            hidden[k] += features[prompt, j] * projection[j, k]
    return stretch


@njit(cache=False)
def _margin(battle: Any, stretch: float, hidden: Any, parameters: Any) -> float:
    a, b, g = battle
    vectors, _, _, strength, offset = parameters
    margin: float = (strength[a] - strength[b]) * stretch + offset[g, a] - offset[g, b]
    for k in range(hidden.size):
        margin += (vectors[a, k] - vectors[b, k]) * hidden[k]
    return margin


@njit(cache=False)
def sigmoid(margin: float) -> float:
    """Of a logit."""
    small = math.exp(-abs(margin))  # never overflows
    return (1.0 if margin >= 0.0 else small) / (1.0 + small)


@njit(cache=False)
def _cross_entropy(margin: float, outcome: float) -> float:
    return max(margin, 0.0) - outcome * margin + math.log1p(math.exp(-abs(margin)))
