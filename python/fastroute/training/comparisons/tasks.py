"""Scores of models on prompts, one matrix for each task: a benchmark, or whatever a column calls one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.tables import Labels, Table, as_table
from fastroute.training.comparisons.plan import CHAT
from fastroute.training.outcomes import format_failures
from fastroute.training.table_parts import clean_rows, prompt_column, source_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JUDGE_SCORE_COLUMNS", "Task", "tasks_from_judge_scores", "tasks_from_outcomes"]

JUDGE_SCORE_COLUMNS = ("prompt", "model", "score", "prompt_id", "overlap")
"""Columns that are looked at in a table of judged answers; the first three are needed."""

_UNNAMED = "outcomes"  # the task of rows that no column sorts
_LOWEST_MARK, _HIGHEST_MARK = 1.0, 10.0  # MT-Bench's scale


@dataclass(frozen=True, slots=True)
class Task:
    """Scores of models on the prompts of one task.

    Attributes
    ----------
    name
        Such as "mmlu_pro".
    keys
        Keys of its n prompts, sorted; prompts that share a key fall on one side of any split.
    prompts
        n texts.
    models
        m names, sorted.
    scores
        (n, m) float64 in [0, 1]; NaN where a model was not scored, the mean where it was several times.
    """

    name: str
    keys: tuple[str, ...]
    prompts: tuple[str, ...]
    models: tuple[str, ...]
    scores: NDArray[np.float64]


def tasks_from_outcomes(
    data: object, *, column: str | None = None, score_range: tuple[float, float] = (0.0, 1.0), name: str = "outcomes"
) -> tuple[tuple[Task, ...], dict[str, int]]:
    """Tasks of a table with a row per prompt and model.

    Parameters
    ----------
    data
        A table with the columns prompt, model and score; what else is read: prompt_id, source, benchmark, overlap (rows
        that name an evaluation set are left out), and `column`.
    column
        Column that names the task of each row; benchmark, else source, else one task for the table where None.
    score_range
        The worst and the best score, which become 0 and 1: (1, 5) for stars. True and false are understood where it
        is (0, 1).
    name
        What errors call the table.

    Returns
    -------
    tuple
        The tasks by name, sorted, and a reason-to-number of rows left out.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed; column and row are named.
    InvalidTypeError
        `data` is no table.
    """
    table = as_table(data, name)
    table.require("prompt", "model", "score", *([column] if column else []))
    low, high = score_range
    scores = (table.scores("score", low, high) - low) / (high - low)
    kept, dropped = clean_rows(table)
    if score_range == (0.0, 1.0):
        failed = format_failures(table, kept)
        if failed.any():
            dropped["format failures"] = int(failed.sum())
            kept = kept[~failed]
    names = source_column(replace(table, name=_UNNAMED), (column,) if column else ("benchmark", "source"))
    return _tasks(table, names, scores, kept), dropped


def tasks_from_judge_scores(data: object, *, name: str = "judge_scores") -> tuple[tuple[Task, ...], dict[str, int]]:
    """Return the task "chat" of a table of answers that a judge gave marks from 1 to 10.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed; column and row are named.
    InvalidTypeError
        `data` is no table.
    """
    table = as_table(data, name)
    table.require("prompt", "model", "score")
    marks = table.scores("score", _LOWEST_MARK, _HIGHEST_MARK)
    kept, dropped = clean_rows(table)
    names = Labels((CHAT,), np.zeros(table.rows, np.int64))
    scores = (marks - _LOWEST_MARK) / (_HIGHEST_MARK - _LOWEST_MARK)
    return _tasks(table, names, scores, kept), dropped


def _tasks(table: Table, names: Labels, scores: NDArray[np.float64], kept: NDArray[np.int64]) -> tuple[Task, ...]:
    if not len(kept):
        raise DataError(f"{table.name}: no rows to train on{' are left' if table.rows else ''}")
    models, texts, keys = table.labels("model"), table.labels("prompt"), prompt_column(table).keys
    tasks = []
    for code, name in sorted(enumerate(names.values), key=lambda pair: pair[1]):
        rows = kept[names.codes[kept] == code]
        if len(rows):
            tasks.append(_task(name, keys, texts, models, scores, rows))
    return tuple(tasks)


def _task(  # noqa: PLR0917 - the columns of a table
    name: str, prompts: Labels, texts: Labels, models: Labels, scores: NDArray[np.float64], rows: NDArray[np.int64]
) -> Task:
    # A key may stand for several texts, as an id of a conversation: each is a prompt, on one side of any split.
    pairs, prompt = np.unique(np.stack([prompts.codes[rows], texts.codes[rows]]), axis=1, return_inverse=True)
    used = [(prompts.values[key], texts.values[text]) for key, text in pairs.T.tolist()]
    known, model = np.unique(models.codes[rows], return_inverse=True)
    by_key = np.array(sorted(range(len(used)), key=used.__getitem__), np.int64)
    by_name = np.array(sorted(range(len(known)), key=lambda i: models.values[known[i]]), np.int64)
    cell = prompt * len(known) + model
    size = len(used) * len(known)
    count = np.bincount(cell, minlength=size)
    total = np.bincount(cell, weights=scores[rows], minlength=size)
    mean = np.full(size, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return Task(
        name,
        tuple(used[i][0] for i in by_key),
        tuple(used[i][1] for i in by_key),
        tuple(models.values[known[i]] for i in by_name),
        mean.reshape(len(used), len(known))[np.ix_(by_key, by_name)],
    )
