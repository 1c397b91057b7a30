"""Bradley-Terry strengths of models: how often each wins, prompts left aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["bradley_terry"]

_STEPS = 50
_TOLERANCE = 1e-10


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
