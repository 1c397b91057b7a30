"""Numbers that users give routers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from fastroute.artifact import Artifact

__all__ = ["real_number", "seed_in_range", "seed_of", "whole_number"]

_LARGEST_SHOWN = 1 << 64
_LARGEST_SEED = (1 << 31) - 2


def whole_number(argument: str, value: object, *, least: int | None = None, most: int | None = None) -> int:
    """Return an int between the two, or say what was found."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{argument}: found {type(value).__name__}, allowed: an int")
    number = int(value)
    if (least is not None and number < least) or (most is not None and number > most):
        raise InvalidArgumentError(f"{argument}: found {_shown(number)}, allowed: {_range(least, most)}")
    return number


def real_number(argument: str, value: object, *, least: float, most: float = math.inf) -> float:
    """Return a finite float between the two, or say what was found."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidTypeError(f"{argument}: found {type(value).__name__}, allowed: a number")
    if not least <= value <= most or (isinstance(value, int) and abs(value) >= _LARGEST_SHOWN) or math.isinf(value):
        found = _shown(value) if isinstance(value, int) else value
        raise InvalidArgumentError(f"{argument}: found {found}, allowed: {_range(least, most)}")
    return float(value)


def _shown(number: int) -> str:
    return str(number) if abs(number) < _LARGEST_SHOWN else "an int of many digits"


def _range(least: float | None, most: float | None) -> str:
    if most is None or most == math.inf:
        return f"{_bound(least)} or more"
    return f"{_bound(least)} to {_bound(most)}"


def _bound(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def seed_in_range(seed: object) -> int:
    """Return a seed that NumPy and FAISS both take."""
    return whole_number("seed", seed, least=0, most=_LARGEST_SEED)


def seed_of(artifact: Artifact) -> int:
    """Read the seed in a manifest; 0 where an older one has none."""
    seed = artifact.manifest.get("seed", 0)
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise ArtifactCorruptError(f"{artifact.path}: seed is {seed!r}; 0 to {_LARGEST_SEED} is needed")
    return seed
