"""Days of timestamps, as labels.

A time with an offset is of its day in UTC, one without of the day that is written.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

__all__ = ["day_of"]

_TIME = r"[T ](?:[01]\d|2[0-3]):[0-5]\d(?::(?:[0-5]\d|60)(?:[.,]\d+)?)?"
_AS_WRITTEN = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}})(?:{_TIME}\s?(?:Z|UTC|[+-]00:?00)?)?", re.ASCII)
_WITH_OFFSET = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}})({_TIME})\s?([+-])([01]\d|2[0-3]):?([0-5]\d)", re.ASCII)
_NUMBER = re.compile(r"\d+(?:\.\d*)?", re.ASCII)
_DAY_SECONDS = 86_400
# Seconds reach the year 5138 before they are taken for milliseconds; the same for finer units.
_UNITS = ((1e11, 1), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
ALLOWED = "an ISO 8601 date or time, or seconds, ms, us or ns since 1970"


def day_of(value: object) -> str:
    """Return the day of a timestamp as YYYY-MM-DD.

    Parameters
    ----------
    value
        ISO 8601 text, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by its
        size; also as text.

    Raises
    ------
    ValueError
        Anything else; the message says what was found and what is allowed.
    """
    if isinstance(value, str):
        return _day_of_text(value.strip())
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _day_of_epoch(float(value))
    raise ValueError(f"expected {ALLOWED}, found {'null' if value is None else type(value).__name__}")


def _day_of_text(text: str) -> str:
    try:
        if found := _AS_WRITTEN.fullmatch(text):
            return _checked_day(found[1])
        if found := _WITH_OFFSET.fullmatch(text):
            day, time, sign, hours, minutes = found.groups()
            moment = datetime.fromisoformat(f"{day} {time[1:6]}")
            offset = timedelta(hours=int(hours), minutes=int(minutes))
            return (moment - offset if sign == "+" else moment + offset).date().isoformat()
    except (ValueError, OverflowError):  # no such day, or one before the year 1
        pass
    else:
        if _NUMBER.fullmatch(text):
            return _day_of_epoch(float(text))
    raise ValueError(f"expected {ALLOWED}, found {text[:60]!r}")


@lru_cache(maxsize=4096)
def _checked_day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def _day_of_epoch(number: float) -> str:
    for limit, per_second in _UNITS:
        if 0 <= number < limit:
            return _day_after_1970(int(number / per_second // _DAY_SECONDS))
    raise ValueError(f"expected {ALLOWED}, found {number:g}")


@lru_cache(maxsize=4096)
def _day_after_1970(days: int) -> str:
    return (datetime.fromtimestamp(0, timezone.utc) + timedelta(days=days)).date().isoformat()
