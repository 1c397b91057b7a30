"""The linear pieces: standardised features, ridge regression, the domain classifier. Everything is float64.

What is fitted here is folded into weights on the raw embedding and on the clipped surface features, as the native core
computes them (src/routing/domain_experts.h).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute import _core
from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "EXPERT_CLIP",
    "PENALTIES",
    "SURFACE_CLIP",
    "Features",
    "Local",
    "Ridge",
    "Standardisation",
    "fit_classifier",
    "fit_ridges",
]

SURFACE_CLIP, EXPERT_CLIP = _core.SURFACE_CLIP, _core.EXPERT_CLIP
PENALTIES = (30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5)
_SPREAD_FLOOR = 0.15  # in units of the whole data's standard deviation
_SPREAD_DROPPED = 0.02
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Features:
    """Features of n prompts: surface (n, F) and embedding (n, d), float64, raw or standardised."""

    surface: NDArray[np.float64]
    embedding: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Features:
        """Keep these rows."""
        return Features(self.surface[rows], self.embedding[rows])

    def __len__(self) -> int:
        return len(self.surface)

    @property
    def both(self) -> NDArray[np.float64]:
        """Surface and embedding side by side."""
        return np.hstack([self.surface, self.embedding])


@dataclass(frozen=True, slots=True)
class Standardisation:
    """Means and reciprocal standard deviations of all training prompts; surface features are clipped after it."""

    surface_mean: NDArray[np.float64]
    surface_scale: NDArray[np.float64]
    embedding_mean: NDArray[np.float64]
    embedding_scale: NDArray[np.float64]

    @staticmethod
    def of(features: Features) -> Standardisation:
        """Measure it."""
        surface, embedding = (_moments(part) for part in (features.surface, features.embedding))
        return Standardisation(*surface, *embedding)

    def __call__(self, raw: Features) -> Features:
        """Standardise."""
        surface = (raw.surface - self.surface_mean) * self.surface_scale
        return Features(
            np.clip(surface, -SURFACE_CLIP, SURFACE_CLIP),
            (raw.embedding - self.embedding_mean) * self.embedding_scale,
        )

    def on_raw_embedding(self, weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """Fold weights on the standardised embedding into weights on the raw one and an offset."""
        folded = weights * self.embedding_scale
        return folded, -float(folded @ self.embedding_mean)


def _moments(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    spread = values.std(axis=0)
    scale = np.zeros_like(spread)
    np.divide(1, spread, out=scale, where=spread > 1e-9)  # a constant column says nothing
    return values.mean(axis=0), scale


@dataclass(frozen=True, slots=True)
class Local:
    """Standardisation within one domain, on top of that of all prompts.

    A column that hardly varies in the domain is dropped, and the spread of the others is floored, so that what is rare
    there is not blown up. Surface features are clipped; the embedding is not, so that it stays linear in tokens.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    surface: int  # how many columns are surface features

    @staticmethod
    def of(features: Features) -> Local:
        """Measure it on the standardised features of a domain's prompts."""
        both = features.both
        spread = both.std(axis=0)
        scale = np.where(spread < _SPREAD_DROPPED, 0.0, 1 / np.maximum(spread, _SPREAD_FLOOR))
        return Local(both.mean(axis=0), scale, features.surface.shape[1])

    def __call__(self, features: Features) -> NDArray[np.float64]:
        """Columns of standardised features, standardised again: (n, F + d)."""
        local = (features.both - self.mean) * self.scale
        local[:, : self.surface] = np.clip(local[:, : self.surface], -EXPERT_CLIP, EXPERT_CLIP)
        return local


@dataclass(frozen=True, slots=True)
class Ridge:
    """A ridge regression of a centred target on centred columns: what it predicts is a deviation from the mean."""

    weights: NDArray[np.float64]
    mean: NDArray[np.float64]
    penalty: float

    def __call__(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        """Predict."""
        predicted: NDArray[np.float64] = (columns - self.mean) @ self.weights
        return predicted


def fit_ridges(
    columns: NDArray[np.float64], targets: Sequence[NDArray[np.float64]], folds: NDArray[np.int64]
) -> tuple[Ridge, ...]:
    """Fit several targets on the same columns, each with the penalty of `PENALTIES` that predicts held-out folds best.

    Parameters
    ----------
    columns, targets
        (n, p), and (n,) each.
    folds
        (n,) the fold of each row; rows of one prompt share it. Where all share one, nothing can be held out, and the
        weights are zero.
    """
    mean = columns.mean(axis=0)
    present = np.unique(folds)
    if len(present) < 2:
        return tuple(Ridge(np.zeros(columns.shape[1]), mean, PENALTIES[-1]) for _ in targets)
    stacked = np.stack(targets, axis=1)
    errors = np.zeros((len(PENALTIES), len(targets)))
    for fold in present:
        held = folds == fold
        path = _Path(columns[~held], stacked[~held])
        for row, penalty in enumerate(PENALTIES):
            errors[row] += ((path.predict(columns[held], penalty) - stacked[held]) ** 2).sum(axis=0)
    whole = _Path(columns, stacked)
    best = len(PENALTIES) - 1 - np.argmin(errors[::-1], axis=0)  # the largest on a tie
    return tuple(
        Ridge(np.ascontiguousarray(whole.weights(PENALTIES[row])[:, target]), mean, PENALTIES[row])
        for target, row in enumerate(best.tolist())
    )


class _Path:
    """Ridge regressions under any penalty from one eigendecomposition."""

    def __init__(self, columns: NDArray[np.float64], targets: NDArray[np.float64]) -> None:
        self._mean, self._level = columns.mean(axis=0), targets.mean(axis=0)
        centred = columns - self._mean
        values, self._vectors = np.linalg.eigh(centred.T @ centred)
        self._values = np.maximum(values, 0)[:, None]
        self._moments = self._vectors.T @ (centred.T @ (targets - self._level))

    def weights(self, penalty: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._vectors @ (self._moments / (self._values + penalty))
        return found

    def predict(self, columns: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
        predicted: NDArray[np.float64] = (columns - self._mean) @ self.weights(penalty) + self._level
        return predicted


def fit_classifier(
    columns: NDArray[np.float64], classes: NDArray[np.int64], count: int, *, strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multinomial logistic regression with classes balanced; weights (count, p) and biases (count,).

    Parameters
    ----------
    columns, classes
        (n, p) and (n,), 0 to count - 1; every class occurs.
    strength
        Inverse of the L2 penalty, as scikit-learn's C.
    """
    weights, bias = np.zeros((count, columns.shape[1])), np.zeros(count)
    if count == 1:
        return weights, bias
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingDependencyError("training experts needs scikit-learn: pip install 'fastroute[train]'") from error
    fitted = LogisticRegression(C=strength, class_weight="balanced", tol=1e-8, max_iter=5000).fit(columns, classes)
    if count == 2:  # scikit-learn gives the log-odds of the second class alone
        weights[1], bias[1] = fitted.coef_[0], fitted.intercept_[0]
        return weights, bias
    return np.asarray(fitted.coef_, np.float64), np.asarray(fitted.intercept_, np.float64)
