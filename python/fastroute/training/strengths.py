"""Strengths of models, prompts left aside: how often each wins, how often each is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bradley_terry", "right_answers", "strengths_beside"]

_STEPS = 50
_TOLERANCE = 1e-10
_LEVEL_PENALTY = 1e-3


def bradley_terry(
    models: int,
    model_a: NDArray[np.int64],
    model_b: NDArray[np.int64],
    outcome: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    offset: NDArray[np.float64] | None = None,
    penalty: float = 1.0,
) -> NDArray[np.float64]:
    """Maximum a-posteriori strengths s, in logits: a beats b with ``sigmoid(s_a - s_b)``.

    Newton's method on the convex loss (Bradley and Terry, 1952). The penalty keeps undefeated models finite,
    and models without battles at zero.

    Parameters
    ----------
    models
        Number of models K.
    model_a, model_b, outcome, weight
        (n,) per battle, as in `Battles`.
    offset
        (K,) strengths that are added to the ones sought.
    penalty
        Of ``s^2 / 2`` for each model; larger than 0.

    Returns
    -------
    numpy.ndarray
        (K,) float64.
    """
    known = np.zeros(models) if offset is None else offset
    strength = np.zeros(models)
    for _ in range(_STEPS):
        margin = (known + strength)[model_a] - (known + strength)[model_b]
        win = 1 / (1 + np.exp(-margin))
        slope, curve = weight * (win - outcome), weight * win * (1 - win)
        gradient = np.bincount(model_a, slope, models) - np.bincount(model_b, slope, models) + penalty * strength
        cells = np.bincount(model_a * models + model_b, curve, models * models).reshape(models, models)
        cells += cells.T
        step = np.linalg.solve(np.diag(cells.sum(axis=1) + penalty) - cells, gradient)
        strength -= np.clip(step, -2, 2)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    return strength


def strengths_beside(
    fixed: NDArray[np.float64],
    model_a: NDArray[np.int64],
    model_b: NDArray[np.int64],
    outcome: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    penalty: float = 1.0,
) -> NDArray[np.float64]:
    """Maximum a-posteriori strengths of further models, in logits, where those of some are known and stay.

    Parameters
    ----------
    fixed
        (K,) strengths; NaN for those sought.
    model_a, model_b, outcome, weight, penalty
        As in `bradley_terry`.

    Returns
    -------
    numpy.ndarray
        (K,) float64.
    """
    sought = np.flatnonzero(np.isnan(fixed))
    models = len(fixed)
    strength = np.nan_to_num(fixed)
    for _ in range(_STEPS):
        win = 1 / (1 + np.exp(strength[model_b] - strength[model_a]))
        slope, curve = weight * (win - outcome), weight * win * (1 - win)
        gradient = np.bincount(model_a, slope, models) - np.bincount(model_b, slope, models) + penalty * strength
        cells = np.bincount(model_a * models + model_b, curve, models * models).reshape(models, models)
        cells += cells.T
        hessian = np.diag(cells.sum(axis=1) + penalty) - cells
        step = np.linalg.solve(hessian[np.ix_(sought, sought)], gradient[sought])
        strength[sought] -= np.clip(step, -2, 2)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    return strength


def right_answers(
    models: int,
    sources: int,
    model: NDArray[np.int64],
    source: NDArray[np.int64],
    *,
    score: NDArray[np.float64],
    guess: NDArray[np.float64],
    weight: NDArray[np.float64],
    penalty: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Maximum a-posteriori strengths s, levels o and offsets c, in logits, of models that answer prompts.

    Model m is right in source g with probability ``h + (1 - h) sigmoid(s_m + o_g + c_gm)``. First s and o are fitted,
    by Fisher scoring, with c at zero; then c beside them. The penalty keeps models finite that are always right.

    Parameters
    ----------
    models, sources
        Numbers K and G.
    model, source, score, guess, weight
        (n,) per score, as in `Scores`.
    penalty
        Of ``s^2 / 2`` and ``c^2 / 2``; larger than 0. Levels have a small one, for those that are always right.

    Returns
    -------
    tuple
        s (K,), o (G,) and c (G, K), float64.
    """
    both = np.concatenate([np.full(models, penalty), np.full(sources, _LEVEL_PENALTY * penalty)])
    fitted = np.zeros(models + sources)
    for _ in range(_STEPS):
        slope, curve = _slope_and_curve(fitted[model] + fitted[models + source], score, guess, weight)
        pulls = np.bincount(model, slope, len(fitted)) + np.bincount(models + source, slope, len(fitted))
        gradient = pulls + both * fitted
        cells = np.bincount(model * sources + source, curve, models * sources).reshape(models, sources)
        hessian = np.diag(np.concatenate([cells.sum(axis=1), cells.sum(axis=0)]) + both)
        hessian[:models, models:] += cells
        hessian[models:, :models] += cells.T
        step = np.linalg.solve(hessian, gradient)
        fitted -= np.clip(step, -2, 2)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    strength, level = fitted[:models], fitted[models:]
    cell, offset = source * models + model, np.zeros(sources * models, np.float64)
    for _ in range(_STEPS):
        slope, curve = _slope_and_curve(strength[model] + level[source] + offset[cell], score, guess, weight)
        pull = np.bincount(cell, slope, len(offset)) + penalty * offset
        step = pull / (np.bincount(cell, curve, len(offset)) + penalty)
        offset -= np.clip(step, -2, 2)
        if np.abs(step).max(initial=0.0) < _TOLERANCE:
            break
    return strength, level, offset.reshape(sources, models)


def _slope_and_curve(
    logit: NDArray[np.float64], score: NDArray[np.float64], guess: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First derivative of the cross-entropy, and the expected second one, by the logit."""
    odds = np.exp(np.clip(logit, -30, 30))
    win = odds / (1 + odds)
    known = odds / (guess + odds)
    # Fisher information: (dp/dl)^2 / (p (1 - p)) = sigmoid(l)^2 (1 - h) / (h + e^l)
    return weight * (win - score * known), weight * win * (1 - win) * (1 - guess) * known
