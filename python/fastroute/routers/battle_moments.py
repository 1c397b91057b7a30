"""Moments of an index's battles: what int8 rows lose on average, and an approximation that reads no row at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute import _core
from fastroute.artifact import Artifact, safetensors
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.routers.battle_index import BattleIndex

__all__ = [
    "MOMENTS_FILE",
    "MOST_RANK",
    "ErrorBand",
    "encoded_moments",
    "fitted_moments",
    "joined_moments",
    "read_moments",
]

MOMENTS_FILE: Final = "moments.safetensors"
MOST_RANK: Final = 256
_MEASURED = 1000  # prompts
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class ErrorBand:
    """How far the approximation of a pair's win rate is off, on prompts of the index itself.

    Those lie closer to the index than other prompts do, where the approximation is at its worst.

    Attributes
    ----------
    band
        The largest error.
    rms
        Root of the mean square.
    spread
        Standard deviation of the exact scores, to hold them against.
    prompts
        How many were tried.
    """

    band: float
    rms: float
    spread: float
    prompts: int

    @staticmethod
    def measured(scorer: _core.SimilarityWeighted, index: _core.SimilarityIndex) -> ErrorBand:
        """Measure it on up to 1,000 prompts at equal distances in the index."""
        rows = np.unique(np.linspace(0, index.size - 1, min(index.size, _MEASURED)).astype(np.int64))
        units = index.unit_rows(rows)
        exact = scorer.score_embeddings(units).astype(np.float64)
        off = np.abs(scorer.approximate_embeddings(units).astype(np.float64) - exact)
        return ErrorBand(float(off.max()), float(np.sqrt((off**2).mean())), float(exact.std()), len(rows))

    @staticmethod
    def of_artifact(artifact: Artifact) -> ErrorBand | None:
        """Read what a manifest says."""
        said = artifact.manifest.get("moments")
        if said is None:
            return None
        names = ("band", "rms", "spread", "prompts")
        given = [said.get(name) for name in names] if isinstance(said, dict) else []
        numbers = [value for value in given if isinstance(value, (int, float)) and not isinstance(value, bool)]
        if len(numbers) < len(names) or not all(0 <= value < _LARGEST for value in numbers):
            raise ArtifactCorruptError(f"{artifact.path}: moments is {said!r:.80}; {', '.join(names)} are needed")
        band, rms, spread, prompts = numbers
        return ErrorBand(float(band), float(rms), float(spread), int(prompts))

    def member(self) -> dict[str, Any]:
        """Return what a manifest says."""
        return asdict(self)


def fitted_moments(index: BattleIndex, embeddings: NDArray[np.float32], rank: int) -> _core.BattleMoments:
    """Fit moments to an index of P prompts with these embeddings, (P, d) float32; rank 0 for means alone."""
    from fastroute.training.battle_moments import fit_moments

    cells, means, factors = fit_moments(index.lengths, index.cells, index.counts, embeddings, rank)
    return _core.BattleMoments(cells, means, factors if rank else None)


def joined_moments(
    parts: tuple[tuple[BattleIndex, _core.BattleMoments], ...], joined: BattleIndex, native: _core.SimilarityIndex
) -> _core.BattleMoments:
    """Moments of indexes that were joined: means are the parts' own, directions are found anew among the rows."""
    rank = parts[0][1].rank
    units = native.unit_rows(np.arange(native.size))
    fitted = fitted_moments(joined, units, rank)
    cells = fitted.cells()
    means, total = np.zeros((len(cells), native.dim)), np.zeros(len(cells))
    for index, moments in parts:
        mine = np.searchsorted(cells, moments.cells())
        counts = np.bincount(index.cells, weights=index.counts, minlength=int(cells[-1]) + 1)[moments.cells()]
        means[mine] += counts[:, None] * moments.means()
        total[mine] += counts
    exact = (means / total[:, None]).astype(np.float32)
    return _core.BattleMoments(cells, exact, fitted.factors() if rank else None)


def encoded_moments(moments: _core.BattleMoments) -> bytes:
    """Return the file that `read_moments` reads."""
    tensors: dict[str, NDArray[Any]] = {"cells": moments.cells(), "means": moments.means()}
    if moments.rank:
        tensors["factors"] = moments.factors()
    return safetensors.encode(tensors)


def read_moments(artifact: Artifact, *, dim: int) -> _core.BattleMoments | None:
    """Read the moments of an index of `dim` dimensions; None where the artifact has none."""
    if MOMENTS_FILE not in artifact.files:
        return None
    source = str(artifact.path / MOMENTS_FILE)
    tensors = safetensors.decode(artifact.files[MOMENTS_FILE], source=source)
    cells = safetensors.expect_tensor(tensors, "cells", source=source, dtype="uint16", shape=(None,))
    means = safetensors.expect_tensor(tensors, "means", source=source, dtype="float32", shape=(len(cells), dim))
    factors = None
    if "factors" in tensors:
        shape = (len(cells), None, dim)
        factors = safetensors.expect_tensor(tensors, "factors", source=source, dtype="float32", shape=shape)
    try:
        return _core.BattleMoments(cells, means, factors)
    except InvalidArgumentError as error:
        raise ArtifactCorruptError(f"{source}: {error}") from error
