"""The index of a similarity-weighted router: distinct prompts, and how often each tier beat each other on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute import _core
from fastroute.artifact import Artifact, safetensors
from fastroute.errors import ArtifactCorruptError
from fastroute.routers.elo_settings import MOST_TIERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles

__all__ = [
    "FINE_PROMPTS",
    "INDEX_FILE",
    "BattleIndex",
    "IndexedBattles",
    "embedding_keys",
    "index_battles",
    "join_indexes",
    "numbers_per_model",
    "read_index",
    "text_keys",
]

FINE_PROMPTS: Final = 4096  # larger indexes have no fine part: over many battles what rounding leaves averages out
INDEX_FILE: Final = "index.safetensors"
# Tensors by name, with their types; P prompts, dimension d, n cells.
_TENSORS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rows": ("int8", ("P", "d")),
    "fine": ("int8", ("P", "d")),
    "scales": ("float32", ("P",)),
    "keys": ("uint64", ("P",)),
    "lengths": ("uint16", ("P",)),
    "cells": ("uint16", ("n",)),
    "counts": ("float32", ("n",)),
}


@dataclass(frozen=True, slots=True)
class BattleIndex:
    """P prompts and their cells, as the artifact has them.

    Tiers are numbered from 0, and past the T of them stands a side of strength 0, which RouteLLM's code sets against
    a tier in a battle within it. Side i beats side j in cell ``i * (T + 1) + j``.

    Attributes
    ----------
    rows
        (P, d) int8: unit vectors, element j being about ``scales * rows[:, j]``.
    fine
        (P, d) int8: what rounding left, in steps within one of `rows`. Small indexes have it; None in others.
    scales
        (P,) float32.
    keys
        (P,) uint64: what tells one prompt from another.
    lengths
        (P,) uint16: how many cells a prompt has.
    cells, counts
        (n,) uint16 and float32: cells, prompt after prompt, and the battles that they count.
    """

    rows: NDArray[np.int8]
    fine: NDArray[np.int8] | None
    scales: NDArray[np.float32]
    keys: NDArray[np.uint64]
    lengths: NDArray[np.uint16]
    cells: NDArray[np.uint16]
    counts: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.keys)

    def encoded(self) -> bytes:
        """Return the file that `read_index` reads."""
        return safetensors.encode({name: array for name in _TENSORS if (array := getattr(self, name)) is not None})

    def native(self, tiers: int) -> tuple[_core.SimilarityIndex, _core.BattleCounts]:
        """Build the two halves of the engine's index, which checks all of it."""
        offsets = np.zeros(len(self.lengths) + 1, np.int64)
        np.cumsum(self.lengths, out=offsets[1:])
        counts = _core.BattleCounts(tiers, offsets, self.cells, self.counts)
        return _core.SimilarityIndex(self.rows, self.scales, self.fine), counts


@dataclass(frozen=True, slots=True)
class IndexedBattles:
    """An index, and which battles and prompts are in it.

    Attributes
    ----------
    index
        Of p prompts.
    place
        (p,) int64: which of the battles' prompts each one is.
    taken
        (n,) bool: battles that it counts.
    within
        Battles within one tier, which it does not count.
    """

    index: BattleIndex
    place: NDArray[np.int64]
    taken: NDArray[np.bool_]
    within: int


def index_battles(
    battles: Battles,
    prompts: BattleIndex,
    tier: NDArray[np.int64],
    *,
    tiers: int,
    compat: str | None,
    kept: NDArray[np.bool_] | None = None,
) -> IndexedBattles:
    """Index battles.

    Parameters
    ----------
    prompts
        Those of `battles`; their cells don't matter.
    tier
        (K,) from 0 for each of `battles.models`.
    tiers
        T.
    compat
        "routellm": in a battle within a tier, the side of strength 0 stands in for side a. None: it is left out.
    kept
        (P,) prompts to take; all where None.
    """
    tier_a, tier_b = tier[battles.model_a], tier[battles.model_b]
    within = tier_a == tier_b
    taken = np.ones(len(battles), np.bool_) if kept is None else kept[battles.prompt]
    left_out = 0
    if compat is None:
        left_out = int((within & taken).sum())
        taken = taken & ~within
    tier_a = np.where(within, tiers, tier_a)
    sides = tiers + 1
    wins = (battles.weight * battles.outcome)[taken]
    losses = (battles.weight * (1 - battles.outcome))[taken]
    prompt, tier_a, tier_b = battles.prompt[taken], tier_a[taken], tier_b[taken]
    index, place = _indexed(
        prompts,
        prompt=np.concatenate([prompt, prompt]),
        cell=np.concatenate([tier_a * sides + tier_b, tier_b * sides + tier_a]),
        count=np.concatenate([wins, losses]),
    )
    return IndexedBattles(index, place, taken, left_out)


def join_indexes(
    first: BattleIndex, second: BattleIndex
) -> tuple[BattleIndex, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Index the prompts of both; of a prompt that both have, the first one's row stands and the counts add up.

    Returns
    -------
    tuple
        The index, and where the prompts of each are in it.
    """
    keys, where = np.unique(np.concatenate([first.keys, second.keys]), return_inverse=True)
    where = where.reshape(-1)
    origin = np.empty(len(keys), np.int64)
    origin[where[::-1]] = np.arange(len(where))[::-1]  # the first place of each
    prompt = np.repeat(where, np.concatenate([first.lengths, second.lengths]))
    fine = None
    if first.fine is not None and second.fine is not None and len(keys) <= FINE_PROMPTS:
        fine = np.concatenate([first.fine, second.fine])[origin]
    prompts = BattleIndex(
        rows=np.concatenate([first.rows, second.rows])[origin],
        fine=fine,
        scales=np.concatenate([first.scales, second.scales])[origin],
        keys=keys,
        lengths=first.lengths,
        cells=first.cells,
        counts=first.counts,
    )
    joined, kept = _indexed(
        prompts,
        prompt=prompt,
        cell=np.concatenate([first.cells, second.cells]).astype(np.int64),
        count=np.concatenate([first.counts, second.counts]).astype(np.float64),
    )
    place = np.empty(len(keys), np.int64)
    place[kept] = np.arange(len(kept))
    return joined, (place[where[: len(first)]], place[where[len(first) :]])


def text_keys(keys: tuple[str, ...]) -> NDArray[np.uint64]:
    """Numbers for the keys of prompts."""
    return _hashes([key.encode("utf-8", "surrogatepass") for key in keys])


def embedding_keys(rows: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Numbers for prompts of which only the embedding is known."""
    return _hashes([row.tobytes() for row in rows])


def _hashes(contents: list[bytes]) -> NDArray[np.uint64]:
    digests = b"".join(hashlib.sha256(content).digest()[:8] for content in contents)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _indexed(
    prompts: BattleIndex,
    *,
    prompt: NDArray[np.int64],
    cell: NDArray[np.int64],
    count: NDArray[np.float64],
) -> tuple[BattleIndex, NDArray[np.int64]]:
    """Add up what falls into one cell of one prompt, leave out prompts without a battle, and say which are left.

    Prompts with equal cells lie together, where the engine adds up their weights in one go.
    """
    largest = int(cell.max(initial=0)) + 1
    pairs, where = np.unique(prompt * largest + cell, return_inverse=True)
    sums = np.bincount(where.reshape(-1), weights=count, minlength=len(pairs)).astype(np.float32)
    pairs, sums = pairs[sums > 0], sums[sums > 0]
    cells = (pairs % largest).astype(np.uint16)
    used, begin, length = np.unique(pairs // largest, return_index=True, return_counts=True)
    spans = list(zip(begin.tolist(), (begin + length).tolist(), strict=True))
    signatures = [cells[a:b].tobytes() + sums[a:b].tobytes() for a, b in spans]
    order = np.array(sorted(range(len(used)), key=lambda i: (signatures[i], int(prompts.keys[used[i]]))), np.int64)
    entries = np.concatenate([np.arange(a, b) for a, b in (spans[i] for i in order)]) if len(order) else order
    kept = used[order]
    index = BattleIndex(
        rows=prompts.rows[kept],
        fine=prompts.fine[kept] if prompts.fine is not None and len(kept) <= FINE_PROMPTS else None,
        scales=prompts.scales[kept],
        keys=prompts.keys[kept],
        lengths=length[order].astype(np.uint16),
        cells=cells[entries],
        counts=sums[entries],
    )
    return index, kept


def numbers_per_model(artifact: Artifact, member: str, models: tuple[str, ...], dtype: type[Any]) -> NDArray[Any]:
    """Read one number for each model in a manifest: tiers from 0 up, or finite ratings."""
    values = artifact.manifest.get(member)
    allowed: tuple[type, ...] = (int,) if dtype is np.int64 else (int, float)
    if (
        not isinstance(values, list)
        or len(values) != len(models)
        or not all(type(value) in allowed and abs(value) < 1e9 for value in values)
    ):
        raise ArtifactCorruptError(f"{artifact.path}: {member}: {len(models)} numbers are needed, one for each model")
    if dtype is np.int64 and not all(0 <= value < MOST_TIERS for value in values):
        raise ArtifactCorruptError(f"{artifact.path}: {member}: a number is not from 0 to {MOST_TIERS - 1}")
    return np.array(values, dtype)


def read_index(artifact: Artifact) -> BattleIndex:
    """Read the index. Its rows are a view: the engine has a copy of its own, and the file goes with the artifact."""
    if INDEX_FILE not in artifact.files:
        raise ArtifactCorruptError(f"{artifact.path}: its manifest lists no {INDEX_FILE}, which this router has")
    source = str(artifact.path / INDEX_FILE)
    tensors = safetensors.decode(artifact.files[INDEX_FILE], source=source)
    lengths: dict[str, int | None] = {"P": None, "d": None, "n": None}
    read: dict[str, Any] = {}
    for name, (dtype, axes) in _TENSORS.items():
        if name == "fine" and name not in tensors:
            read[name] = None
            continue
        found = safetensors.expect_tensor(
            tensors, name, source=source, dtype=dtype, shape=[lengths[axis] for axis in axes]
        )
        lengths.update(zip(axes, found.shape, strict=True))
        read[name] = found if name in ("rows", "fine") else found.copy()
    if len(np.unique(read["keys"])) != len(read["keys"]):
        raise ArtifactCorruptError(f"{source}: tensor 'keys' has a number twice; each prompt's is its own")
    return BattleIndex(**read)
