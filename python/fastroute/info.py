"""What this process runs with: version, SIMD level, threads, built-in artifacts."""

from __future__ import annotations

import operator
from dataclasses import dataclass

import numpy as np

from fastroute import _core, builtin
from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["Info", "info", "set_num_threads"]


@dataclass(frozen=True, slots=True)
class Info:
    """State of this process that is not in any object.

    Attributes
    ----------
    version
        Of fastroute.
    simd
        Instruction set of the kernels in use: "scalar", "avx2" or "avx512". `FASTROUTE_SIMD` lowers it.
    threads
        Threads that a batch may use, the caller's included.
    routers, encoders
        Names of the built-in artifacts.
    """

    version: str
    simd: str
    threads: int
    routers: tuple[str, ...]
    encoders: tuple[str, ...]


def info() -> Info:
    """Describe this process. Any thread may call."""
    from fastroute import __version__

    return Info(__version__, _core.simd_level(), _core.num_threads(), builtin.routers(), builtin.encoders())


def set_num_threads(count: int) -> None:
    """Set how many threads a batch may use, the caller's included; 1 to 1024.

    At first it is `FASTROUTE_NUM_THREADS`, or else the processors that this process may run on. Scores
    don't depend on it. Batches under way keep the threads they have. Any thread may call.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `count` is no integer, or outside 1 to 1024.
    """
    try:
        number = None if isinstance(count, (bool, np.bool_)) else operator.index(count)
    except TypeError:
        number = None
    if number is None:
        raise InvalidTypeError(f"count: found {type(count).__name__}, allowed: an int from 1 to 1024")
    if not 1 <= number <= 1024:
        found = number if number.bit_length() < 64 else f"an int of {number.bit_length()} bits"
        raise InvalidArgumentError(f"count: found {found}, allowed: 1 to 1024")
    _core.set_num_threads(number)
