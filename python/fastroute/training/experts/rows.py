"""Training rows: one for each task and prompt, then the prompts without scores; and how much traffic they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError
from fastroute.training.comparisons.plan import CHAT, Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fastroute.training.comparisons.pairing import Comparison

__all__ = ["Rows", "prior_of", "rows_of"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Prompts to train on.

    Attributes
    ----------
    keys, prompts
        n keys, which decide on folds, and texts.
    domain, task
        (n,) int64 codes; the task is -1 for a prompt without scores.
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
        return self.task >= 0

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


def rows_of(comparisons: Sequence[Comparison], chat_prompts: Mapping[str, str]) -> tuple[Rows, tuple[str, ...]]:
    """Make the rows, and the names of their domains, sorted."""
    names = sorted({each.domain for each in comparisons} | ({CHAT} if chat_prompts else set()))
    keys: list[str] = []
    prompts: list[str] = []
    domain, index, strong, weak = [], [], [], []
    chat: set[str] = set()
    for number, each in enumerate(comparisons):
        task, sides = each.task, each.sides
        whole = np.flatnonzero(~np.isnan(sides.strong) & ~np.isnan(sides.weak))
        keys += [task.keys[i] for i in whole]
        prompts += [task.prompts[i] for i in whole]
        domain.append(np.full(len(whole), names.index(each.domain)))
        index.append(np.full(len(whole), number))
        strong.append(sides.strong[whole])
        weak.append(sides.weak[whole])
        if each.domain == CHAT:
            chat |= set(task.keys)
    extra = sorted(set(chat_prompts) - chat)
    keys += extra
    prompts += [chat_prompts[key] for key in extra]
    nothing = np.full(len(extra), np.nan)
    domain.append(np.full(len(extra), names.index(CHAT) if extra else 0))
    index.append(np.full(len(extra), -1))
    return Rows(
        tuple(keys),
        tuple(prompts),
        np.concatenate(domain).astype(np.int64),
        np.concatenate(index).astype(np.int64),
        np.concatenate([*strong, nothing]),
        np.concatenate([*weak, nothing]),
    ), tuple(names)


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
