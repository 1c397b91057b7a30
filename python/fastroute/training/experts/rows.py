"""Training rows: one for each task and prompt, then the prompts without scores; and how much traffic they stand for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.training.experts.options import fewer_options
from fastroute.training.experts.plan import CHAT, Plan
from fastroute.training.experts.tiers import Sides, sides_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fastroute.training.experts.tasks import Task

__all__ = ["Comparison", "Rows", "comparisons_of", "prior_of", "rows_of"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A task, the domain it belongs to, and both sides of it."""

    task: Task
    domain: str
    sides: Sides


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts to train on.

    Attributes
    ----------
    keys, prompts
        n keys, which decide on folds, and texts.
    domain, task
        (n,) int64 codes; the task is -1 for a prompt without scores, and for one that stands in for another.
    strong, weak
        (n,) float64 in [0, 1]: how the sides did; NaN without scores.
    """

    keys: tuple[str, ...]
    prompts: tuple[str, ...]
    domain: NDArray[np.int64]
    task: NDArray[np.int64]
    strong: NDArray[np.float64]
    weak: NDArray[np.float64]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which of them have scores."""
        scored: NDArray[np.bool_] = ~np.isnan(self.strong)
        return scored

    def take(self, kept: NDArray[np.bool_]) -> Rows:
        """Keep these."""
        at = np.flatnonzero(kept).tolist()
        return Rows(
            tuple(self.keys[i] for i in at),
            tuple(self.prompts[i] for i in at),
            self.domain[kept],
            self.task[kept],
            self.strong[kept],
            self.weak[kept],
        )


def comparisons_of(tasks: Sequence[Task], plan: Plan, pair: tuple[str, str]) -> tuple[Comparison, ...]:
    """Compare the two sides of each task that the plan has a domain for.

    Raises
    ------
    DataError
        The plan's tiers of a task have no model of it, or nothing can be compared.
    """
    found = []
    for task in tasks:
        domain = plan.domain_of(task.name)
        sides = sides_of(task, plan, pair) if domain is not None else None
        if domain is not None and sides is not None:
            found.append(Comparison(task, domain, sides))
    if not found:
        raise DataError("outcomes: no task has two models that were scored on its prompts; nothing can be compared")
    return tuple(found)


def rows_of(
    comparisons: Sequence[Comparison], chat_prompts: Mapping[str, str], plan: Plan, seed: int
) -> tuple[Rows, tuple[str, ...]]:
    """Make the rows, and the names of their domains, sorted."""
    names = sorted({each.domain for each in comparisons} | ({CHAT} if chat_prompts else set()))
    parts = []
    scored_chats: set[str] = set()
    for number, each in enumerate(comparisons):
        parts.append(_of_task(each, number, names.index(each.domain)))
        if each.task.name in plan.fewer_options:
            parts.append(_with_fewer_options(parts[-1], np.random.default_rng([seed, number])))
        if each.domain == CHAT:
            scored_chats |= set(each.task.keys)
    chats = sorted(set(chat_prompts) - scored_chats)
    if chats:
        nothing = np.full(len(chats), np.nan)
        prompts = tuple(chat_prompts[key] for key in chats)
        domain, task = (np.full(len(chats), code) for code in (names.index(CHAT), -1))
        parts.append(Rows(tuple(chats), prompts, domain, task, nothing, nothing))
    return _joined(parts), tuple(names)


def _of_task(each: Comparison, number: int, domain: int) -> Rows:
    task, sides = each.task, each.sides
    whole = np.flatnonzero(~np.isnan(sides.strong) & ~np.isnan(sides.weak))
    return Rows(
        tuple(task.keys[i] for i in whole),
        tuple(task.prompts[i] for i in whole),
        np.full(len(whole), domain),
        np.full(len(whole), number),
        sides.strong[whole],
        sides.weak[whole],
    )


def _with_fewer_options(rows: Rows, generator: np.random.Generator) -> Rows:
    """Copy those that have options to spare, without some; copies keep their key and count for no task."""
    prompts = [fewer_options(prompt, generator) for prompt in rows.prompts]
    kept = np.array([prompt is not None for prompt in prompts], np.bool_)
    shorter = tuple(prompt for prompt in prompts if prompt is not None)
    return replace(rows.take(kept), prompts=shorter, task=np.full(len(shorter), -1))


def _joined(parts: Sequence[Rows]) -> Rows:
    return Rows(
        tuple(key for part in parts for key in part.keys),
        tuple(prompt for part in parts for prompt in part.prompts),
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("domain", "task", "strong", "weak")),
    )


def prior_of(rows: Rows, plan: Plan, domains: tuple[str, ...]) -> NDArray[np.float64]:
    """Shares of traffic: the plan's; the rest equally; the data's own where the plan says nothing."""
    if not plan.prior:
        counts = np.bincount(rows.domain, minlength=len(domains)).astype(np.float64)
        measured: NDArray[np.float64] = counts / counts.sum()
        return measured
    left = 1 - sum(plan.prior.values())
    others = len(domains) - len(plan.prior)
    if others and left <= 0:
        raise InvalidArgumentError("plan: prior leaves nothing for the domains that it does not name")
    shares = np.array([plan.prior.get(domain, left / max(others, 1)) for domain in domains])
    planned: NDArray[np.float64] = shares / shares.sum()
    return planned
