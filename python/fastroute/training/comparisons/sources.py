"""From the tables that a user gives to what the fit takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.tables import as_table
from fastroute.training.comparisons.tasks import Task, tasks_from_judge_scores, tasks_from_outcomes
from fastroute.training.table_parts import clean_rows, prompt_column

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Sources", "read_sources"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to train on.

    Attributes
    ----------
    tasks
        Scores, a matrix for each task.
    chat_prompts
        Key to text of the battles' prompts.
    models
        All models that were scored, sorted.
    dropped
        Reason to number of rows left out.
    """

    tasks: tuple[Task, ...]
    chat_prompts: Mapping[str, str]
    models: tuple[str, ...]
    dropped: dict[str, int]


def read_sources(
    outcomes: object,
    judge_scores: object,
    preferences: object,
    *,
    domain_column: str | None,
    score_range: tuple[float, float],
) -> Sources:
    """Read the tables that are given; raises as `ExpertsRouter.fit`."""
    low, high = score_range
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InvalidArgumentError(f"score_range: found {low} to {high}, allowed: a lower and a higher number")
    if outcomes is None and judge_scores is None:
        raise InvalidArgumentError("outcomes, judge_scores: found neither, allowed: one or both")
    if outcomes is None and domain_column is not None:
        raise InvalidArgumentError("domain_column: a column of outcomes, which are not given")
    tasks: list[Task] = []
    dropped: dict[str, int] = {}
    chat: dict[str, str] = {}
    if outcomes is not None:
        found, lost = tasks_from_outcomes(outcomes, column=domain_column, score_range=(float(low), float(high)))
        tasks += found
        _count(dropped, lost)
    if judge_scores is not None:
        judged, lost = tasks_from_judge_scores(judge_scores)
        twice = sorted({task.name for task in judged} & {task.name for task in tasks})
        if twice:
            raise DataError(f"outcomes: has a task {twice[0]!r}, which is what judge_scores are called; rename it")
        tasks += judged
        _count(dropped, lost)
    if preferences is not None:
        table = as_table(preferences, "preferences")
        kept, lost = clean_rows(table)
        prompts = prompt_column(table)
        if not prompts.texts and table.rows:
            raise DataError(f"{table.name}: column 'prompt' is needed; experts read text")
        codes = np.unique(prompts.keys.codes[kept])
        chat = {prompts.keys.values[code]: prompts.texts[code] for code in codes}
        _count(dropped, lost)
    models = tuple(sorted({model for task in tasks for model in task.models}))
    return Sources(tuple(tasks), chat, models, dropped)


def _count(dropped: dict[str, int], lost: Mapping[str, int]) -> None:
    for reason, rows in lost.items():
        dropped[reason] = dropped.get(reason, 0) + rows
