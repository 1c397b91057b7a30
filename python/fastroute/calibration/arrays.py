"""Checks of the arrays that calibrations take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["unit_array"]


def unit_array(argument: str, values: object, length: int | None = None) -> NDArray[np.float64]:
    """Return a one-dimensional array of numbers from 0 to 1, at least one of them, as float64.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        Not such an array, or of another length; a bad value is named by its index.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InvalidTypeError(f"{argument}: {error}; a one-dimensional array of numbers is needed") from error
    if array.dtype.kind not in "biuf":
        raise InvalidTypeError(f"{argument}: found {array.dtype}, allowed: an array of numbers from 0 to 1")
    if array.ndim != 1 or array.size == 0:
        raise InvalidArgumentError(f"{argument}: found shape {array.shape}, allowed: (n,), n of 1 or more")
    if length is not None and len(array) != length:
        raise InvalidArgumentError(f"{argument}: found {len(array)} values, allowed: {length}, one per score")
    numbers = array.astype(np.float64)
    bad = ~((numbers >= 0) & (numbers <= 1))  # catches NaN too
    if bad.any():
        index = int(np.argmax(bad))
        raise InvalidArgumentError(f"{argument}: found {numbers[index]} at index {index}, allowed: 0 to 1")
    return numbers
