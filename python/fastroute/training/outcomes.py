"""Battles from a table with one score per prompt and model."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError
from fastroute.tables import Labels, Table, as_table
from fastroute.training.table_parts import (
    PromptColumn,
    build_battles,
    clean_rows,
    prompt_column,
    source_column,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles

__all__ = ["OUTCOME_COLUMNS", "battles_from_outcomes", "benchmarks", "format_failures"]

OUTCOME_COLUMNS = ("model", "score", "prompt", "row", "prompt_id", "source", "benchmark", "guess", "overlap")
"""Columns that are looked at. Those after `score` may be missing, but `prompt` or `row` is needed."""

_NOISY_SOURCE = "llmrouter"
_FAILURE_RATIO = 0.4
_FEW_PROMPTS = 100


def battles_from_outcomes(
    data: object, *, pairs_per_prompt: int = 32, seed: int = 0, name: str = "outcomes"
) -> Battles:
    """Battles between models that were scored on the same prompt of the same benchmark.

    Model a wins by ``(1 + score_a - score_b) / 2``. So the win rate that a router learns is the expected gain
    in score, and a prompt that both models get right, or both wrong, is a tie. Rows whose `overlap` names an
    evaluation set are left out, and so are those of `format_failures`.

    Parameters
    ----------
    data
        A pyarrow table, pandas or polars frame, or dictionary of columns; see `OUTCOME_COLUMNS`. Scores are
        in [0, 1], or true and false.
    pairs_per_prompt
        Pairs to draw, without replacement, where a prompt has more.
    seed
        Of the draw.
    name
        What errors call the table.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed; column and row are named.
    InvalidArgumentError
        `pairs_per_prompt` is below 1.
    InvalidTypeError
        `data` is no table.
    """
    if pairs_per_prompt < 1:
        raise InvalidArgumentError(f"pairs_per_prompt: {pairs_per_prompt} given; at least 1 is needed")
    table = as_table(data, name)
    table.require("model", "score")
    score = table.scores("score")
    kept, dropped = clean_rows(table)
    failed = format_failures(table, kept)
    if failed.any():
        dropped["format failures"] = int(failed.sum())
        kept = kept[~failed]
    models = table.labels("model").take(kept)
    prompts = prompt_column(table).take(kept)
    sources = benchmarks(table, prompts, kept)
    cell = prompts.keys.codes * len(sources.values) + sources.codes
    first, second = _draw_pairs(cell, models.codes, pairs_per_prompt, seed)
    score = score[kept]
    return build_battles(
        prompts=prompts.take(first),
        sources=sources.take(first),
        models=models,
        model_a=models.codes[first],
        model_b=models.codes[second],
        outcome=(1 + score[first] - score[second]) / 2,
        dropped=dropped,
    )


def benchmarks(table: Table, prompts: PromptColumn, kept: NDArray[np.int64]) -> Labels:
    """Benchmarks as sources; those with few prompts go together under the name of their source."""
    benchmark = source_column(table, ("benchmark", "source")).take(kept)
    if "benchmark" not in table or "source" not in table:
        return benchmark
    source = source_column(table, ("source",)).take(kept)
    pairs = np.unique(np.stack([benchmark.codes, prompts.keys.codes]), axis=1)
    small = np.bincount(pairs[0], minlength=len(benchmark.values)) < _FEW_PROMPTS
    codes = np.where(small[benchmark.codes], len(benchmark.values) + source.codes, benchmark.codes)
    return Labels((*benchmark.values, *source.values), codes)


def format_failures(table: Table, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of these rows measure a model's output format more than its answers.

    Known for the source ``llmrouter``, and looked for only there, where the table has the columns `source`
    and `benchmark`: all rows of models named chatqa, and those of a model on a benchmark where its mean score
    is below 0.4 times the median of the models' means.
    """
    failed = np.zeros(len(rows), np.bool_)
    if "source" not in table or "benchmark" not in table:
        return failed
    source, benchmark = (table.labels(column, null="").take(rows) for column in ("source", "benchmark"))
    if _NOISY_SOURCE not in source.values:
        return failed
    noisy = np.flatnonzero(source.codes == source.values.index(_NOISY_SOURCE))
    model = table.labels("model").take(rows)
    score = table.scores("score")[rows]
    chatqa = np.array(["chatqa" in name for name in model.values], dtype=np.bool_)
    failed[noisy] = chatqa[model.codes[noisy]]
    cell = benchmark.codes[noisy] * len(model.values) + model.codes[noisy]
    cells, where = np.unique(cell, return_inverse=True)
    mean = np.bincount(where, weights=score[noisy]) / np.bincount(where)
    cell_benchmark = cells // len(model.values)
    for code in np.unique(cell_benchmark):
        here = cell_benchmark == code
        low = here & (mean < _FAILURE_RATIO * np.median(mean[here]))
        failed[noisy] |= low[where]
    return failed


def _draw_pairs(
    group: NDArray[np.int64], model: NDArray[np.int64], most: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of rows with one group and two models, at most `most` per group, in a seeded random order."""
    generator = np.random.default_rng(seed)
    order = np.argsort(group, kind="stable")
    bounds = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    first, second = [], []
    for start, stop in pairwise(bounds):
        members = order[start:stop]
        a, b = np.triu_indices(stop - start, k=1)
        if len(a) > most:
            drawn = np.sort(generator.choice(len(a), most, replace=False))
            a, b = a[drawn], b[drawn]
        different = model[members[a]] != model[members[b]]
        first.append(members[a[different]])
        second.append(members[b[different]])
    if not first:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(first), np.concatenate(second)
