"""Training of the matrix-factorization router on scores.

A model m is right on a prompt with embedding e with probability ``h + (1 - h) sigmoid(delta(m, e))``, where h is what
a guess scores and ``delta(m, e) = w . (v_m * (W e)) + b_m``. The loss is the cross-entropy of the scores; battles,
where there are some, add theirs as in `fastroute.training.mf`.

The first coordinate of v_m is tied to the model's strength, so the first row of W says on which prompts strength
matters. The last one is the same for all models: the last row of W says how easy a prompt is, and cancels where two
models are compared. While training each source has a level, and offsets per model, of its own; what is learned of
prompts is learned within a source, from features that are centred on it and from abilities that models show there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.training.battles import check_embeddings
from fastroute.training.mf import SMALL_DECAY, MatrixFactorizationFit
from fastroute.training.mf_descent import Arrays, Sums, check_settings, descend, standardisation
from fastroute.training.splits import held_out
from fastroute.training.strengths import bradley_terry, right_answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.training.battles import Battles
    from fastroute.training.progress import Progress
    from fastroute.training.scores import Scores

__all__ = ["centred_on_sources", "fit_outcome_factorization"]


def fit_outcome_factorization(
    embeddings: NDArray[np.float32],
    scores: Scores,
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
    """Fit the factorization to scores with AdamW on mini-batches, stopping early on held-out prompts.

    Parameters
    ----------
    embeddings
        (P, d) float32, one row per entry of `scores.prompt_keys`.
    scores
        What to learn from; the weights of scores and battles weigh the loss.
    rank
        Length of a model's vector without the coordinate that all models share: vectors have ``rank + 1``.
    epochs, learning_rate, weight_decay, validation_fraction, patience, seed, progress
        As in `fastroute.training.mf.fit_matrix_factorization`.

    Returns
    -------
    MatrixFactorizationFit
        Parameters of the epoch with the lowest validation loss. Accuracy is the share of scores on whose side of one
        half the probability is.

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
    if len(embeddings) != len(scores.prompt_keys):
        raise InvalidArgumentError(
            f"embeddings: {len(embeddings)} rows given; the scores have {len(scores.prompt_keys)} prompts"
        )
    units = _units(scores)
    hidden = held_out(scores.prompt_keys, validation_fraction, seed)[units.prompt]
    training, validation = np.flatnonzero(~hidden), np.flatnonzero(hidden)
    if not hidden[units.of_score].any() or hidden[units.of_score].all():
        raise DataError(
            f"scores: {len(training)} prompts to train on and {len(validation)} to validate on; "
            f"scores of both are needed (validation_fraction is {validation_fraction})"
        )
    centre, spread = standardisation(embeddings[units.prompt[training]])
    features = centred_on_sources((embeddings[units.prompt] - centre) / spread, units.source, training)
    generator = np.random.default_rng(seed)
    objective = _ScoreObjective(
        features, scores, units, training=training, rank=rank, decay=weight_decay, generator=generator
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
    embedding, projection, bias = _fold(descent.parameters, objective.shares, centre, spread)
    return MatrixFactorizationFit(
        models=scores.models,
        model_embedding=embedding,
        projection=projection,
        classifier=np.ones(rank + 1, dtype=np.float32),
        model_bias=bias,
        metrics=descent.metrics,
        best_epoch=descent.best_epoch,
        seed=seed,
        validation=np.unique(units.prompt[validation]),
    )


@dataclass(frozen=True, slots=True)
class _Units:
    """Prompts of sources: a prompt that two sources have is two. The sources of battles follow those of scores.

    Attributes
    ----------
    prompt, source
        (U,) of each unit, sorted.
    of_score, of_battle
        The unit of each score, and of each battle.
    """

    prompt: NDArray[np.int64]
    source: NDArray[np.int64]
    of_score: NDArray[np.int64]
    of_battle: NDArray[np.int64]


def _units(scores: Scores) -> _Units:
    battles, first = scores.battles, len(scores.sources)
    sources = first + (len(battles.sources) if battles else 0)
    codes = scores.prompt * sources + scores.source
    if battles is not None:
        codes = np.concatenate([codes, battles.prompt * sources + first + battles.source])
    units, unit = np.unique(codes, return_inverse=True)
    return _Units(units // sources, units % sources, unit[: len(scores)], unit[len(scores) :])


def centred_on_sources(
    features: NDArray[np.float64], source: NDArray[np.int64], training: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Features (U, d) less their mean over the training units of their source (U,)."""
    centred: NDArray[np.float64] = features.copy()
    for code in np.unique(source):
        seen = training[source[training] == code]
        if len(seen):
            centred[source == code] -= features[seen].mean(axis=0)
    return centred


class _ScoreObjective:
    """Cross-entropy of scores, and of battles besides.

    Vectors start at zero, and strengths, levels and offsets at their fit without prompts.
    """

    def __init__(
        self,
        features: NDArray[np.float64],
        scores: Scores,
        units: _Units,
        *,
        training: NDArray[np.int64],
        rank: int,
        decay: float,
        generator: np.random.Generator,
    ) -> None:
        from fastroute.training import mf_loops, mf_outcome_loops

        self._loops, self._battle_loops = mf_outcome_loops, mf_loops
        self._features = features
        width, models = features.shape[1], len(scores.models)
        order = np.argsort(units.of_score, kind="stable")
        starts = np.searchsorted(units.of_score[order], np.arange(len(features) + 1))
        model, source = scores.model[order], scores.source[order]
        score, guess, weight = scores.score[order], scores.guess[order], scores.weight[order]
        seen = np.isin(units.of_score[order], training)
        strength, level, offset = right_answers(
            models,
            len(scores.sources),
            model[seen],
            source[seen],
            score=score[seen],
            guess=guess[seen],
            weight=weight[seen] / weight[seen].mean(),
        )
        offsets: Arrays = (offset,)
        self._battles: tuple[NDArray[np.generic], ...] | None = None
        if scores.battles is not None:
            strength, battle_offset = _battle_start(scores.battles, units, training, strength, np.unique(model[seen]))
            offsets = (offset, battle_offset)
            self._battles = _battle_columns(scores.battles, units, len(features))
        self.shares = (
            np.bincount(model[seen], weight[seen], models) / weight[seen].sum(),
            np.bincount(source[seen], weight[seen], len(scores.sources)) / weight[seen].sum(),
        )
        ability = _abilities(strength, offset, model[seen], source[seen])
        self._outcomes = (starts, model, source, score, guess, weight, ability)
        self.parameters: Arrays = (
            np.zeros((models, rank - 1)),
            generator.standard_normal((width, rank - 1)) * width**-0.5,
            np.zeros(width),
            strength,
            offset,
            np.zeros(width),
            level,
            *offsets[1:],
        )
        self.decays: tuple[float, ...] = (
            *(decay, decay, SMALL_DECAY, 0.0, SMALL_DECAY, SMALL_DECAY, 0.0),
            *(SMALL_DECAY for _ in offsets[1:]),
        )
        unit_weight = np.bincount(units.of_score, scores.weight, len(features))
        if scores.battles is not None:
            unit_weight += np.bincount(units.of_battle, scores.battles.weight, len(features))
        self._unit_weight = unit_weight

    def gradient(self, units: NDArray[np.int64], gradients: Arrays) -> Sums:
        """Add the gradient; summed loss, weight predicted right, weight decided."""
        sums: Sums = self._loops.outcome_gradient(
            units, self._features, self._outcomes, self.parameters[:7], gradients[:7]
        )
        if self._battles is None:
            return sums
        loss, right, decided = self._battle_loops.loss_and_gradient(
            units, self._features, self._battles, _of_battles(self.parameters), _of_battles(gradients)
        )
        return sums[0] + loss, sums[1] + right, sums[2] + decided

    def loss(self, units: NDArray[np.int64]) -> Sums:
        """Return what `gradient` returns, without the gradient."""
        sums: Sums = self._loops.outcome_loss(units, self._features, self._outcomes, self.parameters[:7])
        if self._battles is None:
            return sums
        loss, right, decided = self._battle_loops.loss_only(
            units, self._features, self._battles, _of_battles(self.parameters)
        )
        return sums[0] + loss, sums[1] + right, sums[2] + decided

    def weight(self, units: NDArray[np.int64]) -> float:
        """Sum the weights of the scores and battles."""
        return float(self._unit_weight[units].sum())


def _of_battles(arrays: Arrays) -> Arrays:
    """Those of the parameters that battles have: with their own offsets, without ease and levels."""
    return (*arrays[:4], arrays[7])


def _abilities(
    strength: NDArray[np.float64],
    offset: NDArray[np.float64],
    model: NDArray[np.int64],
    source: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How much better than the source's others a model is there, (G, K)."""
    ability = strength + offset
    counts = np.zeros(ability.shape)
    np.add.at(counts, (source, model), 1.0)
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    centred: NDArray[np.float64] = ability - (ability * counts).sum(axis=1, keepdims=True) / total
    return centred


def _battle_start(
    battles: Battles,
    units: _Units,
    training: NDArray[np.int64],
    strength: NDArray[np.float64],
    scored: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Strengths of the models that only fought, next to the others' as they are; what each source adds."""
    models, seen = len(strength), np.isin(units.of_battle, training)
    offset = np.zeros((len(battles.sources), models))

    def fit(rows: NDArray[np.bool_], known: NDArray[np.float64]) -> NDArray[np.float64]:
        weight = battles.weight[rows] / battles.weight[rows].mean()
        sides = battles.model_a[rows], battles.model_b[rows]
        return bradley_terry(models, *sides, battles.outcome[rows], weight, offset=known)

    if not seen.any():
        return strength, offset
    added = fit(seen, strength)
    added[scored] = 0.0
    strength = strength + added
    for source in range(len(battles.sources)):
        rows = seen & (battles.source == source)
        if rows.any():
            offset[source] = fit(rows, strength)
    return strength, offset


def _battle_columns(battles: Battles, units: _Units, count: int) -> tuple[NDArray[np.generic], ...]:
    order = np.argsort(units.of_battle, kind="stable")
    starts = np.searchsorted(units.of_battle[order], np.arange(count + 1))
    columns = (battles.model_a, battles.model_b, battles.source, battles.outcome, battles.weight)
    return (starts, *(column[order] for column in columns))


def _fold(
    parameters: Arrays,
    shares: tuple[NDArray[np.float64], NDArray[np.float64]],
    centre: NDArray[np.float64],
    spread: NDArray[np.float64],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Vectors, projection and biases for embeddings as they come.

    Of the sources' levels and mean strengths, which are not kept, the means over the training scores stand in.
    """
    vectors, projection, axis, strength, _, ease, level = parameters[:7]
    models, sources = shares
    embedding = np.column_stack([strength - models @ strength, vectors, np.ones(len(strength))])
    folded = np.column_stack([axis, projection, ease]).T / spread
    bias = strength + sources @ level - embedding @ (folded @ centre)
    return (
        embedding.astype(np.float32),
        np.ascontiguousarray(folded, dtype=np.float32),
        bias.astype(np.float32),
    )
