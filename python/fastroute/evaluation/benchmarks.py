"""RouteLLM's benchmark files: questions with both models' results, in the layout of its folder ``routellm/evals``.

::

    mmlu/responses/mmlu_<subject>.csv     prompt, and a column for each model: True, False or a number
    gsm8k/gsm8k_responses.csv             the same
    mt_bench/question.jsonl               question_id, turns, category
    mt_bench/judgements.jsonl             question_id, model, turn, score
    <each>/contaminated_prompts.jsonl     eval_prompt: questions that RouteLLM's training data holds; left out

Columns beyond these are ignored.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.builtin import STRONG, WEAK
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.evaluation.metrics import STRONG_DOLLARS, WEAK_DOLLARS, Outcomes

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

__all__ = ["BENCHMARKS", "MMLU_SUBJECTS", "Benchmark", "read_benchmark", "same_model"]


_SUBJECTS = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry "
    "college_computer_science college_mathematics college_medicine college_physics computer_security "
    "conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts "
    "high_school_biology high_school_chemistry high_school_computer_science high_school_european_history "
    "high_school_geography high_school_government_and_politics high_school_macroeconomics "
    "high_school_mathematics high_school_microeconomics high_school_physics high_school_psychology "
    "high_school_statistics high_school_us_history high_school_world_history human_aging human_sexuality "
    "international_law jurisprudence logical_fallacies machine_learning management marketing medical_genetics "
    "miscellaneous moral_disputes moral_scenarios nutrition philosophy prehistory professional_accounting "
    "professional_law professional_medicine professional_psychology public_relations security_studies sociology "
    "us_foreign_policy virology world_religions"
)
MMLU_SUBJECTS = tuple(_SUBJECTS.split())
"""The 57 subjects of MMLU."""

_TRUTH = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Questions, and how two models did on them.

    Attributes
    ----------
    name
        "mmlu", "gsm8k", "mt-bench" or "outcomes".
    strong, weak
        The models, as the files call them.
    prompts
        n prompts that routers score; the first turn where there are several.
    outcomes
        Of the n questions.
    domains
        Subject or category of each question; empty strings where there is none.
    dropped
        Questions left out as contaminated.
    files
        SHA-256 of every file that was read, by name.
    notes
        What a reader of the results should know.
    """

    name: str
    strong: str
    weak: str
    prompts: tuple[str, ...]
    outcomes: Outcomes
    domains: tuple[str, ...]
    dropped: int
    files: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Row:
    prompt: str
    weak: float
    strong: float
    domain: str
    turns: tuple[str, ...]


def read_benchmark(
    name: str,
    data: str | os.PathLike[str],
    *,
    strong: str | None = None,
    weak: str | None = None,
    strong_dollars: float = STRONG_DOLLARS,
    weak_dollars: float = WEAK_DOLLARS,
) -> Benchmark:
    """Read one of RouteLLM's benchmarks.

    Parameters
    ----------
    name
        "mmlu", "gsm8k" or "mt-bench".
    data
        RouteLLM's ``routellm/evals``, or a checkout of its repository.
    strong, weak
        Columns of the two models; GPT-4-1106 and Mixtral-8x7B-Instruct where None.
    strong_dollars, weak_dollars
        Price of an answer.

    Raises
    ------
    InvalidArgumentError
        No benchmark of that name.
    DataError
        A file or column is missing, or a value is not allowed; file, row and column are named.
    """
    if name not in BENCHMARKS:
        raise InvalidArgumentError(f"benchmark: found {name!r}, allowed: {', '.join(BENCHMARKS)}, outcomes")
    files: dict[str, str] = {}
    folder = _folder_of(Path(data), name)
    wanted = strong or STRONG, weak or WEAK
    if same_model(*wanted):
        raise InvalidArgumentError(f"strong, weak: found {wanted[0]!r} for both, allowed: two models")
    rows, models = BENCHMARKS[name](folder, wanted, files)
    contaminated = {
        _text(line, "eval_prompt", folder / "contaminated_prompts.jsonl", number)
        for number, line in _json_lines(folder / "contaminated_prompts.jsonl", files)
    }
    kept = [row for row in rows if contaminated.isdisjoint(row.turns)]
    if not kept:
        raise DataError(f"{folder}: contaminated_prompts.jsonl names each of its {len(rows)} questions; none is left")
    outcomes = Outcomes.of(
        np.array([row.weak for row in kept]),
        np.array([row.strong for row in kept]),
        weak_dollars=weak_dollars,
        strong_dollars=strong_dollars,
    )
    return Benchmark(
        name,
        *models,
        tuple(row.prompt for row in kept),
        outcomes,
        tuple(row.domain for row in kept),
        len(rows) - len(kept),
        files,
    )


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model: an organisation before a slash, and case, don't count."""
    return one.rpartition("/")[2].casefold() == other.rpartition("/")[2].casefold()


def _folder_of(data: Path, name: str) -> Path:
    folder_name = name.replace("-", "_")
    for root in (data, data / "routellm" / "evals"):
        if (root / folder_name).is_dir():
            return root / folder_name
    found = "no such folder" if not data.is_dir() else f"no folder {folder_name!r} in it"
    raise DataError(f"{data}: {found}; RouteLLM's folder routellm/evals is needed, which holds {folder_name}/")


def _read_mmlu(folder: Path, wanted: tuple[str, str], files: dict[str, str]) -> tuple[list[_Row], tuple[str, str]]:
    rows: list[_Row] = []
    models: tuple[str, str] | None = None
    for subject in MMLU_SUBJECTS:
        of_subject, models = _read_responses(
            folder / "responses" / f"mmlu_{subject}.csv", models or wanted, subject, files
        )
        rows += of_subject
    assert models is not None
    return rows, models


def _read_gsm8k(folder: Path, wanted: tuple[str, str], files: dict[str, str]) -> tuple[list[_Row], tuple[str, str]]:
    return _read_responses(folder / "gsm8k_responses.csv", wanted, "", files)


def _read_mt_bench(folder: Path, wanted: tuple[str, str], files: dict[str, str]) -> tuple[list[_Row], tuple[str, str]]:
    """Quality is the mean of the judge's scores of all turns, as RouteLLM has it."""
    judged = folder / "judgements.jsonl"
    scores: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number, line in _json_lines(judged, files):
        key = str(_value(line, "question_id", judged, number)), _text(line, "model", judged, number)
        score = _value(line, "score", judged, number)
        if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
            raise DataError(f"{judged}: line {number}: column 'score': found {score!r}, allowed: a finite number")
        scores[key][str(_value(line, "turn", judged, number))].append(float(score))
    models = _models_in(sorted({model for _, model in scores}), wanted, str(judged), "models")
    asked = folder / "question.jsonl"
    rows = []
    for number, line in _json_lines(asked, files):
        turns = _value(line, "turns", asked, number)
        if not isinstance(turns, list) or not turns or not all(isinstance(turn, str) for turn in turns):
            raise DataError(f"{asked}: line {number}: column 'turns': found {turns!r:.60}, allowed: a list of texts")
        question = str(_value(line, "question_id", asked, number))
        strong, weak = (_judged(scores, question, model, len(turns), judged) for model in models)
        rows.append(_Row(turns[0], weak, strong, str(line.get("category") or ""), tuple(turns)))
    if not rows:
        raise DataError(f"{asked}: no question in it")
    return rows, models


def _judged(
    scores: dict[tuple[str, str], dict[str, list[float]]], question: str, model: str, turns: int, path: Path
) -> float:
    by_turn = scores.get((question, model), {})
    if len(by_turn) != turns:
        raise DataError(
            f"{path}: question {question}, model {model!r}: found scores of {len(by_turn)} turns, needed: {turns}"
        )
    return float(np.mean([score for of_turn in by_turn.values() for score in of_turn]))


BENCHMARKS: dict[str, Callable[[Path, tuple[str, str], dict[str, str]], tuple[list[_Row], tuple[str, str]]]] = {
    "mmlu": _read_mmlu,
    "gsm8k": _read_gsm8k,
    "mt-bench": _read_mt_bench,
}
"""Readers by name; each gives its rows, and strong and weak as its files call them."""


def _read_responses(
    path: Path, wanted: tuple[str, str], domain: str, files: dict[str, str]
) -> tuple[list[_Row], tuple[str, str]]:
    text = _text_of(path, files)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        records = [record for record in reader if record]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: broken quoting: {error}") from error
    header = records[0] if records else []
    if "prompt" not in header:
        raise DataError(f"{path}: no column 'prompt'; the header has {', '.join(map(repr, header)) or 'nothing'}")
    if len(records) < 2:
        raise DataError(f"{path}: no question in it")
    models = _models_in([column for column in header if column != "prompt"], wanted, str(path), "columns")
    strong, weak = (header.index(model) for model in models)
    prompt = header.index("prompt")
    rows = []
    for number, record in enumerate(records[1:], start=1):
        if len(record) != len(header):
            raise DataError(f"{path}: row {number}: found {len(record)} fields, needed: {len(header)}")
        low, high = (_score(record[column], path, number, header[column]) for column in (weak, strong))
        rows.append(_Row(record[prompt], low, high, domain, (record[prompt],)))
    return rows, models


def _models_in(present: Sequence[str], wanted: tuple[str, str], source: str, what: str) -> tuple[str, str]:
    """Return strong and weak as the file calls them."""
    found = []
    for role, model in zip(("strong", "weak"), wanted, strict=True):
        matches = [name for name in present if name == model] or [name for name in present if same_model(name, model)]
        if not matches:
            raise DataError(
                f"{source}: no {role} model {model!r}; its {what} are {', '.join(map(repr, present)) or 'none'}"
            )
        found.append(matches[0])
    return found[0], found[1]


def _score(cell: str, path: Path, row: int, column: str) -> float:
    value = _TRUTH.get(cell.strip().lower())
    if value is not None:
        return value
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}: row {row}: column {column!r}: found {cell!r}, allowed: True, False or a finite number"
        )
    return value


def _json_lines(path: Path, files: dict[str, str]) -> list[tuple[int, dict[str, Any]]]:
    lines = []
    for number, line in enumerate(_text_of(path, files).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number}: broken JSON: {error}") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}: line {number}: found {type(value).__name__}, allowed: a JSON object")
        lines.append((number, value))
    return lines


def _value(line: dict[str, Any], column: str, path: Path, number: int) -> Any:
    if column not in line:
        raise DataError(f"{path}: line {number}: no column {column!r}; it has {', '.join(map(repr, line)) or 'none'}")
    return line[column]


def _text(line: dict[str, Any], column: str, path: Path, number: int) -> str:
    value = _value(line, column, path, number)
    if not isinstance(value, str):
        raise DataError(f"{path}: line {number}: column {column!r}: found {value!r:.60}, allowed: a text")
    return value


def _text_of(path: Path, files: dict[str, str]) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    files[path.name] = hashlib.sha256(raw).hexdigest()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: invalid UTF-8 at byte {error.start + 1}") from error
