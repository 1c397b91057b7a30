"""The model: a classifier of domains and an expert in each, fitted, and folded into what the native core takes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute import _core
from fastroute.training.experts.linear import Features, Local, Ridge, Standardisation, fit_classifier, fit_ridges

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.comparisons.plan import Plan
    from fastroute.training.experts.gold import GoldExpert
    from fastroute.training.experts.rows import Rows

__all__ = ["Expert", "Model", "Training", "parameters_of", "penalties_of", "train"]

_EXPERT_ROWS = 1500  # most per domain
_CLASSIFIER_ROWS = 800  # most per domain, prompts without scores aside
_CLASSIFIER_STRENGTH = 0.003
_LEVEL_PROMPTS = 20.0
_NEVER = -100.0  # log-odds of a domain that a fold has no prompt of


@dataclass(frozen=True, slots=True)
class Training:
    """What a fit sees.

    Attributes
    ----------
    rows, features, folds
        Prompts, their raw features and (n,) folds for the penalties.
    domains, plan, seed
        Settings; every domain has a row.
    comparable
        Whether scores of different domains can be compared: the same models on both sides of all.
    """

    rows: Rows
    features: Features
    folds: NDArray[np.int64]
    domains: tuple[str, ...]
    plan: Plan
    seed: int
    comparable: bool

    def take(self, kept: NDArray[np.bool_]) -> Training:
        """Keep these rows."""
        return replace(self, rows=self.rows.take(kept), features=self.features.take(kept), folds=self.folds[kept])


@dataclass(frozen=True, slots=True)
class Expert:
    """One domain's: its level, its standardisation, two regressions of each side (on the surface, and on all)."""

    level: float  # the domain's own mean gain; 0 where it is dropped
    local: Local
    strong: tuple[Ridge, Ridge] | None  # None in a weak-only domain
    weak: tuple[Ridge, Ridge]


@dataclass(frozen=True, slots=True)
class Model:
    """What is fitted, in standardised features."""

    standard: Standardisation
    experts: tuple[Expert, ...]
    classifier: tuple[NDArray[np.float64], NDArray[np.float64]]
    gold: tuple[GoldExpert, ...] = field(default=())


def train(training: Training) -> Model:
    """Fit everything but gold experts."""
    rows, features, folds = training.rows, training.features, training.folds
    generator = np.random.default_rng(training.seed)
    standard = Standardisation.of(features)
    standardised = standard(features)
    experts, classified = [], [np.flatnonzero(~rows.scored)]
    for code, domain in enumerate(training.domains):
        mine = generator.permutation(np.flatnonzero((rows.domain == code) & rows.scored))
        classified.append(mine[:_CLASSIFIER_ROWS])
        drawn = mine[:_EXPERT_ROWS]
        level = _level(rows, code) if training.comparable else 0.0
        if not len(drawn):  # prompts without scores alone
            experts.append(_ignorant(level, standardised))
            continue
        strong = None if domain in training.plan.weak_only else rows.strong[drawn]
        experts.append(_expert(level, standardised.take(drawn), strong, rows.weak[drawn], folds[drawn]))
    taught = np.sort(np.concatenate(classified))
    present, classes = np.unique(rows.domain[taught], return_inverse=True)
    columns = standardised.take(taught).both
    weights, bias = np.zeros((len(training.domains), columns.shape[1])), np.full(len(training.domains), _NEVER)
    weights[present], bias[present] = fit_classifier(columns, classes, len(present), strength=_CLASSIFIER_STRENGTH)
    return Model(standard, tuple(experts), (weights, bias))


def _level(rows: Rows, domain: int) -> float:
    """Mean gain of a domain, drawn towards that of all prompts as if it had a few more that are like those."""
    gain = (rows.strong - rows.weak)[rows.scored]
    mine = gain[rows.domain[rows.scored] == domain]
    return float((mine.sum() + _LEVEL_PROMPTS * gain.mean()) / (len(mine) + _LEVEL_PROMPTS))


def _ignorant(level: float, everything: Features) -> Expert:
    """Make an expert that expects the same of every prompt."""
    local = Local.of(everything)
    surface_only, both = (Ridge(np.zeros(width), np.zeros(width), np.inf) for width in (local.surface, len(local.mean)))
    return Expert(level, local, None, (surface_only, both))


def _expert(
    level: float,
    features: Features,
    strong: NDArray[np.float64] | None,
    weak: NDArray[np.float64],
    folds: NDArray[np.int64],
) -> Expert:
    local = Local.of(features)
    columns = local(features)
    views = columns[:, : local.surface], columns

    targets = [weak] if strong is None else [weak, strong]
    sides = list(zip(*(fit_ridges(view, targets, folds) for view in views), strict=True))
    return Expert(level, local, None if strong is None else sides[1], sides[0])


def parameters_of(model: Model, prior: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Fold everything into what the native core takes."""
    standard = model.standard
    width = len(standard.surface_mean)
    weights, bias = model.classifier
    parts: dict[str, list[NDArray[np.float64]]] = {}

    def add(name: str, value: NDArray[np.float64] | float) -> None:
        parts.setdefault(name, []).append(np.asarray(value, np.float64))

    def add_linear(name: str, surface: NDArray[np.float64], embedding: NDArray[np.float64], offset: float) -> None:
        raw, moved = standard.on_raw_embedding(embedding)
        add(f"{name}_surface", surface)
        add(f"{name}_embedding", raw)
        add(f"{name}_bias", offset + moved)

    for row, level, share in zip(weights, bias, prior, strict=True):
        add_linear("classifier", row[:width], row[width:], float(level + np.log(share)))
    gold = [(each.level, each.local, (1.0, (each.surface_only, each.both))) for each in model.gold]
    for level, local, *signed in [*map(_signed, model.experts), *gold]:
        surface, embedding, offset = np.zeros(width), np.zeros(len(standard.embedding_mean)), level
        for sign, (surface_only, both) in signed:
            half = sign / 2  # the two views are averaged
            surface += half * (surface_only.weights + both.weights[:width])
            scaled = half * both.weights[width:] * local.scale[width:]
            embedding += scaled
            offset -= half * float(surface_only.mean @ surface_only.weights + both.mean @ both.weights)
            offset -= float(scaled @ local.mean[width:])
        add_linear("expert", surface, embedding, offset)
        add("expert_mean", local.mean[:width])
        add("expert_scale", local.scale[:width])
    for each in model.gold:
        add_linear("gate", each.gate_weights[:width], each.gate_weights[width:], each.gate_bias)
        add("gate_ramp", np.array(each.gate_ramp))
        add("density_scale", each.density_scale)
        add("density_ramp", np.array(each.density_ramp))
    stacked = {name: np.stack(values) for name, values in parts.items()}
    stacked |= {"surface_mean": standard.surface_mean, "surface_scale": standard.surface_scale}
    if not model.gold:
        stacked |= _no_gold(len(standard.embedding_mean))
    return {name: np.ascontiguousarray(values, np.float32) for name, values in stacked.items()}


def _no_gold(dim: int) -> dict[str, NDArray[np.float64]]:
    width = len(_core.surface_names())
    shapes: dict[str, tuple[int, ...]] = {
        "gate_bias": (0,),
        "gate_surface": (0, width),
        "gate_embedding": (0, dim),
        "gate_ramp": (0, 2),
        "density_scale": (0, width),
        "density_ramp": (0, 2),
    }
    return {name: np.zeros(shape) for name, shape in shapes.items()}


def _signed(expert: Expert) -> tuple[Any, ...]:
    sides = [(-1.0, expert.weak)] if expert.strong is None else [(1.0, expert.strong), (-1.0, expert.weak)]
    return (expert.level, expert.local, *sides)


def penalties_of(expert: Expert) -> tuple[float, ...]:
    """Penalties of strong and weak: on the surface, then with the embedding."""
    return tuple(ridge.penalty for side in (expert.strong, expert.weak) if side is not None for ridge in side)
