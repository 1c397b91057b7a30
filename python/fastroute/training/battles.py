"""Battles: for which prompt did which of two models do better, as checked arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.training.splits import drawn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "Battles",
    "Prompted",
    "balance_sources",
    "check_embeddings",
    "fewer_prompts",
    "gather_embeddings",
    "join_battles",
    "join_prompts",
    "mix_battles",
    "positions",
]


@dataclass(frozen=True, slots=True)
class Battles:
    """Battles between two models, grouped by prompt.

    `fastroute.training.preferences` and `fastroute.training.outcomes` make them from tables.

    Attributes
    ----------
    models
        K model names, sorted.
    prompt_keys
        P keys, sorted: `prompt_id` where the table has it, else made from the text or the row. What shares a
        key falls on the same side of a train/validation split.
    prompts
        P texts; empty where the table gives rows of an embedding matrix.
    rows
        (P,) int64 rows of that matrix; empty where the table gives texts.
    prompt
        (n,) int64 indices into `prompt_keys`, ascending.
    model_a, model_b
        (n,) int64 indices into `models`; never equal.
    outcome
        (n,) float64 in [0, 1]: 1 if model_a won, 0 if model_b did, one half for a tie, a mean where the same
        pair was judged several times.
    weight
        (n,) float64, positive: what a battle counts in the loss.
    source
        (n,) int64 indices into `sources`.
    sources
        Names of the data sets, sorted.
    dropped
        Reason to number of input rows left out.
    """

    models: tuple[str, ...]
    prompt_keys: tuple[str, ...]
    prompts: tuple[str, ...]
    rows: NDArray[np.int64]
    prompt: NDArray[np.int64]
    model_a: NDArray[np.int64]
    model_b: NDArray[np.int64]
    outcome: NDArray[np.float64]
    weight: NDArray[np.float64]
    source: NDArray[np.int64]
    sources: tuple[str, ...]
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.outcome)

    def counts(self) -> dict[str, int]:
        """Count what there is, by name."""
        return {"battles": len(self)}


def join_battles(first: Battles, second: Battles) -> Battles:
    """All battles of both; models, prompts and sources of one name become one.

    Raises
    ------
    InvalidArgumentError
        One of them has texts, the other rows of an embedding matrix.
    """
    keys, texts, rows = join_prompts(first, second)
    models = tuple(sorted({*first.models, *second.models}))
    sources = tuple(sorted({*first.sources, *second.sources}))
    parts = [(part, positions(part.prompt_keys, keys)[part.prompt]) for part in (first, second)]
    order = np.argsort(np.concatenate([prompt for _, prompt in parts]), kind="stable")

    def joined(values: list[NDArray[np.int64]]) -> NDArray[np.int64]:
        return np.concatenate(values)[order]

    return Battles(
        models=models,
        prompt_keys=keys,
        prompts=texts,
        rows=rows,
        prompt=joined([prompt for _, prompt in parts]),
        model_a=joined([positions(part.models, models)[part.model_a] for part, _ in parts]),
        model_b=joined([positions(part.models, models)[part.model_b] for part, _ in parts]),
        outcome=np.concatenate([first.outcome, second.outcome])[order],
        weight=np.concatenate([first.weight, second.weight])[order],
        source=joined([positions(part.sources, sources)[part.source] for part, _ in parts]),
        sources=sources,
        dropped={
            reason: first.dropped.get(reason, 0) + second.dropped.get(reason, 0)
            for reason in (*first.dropped, *second.dropped)
        },
    )


class Prompted(Protocol):
    """What has prompts as `Battles` has them."""

    @property
    def prompt_keys(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def prompts(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def rows(self) -> NDArray[np.int64]: ...  # noqa: D102
    def __len__(self) -> int: ...


def join_prompts(first: Prompted, second: Prompted) -> tuple[tuple[str, ...], tuple[str, ...], NDArray[np.int64]]:
    """Keys, texts and rows of the prompts of both; where both have a key, the first one's stand.

    Raises
    ------
    InvalidArgumentError
        One of them has texts, the other rows of an embedding matrix.
    """
    if bool(first.prompts) != bool(second.prompts) and len(first) and len(second):
        raise InvalidArgumentError("battles: one table gives prompts as text, the other as rows; use one form")
    keys = tuple(sorted({*first.prompt_keys, *second.prompt_keys}))
    texts = dict(zip(second.prompt_keys, second.prompts, strict=False))
    texts.update(zip(first.prompt_keys, first.prompts, strict=False))
    rows = dict(zip(second.prompt_keys, second.rows.tolist(), strict=False))
    rows.update(zip(first.prompt_keys, first.rows.tolist(), strict=False))
    return (
        keys,
        tuple(texts[key] for key in keys) if texts else (),
        np.array([rows[key] for key in keys] if rows else [], dtype=np.int64),
    )


def balance_sources(battles: Battles, *, power: float = 0.5, factors: Mapping[str, float] | None = None) -> Battles:
    """Weights under which no source drowns the others.

    The battles of a source get together a weight proportional to ``factor * prompts ** power``, and share it
    equally; the mean weight over all battles is 1.

    Parameters
    ----------
    power
        1 counts prompts, 0 makes every source equal; the number of battles per prompt never counts.
    factors
        Further weight of some sources; 1 for those that are not named.
    """
    factors = dict(factors or {})
    unknown = sorted(set(factors) - set(battles.sources))
    if unknown:
        raise InvalidArgumentError(f"factors: unknown sources {unknown}; the battles have {list(battles.sources)}")
    weight = np.ones(len(battles))
    for index, name in enumerate(battles.sources):
        mine = battles.source == index
        if mine.any():
            prompts = len(np.unique(battles.prompt[mine]))
            weight[mine] = factors.get(name, 1.0) * prompts**power / mine.sum()
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise InvalidArgumentError(f"factors, power: {factors}, {power} given; weights must be finite and above 0")
    return replace(battles, weight=weight / weight.mean())


def mix_battles(preferences: Battles | None, outcomes: Battles | None, *, preference_factor: float = 0.1) -> Battles:
    """Join judged battles and scored ones, balanced by source; either may be None.

    Judges of chat answers and answer keys of benchmarks disagree about which prompts need a strong model, and
    a judged battle, seldom a tie, pulls harder: next to outcomes it counts by `preference_factor`.
    """
    if preferences is None or outcomes is None:
        only = preferences if outcomes is None else outcomes
        if only is None:
            raise InvalidArgumentError("preferences, outcomes: neither given; at least one is needed")
        return balance_sources(only)
    factors = dict.fromkeys(preferences.sources, preference_factor)
    return balance_sources(join_battles(preferences, outcomes), factors=factors)


def fewer_prompts(battles: Battles, most: int, *, seed: int = 0) -> Battles:
    """Keep the battles of at most so many prompts, drawn by their keys and the seed alone.

    Raises
    ------
    InvalidArgumentError
        `most` is below 1.
    """
    if most < 1:
        raise InvalidArgumentError(f"most_prompts: {most} given; at least 1 is needed")
    if len(battles.prompt_keys) <= most:
        return battles
    kept = drawn(battles.prompt_keys, most, seed)
    mine = kept[battles.prompt]
    places = np.flatnonzero(kept)
    return replace(
        battles,
        prompt_keys=tuple(battles.prompt_keys[place] for place in places),
        prompts=tuple(battles.prompts[place] for place in places) if battles.prompts else (),
        rows=battles.rows[places] if len(battles.rows) else battles.rows,
        prompt=(np.cumsum(kept) - 1)[battles.prompt[mine]],
        model_a=battles.model_a[mine],
        model_b=battles.model_b[mine],
        outcome=battles.outcome[mine],
        weight=battles.weight[mine],
        source=battles.source[mine],
    )


def gather_embeddings(battles: Prompted, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings of the prompts of battles that were given by row.

    Parameters
    ----------
    embeddings
        (N, d) float32, finite.

    Returns
    -------
    numpy.ndarray
        (P, d) float32: one row per entry of `battles.prompt_keys`.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `embeddings` is not a finite float32 matrix, or the battles give texts.
    DataError
        A row is outside the matrix.
    """
    check_embeddings(embeddings)
    if battles.prompts:
        raise InvalidArgumentError("embeddings: the battles give prompts as text; only battles with `row` take them")
    if len(battles.rows) and battles.rows.max() >= len(embeddings):
        raise DataError(
            f"battles: column 'row': {battles.rows.max()} found; embeddings has rows 0 to {len(embeddings) - 1}"
        )
    return embeddings[battles.rows]


def check_embeddings(embeddings: object) -> None:
    """Refuse anything but a finite float32 matrix."""
    if not isinstance(embeddings, np.ndarray):
        raise InvalidTypeError(f"embeddings: {type(embeddings).__name__} given; a float32 array (n, d) is needed")
    if embeddings.dtype != np.float32:
        raise InvalidTypeError(f"embeddings: dtype {embeddings.dtype} given; float32 is needed")
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise InvalidArgumentError(f"embeddings: shape {embeddings.shape} given; (n, d) with d > 0 is needed")
    if not np.isfinite(embeddings).all():
        row = int(np.argmin(np.isfinite(embeddings).all(axis=1)))
        raise InvalidArgumentError(f"embeddings: row {row} holds NaN or infinity; finite values are needed")


def positions(names: tuple[str, ...], among: tuple[str, ...]) -> NDArray[np.int64]:
    """Where each name is among those."""
    index = {name: position for position, name in enumerate(among)}
    return np.array([index[name] for name in names], dtype=np.int64)
