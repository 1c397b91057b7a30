"""The passes over the data: AdamW on batches of like length, the same bits for the same seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.exporting.packages import needed
from fastroute.onnx.batching import padded
from fastroute.training.bert.network import loss_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastroute.training.bert.samples import Samples
    from fastroute.training.bert.saved_state import SavedState
    from fastroute.training.progress import Progress

__all__ = ["Descent", "Settings", "descend", "mean_loss"]

_STRETCH = 50  # batches whose samples are sorted by length: less padding, still in random order
_WARM_UP = 0.06  # of all steps
_WEIGHT_DECAY = 0.01
_LONGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train.

    Attributes
    ----------
    prompts
        Samples drawn for a pass.
    passes
        Over newly drawn samples each; 0 leaves the encoder as it is.
    batch
        Samples per step.
    max_tokens
        Tokens of a prompt after this many don't count.
    encoder_rate, head_rate
        Learning rates at their highest: they rise for 6% of the steps and fall to 0 from there.
    rank
        Length of a model's vector.
    judged_factor
        What a prompt that judges scored counts.
    seed
        Of the draw, the order, the head's start and dropout.
    threads
        Of torch. Another number gives other last bits.
    """

    prompts: int = 14_000
    passes: int = 1
    batch: int = 16
    max_tokens: int = 128
    encoder_rate: float = 6e-5
    head_rate: float = 3e-3
    rank: int = 16
    judged_factor: float = 3.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("encoder_rate", "head_rate", "judged_factor"):
                if isinstance(value, bool) or not isinstance(value, (int, float)):
                    raise InvalidTypeError(f"{name}: found {type(value).__name__}, allowed: a number")
                if not (np.isfinite(value) and value > 0):
                    raise InvalidArgumentError(f"{name}: found {value}, allowed: a finite number above 0")
                continue
            lowest = 0 if name in ("passes", "seed") else 1
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidTypeError(f"{name}: found {type(value).__name__}, allowed: an int")
            if value < lowest:
                raise InvalidArgumentError(f"{name}: found {value}, allowed: {lowest} or more")
        if self.seed >= 1 << 32:
            raise InvalidArgumentError(f"seed: found {self.seed}, allowed: 0 to 2**32 - 1")


@dataclass(frozen=True, slots=True)
class Descent:
    """What a run did.

    Attributes
    ----------
    steps
        Batches.
    drawn
        Samples, those of several passes several times.
    losses
        Mean loss of each tenth of the steps.
    resumed_at
        Step of the checkpoint that it went on from; 0 for none.
    """

    steps: int
    drawn: int
    losses: tuple[float, ...]
    resumed_at: int


def descend(
    network: Any,
    samples: Samples,
    tokens: Sequence[Sequence[int]],
    among: NDArray[np.int64],
    settings: Settings,
    *,
    objective: str,
    pad: int,
    checkpoint: SavedState | None = None,
    every: int = 200,
    resume: bool = False,
    progress: Progress | None = None,
) -> Descent:
    """Train a network, in place.

    Parameters
    ----------
    network
        Of `fastroute.training.bert.network.new_network`.
    tokens
        Ids of each sample's prompt, cut at ``settings.max_tokens``.
    among
        Samples to draw from.
    objective
        What the loss is (`fastroute.training.bert.network.loss_of`).
    pad
        Id of padding.
    checkpoint, every
        Where to keep the state, and after how many steps, so that a run which was stopped can `resume`; the end is kept
        too.
    progress
        Called with (steps done, steps in all).

    Raises
    ------
    DataError
        The loss is not finite any more, or the checkpoint is none of this run.
    """
    torch = needed("torch")
    torch.set_num_threads(settings.threads)
    plan = _plan(samples, tokens, among, settings)
    optimizer = torch.optim.AdamW(
        [
            {"params": list(network["encoder"].parameters()), "lr": settings.encoder_rate},
            {"params": list(network["head"].parameters()), "lr": settings.head_rate},
        ],
        weight_decay=_WEIGHT_DECAY,
    )
    highest = [group["lr"] for group in optimizer.param_groups]
    done, losses = (0, []) if checkpoint is None or not resume else checkpoint.restore(network, optimizer)
    resumed_at = done
    network.train()
    for step in range(done, len(plan)):
        # Dropout depends on the step alone, whatever was run before it.
        torch.manual_seed((settings.seed << 32) + step)
        for group, rate in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = rate * _share(step, len(plan))
        loss = _step(network, optimizer, samples, tokens, plan[step], objective=objective, pad=pad)
        if not np.isfinite(loss):
            raise DataError(f"training: the loss is {loss} at step {step}; lower the learning rates")
        losses.append(loss)
        if checkpoint is not None and ((step + 1) % every == 0 or step + 1 == len(plan)):
            checkpoint.save(network, optimizer, step + 1, losses)
        if progress is not None:
            progress(step + 1, len(plan))
    network.eval()
    parts = [part for part in np.array_split(np.array(losses), 10) if len(part)]
    return Descent(len(plan), sum(map(len, plan)), tuple(float(part.mean()) for part in parts), resumed_at)


def mean_loss(
    network: Any,
    samples: Samples,
    tokens: Sequence[Sequence[int]],
    among: NDArray[np.int64],
    settings: Settings,
    *,
    objective: str,
    pad: int,
) -> float:
    """Mean loss of samples, without dropout."""
    torch = needed("torch")
    network.eval()
    total = count = 0.0
    order = sorted(among.tolist(), key=lambda i: len(tokens[i]))
    with torch.inference_mode():
        for begin in range(0, len(order), settings.batch):
            batch = np.array(order[begin : begin + settings.batch])
            outputs = outputs_of(network, *_tensors(tokens, batch, pad))
            loss, weight = loss_of(outputs, samples, batch, objective=objective)
            total, count = total + float(loss), count + weight
    return total / count


def _step(
    network: Any,
    optimizer: Any,
    samples: Samples,
    tokens: Sequence[Sequence[int]],
    batch: NDArray[np.int64],
    *,
    objective: str,
    pad: int,
) -> float:
    torch = needed("torch")
    loss, weight = loss_of(outputs_of(network, *_tensors(tokens, batch, pad)), samples, batch, objective=objective)
    loss = loss / weight
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), _LONGEST_GRADIENT)
    optimizer.step()
    return float(loss.detach())


def _tensors(tokens: Sequence[Sequence[int]], batch: NDArray[np.int64], pad: int) -> tuple[Any, Any]:
    torch = needed("torch")
    ids, mask = padded([tokens[i] for i in batch.tolist()], pad)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _plan(
    samples: Samples, tokens: Sequence[Sequence[int]], among: NDArray[np.int64], settings: Settings
) -> list[NDArray[np.int64]]:
    """Batches of all passes, in order."""
    generator = np.random.default_rng(settings.seed)
    lengths = np.array([len(each) for each in tokens], np.int64)
    plan: list[NDArray[np.int64]] = []
    for _ in range(settings.passes):
        drawn = samples.draw(among, settings.prompts, generator)
        batches = []
        for begin in range(0, len(drawn), _STRETCH * settings.batch):
            stretch = drawn[begin : begin + _STRETCH * settings.batch]
            ordered = stretch[np.argsort(lengths[stretch], kind="stable")]
            batches += [ordered[i : i + settings.batch] for i in range(0, len(ordered), settings.batch)]
        plan += [batches[i] for i in generator.permutation(len(batches))]
    return plan


def _share(step: int, steps: int) -> float:
    """Share of the highest rate."""
    warm = max(1, round(_WARM_UP * steps))
    return min((step + 1) / warm, (steps - step) / max(1, steps - warm))
