"""Hive partitions: columns that are not in a file but in the names of the folders above it, as ``day=2026-11-01``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from urllib.parse import unquote

from fastroute.reporting.days import day_of

__all__ = ["Partition", "partition_of"]

_NULL = "__HIVE_DEFAULT_PARTITION__"
_COMPACT_DAY = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Partition:
    """The value of all rows of a file, from the name of a folder above it; None stands for null."""

    value: str | None

    def day(self) -> str:
        """Return its day as `day_of` does, 20261101 being a day too; raises ValueError."""
        return _day_of_partition(self.value)


def partition_of(path: str, column: str) -> Partition | None:
    """Return what the folders of a path, as it is written, say of a column; the nearest to the file counts.

    Names and values may be percent-encoded, as Spark and Arrow do with what can't stand in a path.
    """
    for folder in reversed(PurePath(path).parts[:-1]):
        name, equals, value = folder.partition("=")
        if equals and unquote(name) == column:
            return Partition(None if value == _NULL else unquote(value))
    return None


@lru_cache(maxsize=4096)
def _day_of_partition(value: str | None) -> str:
    compact = _COMPACT_DAY.fullmatch(value or "")
    return day_of("-".join(compact.groups()) if compact else value)
