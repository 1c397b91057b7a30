"""Training of the matrix-factorization router on battles.

A model m scores ``delta(m, e) = w . (v_m * (W e)) + b_m`` on a prompt with embedding e, and a beats b with
probability ``sigmoid(delta(a, e) - delta(b, e))``: RouteLLM (arXiv 2406.18665), section 4.1, with a bias per
model.

Two things are done so that what is learned on one data set reaches models that were only seen in another.
The first coordinate of v_m is tied to the model's strength, so the first row of W says on which prompts
strength matters; every battle teaches it. And while training each source has its own offsets per model, so
that W explains differences between the prompts of a source, not between sources; they are dropped at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.training.battles import Battles, check_embeddings
from fastroute.training.mf_descent import Arrays, check_settings, descend, standardisation
from fastroute.training.splits import held_out
from fastroute.training.strengths import bradley_terry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.progress import Progress

__all__ = ["SMALL_DECAY", "BattleObjective", "MatrixFactorizationFit", "fit_matrix_factorization"]

SMALL_DECAY = 0.1
"""Of the strength axis and the offsets, which many battles determine."""


@dataclass(frozen=True, slots=True)
class MatrixFactorizationFit:
    """A trained matrix factorization.

    Attributes
    ----------
    models
        K model names.
    model_embedding
        (K, r) float32: v_m.
    projection
        (r, d) float32: W, for embeddings as they come from the encoder.
    classifier
        (r,) float32: w. Ones, since W absorbs it.
    model_bias
        (K,) float32: b_m; only differences mean something.
    metrics
        `train_loss`, `validation_loss` (weighted cross-entropy per battle, nats), `train_accuracy`,
        `validation_accuracy` (over battles without a tie): one number per epoch, `train_*` as met on the way.
    best_epoch
        The epoch, from 1, whose parameters these are.
    seed
        What the split, the start and the order of prompts came from.
    validation
        The prompts that were held out, as positions in `Battles.prompt_keys`.
    """

    models: tuple[str, ...]
    model_embedding: NDArray[np.float32]
    projection: NDArray[np.float32]
    classifier: NDArray[np.float32]
    model_bias: NDArray[np.float32]
    metrics: dict[str, list[float]]
    best_epoch: int
    seed: int
    validation: NDArray[np.int64]


def fit_matrix_factorization(
    embeddings: NDArray[np.float32],
    battles: Battles,
    *,
    rank: int = 8,
    epochs: int = 100,
    learning_rate: float = 3e-4,
    weight_decay: float = 10.0,
    validation_fraction: float = 0.1,
    patience: int = 6,
    seed: int = 0,
    progress: Progress | None = None,
) -> MatrixFactorizationFit:
    """Fit the factorization with AdamW on mini-batches of prompts, stopping early on held-out prompts.

    Parameters
    ----------
    embeddings
        (P, d) float32, one row per entry of `battles.prompt_keys`.
    battles
        What to learn from; `battles.weight` weighs the loss.
    rank
        Length r of a model's vector; the first coordinate is the model's strength.
    epochs
        Passes over the prompts, at most.
    learning_rate, weight_decay
        Of AdamW; this decay is that of the other r - 1 coordinates. Embeddings are standardised per column
        first (folded back into the result), so neither depends on their scale.
    validation_fraction
        Share of prompts held out, in (0, 1): by key, so never a prompt on both sides.
    patience
        Epochs without a lower validation loss before training stops.
    seed
        Same input and seed, same bits, on one machine.
    progress
        Called with (epochs done, epochs at most).

    Returns
    -------
    MatrixFactorizationFit
        Parameters of the epoch with the lowest validation loss.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.
    DataError
        There is nothing to train on, or nothing to validate on.
    MissingDependencyError
        numba is not installed.
    """
    check_settings(
        rank=rank,
        epochs=epochs,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        validation_fraction=validation_fraction,
        patience=patience,
        seed=seed,
    )
    check_embeddings(embeddings)
    if len(embeddings) != len(battles.prompt_keys):
        raise InvalidArgumentError(
            f"embeddings: {len(embeddings)} rows given; the battles have {len(battles.prompt_keys)} prompts"
        )
    training, validation = _split(battles, validation_fraction, seed)
    centre, spread = standardisation(embeddings[training])
    generator = np.random.default_rng(seed)
    objective = BattleObjective(
        (embeddings - centre) / spread,
        battles,
        training=training,
        rank=rank,
        decay=weight_decay,
        generator=generator,
    )
    descent = descend(
        objective,
        training,
        validation,
        generator,
        epochs=epochs,
        learning_rate=learning_rate,
        patience=patience,
        progress=progress,
    )
    embedding, projection, bias = _fold(descent.parameters, centre, spread)
    return MatrixFactorizationFit(
        models=battles.models,
        model_embedding=embedding,
        projection=projection,
        classifier=np.ones(rank, dtype=np.float32),
        model_bias=bias,
        metrics=descent.metrics,
        best_epoch=descent.best_epoch,
        seed=seed,
        validation=validation,
    )


class BattleObjective:
    """Cross-entropy of battles.

    Vectors start at zero, and strengths and offsets at their Bradley-Terry fit: the start is the best guess
    that does not look at prompts, and what early stopping leaves unlearned is zero instead of noise.
    """

    def __init__(
        self,
        features: NDArray[np.float64],
        battles: Battles,
        *,
        training: NDArray[np.int64],
        rank: int,
        decay: float,
        generator: np.random.Generator,
    ) -> None:
        from fastroute.training import mf_loops

        self._loops = mf_loops
        self._features = features
        self._starts = np.searchsorted(battles.prompt, np.arange(len(features) + 1))
        self._battles = (
            self._starts, battles.model_a, battles.model_b, battles.source, battles.outcome, battles.weight
        )  # fmt: skip
        self._weight_before = np.concatenate([[0.0], np.cumsum(battles.weight)])
        width, models = features.shape[1], len(battles.models)
        strength, offset = _start(battles, training)
        self.parameters: Arrays = (
            np.zeros((models, rank - 1)),
            generator.standard_normal((width, rank - 1)) * width**-0.5,
            np.zeros(width),
            strength,
            offset,
        )
        self.decays: tuple[float, ...] = (decay, decay, SMALL_DECAY, 0.0, SMALL_DECAY)

    def gradient(self, units: NDArray[np.int64], gradients: Arrays) -> tuple[float, float, float]:
        """Add the gradient; summed loss, weight predicted right, weight decided."""
        sums: tuple[float, float, float] = self._loops.loss_and_gradient(
            units, self._features, self._battles, self.parameters, gradients
        )
        return sums

    def loss(self, units: NDArray[np.int64]) -> tuple[float, float, float]:
        """Return what `gradient` returns, without the gradient."""
        sums: tuple[float, float, float] = self._loops.loss_only(units, self._features, self._battles, self.parameters)
        return sums

    def weight(self, units: NDArray[np.int64]) -> float:
        """Sum the weights of the battles."""
        before, starts = self._weight_before, self._starts
        return float((before[starts[units + 1]] - before[starts[units]]).sum())


def _start(battles: Battles, training: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bradley-Terry strengths over all sources, and what each source adds to them."""
    models, seen = len(battles.models), np.isin(battles.prompt, training)
    offset = np.zeros((len(battles.sources), models))

    def fit(rows: NDArray[np.bool_], known: NDArray[np.float64] | None) -> NDArray[np.float64]:
        weight = battles.weight[rows] / battles.weight[rows].mean()
        sides = battles.model_a[rows], battles.model_b[rows]
        return bradley_terry(models, *sides, battles.outcome[rows], weight, offset=known)

    strength = fit(seen, None)
    if len(battles.sources) > 1:
        for source in range(len(battles.sources)):
            rows = seen & (battles.source == source)
            if rows.any():
                offset[source] = fit(rows, strength)
    return strength, offset


def _split(battles: Battles, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    fought = np.zeros(len(battles.prompt_keys), np.bool_)
    fought[battles.prompt] = True
    validation = held_out(battles.prompt_keys, fraction, seed)
    sides = np.flatnonzero(fought & ~validation), np.flatnonzero(fought & validation)
    if not len(sides[0]) or not len(sides[1]):
        raise DataError(
            f"battles: {len(sides[0])} prompts to train on and {len(sides[1])} to validate on; "
            f"both are needed (validation_fraction is {fraction})"
        )
    return sides


def _fold(
    parameters: Arrays, centre: NDArray[np.float64], spread: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Vectors, projection and biases for embeddings that are not standardised.

    W (e - c) / s = (W / s) e - (W / s) c, and the last term goes to the bias.
    """
    vectors, projection, axis, strength, _ = parameters
    embedding = np.column_stack([strength, vectors])
    folded = np.column_stack([axis, projection]).T / spread
    bias = strength - embedding @ (folded @ centre)
    return (
        embedding.astype(np.float32),
        np.ascontiguousarray(folded, dtype=np.float32),
        (bias - bias.mean()).astype(np.float32),
    )
