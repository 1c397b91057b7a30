r"""How far one score distribution is from another: PSI and KS, with 95% intervals.

::

    PSI = sum over bins of (p - q) ln(p / q),   p, q = (count + 1/2) / (rows + bins / 2)
    KS  = largest difference between the shares of scores below a cut

PSI bins are the tenths of the calibration scores; a score that a tenth of them or more share has a bin of its own,
and a bin that is empty on both sides is left out. KS is the largest over every edge of the finer of the two grids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST_ROWS", "Drift", "drift_between", "ks_between", "ks_p_value", "psi_between", "psi_edges"]

LEAST_ROWS: Final = 50
_TENTHS: Final = 10
_TAIL: Final = 0.025
_HALF: Final = 0.5
_TERMS: Final = 101


@dataclass(frozen=True, slots=True)
class Drift:
    """Distance between the scores of some rows and those of the calibration set.

    Attributes
    ----------
    rows, against_rows
        How many scores each side has.
    psi
        Population stability index.
    psi_low, psi_high
        95% interval for the index of the distributions behind the rows: percentiles of multinomial resamples of both
        sides, less the upward bias that sampling gives the index, estimated by the same resamples. None where a side
        has fewer than 50 rows: resamples of so few are too alike.
    psi_chance
        What 95% of the indices of two samples of these sizes stay below where nothing has drifted: resamples of both
        sides pooled. A `psi` below it is no sign of drift.
    ks
        Kolmogorov-Smirnov distance.
    ks_low, ks_high
        Interval that holds the distance of the distributions with at least 95%: Dvoretzky, Kiefer and Wolfowitz with
        Massart's constant on both sides. Holds at any size and with ties, and is wide.
    ks_p
        p-value of "no drift" by Kolmogorov's asymptotic distribution; too large where scores are tied.
    bins
        PSI bins.
    verdict
        "none" where `psi` is not above `psi_chance`; else by the customary steps of PSI "small" (below 0.1),
        "moderate" (to 0.25) or "large".
    """

    rows: int
    against_rows: int
    psi: float
    psi_low: float | None
    psi_high: float | None
    psi_chance: float
    ks: float
    ks_low: float
    ks_high: float
    ks_p: float
    bins: int
    verdict: str


def drift_between(
    counts: NDArray[np.int64],
    against: NDArray[np.int64],
    edges: NDArray[np.int64],
    *,
    ks: float,
    resamples: int,
    seed: int,
) -> Drift:
    """Measure the drift between two histograms on the grid that `edges` are bins of.

    Parameters
    ----------
    counts, against
        (bins,) int64; at least one row each.
    edges
        What `psi_edges` returns for `against`.
    ks
        The distance, measured on the finest grid at hand.
    resamples
        Multinomial resamples.
    seed
        Of the resamples.
    """
    p, q = _in_bins(counts, edges), _in_bins(against, edges)
    filled = (p + q) > 0
    p, q = p[filled], q[filled]
    n, m = int(p.sum()), int(q.sum())
    psi = float(psi_between(p, q))
    random = np.random.default_rng(seed)
    # The same half rows: a bin that is empty by chance would be empty in every resample too.
    drawn = psi_between(random.multinomial(n, _shares(p), resamples), random.multinomial(m, _shares(q), resamples))
    # A resample is as far above the sample as the sample is above the truth: the bias is taken off twice.
    bias = float(drawn.mean()) - psi
    low, high = np.quantile(drawn - 2 * bias, [_TAIL, 1 - _TAIL])
    enough = min(n, m) >= LEAST_ROWS
    pooled = (p + q) / (n + m)
    alike = psi_between(random.multinomial(n, pooled, resamples), random.multinomial(m, pooled, resamples))
    chance = float(np.quantile(alike, 1 - 2 * _TAIL))
    margin = sum(math.sqrt(math.log(2 / _TAIL) / (2 * rows)) for rows in (n, m))
    return Drift(
        rows=n,
        against_rows=m,
        psi=psi,
        psi_low=max(0.0, float(low)) if enough else None,
        psi_high=max(0.0, float(high)) if enough else None,
        psi_chance=chance,
        ks=ks,
        ks_low=max(0.0, ks - margin),
        ks_high=min(1.0, ks + margin),
        ks_p=ks_p_value(ks, n, m),
        bins=len(p),
        verdict=_verdict(psi, chance),
    )


def psi_edges(against: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bins of the grid at which a PSI bin begins, the first aside: tenths of the calibration scores."""
    rows = int(against.sum())
    below = np.concatenate(([0], np.cumsum(against)))
    tenths = np.searchsorted(below * _TENTHS, rows * np.arange(1, _TENTHS))
    atoms = np.flatnonzero(against * _TENTHS >= rows)
    edges = np.unique(np.concatenate((tenths, atoms, atoms + 1)))
    return edges[(edges > 0) & (edges < len(against))]


def psi_between(p: NDArray[np.int64], q: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the population stability index of counts, over the last axis, with half a row more in every bin."""
    ours, theirs = _shares(p), _shares(q)
    found: NDArray[np.float64] = ((ours - theirs) * np.log(ours / theirs)).sum(axis=-1)
    return found


def ks_between(counts: NDArray[np.int64], against: NDArray[np.int64]) -> float:
    """Return the largest difference between the shares below an edge of the grid; (bins,) int64 both."""
    shares = [np.cumsum(side) / side.sum() for side in (counts, against)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_p_value(distance: float, rows: int, against_rows: int) -> float:
    """Return the probability of this distance or more without drift, for many rows (Kolmogorov 1933, Smirnov 1939)."""
    x = distance * math.sqrt(rows * against_rows / (rows + against_rows))
    if x < 0.2:  # the series alternates for ever there; the value is 1 to twelve digits
        return 1.0
    terms = (math.exp(-2 * (k * x) ** 2) * (1 if k % 2 else -1) for k in range(1, _TERMS))
    return min(1.0, max(0.0, 2 * sum(terms)))


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (counts + _HALF) / (counts.sum(axis=-1, keepdims=True) + _HALF * counts.shape[-1])
    return found


def _in_bins(counts: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.add.reduceat(counts, np.concatenate(([0], edges)))
    return found


def _verdict(psi: float, chance: float) -> str:
    if psi <= chance:
        return "none"
    return "small" if psi < 0.1 else "moderate" if psi < 0.25 else "large"
