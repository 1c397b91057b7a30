"""The battles behind an index's counts, kept so that an explanation can show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.artifact import Artifact, safetensors
from fastroute.errors import ArtifactCorruptError
from fastroute.routers.explanation import NearestBattle
from fastroute.routers.kept_prompts import KeptPrompts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastroute.training.battles import Battles

__all__ = ["BATTLES_FILE", "KeptBattles", "join_kept_battles", "keep_battles", "read_battles"]

BATTLES_FILE: Final = "battles.safetensors"
# Tensors by name, with their types; P prompts, n battles.
_BOTH = 3  # sides of a pair, as bits
_TIE = 0.5
_TENSORS: dict[str, tuple[str, str]] = {
    "lengths": ("uint32", "P"),
    "model_a": ("uint16", "n"),
    "model_b": ("uint16", "n"),
    "outcome": ("float32", "n"),
    "weight": ("float32", "n"),
}


@dataclass(frozen=True, slots=True)
class KeptBattles:
    """n battles, prompt after prompt as the index has them.

    Attributes
    ----------
    lengths
        (P,) uint32: how many battles a prompt has.
    model_a, model_b
        (n,) uint16: places among the router's models.
    outcome
        (n,) float32 in [0, 1]: 1 where model_a won, .5 for a tie.
    weight
        (n,) float32, above 0: what the battle counts beside others on the same prompt.
    prompts
        The texts of the P prompts, or their keys.
    """

    lengths: NDArray[np.uint32]
    model_a: NDArray[np.uint16]
    model_b: NDArray[np.uint16]
    outcome: NDArray[np.float32]
    weight: NDArray[np.float32]
    prompts: KeptPrompts

    def of_prompt(self, row: int) -> slice:
        """Where the battles of a prompt are."""
        end = int(self.lengths[: row + 1].sum(dtype=np.int64))
        return slice(end - int(self.lengths[row]), end)

    def nearest(
        self, row: int, models: Sequence[str], telling: NDArray[np.int64], similarity: float, weight: float
    ) -> list[NearestBattle]:
        """Battles of a prompt, those that tell most first: `telling` has each model's sides of a pair, as bits."""
        mine = self.of_prompt(row)
        a, b = self.model_a[mine], self.model_b[mine]
        both, one = telling[a] | telling[b], np.maximum(telling[a], telling[b])
        order = np.lexsort((-one, -(both == _BOTH).astype(np.int64)))
        battles = zip(a.tolist(), b.tolist(), self.outcome[mine].tolist(), self.weight[mine].tolist(), strict=True)
        found = [
            NearestBattle(
                prompt=self.prompts[row],
                model_a=models[first],
                model_b=models[second],
                winner="tie" if outcome == _TIE else "model_a" if outcome > _TIE else "model_b",
                outcome=outcome,
                similarity=similarity,
                weight=weight * counts,
                battles=len(a),
            )
            for first, second, outcome, counts in battles
        ]
        return [found[place] for place in order.tolist()]

    def encoded(self) -> bytes:
        """Return the file that `read_battles` reads."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _TENSORS}
        return safetensors.encode({**arrays, **self.prompts.tensors()})


def keep_battles(
    battles: Battles, place: NDArray[np.int64], taken: NDArray[np.bool_], model: NDArray[np.int64], *, texts: bool
) -> KeptBattles:
    """Keep the battles that an index counts.

    Parameters
    ----------
    place
        (p,) of each prompt of the index: which of `battles` it is.
    taken
        (n,) battles that the index counts.
    model
        Place among the router's models of each of `battles.models`.
    texts
        Whether to keep the texts of prompts where there are; else their keys.
    """
    row = np.full(len(battles.prompt_keys), -1, np.int64)
    row[place] = np.arange(len(place))
    mine = np.flatnonzero(taken & (row[battles.prompt] >= 0))  # weights of almost nothing count as none
    order = mine[np.argsort(row[battles.prompt[mine]], kind="stable")]
    names = battles.prompts if texts and battles.prompts else battles.prompt_keys
    return KeptBattles(
        lengths=np.bincount(row[battles.prompt[mine]], minlength=len(place)).astype(np.uint32),
        model_a=model[battles.model_a[order]].astype(np.uint16),
        model_b=model[battles.model_b[order]].astype(np.uint16),
        outcome=battles.outcome[order].astype(np.float32),
        weight=battles.weight[order].astype(np.float32),
        prompts=KeptPrompts.of(names[prompt] for prompt in place.tolist()),
    )


def join_kept_battles(
    first: KeptBattles, second: KeptBattles, places: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> KeptBattles:
    """Keep the battles of both, whose prompts are now at these places; a prompt of both has the first one's text."""
    count = int(max(place.max(initial=-1) for place in places)) + 1
    row = np.concatenate([np.repeat(place, part.lengths) for part, place in zip((first, second), places, strict=True)])
    order = np.argsort(row, kind="stable")

    def joined(name: str) -> NDArray[Any]:
        values: NDArray[Any] = np.concatenate([getattr(first, name), getattr(second, name)])[order]
        return values

    texts = [""] * count
    for part, place in ((second, places[1]), (first, places[0])):
        for old, new in enumerate(place.tolist()):
            texts[new] = part.prompts[old]
    return KeptBattles(
        lengths=np.bincount(row, minlength=count).astype(np.uint32),
        model_a=joined("model_a"),
        model_b=joined("model_b"),
        outcome=joined("outcome"),
        weight=joined("weight"),
        prompts=KeptPrompts.of(texts),
    )


def read_battles(artifact: Artifact, *, prompts: int, models: int) -> KeptBattles | None:
    """Read the battles of an index of so many prompts; None where the artifact has none."""
    if BATTLES_FILE not in artifact.files:
        return None
    source = str(artifact.path / BATTLES_FILE)
    tensors = safetensors.decode(artifact.files[BATTLES_FILE], source=source)
    extents: dict[str, int | None] = {"P": prompts, "n": None}
    read: dict[str, Any] = {}
    for name, (dtype, axis) in _TENSORS.items():
        found = safetensors.expect_tensor(tensors, name, source=source, dtype=dtype, shape=[extents[axis]])
        extents[axis] = len(found)
        read[name] = found.copy()
    if int(read["lengths"].sum(dtype=np.int64)) != len(read["outcome"]):
        raise ArtifactCorruptError(f"{source}: tensor 'lengths' does not add up to the {len(read['outcome'])} battles")
    for name in ("model_a", "model_b"):
        if len(read[name]) and int(read[name].max()) >= models:
            raise ArtifactCorruptError(f"{source}: tensor {name!r} holds {read[name].max()}; there are {models} models")
    if not ((read["outcome"] >= 0) & (read["outcome"] <= 1)).all() or not (read["weight"] > 0).all():
        raise ArtifactCorruptError(f"{source}: an outcome is outside [0, 1], or a weight not above 0")
    return KeptBattles(**read, prompts=KeptPrompts.read(tensors, source=source, count=prompts))
