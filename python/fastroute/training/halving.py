"""The threshold that a router of scored prompts starts with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["halving"]


def halving(scores: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
    """Threshold that sends as nearly half to the strong model as scores that are alike allow, and what it sends."""
    if not len(scores):
        return 0.5, {}
    middle = np.float32(np.quantile(scores, 0.5, method="higher"))
    cuts = (middle, np.nextafter(middle, np.float32(2), dtype=np.float32))
    threshold = min(cuts, key=lambda cut: abs(float((scores >= cut).mean()) - 0.5))
    return min(float(threshold), 1.0), {
        "strong_fraction": float((scores >= threshold).mean()),
        "prompts": len(scores),
        "alike": int((scores == middle).sum()),
        "on": "training prompts, each scored without its fold; as near a half as prompts of one score allow",
    }
