"""What a first router's score leaves open of a second one's."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import numpy as np

from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import ArrayLike, NDArray

__all__ = ["ScoreBounds"]

_ONE: Final = int(np.float32(1).view(np.int32))  # floats of one sign are ordered as their bits are


class ScoreBounds:
    """Bounds of the second router's score as two functions of the first router's, linear between knots.

    Both are non-decreasing, so what they leave open at a threshold is a band of the first router's scores, which
    moves up with the threshold. Never changes; a score has the same bounds alone and in an array.

    Parameters
    ----------
    knots
        (K,) scores of the first router, increasing; below the first and above the last one bounds are constant.
    low, high
        (K,) bounds at the knots, non-decreasing, `low` nowhere above `high`.
    share
        (K,) share of the calibration prompts that the first router scores up to the knot, non-decreasing.

    Raises
    ------
    InvalidArgumentError
        They are no such numbers from 0 to 1.
    """

    __slots__ = ("_arrays", "_lists", "tensors")

    tensors: Mapping[str, NDArray[np.float32]]

    def __init__(self, knots: ArrayLike, low: ArrayLike, high: ArrayLike, share: ArrayLike) -> None:
        given = {"knots": knots, "low": low, "high": high, "share": share}
        self.tensors = {name: np.array(values, np.float32) for name, values in given.items()}
        count = self.tensors["knots"].size
        for name, values in self.tensors.items():
            if values.shape != (count,) or not count:
                raise InvalidArgumentError(f"{name}: found shape {values.shape}, allowed: (K,), one K of 1 or more")
            steps = np.diff(values)
            if not ((values >= 0) & (values <= 1)).all() or not (steps > 0 if name == "knots" else steps >= 0).all():
                order = "increasing" if name == "knots" else "non-decreasing"
                raise InvalidArgumentError(f"{name}: found other values, allowed: 0 to 1, {order}")
            values.setflags(write=False)
        if (self.tensors["low"] > self.tensors["high"]).any():
            raise InvalidArgumentError("low, high: found a low bound above the high one, allowed: at or below it")
        wide = {name: values.astype(np.float64) for name, values in self.tensors.items()}
        at = wide["knots"]
        # Rounding must not lift a value above the next knot's, or the bounds would not be monotone.
        columns = [at]
        for name in ("low", "high"):
            slope = np.append(np.diff(wide[name]) / np.diff(at), 0.0)
            columns += [wide[name], slope, np.append(wide[name][1:], wide[name][-1])]
        self._arrays = tuple(columns)
        self._lists = tuple(column.tolist() for column in columns)

    @classmethod
    def everything(cls) -> ScoreBounds:
        """Bounds that leave everything open: the second router decides alone."""
        return cls([0], [0], [1], [1])

    def of_many(self, scores: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high bounds for scores of the first router: (n,) each, float64 that are exact in float32."""
        knots, low, low_slope, low_next, high, high_slope, high_next = self._arrays
        wide = scores.astype(np.float64)
        at = np.maximum(np.searchsorted(knots, wide, "right") - 1, 0)
        beyond = np.maximum(wide - knots[at], 0.0)
        lows = np.minimum(low[at] + beyond * low_slope[at], low_next[at])
        highs = np.minimum(high[at] + beyond * high_slope[at], high_next[at])
        # Bounds are scores; widened again, since NumPy would round a threshold to compare it with float32.
        return lows.astype(np.float32).astype(np.float64), highs.astype(np.float32).astype(np.float64)

    def of_one(self, score: float) -> tuple[float, float]:
        """Low and high bound for a score of the first router: the bits of `of_many`."""
        knots, low, low_slope, low_next, high, high_slope, high_next = self._lists
        at = max(bisect_right(knots, score) - 1, 0)
        beyond = max(score - knots[at], 0.0)
        return (
            float(np.float32(min(low[at] + beyond * low_slope[at], low_next[at]))),
            float(np.float32(min(high[at] + beyond * high_slope[at], high_next[at]))),
        )

    def open_at(self, threshold: float) -> tuple[float, float] | None:
        """Lowest and highest score of the first router that leave open which side of `threshold` the second's is on.

        A prompt is open where ``low < threshold <= high``. None where no score leaves it open.
        """
        first = _lowest(lambda score: self.of_one(score)[1] >= threshold)
        beyond = _lowest(lambda score: self.of_one(score)[0] >= threshold)
        if first is None or (beyond is not None and beyond <= first):
            return None
        last = _ONE if beyond is None else beyond - 1
        return _float(first), _float(last)

    def open_share(self, threshold: float) -> float:
        """Share of the calibration prompts that are open at `threshold`, as the knots tell it."""
        band = self.open_at(threshold)
        if band is None:
            return 0.0
        knots, share = self._lists[0], self.tensors["share"].astype(np.float64)
        # Scores below the first knot were not seen, and the first knot's own share is a step.
        below = np.interp(np.nextafter(np.float32(band[0]), np.float32(-1)), knots, share, left=0.0)
        return max(0.0, float(np.interp(band[1], knots, share, left=0.0, right=1.0) - below))


def _float(bits: int) -> float:
    return float(np.int32(bits).view(np.float32))


def _lowest(holds: Callable[[float], bool]) -> int | None:
    """Bits of the lowest float32 in [0, 1] from which on a monotone predicate holds; None where it never does."""
    if not holds(1.0):
        return None
    low, high = 0, _ONE
    while low < high:
        middle = (low + high) // 2
        if holds(_float(middle)):
            high = middle
        else:
            low = middle + 1
    return high
