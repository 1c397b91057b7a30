"""Tables from anywhere (Parquet file, pyarrow, pandas, polars, dictionary) as checked columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, InvalidTypeError, MissingDependencyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Labels", "Table", "as_table", "read_table", "text_key"]


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of text, each distinct value stored once.

    Attributes
    ----------
    values
        The distinct values, in order of first appearance.
    codes
        (rows,) int64 indices into `values`.
    """

    values: tuple[str, ...]
    codes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Labels:
        """Keep these rows; `values` stays whole."""
        return Labels(self.values, self.codes[rows])


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length, and the name that errors call them by."""

    name: str
    columns: Mapping[str, Any]
    rows: int

    def __contains__(self, column: str) -> bool:
        return column in self.columns

    def labels(self, column: str, *, null: str | None = None) -> Labels:
        """Read a column of text; `null` stands for missing values, which are an error where it is None."""
        values, codes = _factorize(self._column(column))
        for code, value in enumerate(values):
            if value is None and null is not None:
                values[code] = null
            elif not isinstance(value, str):
                row = int(np.argmax(codes == code))
                raise self.error(column, row, value, "text is needed")
        return Labels(tuple(values), codes)

    def numbers(self, column: str, low: float, high: float) -> NDArray[np.float64]:
        """Read a column of finite numbers in [low, high]."""
        values = self._column(column)
        raw = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
        if raw.dtype.kind == "O":
            raw = np.array([_number_or_nan(value) for value in raw], dtype=np.float64)
        if raw.dtype.kind not in "iuf" or raw.ndim != 1:
            raise DataError(
                f"{self.name}: column {column!r} holds {raw.dtype} of shape {raw.shape}; one number per row is needed"
            )
        numbers = raw.astype(np.float64)
        bad = ~((numbers >= low) & (numbers <= high))  # catches NaN too
        if bad.any():
            row = int(np.argmax(bad))
            raise self.error(column, row, float(numbers[row]), f"a number from {low:g} to {high:g} is needed")
        return numbers

    def integers(self, column: str, low: int, high: int) -> NDArray[np.int64]:
        """Read a column of whole numbers in [low, high]."""
        numbers = self.numbers(column, low, high)
        fractional = numbers != np.floor(numbers)
        if fractional.any():
            row = int(np.argmax(fractional))
            raise self.error(column, row, float(numbers[row]), "a whole number is needed")
        return numbers.astype(np.int64)

    def require(self, *columns: str) -> None:
        """Refuse a table that lacks one of these columns."""
        for column in columns:
            self._column(column)

    def error(self, column: str, row: int, found: object, needed: str) -> DataError:
        """Make an error that names a cell."""
        return DataError(f"{self.name}: column {column!r}, row {row}: {found!r} found; {needed}")

    def _column(self, column: str) -> Any:
        if column not in self.columns:
            raise DataError(f"{self.name}: no column {column!r}; it has {', '.join(map(repr, self.columns))}")
        return self.columns[column]


def read_table(path: str | Path, columns: Iterable[str]) -> Table:
    """Read a Parquet file: those of `columns` that it has.

    Raises
    ------
    DataError
        There is no such file, or it is not Parquet.
    MissingDependencyError
        pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError("reading Parquet needs pyarrow: pip install 'fastroute[train]'") from error
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; a Parquet file is needed")
    try:
        with pq.ParquetFile(path) as file:
            present = set(file.schema_arrow.names)
            data = file.read([column for column in dict.fromkeys(columns) if column in present])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: can't be read as Parquet: {error}") from error
    return as_table(data, str(path))


def as_table(data: object, name: str) -> Table:
    """Take a pyarrow table, a pandas or polars frame, a dictionary of columns, or a Table as it is.

    Parameters
    ----------
    data
        The table.
    name
        What errors call it: an argument's name or a file's path.
    """
    if isinstance(data, Table):
        return data
    columns: dict[str, Any]
    if isinstance(data, Mapping):
        columns = {str(column): values for column, values in data.items()}
    elif hasattr(data, "column_names") and hasattr(data, "column"):  # pyarrow
        columns = {column: data.column(column) for column in data.column_names}
    elif hasattr(data, "columns") and hasattr(data, "__getitem__"):  # pandas, polars
        columns = {str(column): data[column] for column in data.columns}
    else:
        raise InvalidTypeError(
            f"{name}: {type(data).__name__} given; a pyarrow table, a pandas or polars frame, "
            f"or a dictionary of columns is needed"
        )
    for column, values in columns.items():
        if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
            raise InvalidTypeError(
                f"{name}: column {column!r} is {type(values).__name__}; a sequence with one entry per row is needed"
            )
    lengths = {column: len(values) for column, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{name}: its columns have different lengths: {lengths}")
    return Table(name, columns, next(iter(lengths.values()), 0))


def text_key(text: str) -> str:
    """Make a key for a prompt that has no `prompt_id`: 16 hexadecimal digits of SHA-1."""
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:16]


def _factorize(values: Any) -> tuple[list[Any], NDArray[np.int64]]:
    """Distinct values in order of appearance, and each row's index among them."""
    if hasattr(values, "dictionary_encode"):  # pyarrow: never makes a Python string per row
        if hasattr(values.type, "index_type"):  # a dictionary may repeat values and leave nulls outside
            values = values.cast(values.type.value_type)
        encoded = values.dictionary_encode(null_encoding="encode")
        encoded = encoded.combine_chunks() if hasattr(encoded, "combine_chunks") else encoded
        return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    index: dict[Any, int] = {}
    sequence: Sequence[Any] = values
    try:
        codes = np.fromiter((index.setdefault(_null_to_none(v), len(index)) for v in sequence), np.int64)
    except TypeError:  # an unhashable cell; the caller reports it as what it is
        return list(sequence), np.arange(len(sequence))
    return list(index), codes


def _null_to_none(value: Any) -> Any:
    return None if value is None or value != value else value  # noqa: PLR0124  NaN is pandas' null


def _number_or_nan(value: object) -> float:
    numeric = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return float(value) if numeric else float("nan")  # type: ignore[arg-type]
