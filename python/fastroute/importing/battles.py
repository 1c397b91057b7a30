"""Battles as RouteLLM reads them: the first turn of each prompt, who won, and one embedding for each battle."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.importing.datasets import read_columns, read_embeddings
from fastroute.routers.battle_index import embedding_keys
from fastroute.tables import Labels, Table, text_key
from fastroute.training.battles import Battles
from fastroute.training.preferences import models_of_both_sides

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.exporting.checkpoint import Sources

__all__ = ["EmbeddedBattles", "read_embedded_battles"]

_SHORTEST: Final = 16  # characters of a first turn; RouteLLM leaves shorter ones out, and has no embedding of them
_WINNERS: Final = ("winner_model_a", "winner_model_b", "winner_tie")
_COLUMNS: Final = ("model_a", "model_b", "prompt", *_WINNERS)


@dataclass(frozen=True, slots=True)
class EmbeddedBattles:
    """Battles and the embeddings of their prompts.

    Attributes
    ----------
    battles
        Every row is a battle of its own, its models in the order of the row. `rows` are those of `embeddings`: one
        embedding is one prompt.
    texts
        (P,) first turns, of `battles.prompt_keys`.
    embeddings
        (P, d) float32, all different.
    sources
        The data sets that they were read from.
    """

    battles: Battles
    texts: tuple[str, ...]
    embeddings: NDArray[np.float32]
    sources: tuple[Sources, ...]


def read_embedded_battles(battles: object, embeddings: object) -> EmbeddedBattles:
    """Read data sets of battles, and those of their embeddings, as RouteLLM's `SWRankingRouter` does.

    Parameters
    ----------
    battles
        A path or paths of data sets with model_a, model_b, prompt (a JSON list, whose first entry counts),
        winner_model_a and winner_model_b (0 or 1), and winner_tie where there is one.
    embeddings
        A path or paths of data sets with embeddings: a row for each battle whose first turn has 16 characters or
        more, in the order of all the battles.

    Raises
    ------
    DataError
        A file is missing or not sound, a column is missing or holds what is not allowed, or there are not as many
        embeddings as battles.
    InvalidTypeError, InvalidArgumentError
        An argument is no path and no paths.
    """
    read = [read_columns(path, "battles", _COLUMNS) for path in _paths(battles, "battles")]
    vectors = [read_embeddings(path, "embeddings") for path in _paths(embeddings, "embeddings")]
    parts = [_part(table) for table, _ in read]
    short = sum(part.short for part in parts)
    rows = _joined([found for found, _ in vectors])
    texts = [text for part in parts for text in part.texts]
    if len(texts) != len(rows):
        raise DataError(
            f"embeddings: {len(rows)} rows, and {len(texts)} battles whose first turn has {_SHORTEST} characters or "
            f"more ({short} have fewer); RouteLLM's data sets have one row for each of them"
        )
    if not len(rows):
        raise DataError(f"battles: found none whose first turn has {_SHORTEST} characters or more")
    nothing = ~rows.any(axis=1)
    if nothing.any():
        raise DataError(f"embeddings: row {int(np.argmax(nothing))} is all zeros, of which there is no similarity")
    _, first, prompt = np.unique(embedding_keys(rows), return_index=True, return_inverse=True)
    models = tuple(sorted({name for part in parts for name in part.models.values}))
    index = {name: place for place, name in enumerate(models)}
    prompt = prompt.reshape(-1)
    order = np.argsort(prompt, kind="stable")
    names = [_name(sources) for _, sources in read]
    known = tuple(sorted(set(names)))
    source = np.repeat([known.index(name) for name in names], [len(part.texts) for part in parts]).astype(np.int64)

    def side(of: str) -> NDArray[np.int64]:
        codes = [np.array([index[name] for name in part.models.values])[getattr(part, of)] for part in parts]
        return np.concatenate(codes).astype(np.int64)[order]

    kept = tuple(texts[place] for place in first.tolist())
    joined = Battles(
        models=models,
        prompt_keys=tuple(map(text_key, kept)),
        prompts=(),
        rows=np.arange(len(first)),
        prompt=prompt[order].astype(np.int64),
        model_a=side("model_a"),
        model_b=side("model_b"),
        outcome=np.concatenate([part.outcome for part in parts])[order],
        weight=np.ones(len(texts)),
        source=source[order],
        sources=known,
        dropped={f"first turn under {_SHORTEST} characters": short} if short else {},
    )
    read_from = tuple(sources for _, sources in (*read, *vectors))
    return EmbeddedBattles(joined, kept, np.ascontiguousarray(rows[first]), read_from)


@dataclass(frozen=True, slots=True)
class _Part:
    """Battles of one data set, those with short prompts left out; model_a and model_b are codes of `models`."""

    texts: list[str]
    models: Labels
    model_a: NDArray[np.int64]
    model_b: NDArray[np.int64]
    outcome: NDArray[np.float64]
    short: int


def _part(table: Table) -> _Part:
    table.require("model_a", "model_b", "prompt", *_WINNERS[:2])
    prompts = table.labels("prompt")
    turns = [_first_turn(table, prompts, code) for code in range(len(prompts.values))]
    models, model_a, model_b = models_of_both_sides(table)
    outcome = _outcomes(table)
    long = np.array([len(turn) >= _SHORTEST for turn in turns], np.bool_)[prompts.codes]
    kept = np.flatnonzero(long)
    named = sorted({*model_a[kept].tolist(), *model_b[kept].tolist()})
    place = np.full(len(models.values), -1, np.int64)
    place[named] = np.arange(len(named))
    return _Part(
        texts=[turns[code] for code in prompts.codes[kept].tolist()],
        models=Labels(tuple(models.values[code] for code in named), np.zeros(0, np.int64)),
        model_a=place[model_a[kept]],
        model_b=place[model_b[kept]],
        outcome=outcome[kept],
        short=table.rows - len(kept),
    )


def _first_turn(table: Table, prompts: Labels, code: int) -> str:
    """Read the first entry of a JSON list, without the spaces around it."""
    text = prompts.values[code]
    try:
        turns: Any = json.loads(text)
    except (ValueError, RecursionError):
        turns = None
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], str):
        row = int(np.argmax(prompts.codes == code))
        raise table.error("prompt", row, text[:40], "a JSON list that begins with a text is needed")
    return turns[0].strip()


def _outcomes(table: Table) -> NDArray[np.float64]:
    """Who won: 1 for model_a, 0 for model_b, one half for neither; (rows,)."""
    flags = {name: table.numbers(name, 0, 1, truth=True) for name in _WINNERS if name in table}
    for name, values in flags.items():
        odd = (values != 0) & (values != 1)
        if odd.any():
            row = int(np.argmax(odd))
            raise table.error(name, row, float(values[row]), "0 or 1 is needed")
    total = np.sum(list(flags.values()), axis=0)
    wrong = (total != 1) if _WINNERS[2] in flags else (total > 1)
    if wrong.any():
        row = int(np.argmax(wrong))
        found = ", ".join(f"{name} {int(values[row])}" for name, values in flags.items())
        raise table.error(_WINNERS[0], row, found, "one of them is to be 1")
    a, b = flags[_WINNERS[0]], flags[_WINNERS[1]]
    return np.asarray((1 + a - b) / 2, np.float64)


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    filled = [part for part in parts if len(part)] or parts[:1]
    widths = sorted({part.shape[1] for part in filled})
    if len(widths) > 1:
        raise DataError(f"embeddings: the data sets have {' and '.join(map(str, widths))} numbers in a row")
    return filled[0] if len(filled) == 1 else np.concatenate(filled)


def _name(sources: Sources) -> str:
    name = "".join(c for c in sources.folder.resolve().name if c.isprintable())[:256]
    return name or "battles"


def _paths(given: object, argument: str) -> list[object]:
    """Take a path, or paths."""
    if isinstance(given, str) or hasattr(given, "__fspath__"):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise InvalidTypeError(f"{argument}: found {type(given).__name__}, allowed: a path, or paths")
    paths = list(given)
    if not paths:
        raise InvalidArgumentError(f"{argument}: found none, allowed: one path or more")
    return paths
