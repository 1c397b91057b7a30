"""Labels for the last hidden state of a decoder, from scores of models: a softmax, with the decoder as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import DataError
from fastroute.training.comparisons.held_out import FOLDS
from fastroute.training.comparisons.pairing import comparisons_of
from fastroute.training.comparisons.plan import Plan, read_plan
from fastroute.training.comparisons.sources import read_sources
from fastroute.training.halving import halving
from fastroute.training.hidden_states import hidden_states
from fastroute.training.label_head import cross_entropy, fit_softmax
from fastroute.training.qualities import Qualities, figures_by_task, qualities_of
from fastroute.training.splits import drawn, fold_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from fastroute.onnx.model import TextModel
    from fastroute.training.comparisons.pairing import Comparison
    from fastroute.training.progress import Progress

    Scores = Callable[[NDArray[Any]], NDArray[np.float32]]

__all__ = ["FEWEST_PROMPTS", "HEADS", "L2", "PairScores", "TrainedLabels", "pair_scores", "targets_of", "train_labels"]

HEADS: Final = ("binary", "three_class")
L2: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_NAMES = {"binary": ("strong", "weak"), "three_class": ("strong wins", "tie", "weak wins")}
FEWEST_PROMPTS: Final = 20


@dataclass(frozen=True, slots=True)
class TrainedLabels:
    """What a causal_llm router takes over.

    Attributes
    ----------
    weight, bias
        (labels, width) and (labels,) float32; None where they are as they were.
    labels
        Their names.
    threshold
        Sends half of the training prompts, scored without their folds, to the strong model.
    members
        Of the manifest: calibration, training, metrics.
    """

    weight: NDArray[np.float32] | None
    bias: NDArray[np.float32] | None
    labels: tuple[str, ...]
    threshold: float
    members: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PairScores:
    """Prompts with scores of both sides of a pair.

    Attributes
    ----------
    data
        Those that were drawn.
    comparisons, left_out
        Tasks with both sides, and the names of the others.
    plan
        Which models stand for the pair.
    dropped
        Reason to number of rows left out.
    """

    data: Qualities
    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...]
    plan: Plan
    dropped: Mapping[str, int]


def pair_scores(
    outcomes: object,
    judge_scores: object,
    pair: tuple[str, str],
    *,
    plan: Plan | str | os.PathLike[str] | None = None,
    domain_column: str | None = None,
    score_range: tuple[float, float] = (0.0, 1.0),
    most_prompts: int = 4000,
    seed: int = 0,
) -> PairScores:
    """Read and draw what `train_labels` trains on; needs no decoder, so that bad data are known before minutes of work.

    Parameters are those of `CausalLlmRouter.fit`, and so are the errors.
    """
    from fastroute.routers.arguments import seed_in_range, whole_number
    from fastroute.routers.base import different_models, model_index

    most, seed = whole_number("most_prompts", most_prompts, least=FEWEST_PROMPTS), seed_in_range(seed)
    different_models(*pair)
    chosen = plan if isinstance(plan, Plan) else Plan() if plan is None else read_plan(plan)
    sources = read_sources(outcomes, judge_scores, None, domain_column=domain_column, score_range=score_range)
    for argument, name in zip(("strong", "weak"), pair, strict=True):
        model_index(sources.models, name, argument)
    comparisons, left_out = comparisons_of(sources.tasks, chosen, pair)
    data = qualities_of(comparisons, chosen, pair)
    data = data.take(_drawn_by_task(data, most, seed))
    if len(data.keys) < FEWEST_PROMPTS:
        raise DataError(f"outcomes: {len(data.keys)} prompts were scored for both sides; {FEWEST_PROMPTS} are needed")
    return PairScores(data, comparisons, left_out, chosen, sources.dropped)


def train_labels(
    model: TextModel,
    scored: PairScores,
    *,
    head: str,
    scores_of: Scores,
    own_scores_of: Scores,
    zero_shot: bool = False,
    seed: int = 0,
    cache: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> TrainedLabels:
    """Train the labels of a causal_llm router; the rest is as for `CausalLlmRouter.fit`.

    Parameters
    ----------
    head
        One of `HEADS`.
    scores_of
        From logits (n, labels) float64 of that head to scores (n,).
    own_scores_of
        From hidden states (n, width) to the scores of the labels that the router has now.
    """
    data, comparisons = scored.data, scored.comparisons
    states = hidden_states(model, data.prompts, cache=cache, progress=progress)
    folds = fold_of(data.keys, seed)
    own_scores = own_scores_of(states)  # they know nothing of the data
    weight = bias = None
    no_figures: dict[str, Any] = {}
    if zero_shot:
        scores, fitted = own_scores, no_figures
    else:
        weight, bias, logits, fitted = _cross_validated(states, targets_of(data, scored.plan, head), folds)
        scores = scores_of(logits)
        fitted["before_apgr"] = figures_by_task(data, comparisons, own_scores, folds, interval=False)["held_out_apgr"]
    threshold, calibration = halving(scores)
    training = {
        "prompts": len(data.prompts),
        "cut_prompts": int((np.array(_lengths(model, data.prompts)) > model.tokenizer.max_tokens).sum()),
        "domains": list(data.domains),
        "gains_are": "differences in score" if data.comparable else "relative to the prompt's domain",
        "dropped_rows": dict(scored.dropped),
        "tasks_left_out": list(scored.left_out),
    }
    metrics = {**figures_by_task(data, comparisons, scores, folds), **fitted}
    members = {"calibration": calibration, "training": training, "metrics": metrics}
    return TrainedLabels(weight, bias, _NAMES[head], threshold, members)


def _lengths(model: TextModel, prompts: Sequence[str]) -> list[int]:
    """Tokens of prompts in their template, before any is cut."""
    tokenizer = model.tokenizer
    return [len(tokenizer.bare_ids(prompt, truncate=False)) + tokenizer.added for prompt in prompts]


def targets_of(data: Qualities, plan: Plan, head: str) -> NDArray[np.float64]:
    """How likely each label is, (n, labels), by the scores of the sides.

    A score is taken for the probability to succeed, each side's by itself: the strong one wins where it alone succeeds.
    Where tasks compare different models, the gain of a domain is moved to that of all prompts, as `qualities_of` does.
    Two labels have the shares (1 + gain) / 2 and (1 - gain) / 2.
    """
    strong = data.strong.copy()
    for code, name in enumerate(data.domains):
        if name in plan.weak_only and (mine := data.domain == code).any():
            strong[mine] = strong[mine].mean()
    wins, losses = strong * (1 - data.weak), data.weak * (1 - strong)
    if not data.comparable:
        gain = wins - losses
        count = np.bincount(data.domain, minlength=len(data.domains))
        means = np.bincount(data.domain, weights=gain, minlength=len(count)) / np.maximum(count, 1)
        moved = gain.mean() - means[data.domain]
        wins, losses = np.clip(wins + moved / 2, 0, 1), np.clip(losses - moved / 2, 0, 1)
    if head == "binary":
        first = (1 + np.clip(wins - losses, -1, 1)) / 2
        return np.stack([first, 1 - first], axis=1)
    ties = np.clip(1 - wins - losses, 0, 1)
    shares = np.stack([wins, ties, losses], axis=1)
    targets: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return targets


def _drawn_by_task(data: Qualities, most: int, seed: int) -> NDArray[np.bool_]:
    """Prompts to train on: those scored for both sides, and of each task as many as the root of their number says."""
    known = ~(np.isnan(data.strong) | np.isnan(data.weak))
    counts = np.bincount(data.task[known], minlength=int(data.task.max()) + 1)
    shares, scale = np.zeros(len(counts)), 0.0
    low, high = 0.0, float(counts.max(initial=0)) + most
    for _ in range(60):  # the scale at which tasks, each cut at what it has, add up to what is asked for
        scale = (low + high) / 2
        shares = np.minimum(counts, scale * np.sqrt(counts))
        low, high = (scale, high) if shares.sum() < most else (low, scale)
    kept = np.zeros(len(known), np.bool_)
    for task, share in enumerate(np.floor(shares + 1e-6).astype(int).tolist()):
        mine = np.flatnonzero(known & (data.task == task))
        kept[mine[drawn(tuple(data.keys[place] for place in mine.tolist()), max(share, 1), seed)]] = True
    return kept


def _cross_validated(
    states: NDArray[np.float32], targets: NDArray[np.float64], folds: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64], dict[str, Any]]:
    """Weights and biases of all prompts, logits of each without its fold, and what was tried."""
    centre, spread = states.mean(axis=0, dtype=np.float64), states.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1)
    rows = (states - centre) / scale
    tried, logits_of = [], []
    starts: dict[int, NDArray[np.float64] | None] = dict.fromkeys(range(FOLDS))
    for l2 in sorted(L2, reverse=True):
        logits = np.zeros(targets.shape)
        for fold in range(FOLDS):
            held, others = folds == fold, folds != fold
            if held.any() and others.any():
                fit = fit_softmax(rows[others], targets[others], l2=l2, start=starts[fold])
                starts[fold] = fit
                logits[held] = rows[held] @ fit[:, :-1].T + fit[:, -1]
        tried.append({"l2": l2, "held_out_loss": cross_entropy(logits, targets)})
        logits_of.append(logits)
    best = min(range(len(tried)), key=lambda place: float(tried[place]["held_out_loss"]))
    fit = fit_softmax(rows, targets, l2=float(tried[best]["l2"]))
    weight = fit[:, :-1] / scale
    bias = fit[:, -1] - weight @ centre
    shares = targets.mean(axis=0)
    constant = float(-(shares * np.log(np.maximum(shares, 1e-300))).sum())
    return (
        weight.astype(np.float32),
        bias.astype(np.float32),
        logits_of[best],
        {"l2": tried[best]["l2"], "loss_of_a_constant": constant, "tried": tried},
    )
