"""The index of a router of nearest neighbours: prompts, and how good models were on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute import _core
from fastroute.artifact import Artifact, safetensors
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.qualities import QualityRows

__all__ = ["INDEX_FILE", "ScoredPrompts", "read_scored_prompts"]

INDEX_FILE: Final = "index.safetensors"


@dataclass(frozen=True, slots=True)
class ScoredPrompts:
    """P prompts and n qualities, prompt after prompt.

    Attributes
    ----------
    index
        The native index of the P embeddings.
    lengths
        (P,) uint32: how many qualities a prompt has.
    model
        (n,) uint16: places among the models; none twice on a prompt.
    quality
        (n,) float16, finite: what a score from 0 to 1 is good to.
    """

    index: _core.SimilarityIndex
    lengths: NDArray[np.uint32]
    model: NDArray[np.uint16]
    quality: NDArray[np.float16]

    @staticmethod
    def of(embeddings: NDArray[np.float32], rows: QualityRows) -> ScoredPrompts:
        """Index embeddings, (P, d) float32, with their qualities."""
        quantised, _, scales = _core.quantise_rows(embeddings)
        return ScoredPrompts(
            _core.SimilarityIndex(quantised, scales), rows.lengths, rows.model, rows.quality.astype(np.float16)
        )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def dim(self) -> int:
        """Dimensions of the embeddings."""
        return self.index.dim

    def take(self, rows: NDArray[np.int64]) -> _core.SimilarityIndex:
        """Index these prompts alone."""
        return _core.SimilarityIndex(
            np.ascontiguousarray(self.index.rows()[rows]), np.ascontiguousarray(self.index.scales()[rows])
        )

    def column(self, model: int) -> NDArray[np.float32]:
        """Quality of a model on each prompt, (P,) float32; NaN where there is none."""
        values = np.full(len(self), np.nan, np.float32)
        mine = self.model == model
        values[np.repeat(np.arange(len(self)), self.lengths)[mine]] = self.quality[mine]
        return values

    def gains(self, strong: int, weak: int) -> NDArray[np.float32]:
        """Quality of one model less another's, (P,) float32 from -1 to 1; NaN where either has none."""
        gains: NDArray[np.float32] = np.clip(self.column(strong) - self.column(weak), -1, 1)
        return gains

    def quality_near(
        self, ids: NDArray[np.int64], weights: NDArray[np.float64], *, models: int, shrinkage: float
    ) -> NDArray[np.float32]:
        """Mean quality of each model over weighted prompts, as if `shrinkage` more had its mean over all.

        Parameters
        ----------
        ids, weights
            (n, k): prompts and what they count.

        Returns
        -------
        numpy.ndarray
            (n, models) float32.
        """
        ends = np.cumsum(self.lengths, dtype=np.int64)
        quality = self.quality.astype(np.float64)
        count = np.bincount(self.model, minlength=models)
        mean = np.bincount(self.model, weights=quality, minlength=models) / np.maximum(count, 1)
        found = np.empty((len(ids), models), np.float32)
        for row, (near, weight) in enumerate(zip(ids, weights, strict=True)):
            length = self.lengths[near].astype(np.int64)
            skipped = np.repeat(ends[near] - length - np.cumsum(length) + length, length)
            entries = skipped + np.arange(len(skipped))
            each = np.repeat(weight, length)
            heard = np.bincount(self.model[entries], weights=each, minlength=models) + shrinkage
            total = np.bincount(self.model[entries], weights=each * quality[entries], minlength=models)
            found[row] = np.where(heard > 0, (total + shrinkage * mean) / np.where(heard > 0, heard, 1), mean)
        return found

    def encoded(self) -> bytes:
        """Return the file that `read_scored_prompts` reads."""
        return safetensors.encode(
            {
                "rows": self.index.rows(),
                "scales": self.index.scales(),
                "lengths": self.lengths,
                "model": self.model,
                "quality": self.quality,
            }
        )


def read_scored_prompts(artifact: Artifact, *, models: int) -> ScoredPrompts:
    """Read the index of an artifact."""
    if INDEX_FILE not in artifact.files:
        raise ArtifactCorruptError(f"{artifact.path}: its manifest lists no {INDEX_FILE}, which this router has")
    source = str(artifact.path / INDEX_FILE)
    tensors = safetensors.decode(artifact.files[INDEX_FILE], source=source)

    def read(name: str, dtype: str, *shape: int | None) -> NDArray[Any]:
        return safetensors.expect_tensor(tensors, name, source=source, dtype=dtype, shape=shape)

    rows = read("rows", "int8", None, None)
    lengths = read("lengths", "uint32", len(rows)).copy()
    model = read("model", "uint16", None).copy()
    quality = read("quality", "float16", len(model)).copy()
    if int(lengths.sum(dtype=np.int64)) != len(model):
        raise ArtifactCorruptError(f"{source}: tensor 'lengths' does not add up to the {len(model)} qualities")
    if len(model) and int(model.max()) >= models:
        raise ArtifactCorruptError(f"{source}: tensor 'model' holds {model.max()}; there are {models} models")
    places = np.repeat(np.arange(len(rows), dtype=np.int64), lengths) * models + model
    if len(np.unique(places)) != len(places):
        raise ArtifactCorruptError(f"{source}: tensor 'model' has a model twice on one prompt")
    try:
        index = _core.SimilarityIndex(rows, read("scales", "float32", len(rows)))
    except InvalidArgumentError as error:
        raise ArtifactCorruptError(f"{source}: {error}") from error
    return ScoredPrompts(index, lengths, model, quality)
