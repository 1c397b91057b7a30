"""Where evaluation prompts come from: a file, or a folder in the layout of RouteLLM's ``routellm/evals``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.batch.selecting import iterate_prompts
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

__all__ = ["DistinctTexts", "EvalSet", "read_eval_set"]

_LAYOUT = {
    "mmlu": "responses/mmlu_*.csv",
    "gsm8k": "gsm8k_responses.csv",
    "mt_bench": "question.jsonl",
}


@dataclass(frozen=True, slots=True)
class DistinctTexts:
    """Texts of rows, each distinct one once, in order of appearance.

    Attributes
    ----------
    texts
        The distinct texts.
    first
        First row, from 0, of each.
    rows
        How many rows have each.
    codes
        For each row, the index of its text.
    """

    texts: list[str]
    first: list[int]
    rows: list[int]
    codes: list[int]

    @classmethod
    def of(cls, prompts: Iterable[str]) -> DistinctTexts:
        """Collect them."""
        known: dict[str, int] = {}
        found = cls([], [], [], [])
        for row, prompt in enumerate(prompts):
            code = known.setdefault(prompt, len(known))
            if code == len(found.texts):
                found.texts.append(prompt)
                found.first.append(row)
                found.rows.append(0)
            found.rows[code] += 1
            found.codes.append(code)
        return found


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Prompts of an evaluation.

    Attributes
    ----------
    prompts
        In the order of the files.
    files
        For each prompt, the file that it is from, as given or relative to the folder.
    rows
        For each prompt, its row there, from 0.
    """

    prompts: list[str]
    files: list[str]
    rows: list[int]


def read_eval_set(path: str | os.PathLike[str], *, column: str = "prompt") -> EvalSet:
    """Read the prompts of an evaluation.

    Parameters
    ----------
    path
        A .jsonl, .ndjson, .csv, .tsv or .parquet file; or a folder that holds some of ``mmlu/responses/mmlu_*.csv``,
        ``gsm8k/gsm8k_responses.csv`` and ``mt_bench/question.jsonl``; or one of these three folders. Of
        MT-Bench the first turns are read, on which routers decide.
    column
        Of the prompts; in a folder it is always "prompt".

    Raises
    ------
    InvalidArgumentError
        Nothing is there, or the file's name does not tell its format.
    DataError
        A file can't be read, lacks the column or holds no prompt; a folder lacks the files of a benchmark.
    MissingDependencyError
        A Parquet file without pyarrow.
    """
    place = Path(path)
    if place.is_dir():
        sources = [(str(file.relative_to(place)), _prompts_of(file)) for file in _files_of(place)]
    elif place.exists() or str(path) == "-":
        sources = [(str(path), iterate_prompts(str(path), column))]
    else:
        raise InvalidArgumentError(f"{path}: there is no such file or folder")
    found = EvalSet([], [], [])
    for name, prompts in sources:
        for row, prompt in enumerate(prompts):
            found.prompts.append(prompt)
            found.files.append(name)
            found.rows.append(row)
    if not found.prompts:
        raise DataError(f"{path}: no prompts; at least one is needed")
    return found


def _files_of(folder: Path) -> list[Path]:
    present = {name: folder / name for name in _LAYOUT if (folder / name).is_dir()}
    if not present:
        present = {name: folder for name, pattern in _LAYOUT.items() if any(folder.glob(pattern))}
    if not present:
        expected = ", ".join(f"{name}/{pattern}" for name, pattern in _LAYOUT.items())
        raise DataError(f"{folder}: none of {expected} is there; RouteLLM's evals folder has them")
    files = []
    for name, home in present.items():
        matched = sorted(home.glob(_LAYOUT[name]))
        if not matched:
            raise DataError(f"{home}: no {_LAYOUT[name]} is there, which this benchmark's prompts are read from")
        files += matched
    return files


def _prompts_of(file: Path) -> Iterator[str]:
    return _first_turns(file) if file.name == _LAYOUT["mt_bench"] else iterate_prompts(str(file), "prompt")


def _first_turns(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: can't be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            turns = json.loads(line)["turns"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{file}: line {number}: a JSON object with 'turns' is needed") from error
        if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
            raise DataError(f"{file}: line {number}: 'turns': a list of texts is needed")
        yield turns[0]
