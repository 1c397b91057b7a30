"""The experts recipe: standardise, sort prompts into domains, learn in each what the strong side gains.

Each side of a domain gets a ridge regression of its own on centred targets, once on the surface features and once on
surface and embedding, and the two views are averaged. Where every domain compares the same models, its mean gain
counts too; else it is dropped, since it compares sources, not prompts. The figures on held-out prompts come from
five fits that never saw them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute import _core
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.tables import prompt_hashes
from fastroute.training.comparisons.held_out import FOLDS, HeldOut, centred
from fastroute.training.comparisons.pairing import FEW_PROMPTS, Comparison, comparisons_of
from fastroute.training.comparisons.plan import Plan, check_prior
from fastroute.training.experts.domains import clusters_for, clusters_of
from fastroute.training.experts.gold import GoldExpert, GoldLabels, fit_gold
from fastroute.training.experts.linear import Features, Standardisation
from fastroute.training.experts.model import Model, Training, parameters_of, penalties_of, train
from fastroute.training.experts.rows import Rows, prior_of, rows_of
from fastroute.training.splits import fold_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from fastroute.training.comparisons.sides import Sides
    from fastroute.training.comparisons.tasks import Task
    from fastroute.training.progress import Progress

    Embed = Callable[[Sequence[str]], NDArray[np.float32]]
    Unseen = Callable[[tuple[str, ...]], NDArray[np.bool_]]

__all__ = ["TOGETHER", "ExpertsFit", "Prepared", "fit_experts", "prepare"]

FEWEST = 20  # prompts
TOGETHER = "all together"


@dataclass(frozen=True, slots=True)
class ExpertsFit:
    """What training found.

    Attributes
    ----------
    domains
        K names; a row of the arrays each.
    gold
        Names of the G gold sets.
    parameters
        Arrays by name, float32, as `fastroute._core.DomainExperts` takes them.
    strong_models, weak_models
        All models of the tiers, sorted.
    threshold
        Sends half of the traffic that the prior expects to the strong model, going by the training prompts.
    held_out
        For each task; where they can be compared, for all of them together too.
    gold_held_out
        For each gold set, with the share of it that its expert acts on.
    left_out
        Tasks without a domain, or without a prompt that was scored for both sides.
    prior
        (K,) shares of traffic.
    classified
        Share of held-out prompts whose most likely domain is theirs.
    penalties
        For each domain the ridge penalties of strong and weak: on the surface, then with the embedding.
    rows
        Scored prompts, and prompts that taught the classifier alone.
    comparable
        Whether every domain compares the same models, so that gains are differences in score; else they are relative to
        the prompt's domain.
    gold_keys
        (n,) uint64 hashes of all gold prompts (`fastroute.tables.prompt_hashes`).
    """

    domains: tuple[str, ...]
    gold: tuple[str, ...]
    parameters: Mapping[str, NDArray[np.float32]]
    strong_models: tuple[str, ...]
    weak_models: tuple[str, ...]
    threshold: float
    held_out: tuple[HeldOut, ...]
    gold_held_out: tuple[tuple[HeldOut, float], ...]
    left_out: tuple[str, ...]
    prior: NDArray[np.float64]
    classified: float
    penalties: Mapping[str, tuple[float, ...]]
    rows: tuple[int, int]
    comparable: bool
    gold_keys: NDArray[np.uint64]


def fit_experts(
    tasks: Sequence[Task],
    embed: Embed,
    *,
    pair: tuple[str, str],
    plan: Plan | None = None,
    clusters: int | None = None,
    chat_prompts: Mapping[str, str] | None = None,
    gold: Sequence[GoldLabels] = (),
    seed: int = 0,
    unseen: Unseen | None = None,
    progress: Progress | None = None,
) -> ExpertsFit:
    """Fit the experts of a pair of models.

    Parameters
    ----------
    tasks
        Scores of models on prompts.
    embed
        Prompts to float32 embeddings (n, d).
    pair
        The strong and the weak model; both must have been scored somewhere.
    plan
        Domains, priors and tiers. Without domains each task is one.
    clusters
        Sort prompts into this many clusters instead; 0 for as many as there are prompts for. The default where
        there is a single task and no plan.
    chat_prompts
        Key to text of prompts without scores that teach the classifier what the domain "chat" looks like.
    gold
        Labels of the pair itself, a gold expert each.
    seed
        Of folds, draws and clusters. Same input, seed and versions, same bits on one machine.
    unseen
        Keys of prompts to which of them the encoder was not trained on; all of them where None. The figures are of
        those alone.
    progress
        Called with (fits done, fits in all).

    Raises
    ------
    DataError
        Fewer than 20 scored prompts, a plan whose names the data lack, or a gold set too small.
    InvalidArgumentError
        `clusters` beside a plan with domains, or a prior for a domain that is not there.
    MissingDependencyError
        scikit-learn is not installed.
    """
    plan = plan or Plan()
    with _one_blas_thread():
        prepared = prepare(tasks, pair=pair, plan=plan, clusters=clusters, chat_prompts=chat_prompts)
        training = _training(prepared, embed, plan, seed)
        keys = training.rows.keys
        counted = np.ones(len(keys), np.bool_) if unseen is None else _checked_mask(unseen(keys), len(keys))
        fitted = _fit(training, prepared.comparisons, embed, pair, gold, counted, progress)
        return replace(fitted, left_out=prepared.left_out)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a fit starts from, before any prompt is embedded.

    Attributes
    ----------
    comparisons, left_out
        Tasks with both sides, and the names of the others.
    rows, domains
        Prompts to train on, and the names of their domains where nothing clusters them.
    clusters
        How many to look for, 0 for as many as there are prompts for; None where domains are named.
    """

    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...]
    rows: Rows
    domains: tuple[str, ...]
    clusters: int | None


def prepare(
    tasks: Sequence[Task],
    *,
    pair: tuple[str, str],
    plan: Plan,
    clusters: int | None = None,
    chat_prompts: Mapping[str, str] | None = None,
) -> Prepared:
    """Compare the sides of the tasks, and see that experts can be fitted; arguments and errors are `fit_experts`'s."""
    if clusters is not None and (plan.domains or plan.prior):
        raise InvalidArgumentError("clusters: not allowed beside a plan that names domains or a prior")
    comparisons, left_out = comparisons_of(tasks, plan, pair)
    if clusters is None and len(comparisons) == 1 and not plan.domains and not chat_prompts:
        clusters = 0
    rows, domains = rows_of(comparisons, chat_prompts or {})
    scored = int(rows.scored.sum())
    if scored < FEWEST:
        raise DataError(f"outcomes: found {scored} prompts with scores of both sides, needed: {FEWEST} or more")
    most = max(1, scored // FEW_PROMPTS)
    if clusters is not None and clusters > most:
        raise InvalidArgumentError(f"clusters: found {clusters}, allowed: at most {most} for {scored} prompts")
    if clusters is None:
        check_prior(plan, domains)
    return Prepared(comparisons, left_out, rows, domains, clusters)


def _training(prepared: Prepared, embed: Embed, plan: Plan, seed: int) -> Training:
    rows, domains = prepared.rows, prepared.domains
    features = _features(rows.prompts, embed)
    if prepared.clusters is not None:
        standard = Standardisation.of(features)(features)
        count = prepared.clusters or clusters_for(int(rows.scored.sum()))
        domain, domains = clusters_of(standard, rows.prompts, count, seed)
        rows = replace(rows, domain=domain)
        check_prior(plan, domains)
    sides = {(each.sides.strong_models, each.sides.weak_models) for each in prepared.comparisons}
    return Training(rows, features, fold_of(rows.keys, seed), domains, plan, seed, comparable=len(sides) == 1)


def _fit(  # noqa: PLR0917 - arguments of fit_experts
    training: Training,
    comparisons: Sequence[Comparison],
    embed: Embed,
    pair: tuple[str, str],
    gold: Sequence[GoldLabels],
    counted: NDArray[np.bool_],
    progress: Progress | None,
) -> ExpertsFit:
    rows, features, domains = training.rows, training.features, training.domains
    prior = prior_of(rows, training.plan, domains)
    steps = FOLDS + 1 + len(gold)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, steps)

    gain, right = np.zeros(len(rows.keys)), np.zeros(len(rows.keys), np.bool_)
    for fold in range(FOLDS):
        held = training.folds == fold
        if held.any() and (~held & rows.scored).any():
            gain[held], right[held] = _predict(train(training.take(~held)), prior, training.take(held))
        advance()
    model = train(training)
    advance()
    experts: list[GoldExpert] = []
    native = _core.DomainExperts(None, **parameters_of(model, prior))
    mixtures = []
    for labels in gold:
        theirs = _features(labels.prompts, embed)
        mixtures.append(native.gain(labels.prompts, _rows_of(theirs)))
        known = set(labels.prompts)
        others = features.take(np.array([prompt not in known for prompt in rows.prompts], np.bool_))
        experts.append(
            fit_gold(labels, theirs, others, model.standard, mixtures[-1], training.comparable, training.seed)
        )
        advance()
    parameters = parameters_of(replace(model, gold=tuple(experts)), prior)
    return ExpertsFit(
        domains=domains,
        gold=tuple(labels.name for labels in gold),
        parameters=parameters,
        strong_models=_together(each.sides.strong_models for each in comparisons),
        weak_models=_together(each.sides.weak_models for each in comparisons),
        threshold=_threshold(parameters, training, prior),
        held_out=_held_out(comparisons, training, gain, counted),
        gold_held_out=tuple(
            _gold_held_out(parameters, len(domains) + number, embed, labels, expert, mixture, pair)
            for number, (labels, expert, mixture) in enumerate(zip(gold, experts, mixtures, strict=True))
        ),
        left_out=(),
        prior=prior,
        classified=float(right[counted].mean()) if counted.any() else 0.0,
        penalties={domain: penalties_of(expert) for domain, expert in zip(domains, model.experts, strict=True)},
        rows=(int(rows.scored.sum()), int((~rows.scored).sum())),
        comparable=training.comparable,
        gold_keys=prompt_hashes(prompt for labels in gold for prompt in labels.prompts),
    )


def _features(prompts: Sequence[str], embed: Embed) -> Features:
    found = embed(prompts)
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.shape[0] != len(prompts) or not found.shape[1]:
        shown = f"shape {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise InvalidArgumentError(f"embed: found {shown} for {len(prompts)} prompts, allowed: float32 (n, dim)")
    rows = np.asarray(found, np.float32)
    if not np.isfinite(rows).all():
        row = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise InvalidArgumentError(f"embed: row {row} holds NaN or infinity; finite values are needed")
    return Features(_core.surface_features(prompts).astype(np.float64), rows.astype(np.float64))


def _checked_mask(found: object, count: int) -> NDArray[np.bool_]:
    if not isinstance(found, np.ndarray) or found.dtype != np.bool_ or found.shape != (count,):
        shown = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
        raise InvalidTypeError(f"unseen: found {shown} for {count} keys, allowed: a bool array ({count},)")
    return found


def _rows_of(features: Features) -> NDArray[np.float32]:
    return np.ascontiguousarray(features.embedding, np.float32)


def _predict(model: Model, prior: NDArray[np.float64], held: Training) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Gain of held-out rows, by the native core, and whether the most likely domain is theirs."""
    native = _core.DomainExperts(None, **parameters_of(model, prior))
    weights, gains = native.mixture(held.rows.prompts, _rows_of(held.features))
    return (weights * gains).sum(axis=1), weights.argmax(axis=1) == held.rows.domain


def _threshold(parameters: Mapping[str, NDArray[np.float32]], training: Training, prior: NDArray[np.float64]) -> float:
    """Score that half of the expected traffic reaches, going by the training prompts."""
    native = _core.DomainExperts(None, **parameters)
    scores = native.score(training.rows.prompts, _rows_of(training.features))
    counts = np.bincount(training.rows.domain, minlength=len(prior))
    weight = (prior / np.maximum(counts, 1))[training.rows.domain]
    order = np.argsort(-scores, kind="stable")
    middle = int(np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2))
    return float(scores[order[min(middle, len(order) - 1)]])


def _held_out(
    comparisons: Sequence[Comparison], training: Training, gain: NDArray[np.float64], counted: NDArray[np.bool_]
) -> tuple[HeldOut, ...]:
    rows = training.rows

    def of(name: str, domain: str, sides: Sides, mine: NDArray[np.bool_]) -> HeldOut:
        shown = centred(gain[mine], training.folds[mine])
        return HeldOut(name, domain, sides.strong_models, sides.weak_models, rows.strong[mine], rows.weak[mine], shown)

    found = [
        of(each.task.name, each.domain if each.domain in training.domains else "", each.sides, mine)
        for number, each in enumerate(comparisons)
        if (mine := counted & (rows.task == number)).any()
    ]
    if training.comparable and len(found) > 1:  # what tells the tasks apart counts too
        found.append(of(TOGETHER, "", comparisons[0].sides, counted & (rows.task >= 0)))
    return tuple(found)


def _gold_held_out(  # noqa: PLR0917 - one of each
    parameters: Mapping[str, NDArray[np.float32]],
    row: int,
    embed: Embed,
    labels: GoldLabels,
    expert: GoldExpert,
    mixture: NDArray[np.float64],
    pair: tuple[str, str],
) -> tuple[HeldOut, float]:
    """Predict gold prompts by what never saw them, and say for which share of them the gold expert acts."""
    native = _core.DomainExperts(None, **parameters)
    weights, _ = native.mixture(labels.prompts, np.ascontiguousarray(embed(labels.prompts), np.float32))
    acts = weights[:, row]
    gain = (1 - acts / 2) * mixture + acts * (expert.level + expert.held_out)
    held_out = HeldOut(labels.name, labels.name, pair[:1], pair[1:], labels.strong, labels.weak, gain)
    return held_out, float((acts > 0).mean())


def _together(models: Any) -> tuple[str, ...]:
    return tuple(sorted({model for each in models for model in each}))


def _one_blas_thread() -> AbstractContextManager[Any]:
    """Let sums have one order whatever the number of cores: the same bits."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingDependencyError("training experts needs scikit-learn: pip install 'fastroute[train]'") from error
    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
