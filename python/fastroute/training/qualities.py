"""Quality of models on prompts, as a router of nearest neighbours has it: a row for each task and prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute import _core
from fastroute.training.comparisons.held_out import FOLDS, HeldOut, centred, task_figures
from fastroute.training.splits import fold_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from fastroute.training.comparisons.pairing import Comparison
    from fastroute.training.comparisons.plan import Plan
    from fastroute.training.progress import Progress

__all__ = ["Qualities", "QualityRows", "figures_by_task", "held_out_report", "qualities_of"]


@dataclass(frozen=True, slots=True)
class QualityRows:
    """n entries of P prompts, prompt after prompt.

    Attributes
    ----------
    lengths
        (P,) uint32: how many entries a prompt has.
    model
        (n,) uint16: places among the models; none twice on a prompt.
    quality
        (n,) float32.
    """

    lengths: NDArray[np.uint32]
    model: NDArray[np.uint16]
    quality: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Qualities:
    """Scored prompts.

    Attributes
    ----------
    models
        K names, sorted.
    keys, prompts
        P keys, which decide on folds, and texts.
    rows
        Qualities, in [0, 1], or relative to their domain.
    domain
        (P,) int64, codes of `domains`.
    task
        (P,) int64: number of the comparison.
    strong, weak
        (P,) float64 in [0, 1]: how the sides of the pair did, whatever `rows` are relative to.
    comparable
        Whether every task compares the same models. Else qualities are relative: each model's mean over a domain is
        moved to its mean over all of them, since the difference compares sources, not prompts.
    """

    models: tuple[str, ...]
    keys: tuple[str, ...]
    prompts: tuple[str, ...]
    rows: QualityRows
    domains: tuple[str, ...]
    domain: NDArray[np.int64]
    task: NDArray[np.int64]
    strong: NDArray[np.float64]
    weak: NDArray[np.float64]
    comparable: bool

    def take(self, kept: NDArray[np.bool_]) -> Qualities:
        """Keep these prompts."""
        entries = np.repeat(kept, self.rows.lengths)
        places = np.flatnonzero(kept).tolist()
        return replace(
            self,
            keys=tuple(self.keys[place] for place in places),
            prompts=tuple(self.prompts[place] for place in places),
            rows=QualityRows(self.rows.lengths[kept], self.rows.model[entries], self.rows.quality[entries]),
            domain=self.domain[kept],
            task=self.task[kept],
            strong=self.strong[kept],
            weak=self.weak[kept],
        )


def qualities_of(comparisons: Sequence[Comparison], plan: Plan, pair: tuple[str, str]) -> Qualities:
    """Collect the qualities of all models; for the pair, its sides of each task stand.

    In a domain that the plan calls `weak_only` the strong side counts as equally good on all prompts.
    """
    models = tuple(sorted({model for each in comparisons for model in each.task.models} | set(pair)))
    domains = tuple(sorted({each.domain for each in comparisons}))
    parts = [_dense(each, models, pair) for each in comparisons]
    counts = [len(each.task.keys) for each in comparisons]
    values = np.concatenate(parts)
    domain = np.repeat([domains.index(each.domain) for each in comparisons], counts)
    strong = np.concatenate([each.sides.strong for each in comparisons])
    weak = np.concatenate([each.sides.weak for each in comparisons])
    comparable = len({(each.sides.strong_models, each.sides.weak_models) for each in comparisons}) == 1
    if not comparable:
        values = _relative(values, domain, len(domains))
    for code, name in enumerate(domains):
        if name in plan.weak_only:
            column = values[:, models.index(pair[0])]
            mine = (domain == code) & ~np.isnan(column)
            column[mine] = column[mine].mean()
    known = ~np.isnan(values)
    return Qualities(
        models=models,
        keys=tuple(key for each in comparisons for key in each.task.keys),
        prompts=tuple(prompt for each in comparisons for prompt in each.task.prompts),
        rows=QualityRows(
            known.sum(axis=1).astype(np.uint32),
            np.nonzero(known)[1].astype(np.uint16),
            values[known].astype(np.float32),
        ),
        domains=domains,
        domain=domain.astype(np.int64),
        task=np.repeat(np.arange(len(comparisons)), counts),
        strong=strong,
        weak=weak,
        comparable=comparable,
    )


def _dense(each: Comparison, models: tuple[str, ...], pair: tuple[str, str]) -> NDArray[np.float64]:
    values = np.full((len(each.task.keys), len(models)), np.nan)
    values[:, [models.index(model) for model in each.task.models]] = each.task.scores
    values[:, models.index(pair[0])] = each.sides.strong
    values[:, models.index(pair[1])] = each.sides.weak
    return values


def _relative(values: NDArray[np.float64], domain: NDArray[np.int64], domains: int) -> NDArray[np.float64]:
    """Move each model's mean over a domain to its mean over all of them."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0)
    overall = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    for code in range(domains):
        mine = domain == code
        here = filled[mine].sum(axis=0) / np.maximum(known[mine].sum(axis=0), 1)
        values[mine] += overall - here
    return values


def held_out_report(
    data: Qualities,
    comparisons: Sequence[Comparison],
    embeddings: NDArray[np.float32],
    gains: NDArray[np.float32],
    settings: Iterable[Mapping[str, Any]],
    *,
    seed: int,
    interval: bool = True,
    progress: Progress | None = None,
) -> list[tuple[NDArray[np.float32], dict[str, Any]]]:
    """Score each prompt by the neighbours among the prompts of other folds, under each of several settings.

    Parameters
    ----------
    embeddings, gains
        (P, d) float32, and (P,) float32 with NaN for prompts that were not scored for both sides.
    settings
        What `fastroute._core.NearestGains` takes: neighbours, base, shrinkage, guard.
    interval
        Whether to work out intervals of APGR.

    Returns
    -------
    list
        For each setting the scores, (P,), at the level of all prompts and NaN where there is no gain, and figures: APGR
        by task as the experts have it, and its mean over the tasks.
    """
    wanted = list(settings)
    folds = fold_of(data.keys, seed)
    known = ~np.isnan(gains)
    most = max(int(each["neighbours"]) for each in wanted)
    level = float(gains[known].mean(dtype=np.float64))
    scores = [np.full(len(gains), np.nan, np.float32) for _ in wanted]
    for fold in range(FOLDS):
        held, others = np.flatnonzero(known & (folds == fold)), np.flatnonzero(known & (folds != fold))
        if len(held) and len(others):
            rows, _, scales = _core.quantise_rows(np.ascontiguousarray(embeddings[others]))
            index = _core.SimilarityIndex(rows, scales)
            ids, similarities = index.nearest(np.ascontiguousarray(embeddings[held]), min(most, len(others)))
            for place, each in enumerate(wanted):
                count = min(int(each["neighbours"]), len(others))
                scorer = _core.NearestGains(index, np.ascontiguousarray(gains[others]), None, **each)
                found = scorer.score_neighbours(
                    np.ascontiguousarray(ids[:, :count]), np.ascontiguousarray(similarities[:, :count])
                )
                scores[place][held] = _levelled(found, scorer.mean_gain, level)
        if progress is not None:
            progress(fold + 1, FOLDS)
    return [(score, figures_by_task(data, comparisons, score, folds, interval)) for score in scores]


def _levelled(scores: NDArray[np.float32], level: float, whole: float) -> NDArray[np.float32]:
    """Move scores around one mean gain to those around another; what the guard put at the mean stays there."""
    moved: NDArray[np.float32] = np.clip(scores + np.float32((whole - level) / 2), 0, 1).astype(np.float32)
    moved[scores == np.float32((1 + level) / 2)] = np.float32((1 + whole) / 2)
    return moved


def figures_by_task(
    data: Qualities,
    comparisons: Sequence[Comparison],
    score: NDArray[np.float32],
    folds: NDArray[np.int64],
    interval: bool = True,
) -> dict[str, Any]:
    """Figures of scores of held-out prompts, (P,) with NaN for none: APGR of each task, and its mean over them."""
    tasks = []
    for number, each in enumerate(comparisons):
        mine = np.flatnonzero((data.task == number) & ~np.isnan(score))
        if not len(mine):
            continue
        held_out = HeldOut(
            each.task.name,
            each.domain,
            each.sides.strong_models,
            each.sides.weak_models,
            data.strong[mine],
            data.weak[mine],
            centred(score[mine].astype(np.float64), folds[mine]),
        )
        tasks.append(task_figures(held_out, interval=interval))
    known = [task["apgr"] for task in tasks if task["apgr"] is not None]
    return {"held_out_apgr": float(np.mean(known)) if known else None, "tasks": tasks}
