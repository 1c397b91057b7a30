"""Test that a bounded mean is not positive, by betting against it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["betting_p_value"]

_LARGEST_BET: Final = 0.75  # of what would be lost at worst
_PRIOR: Final = 0.25  # of the squared bound: the second moment before anything is seen


def betting_p_value(values: NDArray[np.float64], bound: float, level: float) -> float:
    """p-value of the hypothesis that i.i.d. values in [-bound, bound] have a mean of 0 or less.

    The wealth of a gambler who starts with 1 and multiplies it by ``1 + bet * value`` at each value, with a
    non-negative bet that is fixed before the value is seen, is a supermartingale under the hypothesis, so by Ville's
    inequality the reciprocal of its maximum is a p-value at every sample size (Waudby-Smith and Ramdas, Estimating
    means of bounded random variables by betting, arXiv 2010.09686, proposition 3). The bet is their predictable
    plug-in ``sqrt(2 log(1 / level) / (n * second moment so far))``, cut at 0.75 / bound: tuned to reject at `level`
    after n values, valid at every level.

    Parameters
    ----------
    values
        (n,) in an order that does not depend on them.
    bound
        Positive; a fact about the values that is known beforehand.
    level
        The level of the test, in (0, 1): tunes the bet.
    """
    count = len(values)
    seen = np.concatenate([[0.0], np.cumsum(values[:-1] ** 2)]) + _PRIOR * bound**2
    second_moment = seen / np.arange(1, count + 1)
    bets = np.minimum(np.sqrt(2 * math.log(1 / level) / (count * second_moment)), _LARGEST_BET / bound)
    wealth = np.cumsum(np.log1p(bets * values))
    return math.exp(-max(0.0, float(wealth.max())))
