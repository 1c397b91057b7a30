"""Dollars of a time: what a decision costs, beside the answers that it chooses between."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from fastroute.errors import InvalidArgumentError
from fastroute.evaluation.metrics import STRONG_DOLLARS, WEAK_DOLLARS

__all__ = ["CORE_HOUR", "LIMIT", "Cost", "Prices", "cost_of"]

CORE_HOUR = 0.04
"""Dollars per hour of one core: an assumption, nobody's price list. Costs are proportional to it."""
LIMIT = 0.004
"""The part of a GPT-4 answer's price that no router of RouteLLM's paper costs more than (arXiv 2406.18665)."""
_SECONDS_PER_HOUR = 3600
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Prices:
    """What is paid, in dollars.

    Attributes
    ----------
    core_hour
        Of one core for an hour, 0 or more.
    strong_answer, weak_answer
        Of an answer, above 0; of GPT-4 and of Mixtral-8x7B where not given: 95 input and 264 output tokens.

    Raises
    ------
    InvalidArgumentError
        A price is not finite or outside its range.
    """

    core_hour: float = CORE_HOUR
    strong_answer: float = STRONG_DOLLARS
    weak_answer: float = WEAK_DOLLARS

    def __post_init__(self) -> None:
        for field in fields(self):
            price = getattr(self, field.name)
            free = field.name == "core_hour"  # a core may cost nothing, but nothing is no part of a free answer
            if not (math.isfinite(price) and (price > 0 or (free and price == 0))):
                allowed = "0 or more" if free else "above 0"
                raise InvalidArgumentError(f"{field.name}: found {price!r}, allowed: dollars, {allowed}")


@dataclass(frozen=True, slots=True)
class Cost:
    """What decisions cost that keep one core busy.

    Attributes
    ----------
    dollars_per_million
        Of a million decisions.
    of_strong, of_weak
        A decision's price as a fraction of an answer's.
    per_second
        Decisions per second and core.
    """

    dollars_per_million: float
    of_strong: float
    of_weak: float
    per_second: float


def cost_of(seconds: float, prices: Prices | None = None) -> Cost:
    """Work out what decisions cost that take so many seconds of one core each.

    Parameters
    ----------
    seconds
        Above 0; the mean, where decisions take different times.
    prices
        The defaults of `Prices` if None.

    Raises
    ------
    InvalidArgumentError
        `seconds` is not finite and above 0.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InvalidArgumentError(f"seconds: found {seconds!r}, allowed: a finite number above 0")
    paid = Prices() if prices is None else prices
    return _cost(seconds * paid.core_hour / _SECONDS_PER_HOUR, 1 / seconds, paid)


def published(dollars_per_million: float, per_second: float, prices: Prices | None = None) -> Cost:
    """Put a published price and rate beside the prices of answers, as `cost_of` does with a time."""
    return _cost(dollars_per_million / _MILLION, per_second, Prices() if prices is None else prices)


def _cost(dollars: float, per_second: float, prices: Prices) -> Cost:
    return Cost(
        dollars_per_million=dollars * _MILLION,
        of_strong=dollars / prices.strong_answer,
        of_weak=dollars / prices.weak_answer,
        per_second=per_second,
    )
