"""Whether an exported graph says what the model in torch said, and a quantised one what the graph said before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.exporting.packages import needed
from fastroute.onnx.batching import padded
from fastroute.onnx.graph import check_graph
from fastroute.onnx.session import shared_session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import torch
    from numpy.typing import ArrayLike, NDArray

    Run = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
    Batch = tuple[NDArray[np.int64], NDArray[np.int64]]

__all__ = ["TOLERANCE", "Agreement", "ExportCheck", "agreement", "check_export", "graph_run", "padded_batches"]
__all__ += ["torch_run"]

TOLERANCE: Final = 1e-4
_ROWS: Final = 8  # of a batch: enough for padding, too few to matter for memory


@dataclass(frozen=True, slots=True)
class ExportCheck:
    """How far a graph is from the model it was made of.

    Attributes
    ----------
    sequences
        How many were compared, padded ones among them.
    tokens
        How many they have, padding left out.
    largest_difference
        The largest of ``|torch - graph| / max(1, |torch|)``: absolute up to 1, relative beyond.
    """

    sequences: int
    tokens: int
    largest_difference: float

    def manifest(self) -> dict[str, Any]:
        """Return what an artifact says of it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two scorings of the same prompts are.

    Attributes
    ----------
    prompts
        How many.
    correlation, rank_correlation
        Pearson's, and Spearman's with the mean rank for ties; None where the scores of a side are all equal.
    equal_decisions
        Share of the prompts for which both say the same at the threshold.
    largest_difference
        Between two scores of a prompt.
    threshold
        A score of at least this asks for the strong model.
    """

    prompts: int
    correlation: float | None
    rank_correlation: float | None
    equal_decisions: float
    largest_difference: float
    threshold: float

    def manifest(self) -> dict[str, Any]:
        """Return what an artifact says of it."""
        return asdict(self)


def torch_run(model: torch.nn.Module, output: str) -> Run:
    """Return a function that runs a model of transformers.

    Parameters
    ----------
    model
        Is put into evaluation mode, and stays in it.
    output
        "logits" or "last_hidden_state".
    """
    torch = needed("torch")
    model.eval()
    device = next((each.device for each in model.parameters()), None)

    def run(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
            found = getattr(model(**{name: values.to(device) for name, values in given.items()}), output)
            values: NDArray[np.float32] = found.float().cpu().numpy()
        return values

    return run


def graph_run(graph: bytes, output: str) -> Run:
    """Return a function that runs a graph on the processor, in the session that models of this graph share."""
    check_graph(graph, source="graph")
    return shared_session(graph, source="graph", output=(output,), device="cpu").run


def padded_batches(sequences: Sequence[Sequence[int]], pad: int) -> list[Batch]:
    """Put sequences of token ids into batches as they come, so that short ones are padded; empty ones are left out."""
    full = [sequence for sequence in sequences if sequence]
    return [padded(full[begin : begin + _ROWS], pad) for begin in range(0, len(full), _ROWS)]


def check_export(
    run_torch: Run, run_onnx: Run, batches: Iterable[Batch], *, tolerance: float = TOLERANCE
) -> ExportCheck:
    """Compare a graph with the model it was made of, batch by batch.

    Parameters
    ----------
    run_torch, run_onnx
        Take ids and mask, int64 (batch, length), and give logits (batch, labels) or hidden states (batch, length, d);
        `torch_run` and `graph_run` make them. Hidden states of padding don't count.
    batches
        Ids and mask, 1 where there is no padding; `padded_batches` makes them. Give several lengths.
    tolerance
        The largest difference that is allowed.

    Raises
    ------
    DataError
        They differ by more, or in shape, or a number is NaN or infinite; the message has the largest difference.
    InvalidArgumentError
        There is no batch.
    """
    sequences = tokens = 0
    worst, where = 0.0, ""
    for index, (ids, mask) in enumerate(batches):
        wanted, found = run_torch(ids, mask), run_onnx(ids, mask)
        if wanted.shape != found.shape:
            raise DataError(f"batch {index}: the graph gives the shape {found.shape}, and torch {wanted.shape}")
        if wanted.ndim == 3:
            wanted, found = wanted[mask != 0], found[mask != 0]
        for name, values in (("torch", wanted), ("the graph", found)):
            if not np.isfinite(values).all():
                raise DataError(f"batch {index}: {name} gives NaN or infinity")
        exact = wanted.astype(np.float64)
        difference = np.abs(exact - found) / np.maximum(1, np.abs(exact))
        if difference.size and difference.max() > worst:
            worst, where = float(difference.max()), f"batch {index}, {ids.shape[0]} x {ids.shape[1]} tokens"
        sequences, tokens = sequences + len(ids), tokens + int(mask.sum())
    if not sequences:
        raise InvalidArgumentError("batches: found none, allowed: at least one")
    if worst > tolerance:
        raise DataError(
            f"the graph does not say what the model says: the largest difference is {worst:.3g} ({where}), at most "
            f"{tolerance:g} is allowed"
        )
    return ExportCheck(sequences, tokens, worst)


def agreement(before: ArrayLike, after: ArrayLike, threshold: float) -> Agreement:
    """Compare scores of the same prompts, before and after a graph is made smaller.

    Parameters
    ----------
    before, after
        (n,) scores in [0, 1], n at least 1.
    threshold
        A score of at least this asks for the strong model.

    Raises
    ------
    DataError
        A score is NaN or infinite.
    InvalidArgumentError
        There are none, or not as many on both sides.
    """
    old, new = np.asarray(before, np.float64), np.asarray(after, np.float64)
    if old.ndim != 1 or old.shape != new.shape or not old.size:
        raise InvalidArgumentError(f"before, after: found the shapes {old.shape} and {new.shape}, allowed: (n,) twice")
    for name, values in (("before", old), ("after", new)):
        bad = ~np.isfinite(values)
        if bad.any():
            raise DataError(f"{name}[{int(bad.argmax())}]: is {values[bad.argmax()]}; a finite score is needed")
    return Agreement(
        prompts=len(old),
        correlation=_correlation(old, new),
        rank_correlation=_correlation(_ranks(old), _ranks(new)),
        equal_decisions=float(np.mean((old >= threshold) == (new >= threshold))),
        largest_difference=float(np.abs(old - new).max()),
        threshold=float(threshold),
    )


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    a, b = one - one.mean(), other - other.mean()
    return float(np.clip((a @ b) / np.sqrt((a @ a) * (b @ b)), -1, 1))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of each value; the mean of their ranks for equal ones."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
