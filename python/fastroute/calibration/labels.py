"""Labelled prompts: how well the strong and the weak model answered each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fastroute.errors import DataError
from fastroute.tables import Labels, Table, read_table

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["LabelledPrompts", "read_labels"]

_ROLES: Final = ("strong", "weak")


@dataclass(frozen=True, slots=True)
class LabelledPrompts:
    """Prompts with the quality of both models' answers.

    Attributes
    ----------
    prompts
        n of them.
    strong, weak
        (n,) float64 in [0, 1].
    dropped
        Prompts left out since one of the two models has no score there.
    repeated
        Rows that repeat a prompt, model and all: their scores were averaged.
    """

    prompts: tuple[str, ...]
    strong: NDArray[np.float64]
    weak: NDArray[np.float64]
    dropped: int
    repeated: int


def read_labels(path: str | os.PathLike[str], *, strong: str, weak: str, column: str = "prompt") -> LabelledPrompts:
    """Read labelled prompts from a file, in any format of `fastroute.tables.read_table`.

    Two layouts are known. *Wide*: a row per prompt, with the columns `strong` and `weak` or columns named as the two
    models. *Long*: a row per prompt and model, with the columns `model` and `score`; rows of other models are left
    out. A score is a number from 0 to 1, or true or false. A prompt that comes several times is one labelled prompt
    with the mean of its scores, since the guarantee counts independent prompts.

    Parameters
    ----------
    path
        The file.
    strong, weak
        Names of the models; in the file an organisation before a slash, and case, don't count.
    column
        Column of the prompts.

    Raises
    ------
    InvalidArgumentError
        The file's name does not tell its format.
    DataError
        It can't be read, a column is missing, a cell holds no score, or no prompt has both scores.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    wanted = [column, "strong", "weak", strong, weak, "model", "score"]
    table = read_table(path, lambda name: any(_same_model(name, one) for one in wanted))
    if column not in table:
        raise DataError(f"{path}: no column {column!r}; the file has {table.shown_names} (see --column)")
    prompts = table.labels(column)
    wide = {role: _column_of(table, role, model) for role, model in zip(_ROLES, (strong, weak), strict=True)}
    sums = _Sums(table.name)
    if all(wide.values()):
        for role, name in wide.items():
            sums.add(prompts, [(role,)] * table.rows, table.scores(str(name)))
    elif not any(wide.values()) and "model" in table and "score" in table:
        models = table.labels("model", null="")
        pair = tuple(zip(_ROLES, (strong, weak), strict=True))
        roles = [tuple(role for role, model in pair if _same_model(found, model)) for found in models.values]
        mine = np.flatnonzero(np.array([bool(of) for of in roles], np.bool_)[models.codes])
        scores = table.scores("score", rows=mine)
        sums.add(prompts.take(mine), [roles[code] for code in models.codes[mine]], scores)
    else:
        raise DataError(
            f"{path}: found {table.shown_names}; needed beside {column!r}: columns 'strong' and 'weak', or "
            f"columns {strong!r} and {weak!r}, or columns 'model' and 'score'"
        )
    return sums.labelled(strong, weak)


class _Sums:
    """Scores by prompt and role."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._scores: dict[str, dict[str, list[float]]] = {}

    def add(self, prompts: Labels, roles: Sequence[tuple[str, ...]], scores: NDArray[np.float64]) -> None:
        """Add a row's score to each of its roles."""
        for code, here, score in zip(prompts.codes.tolist(), roles, scores.tolist(), strict=True):
            for role in here:
                self._scores.setdefault(prompts.values[code], {}).setdefault(role, []).append(score)

    def labelled(self, strong: str, weak: str) -> LabelledPrompts:
        """Prompts that have both roles, with the means of their scores."""
        whole = {prompt: roles for prompt, roles in self._scores.items() if len(roles) == 2}
        if not whole:
            raise DataError(f"{self._name}: no prompt has a score of both {strong!r} and {weak!r}")
        means = {role: np.array([float(np.mean(roles[role])) for roles in whole.values()]) for role in _ROLES}
        repeated = sum(max(len(scores) for scores in roles.values()) - 1 for roles in whole.values())
        dropped = len(self._scores) - len(whole)
        return LabelledPrompts(tuple(whole), means["strong"], means["weak"], dropped, repeated)


def _column_of(table: Table, role: str, model: str) -> str | None:
    """Column of a role's scores in a table with a row per prompt."""
    return role if role in table else next((name for name in table.columns if _same_model(name, model)), None)


def _same_model(found: str, model: str) -> bool:
    """Whether a name is the model's: an organisation before a slash, and case, don't count."""
    return found.rpartition("/")[2].casefold() == model.rpartition("/")[2].casefold()
