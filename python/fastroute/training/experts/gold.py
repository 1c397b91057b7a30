"""Gold experts: labels of the very pair on a set of the user's, and a guard that keeps them to it.

Without a guard, an expert trained on one multiple-choice set takes over every multiple-choice prompt. A gold expert
acts where two things hold, each a ramp from 0 to 1: a classifier of the gold set against all other training
prompts finds the prompt more like the gold set than 99.5% of those others (measured on held-out folds), and its
surface features lie no further from the gold set's than those of the set itself mostly do. The first tells it from
what is known, the second from what is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError
from fastroute.training.experts.linear import Local, Ridge, fit_classifier, fit_ridges
from fastroute.training.splits import fold_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fastroute.training.experts.linear import Features, Standardisation

__all__ = ["DENSITY_CAP", "GoldExpert", "GoldLabels", "fit_gold"]

FEWEST = 50  # labels
DENSITY_CAP = 100.0
_CLASSIFIER_STRENGTH = 0.01
_LIKE_OTHERS = 0.995  # quantile of the other prompts where the gate begins to open
_LIKE_GOLD = 0.25  # quantile of the gold set where it is open
_LEAST_RISE = 0.5
_DENSE, _SPARSE = 0.90, 0.98  # quantiles of the gold set's own distances between which it closes
_SPREAD_FLOOR = 0.15


@dataclass(frozen=True, slots=True)
class GoldLabels:
    """How well both models of the pair answered the prompts of one set.

    Attributes
    ----------
    name
        Of the set, such as "mmlu": `fastroute eval` marks routers by it.
    keys, prompts
        n distinct keys and texts.
    strong, weak
        (n,) float64 in [0, 1].
    origin
        What the artifact is to say of where they come from: JSON values.
    """

    name: str
    keys: tuple[str, ...]
    prompts: tuple[str, ...]
    strong: NDArray[np.float64]
    weak: NDArray[np.float64]
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GoldExpert:
    """A gold expert in standardised features: what it adds, and when.

    Attributes
    ----------
    level
        What it adds to all prompts of its set alike.
    local, surface_only, both
        Its standardisation and its two ridge regressions of the gain.
    gate_weights, gate_bias, gate_ramp
        The classifier's log-odds, and where its ramp begins and ends.
    density_scale, density_ramp
        Reciprocal spread of each surface feature, and the squared distances where the ramp is 0 and 1.
    held_out
        (n,) gain that each gold prompt is given by a fit without its fold.
    """

    level: float
    local: Local
    surface_only: Ridge
    both: Ridge
    gate_weights: NDArray[np.float64]
    gate_bias: float
    gate_ramp: tuple[float, float]
    density_scale: NDArray[np.float64]
    density_ramp: tuple[float, float]
    held_out: NDArray[np.float64]


def fit_gold(  # noqa: PLR0917 - one of each
    labels: GoldLabels,
    features: Features,
    others: Features,
    standard: Standardisation,
    mixture: NDArray[np.float64],
    comparable: bool,
    seed: int,
) -> GoldExpert:
    """Fit a gold expert.

    Parameters
    ----------
    features, others
        Raw features of the gold prompts and of all other training prompts.
    standard
        The standardisation of the other prompts.
    mixture
        (n,) gain that the domains' experts expect of the gold prompts. A gold expert is told half of it.
    comparable
        Whether that is a gain in scores, which the gold labels correct; else it is relative, and the gold expert
        changes the order of its prompts, not their level.

    Raises
    ------
    DataError
        Fewer labels than can be split into folds.
    """
    if len(labels.prompts) < FEWEST:
        raise DataError(f"gold {labels.name}: found {len(labels.prompts)} labelled prompts, needed: {FEWEST} or more")
    gold, rest = standard(features), standard(others)
    folds = fold_of(labels.keys, seed)
    gain = labels.strong - labels.weak
    local, surface_only, both = _expert(gold, gain, folds)
    held_out = np.zeros(len(gain))
    for fold in np.unique(folds):
        held = folds == fold
        part = _expert(gold.take(~held), gain[~held], folds[~held])
        held_out[held] = _predict(*part, gold.take(held))
    weights, bias, ramp = _gate(gold, rest, folds, seed)
    surface = gold.surface
    scale = 1 / np.maximum(surface.std(axis=0), _SPREAD_FLOOR)
    distance = np.minimum(((surface - surface.mean(axis=0)) * scale) ** 2, DENSITY_CAP).sum(axis=1)
    dense, sparse = np.quantile(distance, [_DENSE, _SPARSE])
    level = float(gain.mean() if comparable else mixture.mean())
    return GoldExpert(
        level - float(mixture.mean()) / 2,
        local,
        surface_only,
        both,
        weights,
        bias,
        ramp,
        scale,
        (max(float(sparse), 1.1 * float(dense) + 1.0), float(dense)),
        held_out,
    )


def _expert(features: Features, gain: NDArray[np.float64], folds: NDArray[np.int64]) -> tuple[Local, Ridge, Ridge]:
    """Both answers of a gold prompt share its noise, so one regression of their difference sees less of it than two."""
    local = Local.of(features)
    columns = local(features)
    (surface_only,), (both,) = (fit_ridges(view, [gain], folds) for view in (columns[:, : local.surface], columns))
    return local, surface_only, both


def _predict(local: Local, surface_only: Ridge, both: Ridge, features: Features) -> NDArray[np.float64]:
    columns = local(features)
    predicted: NDArray[np.float64] = (surface_only(columns[:, : local.surface]) + both(columns)) / 2
    return predicted


def _gate(
    gold: Features, rest: Features, folds: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], float, tuple[float, float]]:
    columns = np.vstack([gold.both, rest.both])
    classes = np.concatenate([np.ones(len(gold), np.int64), np.zeros(len(rest), np.int64)])
    fold = np.concatenate([folds, np.random.default_rng(seed).integers(0, folds.max() + 1, len(rest))])
    odds = np.zeros(len(classes))
    for held in np.unique(fold):
        inside = fold != held
        weights, bias = fit_classifier(columns[inside], classes[inside], 2, strength=_CLASSIFIER_STRENGTH)
        odds[~inside] = columns[~inside] @ weights[1] + bias[1]
    begins = float(np.quantile(odds[classes == 0], _LIKE_OTHERS))
    ends = max(begins + _LEAST_RISE, float(np.quantile(odds[classes == 1], _LIKE_GOLD)))
    weights, bias = fit_classifier(columns, classes, 2, strength=_CLASSIFIER_STRENGTH)
    return weights[1], float(bias[1]), (begins, ends)
