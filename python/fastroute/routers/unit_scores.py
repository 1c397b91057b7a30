"""Prompts for several routers, and scores of routers that may be a third party's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["texts_of", "unit_score", "unit_scores"]


def texts_of(prompts: object) -> list[str]:
    """Prompts as a list, since both routers read them."""
    if isinstance(prompts, (bytes, bytearray, Mapping, AbstractSet)) or not isinstance(prompts, Iterable):
        raise InvalidTypeError(f"prompts: found {type(prompts).__name__}, allowed: a str or an iterable of str")
    given = list(prompts)
    for index, prompt in enumerate(given):
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompts[{index}]: found {type(prompt).__name__}, allowed: a str")
    return given


def unit_score(role: str, score: float) -> float:
    """Check a router's score of one prompt, which may be a third party's; rounded as those of batches are."""
    rounded = float(np.float32(score))
    if not 0 <= rounded <= 1:
        raise InvalidArgumentError(f"{role}: its score is {score}, allowed: 0 to 1")
    return rounded


def unit_scores(role: str, scores: object, count: int) -> NDArray[np.float32]:
    """Check a router's scores of `count` prompts; (count,) float32."""
    found = np.asarray(scores, np.float32)
    if found.shape != (count,):
        raise InvalidArgumentError(
            f"{role}: its scores of {count} prompts have shape {found.shape}, allowed: ({count},)"
        )
    if not ((found >= 0) & (found <= 1)).all():
        raise InvalidArgumentError(f"{role}: a score is outside 0 to 1 or NaN, allowed: 0 to 1")
    return found
