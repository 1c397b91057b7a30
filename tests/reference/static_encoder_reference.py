"""Embedding of the static encoder, in NumPy float64: the mean of the tokens' rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def embed(
    ids: Sequence[int], rows: NDArray[np.int8], scales: NDArray[np.float32], max_tokens: int
) -> NDArray[np.float64]:
    """Mean of ``scale[t] * rows[t]`` over the first `max_tokens` ids; zeros where there are none."""
    kept = list(ids)[:max_tokens]
    if not kept:
        return np.zeros(rows.shape[1])
    vectors = scales[kept, None].astype(np.float64) * rows[kept].astype(np.float64)
    return vectors.mean(axis=0)
