"""Battles from a table with one row per judgement."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.tables import Labels, Table, as_table
from fastroute.training.table_parts import build_battles, clean_rows, prompt_column, source_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles

__all__ = ["PREFERENCE_COLUMNS", "battles_from_preferences", "models_of_both_sides", "outcomes_for_a"]

PREFERENCE_COLUMNS = ("model_a", "model_b", "winner", "prompt", "row", "prompt_id", "source", "overlap")
"""Columns that are looked at. Those after `winner` may be missing, but `prompt` or `row` is needed."""

_WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5, "tie (bothbad)": 0.5}


def battles_from_preferences(data: object, *, name: str = "preferences", merge_repeats: bool = True) -> Battles:
    """Battles of a table of judgements.

    Rows whose `overlap` names an evaluation set are left out. Judgements of one pair on one prompt by one
    source become one battle with their mean: judges favour the answer they read first, so the two orders
    together say more than either.

    Parameters
    ----------
    data
        A pyarrow table, pandas or polars frame, or dictionary of columns; see `PREFERENCE_COLUMNS`. `winner`
        is one of model_a, model_b, tie, "tie (bothbad)".
    name
        What errors call the table.
    merge_repeats
        False leaves every row a battle of its own, its models in the order of the row.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed; column and row are named.
    InvalidTypeError
        `data` is no table.
    """
    table = as_table(data, name)
    table.require("model_a", "model_b", "winner")
    outcome = outcomes_for_a(table)
    models, model_a, model_b = models_of_both_sides(table)
    kept, dropped = clean_rows(table)
    battles = build_battles(
        prompts=prompt_column(table).take(kept),
        sources=source_column(table, ("source",)).take(kept),
        models=models,
        model_a=model_a[kept],
        model_b=model_b[kept],
        outcome=outcome[kept],
        dropped=dropped,
    )
    return _merge_repeats(battles) if merge_repeats else battles


def outcomes_for_a(table: Table) -> NDArray[np.float64]:
    """Read `winner`: 1 where model_a won, 0 where model_b did, one half for a tie; (rows,)."""
    winner = table.labels("winner")
    for code, value in enumerate(winner.values):
        if value not in _WINNERS:
            row = int(np.argmax(winner.codes == code))
            raise table.error("winner", row, value, f"one of {', '.join(_WINNERS)} is needed")
    return np.array([_WINNERS[value] for value in winner.values])[winner.codes]


def models_of_both_sides(table: Table) -> tuple[Labels, NDArray[np.int64], NDArray[np.int64]]:
    """Read `model_a` and `model_b` as codes of one list of models, and refuse a model against itself."""
    side_a, side_b = table.labels("model_a"), table.labels("model_b")
    index = {value: code for code, value in enumerate(dict.fromkeys((*side_a.values, *side_b.values)))}
    a, b = (np.array([index[value] for value in side.values], dtype=np.int64)[side.codes] for side in (side_a, side_b))
    models = Labels(tuple(index), a)
    same = a == b
    if same.any():
        row = int(np.argmax(same))
        raise table.error("model_b", row, models.values[b[row]], "a model other than model_a is needed")
    return models, a, b


def _merge_repeats(battles: Battles) -> Battles:
    flipped = battles.model_a > battles.model_b
    low, high = np.minimum(battles.model_a, battles.model_b), np.maximum(battles.model_a, battles.model_b)
    outcome = np.where(flipped, 1 - battles.outcome, battles.outcome)
    cells = np.stack([battles.prompt, battles.source, low, high])
    unique, where, count = np.unique(cells, axis=1, return_inverse=True, return_counts=True)
    prompt, source, low, high = unique
    return replace(
        battles,
        prompt=prompt,
        model_a=low,
        model_b=high,
        outcome=np.bincount(where.reshape(-1), weights=outcome, minlength=len(count)) / count,
        weight=np.ones(len(count)),
        source=source,
    )
