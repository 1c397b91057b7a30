"""Cells of columns: text, numbers, scores, and how a bad one is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fastroute.errors import DataError, InvalidTypeError
from fastroute.tables import Table, as_table

FORMS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "objects": lambda values: np.array(values, dtype=object),
    "pyarrow": pa.array,
    "pandas": pd.Series,
    "polars": pl.Series,
}


def column(values, **settings) -> Table:
    return as_table({"c": values}, "table", **settings)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "cells",
    [[0, 1, 0], [0.25, 1.0, 0.0], ["0.25", " 1e0 ", "-0"], ["0", "1", ".5"]],
    ids=["integers", "floats", "texts", "more texts"],
)
def test_numbers_in_any_form(form, cells):
    found = column(FORMS[form](cells)).numbers("c", 0.0, 1.0)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [float(cell) for cell in cells])
    np.testing.assert_array_equal(column(FORMS[form](cells)).scores("c"), found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cells", [[True, False, True], ["true", "FALSE", " True"]], ids=["values", "words"])
def test_true_and_false_are_scores_and_no_numbers(form, cells):
    table = column(FORMS[form](cells))
    np.testing.assert_array_equal(table.scores("c"), [1.0, 0.0, 1.0])
    for read in (lambda: table.numbers("c", 0, 1), lambda: table.scores("c", 1, 10)):
        with pytest.raises(DataError, match="table: column 'c'"):
            read()


def test_cells_of_several_types_keep_their_own():
    np.testing.assert_array_equal(column([True, 0.5, "false", "1", 0]).scores("c"), [1, 0.5, 0, 1, 0])
    with pytest.raises(DataError, match="row 0: True found; a number from 0 to 1 is needed"):
        column([True, 0.5]).numbers("c", 0, 1)


@pytest.mark.parametrize(
    ("cell", "shown"),
    [("", "''"), ("x", "'x'"), (None, "None"), (float("nan"), "nan"), ("nan", "'nan'"), ("inf", "'inf'"), (1.5, "1.5"),
     (10**400, "1000"), ([1], r"\[1\]"), ("yes", "'yes'"), (b"1", "b'1'")],
)  # fmt: skip
def test_what_is_no_score_is_named(cell, shown):
    with pytest.raises(DataError, match=rf"^table: column 'c', row 1: {shown}.* found; a number from 0 to 1, true or"):
        column([0.5, cell, 2]).scores("c")


def test_some_rows_of_a_column():
    table = column(["x", "0.5", "y", "true"])
    np.testing.assert_array_equal(table.scores("c", rows=np.array([3, 1])), [1, 0.5])
    with pytest.raises(DataError, match="row 2: 'y' found"):
        table.scores("c", rows=np.array([1, 2]))


def test_missing_text():
    for values in (["a", None, "b", "", None], pa.array(["a", None, "b", "", None])):
        labels = column(values).labels("c", null="")
        assert [labels.values[code] for code in labels.codes] == ["a", "", "b", "", ""]
        assert len(set(labels.values)) == len(labels.values)
        with pytest.raises(DataError, match="row 1: None found; text is needed"):
            column(values).labels("c")


def test_whole_numbers():
    np.testing.assert_array_equal(column(["3", "4.0"]).integers("c", 0, 9), [3, 4])
    with pytest.raises(DataError, match=r"row 1: 4.5 found; a whole number"):
        column(["3", "4.5"]).integers("c", 0, 9)


def test_a_missing_column_lists_those_there_are():
    with pytest.raises(DataError, match=r"table: no column 'd'; it has 'c'$"):
        column([1]).require("c", "d")
    with pytest.raises(DataError, match=r"it has no columns$"):
        as_table({}, "table").require("d")
    wide = as_table({f"c{i}": [] for i in range(25)}, "table")
    with pytest.raises(DataError, match=r"'c19' and 5 more$"):
        wide.require("d")


def test_what_is_no_table():
    with pytest.raises(InvalidTypeError, match="table: int given"):
        as_table(3, "table")
    with pytest.raises(InvalidTypeError, match="table: column 'c' is str"):
        column("abc")
    with pytest.raises(DataError, match="different lengths"):
        as_table({"a": [1], "b": [1, 2]}, "table")
