"""Gold labels from the tables that a user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.tables import as_table, text_key
from fastroute.training.experts.gold import GoldLabels

__all__ = ["gold_labels"]


def gold_labels(gold: Sequence[GoldLabels] | Mapping[str, object]) -> tuple[GoldLabels, ...]:
    """Read gold tables with the columns prompt, strong and weak; what is labels already stays.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed.
    """
    if not isinstance(gold, (Mapping, Sequence)) or isinstance(gold, (str, bytes)):
        raise InvalidTypeError(f"gold: found {type(gold).__name__}, allowed: a mapping of tables, or GoldLabels")
    found = [_read_gold(name, data) for name, data in gold.items()] if isinstance(gold, Mapping) else list(gold)
    for labels in found:
        _check_gold(labels)
    names = [labels.name for labels in found]
    if len(set(names)) < len(names):
        raise InvalidArgumentError(f"gold: found the names {', '.join(names)}, allowed: different ones")
    return tuple(found)


def _read_gold(name: str, data: object) -> GoldLabels:
    table = as_table(data, f"gold {name}")
    table.require("prompt", "strong", "weak")
    prompts = table.labels("prompt")
    count = np.bincount(prompts.codes, minlength=len(prompts.values))
    strong, weak = (
        np.bincount(prompts.codes, weights=table.scores(side), minlength=len(prompts.values)) / count
        for side in ("strong", "weak")
    )
    return GoldLabels(name, tuple(map(text_key, prompts.values)), prompts.values, strong, weak)


def _check_gold(labels: object) -> None:
    if not isinstance(labels, GoldLabels):
        raise InvalidTypeError(f"gold: found {type(labels).__name__}, allowed: GoldLabels")
    if not isinstance(labels.name, str) or not labels.name:
        raise InvalidTypeError(f"gold: found the name {labels.name!r:.60}, allowed: a text")
    for side in ("strong", "weak"):
        scores = getattr(labels, side)
        if not isinstance(scores, np.ndarray) or scores.shape != (len(labels.prompts),):
            raise InvalidTypeError(f"gold {labels.name}: {side}: found no array with one score per prompt")
        if not ((scores >= 0) & (scores <= 1)).all():  # catches NaN too
            raise InvalidArgumentError(f"gold {labels.name}: {side}: found a score outside 0 to 1")
    if len(labels.keys) != len(labels.prompts):
        raise InvalidArgumentError(f"gold {labels.name}: keys: found {len(labels.keys)}, allowed: one per prompt")
