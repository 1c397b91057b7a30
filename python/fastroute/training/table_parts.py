"""What tables of battles and tables of scores have in common: prompts, sources, and rows not to train on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.tables import Labels, Table, text_key
from fastroute.training.battles import Battles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = [
    "PromptColumn",
    "SortedPrompts",
    "build_battles",
    "clean_rows",
    "prompt_column",
    "sorted_prompts",
    "sorted_used",
    "source_column",
]


@dataclass(frozen=True, slots=True)
class PromptColumn:
    """The prompt of each row.

    Attributes
    ----------
    keys
        Key of each row's prompt.
    texts, rows
        What each of `keys.values` stands for; one of the two is empty.
    """

    keys: Labels
    texts: tuple[str, ...]
    rows: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> PromptColumn:
        """Keep these rows."""
        return replace(self, keys=self.keys.take(rows))


def prompt_column(table: Table) -> PromptColumn:
    """Read `prompt` or `row`, and `prompt_id` if there is one."""
    if ("prompt" in table) == ("row" in table):
        found = "both" if "prompt" in table else "neither"
        raise DataError(f"{table.name}: {found} of the columns 'prompt' and 'row' found; one of them is needed")
    if "row" in table:
        row = table.integers("row", 0, 2**53)
        names = Labels(tuple(map(str, np.unique(row))), np.unique(row, return_inverse=True)[1].astype(np.int64))
        keys = _prompt_keys(table, names)
        return PromptColumn(keys, (), row[_first_rows(keys)])
    texts = table.labels("prompt")
    keys = _prompt_keys(table, Labels(tuple(text_key(text) for text in texts.values), texts.codes))
    return PromptColumn(
        keys, tuple(texts.values[code] for code in texts.codes[_first_rows(keys)]), np.empty(0, np.int64)
    )


def source_column(table: Table, candidates: Sequence[str]) -> Labels:
    """Read for each row the first of these columns that says something; where none does, it is the table's name."""
    sources = Labels((table.name,), np.zeros(table.rows, np.int64))
    for column in reversed(candidates):
        if column in table:
            sources = _filled(table.labels(column, null=""), sources)
    return sources


def clean_rows(table: Table) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Rows whose `overlap` is empty: the others touch an evaluation set."""
    if "overlap" not in table:
        return np.arange(table.rows), {}
    overlap = table.labels("overlap", null="")
    empty = np.array([value == "" for value in overlap.values], dtype=np.bool_)
    kept = np.flatnonzero(empty[overlap.codes])
    lost = table.rows - len(kept)
    return kept, {"overlap with an evaluation set": lost} if lost else {}


@dataclass(frozen=True, slots=True)
class SortedPrompts:
    """The prompts that occur, by key.

    Attributes
    ----------
    keys, texts, rows
        As `prompt_keys`, `prompts` and `rows` of `Battles`.
    prompt
        Index of each row's prompt among them.
    """

    keys: tuple[str, ...]
    texts: tuple[str, ...]
    rows: NDArray[np.int64]
    prompt: NDArray[np.int64]


def sorted_prompts(prompts: PromptColumn) -> SortedPrompts:
    """Keep the prompts that occur, and sort them by key."""
    used, prompt = np.unique(prompts.keys.codes, return_inverse=True)
    keys = [prompts.keys.values[code] for code in used]
    by_key = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys), np.int64)
    rank[by_key] = np.arange(len(keys))
    origin = used[by_key]
    return SortedPrompts(
        tuple(keys[index] for index in by_key),
        tuple(prompts.texts[code] for code in origin) if prompts.texts else (),
        prompts.rows[origin] if len(prompts.rows) else prompts.rows,
        rank[prompt],
    )


def build_battles(
    *,
    prompts: PromptColumn,
    sources: Labels,
    models: Labels,
    model_a: NDArray[np.int64],
    model_b: NDArray[np.int64],
    outcome: NDArray[np.float64],
    dropped: dict[str, int],
) -> Battles:
    """Order battles by prompt, and keep only names that occur.

    `model_a` and `model_b` are codes of `models`, whose own rows do not matter.
    """
    ordered = sorted_prompts(prompts)
    order = np.argsort(ordered.prompt, kind="stable")
    model_names, codes = sorted_used(models.values, np.concatenate([model_a, model_b]))
    source_names, source = sorted_used(sources.values, sources.codes)
    return Battles(
        models=model_names,
        prompt_keys=ordered.keys,
        prompts=ordered.texts,
        rows=ordered.rows,
        prompt=ordered.prompt[order],
        model_a=codes[: len(model_a)][order],
        model_b=codes[len(model_a) :][order],
        outcome=outcome[order],
        weight=np.ones(len(outcome)),
        source=source[order],
        sources=source_names,
        dropped=dropped,
    )


def _prompt_keys(table: Table, own: Labels) -> Labels:
    """Read `prompt_id`; a row without one gets that of the same prompt elsewhere, else the prompt's own key."""
    if "prompt_id" not in table:
        return own
    ids = table.labels("prompt_id", null="")
    if "" not in ids.values:
        return ids
    said = np.flatnonzero(ids.codes != ids.values.index(""))[::-1]
    known = dict(zip(own.codes[said].tolist(), ids.codes[said].tolist(), strict=True))
    names = (ids.values[known[code]] if code in known else name for code, name in enumerate(own.values))
    return _filled(ids, Labels(tuple(names), own.codes))


def _filled(labels: Labels, instead: Labels) -> Labels:
    """Take `instead` where a label is empty."""
    if "" not in labels.values:
        return labels
    index = {name: code for code, name in enumerate(dict.fromkeys((*labels.values, *instead.values)))}
    codes, others = (
        np.array([index[name] for name in part.values], np.int64)[part.codes] for part in (labels, instead)
    )
    return Labels(tuple(index), np.where(codes == index[""], others, codes))


def sorted_used(values: Sequence[str], codes: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Sort the names that occur, and renumber codes by them."""
    names = tuple(sorted({values[code] for code in np.unique(codes)}))
    index = {name: position for position, name in enumerate(names)}
    table = np.array([index.get(value, -1) for value in values], dtype=np.int64)
    return names, table[codes]


def _first_rows(labels: Labels) -> NDArray[np.int64]:
    """For each value, the first row that has it."""
    first = np.zeros(len(labels.values), np.int64)
    first[labels.codes[::-1]] = np.arange(len(labels.codes))[::-1]
    return first
