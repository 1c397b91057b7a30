"""Columns of Arrow strings: as texts that the core reads in place, and as the models that were chosen."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from fastroute import _core
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from fastroute.batch.scoring import Choices

__all__ = ["TextColumn", "is_dictionary", "is_text", "kept_rows", "models_of", "reason_of"]

# Formats of the layouts by the names of the types.
_FORMATS: dict[str, Literal["u", "U", "vu"]] = {"string": "u", "large_string": "U", "string_view": "vu"}


class TextColumn:
    """An array of strings, or of a dictionary of them, whose buffers the core reads where they are.

    The buffers are taken as hostile: what the core is given has been checked by it.

    Parameters
    ----------
    column : pyarrow.Array
        Of a type that `is_text`.
    place : str
        What errors call it.

    Raises
    ------
    DataError
        The dictionary or its indices are not sound.
    """

    def __init__(self, column: pa.Array, place: str) -> None:
        self._column = column
        self._place = place
        self._values: _core.ArrowTexts | None = None
        if is_dictionary(column.type):
            self._values = self._read(column.dictionary, 0)
            self._indices = self._checked_indices(column)

    def texts(self, start: int, rows: int) -> _core.ArrowTexts:
        """Return the texts of up to `rows` rows from `start`.

        Raises
        ------
        DataError
            A buffer is too short or points outside another; the message names the buffer and the row, from `start`.
        """
        if self._values is None:
            return self._read(self._column.slice(start, rows), start)
        try:
            return self._values.take(self._indices[start : start + rows])
        except InvalidArgumentError as error:
            raise self._unsound(start, error) from None

    def _read(self, array: Any, start: int) -> _core.ArrowTexts:
        try:
            return _core.ArrowTexts(_FORMATS[str(array.type)], len(array), array.offset, array.buffers())
        except InvalidArgumentError as error:
            raise self._unsound(start, error) from None

    def _checked_indices(self, column: Any) -> NDArray[np.int64]:
        """Return the indices of a dictionary array, -1 for nulls; the core checks what they point to."""
        import pyarrow as pa

        try:
            column.indices.validate()  # that the buffer is as long as it should be
            indices = column.indices.cast(pa.int64()).fill_null(-1)
        except pa.ArrowException as error:
            raise self._unsound(0, error) from error
        found: NDArray[np.int64] = indices.to_numpy()
        return found

    def _unsound(self, start: int, error: Exception) -> DataError:
        what = str(error).partition("\n")[0]
        return DataError(f"{self._place}: not a sound Arrow array, in the rows from {start}: {what}")


def is_dictionary(kind: pa.DataType) -> bool:
    """Whether this is a dictionary of anything."""
    return hasattr(kind, "index_type")


def is_text(kind: pa.DataType) -> bool:
    """Whether this is string, large_string, string_view or a dictionary of one of them."""
    return str(kind.value_type if is_dictionary(kind) else kind) in _FORMATS


def reason_of(byte: int | None) -> str:
    """Say why a row is no text: its first byte that is not UTF-8, from 0, or None for a null."""
    return "expected a string, found null" if byte is None else f"invalid UTF-8 at byte {byte + 1}"


def models_of(choices: Choices, missing: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return the chosen models as an array of strings, nulls for the rows that are `missing`."""
    import pyarrow as pa

    names = pa.array([choices.weak, choices.strong], pa.string())
    return names.take(pa.array(choices.wants_strong.astype("int8"), mask=missing))


def kept_rows(rows: pa.Table | pa.RecordBatch, keep: NDArray[np.bool_]) -> pa.Table:
    """Return the rows to keep, as slices, since Arrow's filter does not know every type."""
    import pyarrow as pa

    table = rows if isinstance(rows, pa.Table) else pa.Table.from_batches([rows])
    runs, at = [table.slice(0, 0)], 0
    for wanted, run in groupby(keep.tolist()):
        count = sum(1 for _ in run)
        if wanted:
            runs.append(table.slice(at, count))
        at += count
    return pa.concat_tables(runs)
