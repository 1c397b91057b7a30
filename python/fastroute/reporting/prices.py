"""What an answer costs: prices per 1,000 answers, given or read from a table."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    import os

__all__ = ["INPUT_TOKENS", "OUTPUT_TOKENS", "PriceTable", "Prices", "read_prices"]

INPUT_TOKENS = 95.0
OUTPUT_TOKENS = 264.0
"""Tokens of a prompt and an answer: the means behind the default prices (arXiv 2406.18665, section 5.4)."""

_ANSWERS = "per_1000_answers"
_INPUT, _OUTPUT = "input_per_million", "output_per_million"
_FORM = f"{_ANSWERS}, or {_INPUT} and {_OUTPUT}"
_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Prices:
    """Dollars per 1,000 answers of the two models.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        A price is no number, negative or not finite, or the strong model is cheaper than the weak one.
    """

    strong: float
    weak: float

    def __post_init__(self) -> None:
        """Check the prices."""
        for name in ("strong", "weak"):
            object.__setattr__(self, name, checked_amount(f"{name}_price", getattr(self, name)))
        if self.strong < self.weak:
            raise InvalidArgumentError(
                f"strong_price: found {self.strong:g}, below weak_price, {self.weak:g}; routing saves nothing then"
            )

    def dollars(self, strong_rows: int, rows: int) -> float:
        """Dollars of `rows` answers, of which `strong_rows` are the strong model's."""
        return (strong_rows * self.strong + (rows - strong_rows) * self.weak) / 1000


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by model, in dollars per 1,000 answers.

    Attributes
    ----------
    source
        The file, as messages call it.
    models
        Price of each model.
    """

    source: str
    models: dict[str, float]

    def pair(self, strong: str, weak: str) -> Prices:
        """Return the prices of two models; raises DataError where one is missing, or the strong one is cheaper."""
        for role, model in (("strong", strong), ("weak", weak)):
            if model not in self.models:
                known = ", ".join(map(repr, list(self.models)[:20]))
                raise DataError(f"{self.source}: no price of the {role} model {model!r}; it has {known}")
        try:
            return Prices(self.models[strong], self.models[weak])
        except InvalidArgumentError as error:
            raise DataError(f"{self.source}: {error}") from None


def checked_amount(argument: str, value: object) -> float:
    """Return a number of 0 or more as a float, or raise an error that names the argument."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"{argument}: found {type(value).__name__}, allowed: a number, 0 or more")
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise InvalidArgumentError(f"{argument}: found {number:g}, allowed: a number, 0 or more")
    return number


def read_prices(
    path: str | os.PathLike[str], *, input_tokens: float = INPUT_TOKENS, output_tokens: float = OUTPUT_TOKENS
) -> PriceTable:
    """Read a price table.

    JSON: an object of model to dollars per 1,000 answers, or to an object with `per_1000_answers`, or with
    `input_per_million` and `output_per_million` (dollars per million tokens). CSV: a row per model with the columns
    `model` and those.

    Parameters
    ----------
    path
        A .json or .csv file.
    input_tokens, output_tokens
        Mean tokens of a prompt and of an answer, which turn prices of tokens into prices of answers.

    Raises
    ------
    InvalidArgumentError
        The name does not tell the format, or a number of tokens is negative.
    DataError
        The file can't be read, or has something else in it; the model or the line is named.
    """
    tokens = checked_amount("input_tokens", input_tokens), checked_amount("output_tokens", output_tokens)
    file = Path(path)
    suffix = file.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise InvalidArgumentError(f"{path}: the format can't be told by its name; allowed: .json or .csv")
    try:
        with file.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise DataError(f"{path}: longer than {_MAX_BYTES >> 20} MiB, the most that a price table may have")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text, found an invalid byte at {error.start + 1}") from error
    entries = _json_entries(path, text) if suffix == ".json" else _csv_entries(path, text)
    models: dict[str, float] = {}
    for model, place, cells in entries:
        if model in models:
            raise DataError(f"{path}: {place}: the model {model!r} is there twice")
        models[model] = _per_thousand(f"{path}: {place}", cells, tokens)
    if not models:
        raise DataError(f"{path}: no prices; a table of model and {_FORM} is needed")
    return PriceTable(str(path), models)


def _json_entries(path: str | os.PathLike[str], text: str) -> list[tuple[str, str, dict[str, object]]]:
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: broken JSON: {error}") from error
    if not isinstance(found, list) or not all(isinstance(pair, tuple) for pair in found):
        raise DataError(f"{path}: expected a JSON object of model to price, found {type(found).__name__}")
    entries: list[tuple[str, str, dict[str, object]]] = []
    for model, cells in found:
        is_object = isinstance(cells, list) and all(isinstance(pair, tuple) for pair in cells)
        entries.append((model, f"model {model!r}", dict(cells) if is_object else {_ANSWERS: cells}))
    return entries


def _csv_entries(path: str | os.PathLike[str], text: str) -> list[tuple[str, str, dict[str, object]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    entries: list[tuple[str, str, dict[str, object]]] = []
    try:
        if "model" not in (reader.fieldnames or ()):
            raise DataError(f"{path}: no column 'model'; a table of model and {_FORM} is needed")
        for row in reader:
            place = f"line {reader.line_num}"
            if None in row or None in row.values():
                raise DataError(f"{path}: {place}: expected {len(reader.fieldnames or ())} fields, as in the header")
            cells: dict[str, object] = {key: row[key] for key in (_ANSWERS, _INPUT, _OUTPUT) if row.get(key)}
            entries.append((row["model"], place, cells))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: broken quoting or line ends: {error}") from error
    return entries


def _per_thousand(place: str, cells: dict[str, object], tokens: tuple[float, float]) -> float:
    names = set(cells)
    if names == {_ANSWERS}:
        return _amount(place, _ANSWERS, cells[_ANSWERS])
    if names == {_INPUT, _OUTPUT}:
        prices = [_amount(place, name, cells[name]) for name in (_INPUT, _OUTPUT)]
        return sum(price * count for price, count in zip(prices, tokens, strict=True)) / 1000
    found = ", ".join(sorted(map(str, names))) or "no price"
    raise DataError(f"{place}: found {found}, allowed: {_FORM}")


def _amount(place: str, name: str, value: object) -> float:
    number = value
    if isinstance(value, str):
        try:
            number = float("" if "_" in value else value)
        except ValueError:
            number = math.nan
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < math.inf:
        raise DataError(f"{place}: {name}: found {str(value)[:60]!r}, allowed: a number, 0 or more")
    return float(number)
