"""Labelled prompts: how well the strong and the weak model answered each."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.batch.parquet import import_pyarrow
from fastroute.batch.rows import name_columns
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.training.tables import read_table

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["LabelledPrompts", "read_labels"]

_SUFFIXES: Final = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".pq")
_ROLES: Final = ("strong", "weak")
_WORDS: Final = {"true": 1.0, "false": 0.0}


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
    """Read labelled prompts from a .jsonl, .csv, .tsv or .parquet file.

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
    path = Path(path)
    columns = _columns(path, [column, "strong", "weak", strong, weak, "model", "score"])
    if column not in columns:
        raise DataError(f"{path}: no column {column!r}; the file has {name_columns(list(columns))} (see --column)")
    prompts = columns[column]
    for row, prompt in enumerate(prompts, start=1):
        if not isinstance(prompt, str):
            raise DataError(f"{path}: row {row}: column {column!r}: expected a string, found {prompt!r}")
    sums = _Sums(path)
    for role, model in zip(_ROLES, (strong, weak), strict=True):
        wide = role if role in columns else next((name for name in columns if _same_model(name, model)), None)
        if wide is not None:
            sums.add_all(prompts, role, wide, columns[wide])
    if not sums.columns and "model" in columns and "score" in columns:
        for row, found in enumerate(columns["model"]):
            for role, model in zip(_ROLES, (strong, weak), strict=True):
                if _same_model(found, model):
                    sums.add(row, prompts[row], role, "score", columns["score"][row])
    elif sums.columns != ["strong", "weak"]:
        raise DataError(
            f"{path}: found {name_columns(list(columns))}; needed beside {column!r}: columns 'strong' and 'weak', or "
            f"columns {strong!r} and {weak!r}, or columns 'model' and 'score'"
        )
    return sums.labelled(strong, weak)


class _Sums:
    """Scores by prompt and role."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scores: dict[str, dict[str, list[float]]] = {}
        self.columns: list[str] = []

    def add_all(self, prompts: Sequence[str], role: str, column: str, cells: Sequence[Any]) -> None:
        self.columns.append(role)
        for row, (prompt, cell) in enumerate(zip(prompts, cells, strict=True)):
            self.add(row, prompt, role, column, cell)

    def add(self, row: int, prompt: str, role: str, column: str, cell: Any) -> None:
        score = _score(cell)
        if score is None:
            raise DataError(
                f"{self._path}: row {row + 1}: column {column!r}: expected a number from 0 to 1, true or false, "
                f"found {cell!r}"
            )
        self._scores.setdefault(prompt, {}).setdefault(role, []).append(score)

    def labelled(self, strong: str, weak: str) -> LabelledPrompts:
        whole = {prompt: roles for prompt, roles in self._scores.items() if len(roles) == 2}
        if not whole:
            raise DataError(f"{self._path}: no prompt has a score of both {strong!r} and {weak!r}")
        means = {role: np.array([float(np.mean(roles[role])) for roles in whole.values()]) for role in _ROLES}
        repeated = sum(max(len(scores) for scores in roles.values()) - 1 for roles in whole.values())
        dropped = len(self._scores) - len(whole)
        return LabelledPrompts(tuple(whole), means["strong"], means["weak"], dropped, repeated)


def _same_model(found: object, model: str) -> bool:
    """Whether a name is the model's: an organisation before a slash, and case, don't count."""
    return isinstance(found, str) and found.rpartition("/")[2].casefold() == model.rpartition("/")[2].casefold()


def _score(cell: Any) -> float | None:
    """Return a cell's score; None where it is none."""
    if isinstance(cell, str):
        word = cell.strip().lower()
        try:
            cell = _WORDS[word] if word in _WORDS else float(word)
        except ValueError:
            return None
    if not isinstance(cell, (bool, int, float, np.number)):
        return None
    return float(cell) if 0 <= cell <= 1 else None


def _columns(path: Path, wanted: Sequence[str]) -> Mapping[str, Sequence[Any]]:
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InvalidArgumentError(f"{path}: the format can't be told by its name; allowed: {', '.join(_SUFFIXES)}")
    if suffix in (".parquet", ".pq"):
        table = read_table(path, _parquet_names(path, wanted))
        return {name: values.to_pylist() for name, values in table.columns.items()}
    text = _text(path)
    if suffix in (".jsonl", ".ndjson"):
        return _json_columns(path, text, wanted)
    return _delimited_columns(path, text, "\t" if suffix == ".tsv" else ",")


def _parquet_names(path: Path, wanted: Sequence[str]) -> list[str]:
    """Those of the file's columns that `wanted` means, however they spell a model."""
    import_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names: list[str] = pq.read_schema(path).names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as Parquet: {error}") from error
    return [name for name in names if any(_same_model(name, one) for one in wanted)]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, found an invalid byte at {error.start + 1}") from error


def _json_columns(path: Path, text: str, wanted: Sequence[str]) -> dict[str, list[Any]]:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: broken JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number}: expected a JSON object, found {type(row).__name__}")
        rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row if any(_same_model(name, one) for one in wanted))
    return {name: [row.get(name) for row in rows] for name in names}


def _delimited_columns(path: Path, text: str, delimiter: str) -> dict[str, list[Any]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        records = [record for record in reader if record]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error
    if len(set(header)) != len(header):
        raise DataError(f"{path}: its header names a column twice: {name_columns(header)}")
    for row, record in enumerate(records, start=1):
        if len(record) != len(header):
            raise DataError(f"{path}: row {row}: expected {len(header)} fields, found {len(record)}")
    return {name: [record[at] for record in records] for at, name in enumerate(header)}
