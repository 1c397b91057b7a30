"""Tables as checked columns, whatever they came as: a file's, pyarrow's, pandas', polars' or a dictionary."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import DataError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Labels", "Table", "as_table", "prompt_hashes", "text_key"]

_WORDS: Final = {"true": 1.0, "false": 0.0}
_SHOWN: Final = 20  # names of columns in a message


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
    """Columns of one length, and what errors call them and their rows.

    Attributes
    ----------
    name
        A file's path, or an argument's name.
    columns
        Sequences of `rows` cells, by name.
    rows
        How many rows there are.
    lines
        For each row, the line of the file that it begins on; empty where it is from no file with lines.
    names
        All the columns there are, in their order; a file has some that nobody asked for.
    """

    name: str
    columns: Mapping[str, Any]
    rows: int
    names: tuple[str, ...]
    lines: tuple[int, ...] = ()

    @property
    def shown_names(self) -> str:
        """Names of the columns for a message, with a count instead of a very long tail."""
        more = f" and {len(self.names) - _SHOWN} more" if len(self.names) > _SHOWN else ""
        return ", ".join(map(repr, self.names[:_SHOWN])) + more if self.names else "no columns"

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
        if null is not None and values.count(null) > 1:  # the text itself was there too
            kept = list(dict.fromkeys(values))
            index = {value: code for code, value in enumerate(kept)}
            return Labels(tuple(kept), np.array([index[value] for value in values], np.int64)[codes])
        return Labels(tuple(values), codes)

    def numbers(self, column: str, low: float, high: float, *, truth: bool = False) -> NDArray[np.float64]:
        """Read a column of finite numbers in [low, high]; a text that spells one is one.

        With `truth`, true and false, as values or words in any case, are 1 and 0.
        """
        return self._numbers(column, low, high, words=_WORDS if truth else {})

    def scores(
        self, column: str, low: float = 0.0, high: float = 1.0, *, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Read a column of numbers in [low, high], or only these rows of it.

        Where that is [0, 1], true and false, as values or words in any case, are 1 and 0: thumbs, passed tests.
        """
        return self._numbers(column, low, high, words=_WORDS if (low, high) == (0, 1) else {}, rows=rows)

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
        """Make an error that names a cell: by its line where there is one, else by its row, from 0."""
        place = f"line {self.lines[row]}" if self.lines else f"row {row}"
        return DataError(f"{self.name}: column {column!r}, {place}: {found!r} found; {needed}")

    def _column(self, column: str) -> Any:
        if column not in self.columns:
            raise DataError(f"{self.name}: no column {column!r}; it has {self.shown_names}")
        return self.columns[column]

    def _numbers(
        self,
        column: str,
        low: float,
        high: float,
        *,
        words: Mapping[str, float] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        cells = _cells(self._column(column))
        if cells.ndim != 1 or cells.dtype.kind not in ("biufOUT" if words else "iufOUT"):
            raise DataError(
                f"{self.name}: column {column!r} holds {cells.dtype} of shape {cells.shape}; "
                f"one number per row is needed"
            )
        cells = cells if rows is None else cells[rows]
        if cells.dtype.kind in "iufb":
            numbers = cells.astype(np.float64)
        else:
            numbers = np.fromiter((_number_or_nan(cell, words or {}) for cell in cells), np.float64, len(cells))
        bad = ~((numbers >= low) & (numbers <= high))  # catches NaN too
        if bad.any():
            at = int(np.argmax(bad))
            found = cells[at].item() if isinstance(cells[at], np.generic) else cells[at]
            needed = f"a number from {low:g} to {high:g}{', true or false' if words else ''} is needed"
            raise self.error(column, at if rows is None else int(rows[at]), found, needed)
        return numbers


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
    return Table(name, columns, next(iter(lengths.values()), 0), tuple(columns))


def text_key(text: str) -> str:
    """Make a key for a prompt that has no `prompt_id`: 16 hexadecimal digits of SHA-1."""
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:16]


def prompt_hashes(prompts: Iterable[str]) -> NDArray[np.uint64]:
    """First 8 bytes of the SHA-256 of each prompt, sorted: enough to know it again, and not to read it."""
    digests = (hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest() for prompt in prompts)
    return np.array(sorted({int.from_bytes(digest[:8], "big") for digest in digests}), np.uint64)


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


def _cells(values: Any) -> NDArray[Any]:
    """Cells as an array: of numbers where they come as an array of numbers, else of objects."""
    if isinstance(values, (list, tuple)):  # NumPy would turn a number beside a text into a text
        return np.fromiter(values, object, len(values))
    return np.asarray(values)


def _number_or_nan(cell: object, words: Mapping[str, float]) -> float:
    if isinstance(cell, str):
        word = cell.strip().lower()
        try:
            return words[word] if word in words else float(word)
        except ValueError:
            return float("nan")
    if isinstance(cell, (bool, np.bool_)):
        return float(cell) if words else float("nan")
    if not isinstance(cell, (int, float, np.integer, np.floating)):
        return float("nan")
    try:
        return float(cell)
    except OverflowError:
        return float("nan")
