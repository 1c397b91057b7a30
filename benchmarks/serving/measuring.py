"""What the measurements share."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator, Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Keep the clients' garbage collector out of what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
