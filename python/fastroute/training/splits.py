"""Which prompts are drawn, held out, or of which fold: by their keys and a seed alone, so more data moves none."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["drawn", "fold_of", "held_out"]

_DIGEST = 2**64


def held_out(keys: tuple[str, ...], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which of these are kept for validation: about that fraction."""
    threshold = int(fraction * _DIGEST)
    return np.array([_digest(seed, key) < threshold for key in keys], np.bool_)


def fold_of(keys: tuple[str, ...], seed: int, *, folds: int = 5) -> NDArray[np.int64]:
    """Fold of each, from 0."""
    return np.array([_digest(seed, key) % folds for key in keys], np.int64)


def drawn(keys: tuple[str, ...], most: int, seed: int) -> NDArray[np.bool_]:
    """Which of these to keep so that at most so many different ones are left."""
    # By another hash than what is held out of them.
    kept = set(sorted(set(keys), key=lambda key: (_digest(f"drawn {seed}", key), key))[:most])
    return np.array([key in kept for key in keys], np.bool_)


def _digest(seed: int | str, key: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogatepass")).digest()[:8], "big")
