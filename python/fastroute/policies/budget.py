"""A share of strong calls that is held on live traffic."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from threading import Lock
from typing import Final

from fastroute.errors import InvalidArgumentError
from fastroute.policies.arguments import closed_unit, positive_integer

__all__ = ["Budget"]

# The fractional parts of its multiples fill [0, 1) evenly, also along any arithmetic progression of prompts.
_GOLDEN: Final = (math.sqrt(5) - 1) / 2
_GAIN_TIMES_SLACK: Final = 0.1
_MOST: Final = 1_000_000


class Budget:
    """Send a share of the prompts to the strong model, those with the highest scores of recent traffic.

    The number of strong calls after n prompts is within `slack` of ``strong_fraction * n`` at every n, whatever the
    scores and their order. Any stretch of 2,000 prompts therefore holds its share within 2 * 10 / 2000 = 1 point,
    and the first 2,000 within half a point.

    Parameters
    ----------
    strong_fraction
        The share of strong calls, from 0 to 1.
    window
        Number of latest scores that a score is ranked among. A longer one knows the quantile better, a shorter one
        follows a drift sooner.
    slack
        Strong calls by which the count may be off. More of it leaves the choice more to the scores.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.

    Notes
    -----
    Three parts decide on a score, in this order:

    1. *Rank.* Its upper-tail rank among the window and itself, ``u = (above + v * (equal + 1)) / (m + 1)``, where v
       runs through the fractional parts of n * 0.618..., so that ties are shared out evenly. For exchangeable
       scores u is uniform from the first prompt on (it is a smoothed conformal p-value: Vovk, Gammerman and
       Shafer, Algorithmic Learning in a Random World, 2005, section 2.3), and invariant to the scale of the scores.
    2. *Integral correction.* Strong where ``u < strong_fraction - gain * surplus``; the surplus is the strong calls
       so far less ``strong_fraction * n``, the gain 0.1 / slack. This is the update of adaptive conformal
       inference (Gibbs and Candes, arXiv 2106.00170, equation 2) summed up; see also the error integration of
       conformal PID control (Angelopoulos, Candes and Tibshirani, arXiv 2307.16895).
    3. *Bound.* A choice that would take the surplus beyond `slack` is turned round. On stationary traffic that is
       rare: the surplus has a standard deviation of about ``(5 * slack * f * (1 - f)) ** 0.5``, at most 3.5 for a
       slack of 10.

    Time and memory are those of one insertion into a sorted list of `window` numbers, and do not grow with the
    stream. Each call counts as one prompt. Any number of threads may call; the bound holds over all of them.
    """

    def __init__(self, strong_fraction: float, *, window: int = 1000, slack: int = 10) -> None:
        self._fraction = closed_unit("strong_fraction", strong_fraction)
        self._window = positive_integer("window", window, _MOST)
        self._slack = positive_integer("slack", slack, _MOST)
        self._gain = _GAIN_TIMES_SLACK / self._slack
        self._lock = Lock()
        self._latest: deque[float] = deque()
        self._ranked: list[float] = []
        self._prompts = 0
        self._strong = 0

    def __repr__(self) -> str:
        return f"Budget({self._fraction}, window={self._window}, slack={self._slack})"

    @property
    def strong_fraction(self) -> float:
        """The share of strong calls to hold."""
        return self._fraction

    @property
    def window(self) -> int:
        """Number of latest scores that a score is ranked among."""
        return self._window

    @property
    def slack(self) -> int:
        """Strong calls by which the count may be off."""
        return self._slack

    @property
    def counts(self) -> tuple[int, int]:
        """Strong calls and all calls so far, from one moment."""
        with self._lock:
            return self._strong, self._prompts

    def choose(self, score: float) -> tuple[bool, float]:
        """Choose for one prompt and count it; see `Policy`.

        Raises
        ------
        InvalidArgumentError
            `score` is NaN or outside [0, 1]; it is not counted.
        """
        if not 0.0 <= score <= 1.0:
            raise InvalidArgumentError(f"score: found {score}, allowed: 0 to 1")
        with self._lock:
            surplus = self._strong - self._fraction * self._prompts
            # Above this many higher scores, ties shared out, the prompt is for the weak model.
            allowed = (self._fraction - self._gain * surplus) * (len(self._ranked) + 1)
            dither = self._prompts * _GOLDEN % 1.0
            strong = self._bounded(self._rank(score, dither) < allowed, surplus)
            cut = self._cut(allowed - dither)
            self._prompts += 1
            self._strong += strong
            self._remember(score)
        # A tie or the bound may have decided against the cut: the threshold is then just at or just above the score.
        return strong, min(cut, score) if strong else max(cut, math.nextafter(score, math.inf))

    def _rank(self, score: float, dither: float) -> float:
        below_or_equal = bisect_right(self._ranked, score)
        equal = below_or_equal - bisect_left(self._ranked, score, 0, below_or_equal)
        return len(self._ranked) - below_or_equal + dither * (equal + 1)

    def _bounded(self, strong: bool, surplus: float) -> bool:
        if surplus + 1 - self._fraction > self._slack:
            return False
        if surplus - self._fraction < -self._slack:
            return True
        return strong

    def _cut(self, allowed: float) -> float:
        """Score below which, ties apart, more than `allowed` remembered scores are higher."""
        above = math.ceil(allowed)
        if above <= 0:
            return 1.0
        return self._ranked[-above] if above <= len(self._ranked) else 0.0

    def _remember(self, score: float) -> None:
        self._latest.append(score)
        insort(self._ranked, score)
        if len(self._latest) > self._window:
            del self._ranked[bisect_left(self._ranked, self._latest.popleft())]
