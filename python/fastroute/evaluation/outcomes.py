"""Questions from any table of prompt, model and score."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError
from fastroute.evaluation.benchmarks import Benchmark
from fastroute.evaluation.metrics import STRONG_DOLLARS, WEAK_DOLLARS, Outcomes
from fastroute.tables import Table, as_table, read_table

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

__all__ = ["read_outcomes"]

_LARGEST = 1e12
_COLUMNS = ("prompt", "model", "score", "cost", "domain", "benchmark")


def read_outcomes(
    path: str | os.PathLike[str],
    *,
    strong: str,
    weak: str,
    strong_dollars: float = STRONG_DOLLARS,
    weak_dollars: float = WEAK_DOLLARS,
) -> Benchmark:
    """Read the prompts that both models were scored on from a .parquet, .jsonl, .csv or .tsv file.

    Columns: prompt, model, score (numbers, or true and false); where there are, `domain` or else `benchmark`, and
    `cost` (dollars of the answer). A prompt in two domains is two questions; several scores of one model on one
    question are averaged.
    Without a cost for each answer of both models the two prices stand for all of them.

    Raises
    ------
    DataError
        No such file, a column is missing, a value is not allowed, a model is not in it, or no prompt has both.
    InvalidArgumentError
        One model for both.
    MissingDependencyError
        pyarrow is not installed.
    """
    if strong == weak:
        raise InvalidArgumentError(f"strong, weak: found {strong!r} for both, allowed: two models")
    file = Path(path)
    is_parquet = file.suffix.lower() in (".parquet", ".pq")
    table = _read_parquet(file, (strong, weak)) if is_parquet else _read_text(file, (strong, weak))
    table.require("prompt", "model", "score")
    prompts, models = table.labels("prompt"), table.labels("model")
    score = table.numbers("score", -_LARGEST, _LARGEST, truth=True)
    domain_column = next((column for column in ("domain", "benchmark") if column in table), None)
    domains = table.labels(domain_column, null="") if domain_column else None
    domain_codes = domains.codes if domains else np.zeros(table.rows, np.int64)
    cell = prompts.codes * (len(domains.values) if domains else 1) + domain_codes
    is_strong = np.array([model == strong for model in models.values], np.bool_)[models.codes]
    both, first, where = np.unique(cell, return_index=True, return_inverse=True)
    counts = [np.bincount(where[side], minlength=len(both)) for side in (is_strong, ~is_strong)]
    scored = (counts[0] > 0) & (counts[1] > 0)
    if not scored.any():
        raise DataError(f"{file}: no prompt has a score of both {strong!r} and {weak!r}")
    means = [_means(where, score, side, len(both))[scored] for side in (is_strong, ~is_strong)]
    cost = _costs(table)
    prices: list[Any] = [strong_dollars, weak_dollars]
    notes: tuple[str, ...] = ()
    if cost is not None:
        found = [_means(where, cost, side, len(both))[scored] for side in (is_strong, ~is_strong)]
        missing = int((np.isnan(found[0]) | np.isnan(found[1])).sum())
        if missing:
            notes = (f"column 'cost' is empty for {missing:,} of {len(found[0]):,} questions: fixed prices used",)
        else:
            prices = found
    rows = first[scored]
    return Benchmark(
        "outcomes",
        strong,
        weak,
        tuple(prompts.values[code] for code in prompts.codes[rows]),
        Outcomes.of(means[1], means[0], weak_dollars=prices[1], strong_dollars=prices[0]),
        tuple(domains.values[code] for code in domains.codes[rows]) if domains else ("",) * len(rows),
        0,
        {file.name: _digest(file)},
        notes,
    )


def _read_text(file: Path, models: tuple[str, str]) -> Table:
    """Read the rows of the two models of a file of text."""
    table = read_table(file, _COLUMNS)
    table.require("prompt", "model", "score")
    names = table.columns["model"]
    missing = next((model for model in models if model not in names), None)
    if missing is not None:
        _refuse(file, missing, list(dict.fromkeys(names)))
    rows = [row for row, name in enumerate(names) if name in models]
    columns = {name: [cells[row] for row in rows] for name, cells in table.columns.items()}
    return replace(table, columns=columns, rows=len(rows), lines=tuple(table.lines[row] for row in rows))


def _read_parquet(file: Path, models: tuple[str, str]) -> Table:
    """Read the rows of the two models, and no others."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'fastroute[eval]'") from error
    if not file.is_file():
        raise DataError(f"{file}: no such file; a Parquet file is needed")
    try:
        present = pq.read_schema(file).names
        for column in ("prompt", "model", "score"):
            if column not in present:
                raise DataError(f"{file}: no column {column!r}; it has {', '.join(map(repr, present))}")
        columns = [column for column in _COLUMNS if column in present]
        data = pq.read_table(file, columns=columns, filters=[("model", "in", models)])
        here = set(data.column("model").unique().to_pylist())
        if len(here) < 2:
            known = pq.read_table(file, columns=["model"]).column("model").unique().to_pylist()
            _refuse(file, next(model for model in models if model not in here), known)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: can't be read as Parquet: {error}") from error
    return as_table(data, str(file))


def _refuse(file: Path, model: str, known: list[Any]) -> None:
    names = sorted(str(name) for name in known if name is not None)
    near = difflib.get_close_matches(model, names, n=3, cutoff=0.3) or names[:3]
    raise DataError(
        f"{file}: column 'model': no row of {model!r}; the nearest of its {len(names)} models: {', '.join(near)}"
    )


def _means(
    where: NDArray[np.int64], values: NDArray[np.float64], side: NDArray[np.bool_], questions: int
) -> NDArray[np.float64]:
    """Mean per question over the rows of one model; NaN where it has none."""
    total = np.bincount(where[side], weights=values[side], minlength=questions)
    count = np.bincount(where[side], minlength=questions)
    means: NDArray[np.float64] = np.divide(total, count, out=np.full(questions, np.nan), where=count > 0)
    return means


def _costs(table: Table) -> NDArray[np.float64] | None:
    """Read the costs; NaN where empty."""
    if "cost" not in table:
        return None
    column = table.columns["cost"]
    cells = column.to_pylist() if hasattr(column, "to_pylist") else column
    try:
        values = np.array([np.nan if cell in (None, "") else float(cell) for cell in cells], np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{table.name}: column 'cost' holds something other than numbers") from None
    bad = ~np.isnan(values) & ~((values >= 0) & (values <= _LARGEST))
    if bad.any():
        row = int(np.argmax(bad))
        raise table.error("cost", row, float(values[row]), "a finite price, 0 or more, is needed")
    return values


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
