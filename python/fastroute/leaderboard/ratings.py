"""Bradley-Terry strengths by maximum likelihood, for one table of wins or for many at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import FastrouteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ELO_SCALE", "strengths"]

ELO_SCALE = 400 / math.log(10)
"""Rating points per unit of strength: 400 points more are odds of 10 to 1."""

_MOST_STEPS = 200
_LAST_STEP = 1e-9  # the steps shrink quadratically: what is left after this one is below 1e-16


def strengths(
    wins: NDArray[np.float64], *, penalty: float = 0.0, start: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Strengths s, in logits, under which i beats j with ``sigmoid(s_i - s_j)`` (Bradley and Terry, 1952).

    They maximise ``sum_ij wins[i, j] log sigmoid(s_i - s_j) - penalty/2 sum_i s_i^2``. Newton's method; a step
    d is shortened by ``log(1 + r) / r``, r its range: along it the curvature grows no faster than exp(r t), so
    the objective rises all the way (generalised self-concordance: Bach, 2010, arXiv 0910.4627), and near the
    maximum the steps are Newton's own.

    Parameters
    ----------
    wins
        (..., K, K) float64, not negative: how often i beat j, a tie half a win each way. Without a penalty
        every model must reach every other along wins, or there is no maximum (Ford, 1957); see
        `fastroute.leaderboard.groups`.
    penalty
        0 for maximum likelihood.
    start
        Strengths to start from; zeros by default.

    Returns
    -------
    numpy.ndarray
        (..., K) float64 with mean 0.

    Raises
    ------
    FastrouteError
        The steps don't end, as where there is no maximum.
    """
    battles = wins + wins.swapaxes(-1, -2)
    models = wins.shape[-1]
    strength = np.zeros(wins.shape[:-1])
    if start is not None:
        strength += start
    eye = np.eye(models)
    for _ in range(_MOST_STEPS):
        expected = 1 / (1 + np.exp(strength[..., None, :] - strength[..., :, None]))
        gradient = (wins - battles * expected).sum(axis=-1) - penalty * strength
        curvature = battles * expected * expected.swapaxes(-1, -2)
        # Strengths matter up to a constant: the ones fix it without moving the solution.
        hessian = eye * (curvature.sum(axis=-1) + penalty)[..., None] - curvature + 1 / models
        try:
            step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        except np.linalg.LinAlgError:
            break
        extent = step.max(axis=-1, keepdims=True) - step.min(axis=-1, keepdims=True)
        strength += step * np.log1p(extent) / np.maximum(extent, np.finfo(float).tiny)
        if not np.isfinite(extent).all():
            break
        if extent.max(initial=0.0) < _LAST_STEP:
            centred: NDArray[np.float64] = strength - strength.mean(axis=-1, keepdims=True)
            return centred
    raise FastrouteError("ratings: the fit does not converge; some model wins or loses (nearly) every battle")
