"""Tasks with both of their sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.training.comparisons.sides import Sides, sides_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastroute.training.comparisons.plan import Plan
    from fastroute.training.comparisons.tasks import Task

__all__ = ["FEW_PROMPTS", "OTHER", "Comparison", "comparisons_of"]

FEW_PROMPTS = 20
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A task, the domain it belongs to, and both sides of it."""

    task: Task
    domain: str
    sides: Sides


def comparisons_of(
    tasks: Sequence[Task], plan: Plan, pair: tuple[str, str]
) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Compare the two sides of each task that the plan has a domain for; return the names of the others too.

    Where no plan names domains, tasks of few prompts share one: on its own each would weigh as much as a large one.

    Raises
    ------
    DataError
        The plan's tiers of a task have no model of it, or nothing can be compared.
    """
    found, left_out = [], []
    for task in tasks:
        domain = plan.domain_of(task.name)
        sides = sides_of(task, plan, pair) if domain is not None else None
        prompts = 0 if sides is None else int((~np.isnan(sides.strong) & ~np.isnan(sides.weak)).sum())
        if domain is None or sides is None or not prompts:
            left_out.append(task.name)
            continue
        small = prompts < FEW_PROMPTS and not plan.domains and len(tasks) > 1
        found.append(Comparison(task, OTHER if small else domain, sides))
    if found:
        return tuple(found), tuple(left_out)
    if plan.domains and not any(plan.domain_of(task.name) for task in tasks):
        names = ", ".join(task.name for task in tasks)
        raise DataError(f"plan: none of its domains has a pattern that matches a task; the data have {names}")
    raise DataError("outcomes: no task has a prompt that was scored for both sides; nothing can be compared")
