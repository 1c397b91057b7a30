"""The cheapest threshold that recovers a share of the quality gap, with a guarantee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from fastroute.calibration.arrays import unit_array
from fastroute.calibration.betting import betting_p_value
from fastroute.errors import InvalidArgumentError
from fastroute.policies import QualityFloor
from fastroute.policies.arguments import open_unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

__all__ = ["QualityFloorSearch", "Step", "calibrate_quality_floor"]

GRID_STEPS: Final = 4096


@dataclass(frozen=True, slots=True)
class Step:
    """One threshold that was tested.

    Attributes
    ----------
    threshold
        Scores from here up go to the strong model.
    strong_fraction
        Share of the calibration prompts that do.
    recovered
        Share of the performance gap that this recovers on them; NaN where they show no gap.
    p_value
        Of the hypothesis that the population's share recovered is less than what is asked for.
    """

    threshold: float
    strong_fraction: float
    recovered: float
    p_value: float


@dataclass(frozen=True, slots=True)
class QualityFloorSearch:
    """What `calibrate_quality_floor` found.

    Attributes
    ----------
    policy
        The cheapest threshold that qualifies; None where none does.
    reason
        Where none does, why, and what would help; else empty.
    quality, confidence
        What was asked for.
    prompts
        Number of labelled prompts.
    strong_quality, weak_quality
        Mean score of each model on them.
    steps
        The thresholds in the order of the tests, cheaper and cheaper; the last one did not qualify, unless it is
        the end of the grid.
    """

    policy: QualityFloor | None
    reason: str
    quality: float
    confidence: float
    prompts: int
    strong_quality: float
    weak_quality: float
    steps: tuple[Step, ...]


def calibrate_quality_floor(
    scores: ArrayLike,
    strong: ArrayLike,
    weak: ArrayLike,
    *,
    quality: float,
    confidence: float = 0.9,
    thresholds: ArrayLike | None = None,
    seed: int = 0,
) -> QualityFloorSearch:
    """Find the cheapest threshold for which PGR >= `quality` holds with probability `confidence`.

    PGR is the performance gap recovered, ``(r(router) - r(weak)) / (r(strong) - r(weak))`` for the mean qualities r
    over the population that the labelled prompts were drawn from (RouteLLM, arXiv 2406.18665, section 3.2).

    Parameters
    ----------
    scores
        (n,) the router's scores of the labelled prompts, in [0, 1].
    strong, weak
        (n,) quality of each model's answer, in [0, 1]; right or wrong is 1 or 0.
    quality
        The share of the gap to recover, in (0, 1).
    confidence
        Probability, over the draw of the labelled prompts, that the threshold found recovers it; in (0, 1).
    thresholds
        The thresholds to test, in [0, 1]. They must not depend on these labelled prompts: quantiles of the scores of
        *other* prompts are fine. Multiples of 1/4096 by default. All-strong (0) is always among them.
    seed
        Of the order in which the labelled prompts are looked at.

    Returns
    -------
    QualityFloorSearch
        Its `policy` is None where no threshold qualifies: too few labels, or a strong model that is not better.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.

    Notes
    -----
    *Guarantee*: over repeated draws of the labelled prompts, the probability that a policy is returned whose
    population PGR is below `quality` is at most ``1 - confidence``. It speaks of the population, not of the next
    hundred prompts, whose PGR scatters around the population's.

    *Assumptions*: the labelled prompts are independent draws of the distribution that will be routed (the same
    prompt repeated counts once; another month's traffic or another domain is another distribution); the router was
    not trained on them; the labels measure what the user means by quality; the call is made once, not repeated with
    other seeds or settings until the result pleases.

    *Method*: Learn then Test with fixed-sequence testing (Angelopoulos, Bates, Candes, Jordan and Lei, arXiv
    2110.01052, section 2.2.1). For a threshold t let ``Z = (routed - weak) - quality * (strong - weak)`` of a
    prompt. Where the strong model is better, PGR >= quality exactly if E[Z] >= 0. From all-strong on, cheaper and
    cheaper, the hypothesis E[Z] <= 0 is tested at level ``1 - confidence``, and the first that is not rejected
    ends the walk: so one level serves all thresholds, however many. All-strong has Z = (1 - quality) * (strong -
    weak), which tests that there is a gap at all. Each test bets on the values in a random order, see
    `fastroute.calibration.betting`. The walk is what needs thresholds that are fixed beforehand; a fine grid costs
    no confidence, and thresholds between which no labelled prompt lies are tested once.
    """
    score_array = unit_array("scores", scores)
    count = len(score_array)
    strong_array, weak_array = unit_array("strong", strong, count), unit_array("weak", weak, count)
    quality, level = open_unit("quality", quality), 1 - open_unit("confidence", confidence)
    order = _shuffled(count, seed)
    walk = _Walk(score_array[order], (strong_array - weak_array)[order], quality, level)
    steps = list(walk.steps(_grid(thresholds)))
    means = float(strong_array.mean()), float(weak_array.mean())
    qualified = [step for step in steps if step.p_value <= level]
    policy = None
    if qualified and means[0] > means[1]:
        best = qualified[-1]
        policy = QualityFloor(quality, float(confidence), best.threshold, count, best.recovered, best.strong_fraction)
    reason = "" if policy else _reason(steps[0].p_value, level, count, *means)
    return QualityFloorSearch(policy, reason, quality, float(confidence), count, *means, tuple(steps))


@dataclass(frozen=True, slots=True)
class _Walk:
    scores: NDArray[np.float64]
    gains: NDArray[np.float64]
    quality: float
    level: float

    def steps(self, grid: NDArray[np.float64]) -> Iterator[Step]:
        """Test thresholds upwards to the first that is not rejected; runs that cut alike count once."""
        below = np.searchsorted(np.sort(self.scores), grid, "left")
        # Of the thresholds with one cut the highest is the cheapest for future prompts.
        last_of_cut = np.append(below[1:] != below[:-1], True)
        for threshold in grid[last_of_cut]:
            step = self._test(float(threshold))
            yield step
            if step.p_value > self.level:
                return

    def _test(self, threshold: float) -> Step:
        chosen = self.scores >= threshold
        values = (chosen - self.quality) * self.gains
        p_value = betting_p_value(values, max(self.quality, 1 - self.quality), self.level)
        gap = float(self.gains.sum())
        recovered = float(self.gains[chosen].sum()) / gap if gap else float("nan")
        return Step(threshold, float(chosen.mean()), recovered, p_value)


def _grid(thresholds: ArrayLike | None) -> NDArray[np.float64]:
    given = np.arange(GRID_STEPS + 1) / GRID_STEPS if thresholds is None else unit_array("thresholds", thresholds)
    return np.unique(np.append(given, 0.0))


def _shuffled(count: int, seed: int) -> NDArray[np.int64]:
    try:
        return np.random.default_rng(seed).permutation(count)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(f"seed: found {seed!r}, allowed: an int of 0 or more") from error


def _reason(p_value: float, level: float, count: int, strong: float, weak: float) -> str:
    means = f"the strong model scores {strong:.4g}, the weak one {weak:.4g}"
    if strong <= weak:
        return f"no threshold qualifies: on {count:,} labelled prompts {means}, so there is no gap to recover"
    return (
        f"no threshold qualifies: on {count:,} labelled prompts {means}, which does not show that the strong model is "
        f"better at this confidence (p = {p_value:.3g}, at most {level:.3g} is needed); label more prompts"
    )
