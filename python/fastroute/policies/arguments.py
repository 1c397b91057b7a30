"""Checks of the numbers that policies and calibrations take."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any

from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["closed_unit", "open_unit", "positive_integer"]


def closed_unit(argument: str, value: object) -> float:
    """Return a number from 0 to 1 as a float, or raise an error that names the argument."""
    number = _real(argument, value, "from 0 to 1")
    if math.isnan(number) or not 0 <= number <= 1:
        raise InvalidArgumentError(f"{argument}: found {number}, allowed: 0 to 1")
    return number


def open_unit(argument: str, value: object) -> float:
    """Return a number between 0 and 1, both excluded, as a float, or raise an error that names the argument."""
    number = _real(argument, value, "between 0 and 1")
    if math.isnan(number) or not 0 < number < 1:
        raise InvalidArgumentError(f"{argument}: found {number}, allowed: above 0 and below 1")
    return number


def positive_integer(argument: str, value: object, most: int) -> int:
    """Return an integer from 1 to `most`, or raise an error that names the argument."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise InvalidTypeError(f"{argument}: found {type(value).__name__}, allowed: an int from 1 to {most}")
    if not 1 <= number <= most:
        raise InvalidArgumentError(f"{argument}: found {number}, allowed: 1 to {most}")
    return number


def _real(argument: str, value: object, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"{argument}: found {type(value).__name__}, allowed: a number {allowed}")
    number: Any = value
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
