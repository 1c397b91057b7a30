"""Texts that are the same but for case, white space and Unicode forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastroute.contamination.texts import normal_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["exact_pairs"]


def exact_pairs(train: Sequence[str], evaluation: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find texts of both, by index, that have one normal form; empty texts are like no other."""
    places: dict[str, list[int]] = {}
    for index, text in enumerate(evaluation):
        places.setdefault(normal_form(text), []).append(index)
    places.pop("", None)
    found = [(index, other) for index, text in enumerate(train) for other in places.get(normal_form(text), ())]
    table = np.array(found, dtype=np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
