"""A threshold for a share of strong calls."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.calibration.arrays import unit_array
from fastroute.calibration.beta import proportion_interval
from fastroute.policies.arguments import open_unit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["StrongFraction", "calibrate_strong_fraction", "share_at", "tied_at"]


@dataclass(frozen=True, slots=True)
class StrongFraction:
    """A threshold and the share of strong calls that it produces.

    Attributes
    ----------
    threshold
        Scores from here up go to the strong model.
    strong_fraction
        The share that was asked for.
    share
        The share of the calibration prompts at or above the threshold.
    low, high
        Interval for the share of future prompts.
    confidence
        Probability, over the draw of the calibration prompts, that the interval holds that share.
    prompts
        Number of calibration prompts.
    tied
        Calibration prompts whose score is the threshold: they all go to the strong model together.
    """

    threshold: float
    strong_fraction: float
    share: float
    low: float
    high: float
    confidence: float
    prompts: int
    tied: int

    def record(self) -> dict[str, Any]:
        """Return what an artifact keeps under "calibration": JSON values."""
        return {"kind": "strong_fraction", **asdict(self)}


def calibrate_strong_fraction(scores: ArrayLike, strong_fraction: float, *, confidence: float = 0.95) -> StrongFraction:
    """Find the threshold that sends a share of the user's own prompts to the strong model.

    Parameters
    ----------
    scores
        (n,) the router's scores of the prompts, in [0, 1].
    strong_fraction
        The share to send to the strong model, in (0, 1).
    confidence
        Of the interval, in (0, 1).

    Returns
    -------
    StrongFraction
        The threshold is one of the scores: the one whose cut is nearest to the share.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.

    Notes
    -----
    *Assumption*: calibration and future prompts are independent draws of one distribution. Nothing is assumed of
    the distribution. Where traffic drifts, use `fastroute.policies.Budget`.

    The k-th highest of n scores of a continuous distribution leaves a share of Beta(k, n - k + 1) above it (David and
    Nagaraja, Order Statistics, 2003, section 2.1), so the Clopper-Pearson interval of k out of n holds the share
    although the threshold was chosen on the same scores. Where several prompts share the threshold's score the
    distribution has atoms, which that argument does not allow: the interval is then the wider one of Dvoretzky,
    Kiefer and Wolfowitz with Massart's constant (Annals of Probability 18, 1990), which holds for all thresholds at
    once.
    """
    values = np.sort(unit_array("scores", scores))
    fraction = open_unit("strong_fraction", strong_fraction)
    confidence = open_unit("confidence", confidence)
    threshold, atoms = _nearest_cut(values, fraction)
    share, low, high = share_at(values, threshold, confidence, atoms=atoms)
    return StrongFraction(threshold, fraction, share, low, high, confidence, len(values), tied_at(values, threshold))


def share_at(
    values: NDArray[np.float64], threshold: float, confidence: float, *, atoms: bool
) -> tuple[float, float, float]:
    """Share of the sorted `values` from `threshold` up, and its interval.

    Parameters
    ----------
    atoms
        Whether scores are tied where the threshold was looked for.
    """
    count = len(values)
    strong = count - int(np.searchsorted(values, threshold, "left"))
    share = strong / count
    if not atoms:
        return share, *proportion_interval(strong, count, confidence)
    margin = math.sqrt(math.log(2 / (1 - confidence)) / (2 * count))
    return share, max(0.0, share - margin), min(1.0, share + margin)


def tied_at(values: NDArray[np.float64], threshold: float) -> int:
    """How many of the sorted `values` equal the threshold."""
    return int(np.searchsorted(values, threshold, "right") - np.searchsorted(values, threshold, "left"))


def _nearest_cut(values: NDArray[np.float64], fraction: float) -> tuple[float, bool]:
    """Among the sorted scores, the threshold with the nearest share, and whether there were ties to decide."""
    count = len(values)
    wanted = fraction * count
    at = float(values[count - max(1, round(wanted))])
    with_ties = count - int(np.searchsorted(values, at, "left"))
    without = count - int(np.searchsorted(values, at, "right"))
    if without and wanted - without < with_ties - wanted:
        return float(values[count - without]), with_ties - without > 1
    return at, with_ties - without > 1
