"""Area under the performance-gap-recovered curve, written plainly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def apgr(scores: NDArray[np.float32], weak: NDArray[np.float64], strong: NDArray[np.float64]) -> float:
    """APGR of RouteLLM (arXiv 2406.18665, section 3.2): PGR averaged over the share of strong calls, 0 to 1.

    The area is exact: every cut between distinct scores, and prompts with one score cut together.
    """
    gap = strong.sum() - weak.sum()
    shares, recovered = [0.0], [0.0]
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        shares.append(chosen.mean())
        recovered.append((strong[chosen].sum() - weak[chosen].sum()) / gap)
    return sum(
        (x1 - x0) * (y0 + y1) / 2 for x0, x1, y0, y1 in zip(shares, shares[1:], recovered, recovered[1:], strict=False)
    )


def fast_apgr(scores: NDArray[np.float32], weak: NDArray[np.float64], strong: NDArray[np.float64]) -> float:
    """Give the same for resampling: sorted once."""
    order = np.argsort(-scores, kind="stable")
    ranked, gain = scores[order], (strong - weak)[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) + 1
    shares = np.concatenate([[0.0], ends / len(scores)])
    recovered = np.concatenate([[0.0], np.cumsum(gain)[ends - 1]]) / gain.sum()
    return float(np.sum(np.diff(shares) * (recovered[1:] + recovered[:-1]) / 2))
