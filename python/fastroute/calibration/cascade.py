"""How far a fast router may decide before a careful one has to be asked, with a bound on how often they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.calibration.arrays import unit_array
from fastroute.calibration.beta import beta_cdf, beta_quantile, proportion_interval
from fastroute.calibration.strong_fraction import calibrate_strong_fraction
from fastroute.errors import InvalidArgumentError
from fastroute.policies.arguments import closed_unit, open_unit
from fastroute.routers.score_bounds import ScoreBounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["CascadeSearch", "CascadeStep", "calibrate_cascade"]

_MOST_FITTED: Final = 10_000
_MOST_KNOTS: Final = 512
_WIDTHS: Final = 256
_CURVE_POINTS: Final = 33
_INTERVAL: Final = 0.95
_LARGEST_EXPONENT: Final = 700.0  # whose exponential is finite


@dataclass(frozen=True, slots=True)
class CascadeStep:
    """One width of the bounds.

    Attributes
    ----------
    width
        Of the bounds to either side, in log-odds of ranks; infinite where they bound nothing.
    escalated
        Share of the checked prompts that reach the second router.
    disagreed
        Checked prompts on which the first router decides, and otherwise than the second would.
    """

    width: float
    escalated: float
    disagreed: int


@dataclass(frozen=True, slots=True)
class CascadeSearch:
    """What `calibrate_cascade` found.

    Attributes
    ----------
    bounds
        Of the second router's score, given the first's.
    threshold
        That the disagreement was bounded at.
    disagreement, confidence
        What was asked for.
    fitted, checked
        Prompts that the shape of the bounds, and their width, come from.
    chosen
        The width taken, as checked.
    strong_share
        Share of the checked prompts that the cascade sends to the strong model; NaN where none was checked.
    bound
        The disagreement of future prompts is at most this, with probability `confidence`; 0 where all are asked.
    steps
        All widths from the widest on: shares that reach the second router against agreement.
    reason
        Where the first router decides nothing, why; else empty.
    """

    bounds: ScoreBounds
    threshold: float
    disagreement: float
    confidence: float
    fitted: int
    checked: int
    chosen: CascadeStep
    strong_share: float
    bound: float
    steps: tuple[CascadeStep, ...]
    reason: str

    def record(self) -> dict[str, Any]:
        """Return what an artifact keeps under "calibration": JSON values; intervals are those of one proportion."""
        checked, chosen = self.checked, self.chosen

        def interval(count: int) -> list[float] | None:
            return list(proportion_interval(count, checked, _INTERVAL)) if checked else None

        return {
            "kind": "cascade",
            "threshold": self.threshold,
            "disagreement": self.disagreement,
            "confidence": self.confidence,
            "bound": self.bound,
            "prompts": self.fitted + checked,
            "checked": checked,
            "agreement": 1 - chosen.disagreed / checked if checked else None,
            "agreement_interval": interval(checked - chosen.disagreed),
            "escalated": chosen.escalated,
            "escalated_interval": interval(round(chosen.escalated * checked)),
            "interval_confidence": _INTERVAL,
            "strong_share": self.strong_share if checked else None,
            "width": chosen.width if math.isfinite(chosen.width) else None,
            "reason": self.reason,
        }

    def curve(self) -> list[list[float]]:
        """Return shares that reach the second router and agreement with it, from all on: some of the steps."""
        if not self.checked:
            return []
        rows = np.unique(np.linspace(0, len(self.steps) - 1, _CURVE_POINTS).round().astype(np.int64))
        return [[self.steps[row].escalated, 1 - self.steps[row].disagreed / self.checked] for row in rows]


def calibrate_cascade(
    first: ArrayLike,
    second: ArrayLike,
    *,
    threshold: float | None = None,
    strong_fraction: float | None = None,
    disagreement: float = 0.02,
    confidence: float = 0.9,
    seed: int = 0,
) -> CascadeSearch:
    """Bound the second router's score by the first's, as tightly as a share of disagreements allows.

    Parameters
    ----------
    first, second
        (n,) scores of both routers for the same unlabelled prompts, in [0, 1]; rounded to float32, as routers do.
    threshold
        Of the second router's scores.
    strong_fraction
        Instead of `threshold`: the share of strong calls, in (0, 1); .5 where neither is given. The threshold is then
        found on the prompts that the bounds are fitted on.
    disagreement
        Share of decisions that may differ from the second router's alone, in (0, 1).
    confidence
        Probability, over the draw of the prompts, that no more do; in (0, 1).
    seed
        Of the split into prompts to fit on and prompts to check on.

    Returns
    -------
    CascadeSearch
        Where the prompts are too few, or the first router tells too little, its bounds leave everything open.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.

    Notes
    -----
    *Score*: the second's, kept within ``[low(f), high(f)]`` for the first's score f. At any threshold t the first
    router decides where both bounds are on one side of t, and elsewhere the second does, as it would alone.

    *Shape*: a score's place is the log-odds of its rank among its router's scores; ``low`` and ``high`` are the
    second's scores of the places `width` below and above the first score's. At threshold t the first router is thus
    asked about the cut of its own that sends as many prompts to the strong model, and decides where it is `width` away
    from that; without any width the score is the first router's on the second's scale.

    *Width*: the two halves of the prompts are independent, so along the widths, which are fixed by one half, the
    other half tests "more than `disagreement` differ" by the exact binomial, from the widest on; the first that is not
    rejected ends the walk, so that one level serves all (fixed-sequence testing; Angelopoulos and others, Learn
    then Test, arXiv 2110.01052). The widest asks for everything and never differs.

    *Guarantee*: over repeated draws of the prompts, the probability that more than `disagreement` of future decisions
    at this threshold differ from the second's is at most ``1 - confidence``. *Assumption*: calibration and future
    prompts are independent draws of one distribution. At other thresholds the bounds have the same width, and no
    guarantee.
    """
    firsts = _as_scores(unit_array("first", first))
    seconds = _as_scores(unit_array("second", second, len(firsts)))
    if threshold is not None and strong_fraction is not None:
        raise InvalidArgumentError("threshold, strong_fraction: found both, allowed: one of them")
    wanted = open_unit("disagreement", disagreement)
    level = 1 - open_unit("confidence", confidence)
    order = _shuffled(len(firsts), seed)
    half = min((len(firsts) + 1) // 2, _MOST_FITTED)
    fit, check = order[:half], order[half:]
    if threshold is None:
        fraction = 0.5 if strong_fraction is None else strong_fraction
        threshold = calibrate_strong_fraction(seconds[fit], fraction).threshold
    at = closed_unit("threshold", threshold)
    family = _Family.fitted(firsts[fit], seconds[fit], at)
    strong = seconds[check] >= at
    first32 = firsts[check].astype(np.float32)
    share = np.searchsorted(np.sort(firsts), family.knots, "right") / len(firsts)
    steps, chosen, walking = [], (family.bounds(math.inf, share), CascadeStep(math.inf, 1.0, 0)), True
    for width in family.widths():
        bounds = family.bounds(width, share)
        step = _checked(bounds, first32, strong, at, width)
        steps.append(step)
        walking = walking and (width == math.inf or _rejected(step.disagreed, len(check), wanted, level))
        if walking:
            chosen = bounds, step
    low, high = chosen[0].of_many(first32)
    cascade_strong = (low >= at) | ((high >= at) & strong)
    return CascadeSearch(
        bounds=chosen[0],
        threshold=at,
        disagreement=wanted,
        confidence=float(confidence),
        fitted=len(fit),
        checked=len(check),
        chosen=chosen[1],
        strong_share=float(cascade_strong.mean()) if len(check) else math.nan,
        bound=0.0 if chosen[1].width == math.inf else _upper(chosen[1].disagreed, len(check), level),
        steps=tuple(steps),
        reason=_reason(chosen[1], len(check), wanted, level),
    )


@dataclass(frozen=True, slots=True)
class _Family:
    """Bounds of every width."""

    knots: NDArray[np.float64]
    places: NDArray[np.float64]  # log-odds of the knots' ranks
    distances: NDArray[np.float64]  # of the fitted prompts' places from the threshold's
    ranks: NDArray[np.float64]
    scores: NDArray[np.float64]  # of the second router, at the ranks

    @classmethod
    def fitted(cls, first: NDArray[np.float64], second: NDArray[np.float64], threshold: float) -> _Family:
        count = len(first)
        cut = np.clip(_ranks(np.array([threshold]), second), 0.25 / count, 1 - 0.25 / count)
        knots = np.unique(np.sort(first)[np.linspace(0, count - 1, _MOST_KNOTS).round().astype(np.int64)])
        return cls(
            knots,
            _log_odds(_ranks(knots, first)),
            np.abs(_log_odds(_ranks(first, first)) - _log_odds(cut)),
            # One rank for each of several equal scores: what maps into between them is that score too.
            np.concatenate([[0.0], (np.arange(count) + 0.5) / count, [1.0]]),
            np.concatenate([[0.0], np.sort(second), [1.0]]),
        )

    def widths(self) -> Iterator[float]:
        """From the widest on: each lets about as many more of the prompts be decided by the first router."""
        yield math.inf
        quantiles = np.unique(np.quantile(self.distances, np.arange(1, _WIDTHS) / _WIDTHS))
        yield from quantiles[quantiles > 0][::-1].tolist()
        yield 0.0

    def bounds(self, width: float, share: NDArray[np.float64]) -> ScoreBounds:
        low, high = (np.maximum.accumulate(self._score(self.places + by)) for by in (-width, width))
        high = np.maximum(low, high)
        # Beyond the scores that were fitted the bounds open towards 0 and 1.
        before, after = int(self.knots[0] > 0), int(self.knots[-1] < 1)
        zero, one = np.zeros(before), np.ones(after)
        return ScoreBounds(
            np.concatenate([zero, self.knots, one]),
            np.concatenate([zero, low, low[len(low) - after :]]),
            np.concatenate([high[:before], high, one]),
            np.concatenate([zero, share, one]),
        )

    def _score(self, log_odds: NDArray[np.float64]) -> NDArray[np.float32]:
        rank = 1 / (1 + np.exp(np.clip(-log_odds, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)))
        return np.interp(rank, self.ranks, self.scores).astype(np.float32)


def _as_scores(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.astype(np.float32).astype(np.float64)


def _ranks(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of `among` below each value, those equal to it counted half."""
    ordered = np.sort(among)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))


def _log_odds(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = np.log(ranks / (1 - ranks))
    return odds


def _checked(
    bounds: ScoreBounds, first: NDArray[np.float32], strong: NDArray[np.bool_], threshold: float, width: float
) -> CascadeStep:
    low, high = bounds.of_many(first)
    asked = (low < threshold) & (high >= threshold)
    disagreed = ~asked & ((low >= threshold) != strong)
    return CascadeStep(width, float(asked.mean()) if len(asked) else 1.0, int(disagreed.sum()))


def _rejected(disagreed: int, checked: int, disagreement: float, level: float) -> bool:
    """Whether so few of the checked prompts would be unlikely if more than the share `disagreement` disagreed."""
    if disagreed >= checked:
        return False
    return beta_cdf(1 - disagreement, checked - disagreed, disagreed + 1) <= level


def _upper(disagreed: int, checked: int, level: float) -> float:
    """Find the one-sided bound of Clopper and Pearson."""
    return beta_quantile(1 - level, disagreed + 1, checked - disagreed)


def _reason(chosen: CascadeStep, checked: int, disagreement: float, level: float) -> str:
    if chosen.width != math.inf:
        return ""
    needed = math.ceil(math.log(level) / math.log1p(-disagreement))
    if checked < needed:
        return (
            f"every prompt reaches the second router: {checked:,} prompts to check on are too few to show a "
            f"disagreement of at most {disagreement:.4g} at this confidence; give {2 * needed:,} or more"
        )
    return "every prompt reaches the second router: the first one's score says too little of what it would decide"


def _shuffled(count: int, seed: int) -> NDArray[np.int64]:
    try:
        return np.random.default_rng(seed).permutation(count)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"seed: found {seed!r}, allowed: an int of 0 or more") from error
