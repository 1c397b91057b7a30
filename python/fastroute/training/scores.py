"""Scores: how well a model answered a prompt, as checked arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError
from fastroute.tables import Table, as_table
from fastroute.training.battles import Battles, balance_sources, join_prompts, positions
from fastroute.training.guessing import guess_rates
from fastroute.training.outcomes import benchmarks, format_failures
from fastroute.training.table_parts import clean_rows, prompt_column, sorted_prompts, sorted_used

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["JUDGEMENT_COLUMNS", "Scores", "as_outcomes", "join_scores", "scores_from_outcomes", "scores_with_battles"]

JUDGEMENT_COLUMNS = ("model", "score", "judge", "prompt", "row", "prompt_id", "source", "overlap")
"""Columns of judges' scores that are looked at. Those after `score` may be missing, but `prompt` or `row` is needed."""

_LOWEST, _HIGHEST = 1.0, 10.0  # that judges give


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of models on prompts, grouped by prompt.

    Attributes
    ----------
    models
        K model names, sorted.
    prompt_keys, prompts, rows
        P prompts, as in `Battles`.
    prompt
        (n,) int64 indices into `prompt_keys`, ascending.
    model
        (n,) int64 indices into `models`.
    score
        (n,) float64 in [0, 1].
    guess
        (n,) float64 in [0, 1): what an answer without knowledge scores.
    weight
        (n,) float64, positive: what a score counts in the loss.
    source
        (n,) int64 indices into `sources`.
    sources
        Names of the data sets, sorted.
    guess_rule
        Where `guess` is from: "column guess", "1 / lettered options" or "0".
    battles
        What is learned from besides, on the same prompts and models.
    dropped
        Reason to number of input rows left out.
    """

    models: tuple[str, ...]
    prompt_keys: tuple[str, ...]
    prompts: tuple[str, ...]
    rows: NDArray[np.int64]
    prompt: NDArray[np.int64]
    model: NDArray[np.int64]
    score: NDArray[np.float64]
    guess: NDArray[np.float64]
    weight: NDArray[np.float64]
    source: NDArray[np.int64]
    sources: tuple[str, ...]
    guess_rule: str
    battles: Battles | None = None
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.score)

    def counts(self) -> dict[str, int]:
        """Count what there is, by name."""
        return {"scores": len(self)} | ({} if self.battles is None else {"battles": len(self.battles)})


def scores_from_outcomes(data: object, *, name: str = "outcomes") -> Scores:
    """Scores of a table with one per prompt and model, weighted so that every prompt of a source counts the same.

    Left out are the rows that `fastroute.training.outcomes.battles_from_outcomes` leaves out. The guess rate is a
    column `guess`, where there is one; else one over the number of lettered options in the prompt, and 0 for prompts
    without options or without a text.

    Parameters
    ----------
    data
        A pyarrow table, pandas or polars frame, or dictionary of columns; see
        `fastroute.training.outcomes.OUTCOME_COLUMNS`. Scores are in [0, 1], or true and false.
    name
        What errors call the table.

    Raises
    ------
    DataError
        A column is missing or a value is not allowed; column and row are named.
    InvalidTypeError
        `data` is no table.
    """
    table = as_table(data, name)
    table.require("model", "score")
    score = table.scores("score")
    guess = _guesses(table) if "guess" in table else None
    kept, dropped = clean_rows(table)
    failed = format_failures(table, kept)
    if failed.any():
        dropped["format failures"] = int(failed.sum())
        kept = kept[~failed]
    column = prompt_column(table).take(kept)
    sources, models = benchmarks(table, column, kept), table.labels("model").take(kept)
    prompts = sorted_prompts(column)
    order = np.argsort(prompts.prompt, kind="stable")
    model_names, model = sorted_used(models.values, models.codes)
    source_names, source = sorted_used(sources.values, sources.codes)
    rule = "1 / lettered options" if prompts.texts else "0"
    if guess is not None:
        guess, rule = guess[kept], "column guess"
    else:
        guess = guess_rates(prompts.texts)[prompts.prompt] if prompts.texts else np.zeros(len(kept))
    return _balanced(
        Scores(
            models=model_names,
            prompt_keys=prompts.keys,
            prompts=prompts.texts,
            rows=prompts.rows,
            prompt=prompts.prompt[order],
            model=model[order],
            score=score[kept][order],
            guess=guess[order],
            weight=np.ones(len(kept)),
            source=source[order],
            sources=source_names,
            guess_rule=rule,
            dropped=dropped,
        )
    )


def as_outcomes(data: object, *, name: str = "judge_scores") -> Table:
    """Read a table of judges' scores from 1 to 10 as one of outcomes: (score - 1) / 9, each judge a source.

    Parameters
    ----------
    data
        A table as of `scores_from_outcomes`; see `JUDGEMENT_COLUMNS`.
    name
        What errors call the table.

    Raises
    ------
    DataError
        A column is missing, or a score is no number from 1 to 10; the row is named.
    InvalidTypeError
        `data` is no table.
    """
    table = as_table(data, name)
    columns = {column: table.columns[column] for column in JUDGEMENT_COLUMNS if column in table}
    columns["score"] = (table.numbers("score", _LOWEST, _HIGHEST) - _LOWEST) / (_HIGHEST - _LOWEST)
    columns["guess"] = np.zeros(table.rows)  # a judge gives no point to a guess
    if "judge" in columns:
        columns["source"] = columns.pop("judge")
    return replace(table, columns=columns)


def join_scores(first: Scores, second: Scores) -> Scores:
    """All scores of both; models, prompts and sources of one name become one.

    Raises
    ------
    InvalidArgumentError
        One of them has texts, the other rows of an embedding matrix; or one has battles.
    """
    if first.battles is not None or second.battles is not None:
        raise InvalidArgumentError("scores: battles found; join scores first, then add battles")
    keys, texts, rows = join_prompts(first, second)
    models = tuple(sorted({*first.models, *second.models}))
    sources = tuple(sorted({*first.sources, *second.sources}))
    parts = [(part, positions(part.prompt_keys, keys)[part.prompt]) for part in (first, second)]
    order = np.argsort(np.concatenate([prompt for _, prompt in parts]), kind="stable")
    return _balanced(
        Scores(
            models=models,
            prompt_keys=keys,
            prompts=texts,
            rows=rows,
            prompt=np.concatenate([prompt for _, prompt in parts])[order],
            model=np.concatenate([positions(part.models, models)[part.model] for part, _ in parts])[order],
            score=np.concatenate([first.score, second.score])[order],
            guess=np.concatenate([first.guess, second.guess])[order],
            weight=np.ones(len(order)),
            source=np.concatenate([positions(part.sources, sources)[part.source] for part, _ in parts])[order],
            sources=sources,
            guess_rule=", ".join(dict.fromkeys((first.guess_rule, second.guess_rule))),
            dropped={
                reason: first.dropped.get(reason, 0) + second.dropped.get(reason, 0)
                for reason in (*first.dropped, *second.dropped)
            },
        )
    )


def scores_with_battles(scores: Scores, battles: Battles, *, factor: float = 0.1) -> Scores:
    """Learn from battles besides; a prompt of theirs counts by `factor` next to a scored one.

    Raises
    ------
    InvalidArgumentError
        One of the two has texts, the other rows of an embedding matrix; the scores have battles already; or `factor`
        is not finite and above 0.
    """
    keys, texts, rows = join_prompts(scores, battles)
    models = tuple(sorted({*scores.models, *battles.models}))
    if scores.battles is not None:
        raise InvalidArgumentError("scores: they have battles already; join battles first")
    if not (np.isfinite(factor) and factor > 0):
        raise InvalidArgumentError(f"factor: {factor} given; a finite number above 0 is needed")
    if len(battles):
        battles = balance_sources(battles, power=1.0)
        prompts = np.unique(np.stack([battles.source, battles.prompt]), axis=1).shape[1]
        battles = replace(battles, weight=battles.weight * factor * prompts / battles.weight.sum())
    return replace(
        scores,
        models=models,
        prompt_keys=keys,
        prompts=texts,
        rows=rows,
        prompt=positions(scores.prompt_keys, keys)[scores.prompt],  # both are sorted, so the order stays
        model=positions(scores.models, models)[scores.model],
        battles=replace(
            battles,
            models=models,
            prompt_keys=keys,
            prompts=texts,
            rows=rows,
            prompt=positions(battles.prompt_keys, keys)[battles.prompt],
            model_a=positions(battles.models, models)[battles.model_a],
            model_b=positions(battles.models, models)[battles.model_b],
        ),
        dropped={
            reason: scores.dropped.get(reason, 0) + battles.dropped.get(reason, 0)
            for reason in (*scores.dropped, *battles.dropped)
        },
    )


def _balanced(scores: Scores) -> Scores:
    """Give each source the weight of its prompts, however many models answered them."""
    weight = np.ones(len(scores))
    for source in range(len(scores.sources)):
        mine = scores.source == source
        if mine.any():
            weight[mine] = len(np.unique(scores.prompt[mine])) / mine.sum()
    return replace(scores, weight=weight)


def _guesses(table: Table) -> NDArray[np.float64]:
    guess = table.numbers("guess", 0.0, 1.0)
    if (guess == 1).any():
        row = int(np.argmax(guess))
        raise table.error("guess", row, 1.0, "a number from 0 to below 1 is needed")
    return guess
