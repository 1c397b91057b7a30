"""Which models can be compared: groups in which each model reaches each other along wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["comparable_groups", "reachable"]


def reachable(wins: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For (..., K, K) wins: whether a chain of wins leads from i to j; every model reaches itself."""
    models = wins.shape[-1]
    reach = (wins > 0) | np.eye(models, dtype=np.bool_)
    length = 1
    while length < models - 1:
        paths = reach.astype(np.float32)
        reach = paths @ paths > 0
        length *= 2
    return reach


def comparable_groups(wins: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """List groups of models with finite ratings against each other, the largest first.

    They are the strongly connected components of the graph of wins (Ford, 1957); of one size, the one with
    more battles comes first, then the one with the first model. The members of a group ascend.
    """
    reach = reachable(wins)
    mutual = reach & reach.T
    first = mutual.argmax(axis=1)
    groups = [np.flatnonzero(first == model) for model in np.unique(first)]
    return sorted(groups, key=lambda group: (-len(group), -wins[np.ix_(group, group)].sum(), group[0]))
