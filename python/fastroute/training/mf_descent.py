"""Descent to the parameters of a matrix factorization: AdamW on mini-batches, stopped early on held-out prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from fastroute.training.progress import Progress

__all__ = ["Arrays", "Descent", "Objective", "Sums", "check_settings", "descend", "standardisation"]

_BATCH = 64  # units per step

Arrays = tuple[NDArray[np.float64], ...]
Sums = tuple[float, float, float]


class Objective(Protocol):
    """A loss over units (prompts, or prompts of a source), and the parameters it is a function of."""

    parameters: Arrays
    decays: tuple[float, ...]

    def gradient(self, units: NDArray[np.int64], gradients: Arrays) -> Sums:
        """Add the gradient of the summed loss; that loss, the weight predicted right, the weight that is decided."""
        ...

    def loss(self, units: NDArray[np.int64]) -> Sums:
        """Return what `gradient` returns, without the gradient."""
        ...

    def weight(self, units: NDArray[np.int64]) -> float:
        """Sum the weights of what the loss sums over."""
        ...


@dataclass(frozen=True, slots=True)
class Descent:
    """What a descent came to.

    Attributes
    ----------
    parameters
        Of the epoch with the lowest validation loss.
    metrics
        `train_loss`, `train_accuracy`, `validation_loss`, `validation_accuracy`, one number per epoch.
    best_epoch
        From 1.
    """

    parameters: Arrays
    metrics: dict[str, list[float]]
    best_epoch: int


def descend(
    objective: Objective,
    training: NDArray[np.int64],
    validation: NDArray[np.int64],
    generator: np.random.Generator,
    *,
    epochs: int,
    learning_rate: float,
    patience: int,
    progress: Progress | None,
) -> Descent:
    """Change the objective's parameters in place, and keep a copy of the best.

    Raises
    ------
    InvalidArgumentError
        The learning rate makes training diverge.
    """
    steps = _Steps(objective, learning_rate)
    metrics: dict[str, list[float]] = {}
    best, best_loss, best_epoch = _copied(objective.parameters), math.inf, 0
    for epoch in range(1, epochs + 1):
        for side, figures in (
            ("train", steps.epoch(generator.permutation(training))),
            ("validation", _means(objective, validation, objective.loss(validation))),
        ):
            metrics.setdefault(f"{side}_loss", []).append(figures[0])
            metrics.setdefault(f"{side}_accuracy", []).append(figures[1])
        loss = metrics["validation_loss"][-1]
        if not math.isfinite(loss):
            raise InvalidArgumentError(
                f"learning_rate: {learning_rate} makes training diverge in epoch {epoch}; a smaller one is needed"
            )
        if loss < best_loss:
            best, best_loss, best_epoch = _copied(objective.parameters), loss, epoch
        if progress is not None:
            progress(epoch, epochs)
        if epoch - best_epoch >= patience:
            break
    return Descent(best, metrics, best_epoch)


class _Steps:
    """AdamW and its state."""

    def __init__(self, objective: Objective, rate: float) -> None:
        from fastroute.training.mf_loops import adam_step

        self._adam_step = adam_step
        self._objective, self._rate, self._step = objective, rate, 0
        self._gradients, self._first, self._second = (
            tuple(np.zeros_like(parameter) for parameter in objective.parameters) for _ in range(3)
        )

    def epoch(self, order: NDArray[np.int64]) -> tuple[float, float]:
        """One pass in this order; loss and accuracy as met on the way."""
        sums = [self._descend(order[start : start + _BATCH]) for start in range(0, len(order), _BATCH)]
        loss, right, decided = (math.fsum(column) for column in zip(*sums, strict=True))
        return _means(self._objective, order, (loss, right, decided))

    def _descend(self, batch: NDArray[np.int64]) -> Sums:
        sums = self._objective.gradient(batch, self._gradients)
        self._step += 1
        scale = 1.0 / self._objective.weight(batch)
        state = zip(self._objective.parameters, self._gradients, self._first, self._second, strict=True)
        for arrays, decay in zip(state, self._objective.decays, strict=True):
            flat = tuple(array.reshape(-1) for array in arrays)
            self._adam_step(flat, self._step, scale, self._rate, decay)
        return sums


def standardisation(features: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and spread of each column."""
    centre = features.mean(axis=0, dtype=np.float64)
    spread = features.std(axis=0, dtype=np.float64)
    floor = 1e-3 * spread.max()  # a column that hardly varies says nothing, and must not be blown up
    return centre, np.maximum(spread, floor) if floor > 0 else np.ones_like(spread)


def check_settings(
    *,
    rank: int,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    validation_fraction: float,
    patience: int,
    seed: int,
) -> None:
    """Refuse settings of a type or value that is not allowed."""
    for name, count, least in (
        ("rank", rank, 1),
        ("epochs", epochs, 1),
        ("patience", patience, 1),
        ("seed", seed, 0),
    ):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
            raise InvalidTypeError(f"{name}: {type(count).__name__} given; an integer is needed")
        if count < least:
            raise InvalidArgumentError(f"{name}: {count} given; at least {least} is needed")
    for name, number in (
        ("learning_rate", learning_rate),
        ("weight_decay", weight_decay),
        ("validation_fraction", validation_fraction),
    ):
        if isinstance(number, bool) or not isinstance(number, (int, float, np.number)):
            raise InvalidTypeError(f"{name}: {type(number).__name__} given; a number is needed")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InvalidArgumentError(f"learning_rate: {learning_rate} given; a finite number above 0 is needed")
    if not (weight_decay >= 0 and weight_decay * learning_rate < 1):
        raise InvalidArgumentError(
            f"weight_decay: {weight_decay} given; at least 0 and below 1 / learning_rate, "
            f"{1 / learning_rate:g}, is needed"
        )
    if not 0 < validation_fraction < 1:
        raise InvalidArgumentError(
            f"validation_fraction: {validation_fraction} given; a number between 0 and 1 is needed"
        )


def _copied(parameters: Arrays) -> Arrays:
    return tuple(parameter.copy() for parameter in parameters)


def _means(objective: Objective, units: NDArray[np.int64], sums: Sums) -> tuple[float, float]:
    """Loss per weight, and accuracy."""
    loss, right, decided = sums
    return loss / objective.weight(units), right / decided if decided else 1.0
