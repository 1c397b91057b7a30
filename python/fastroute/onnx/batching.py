"""Batches of like lengths, bounded by tokens: padding is computed too, and costs as much as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["padded", "plan_batches"]


def plan_batches(lengths: Sequence[int] | NDArray[np.integer], *, area: int) -> list[NDArray[np.int64]]:
    """Divide sequences into batches of like lengths.

    Parameters
    ----------
    lengths
        (n,) tokens of each sequence.
    area
        Rows times the longest row of a batch, padding included, is this at most. A sequence that is longer is a batch
        of its own.

    Returns
    -------
    list of numpy.ndarray
        Places among the sequences, each in one batch. The longest come first: memory is at its peak at once, and is
        used again by what follows. Equal lengths stay in order.
    """
    sizes = np.asarray(lengths, np.int64)
    order = np.argsort(-sizes, kind="stable")
    batches, begin = [], 0
    while begin < len(order):
        rows = max(1, area // max(int(sizes[order[begin]]), 1))
        batches.append(order[begin : begin + rows])
        begin += rows
    return batches


def padded(sequences: Sequence[Sequence[int]], pad: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sequences in one array, and 1 for each place that is no padding; (n, longest) int64 both."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), pad, np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
        mask[row, : len(sequence)] = 1
    return ids, mask
