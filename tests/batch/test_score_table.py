"""Tables in memory come back of the same kind, with the scores of their prompts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastroute
from fastroute.batch import score_log
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownRouterError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

PROMPTS = ["prove that", "", "the sum is √2" * 9, "日本語 🎉", "a" * 5000]
VIEWS = [pa.string_view()] if hasattr(pa, "string_view") else []  # from pyarrow 16
PLAIN = [pa.string(), pa.large_string(), *VIEWS]
KINDS = [*PLAIN, pa.dictionary(pa.int8(), pa.string())]


@pytest.fixture(scope="module")
def native(tiny_router_folder: Path) -> Any:
    """A router that the core reads Arrow's strings for."""
    router = fastroute.load(tiny_router_folder)
    assert router.reads_arrow
    return router


def column_of(prompts: list[str | None], kind: pa.DataType) -> pa.Array:
    array = pa.array(prompts, pa.string())
    return array.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else array.cast(kind)


def check(scored: Any, router: Any, prompts: list[str], threshold: float | None = None) -> None:
    """Compare a scored table of any kind with the scores of the prompts as a list."""
    expected = router.score(prompts)
    cut = router.threshold if threshold is None else threshold
    scores = np.asarray(scored["score"])
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, np.asarray(expected))
    models = [router.strong if score >= cut else router.weak for score in expected.tolist()]
    found = scored["model"]
    assert (found.to_pylist() if hasattr(found, "to_pylist") else list(found)) == models


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_pyarrow(native: Any, kind: pa.DataType) -> None:
    table = pa.table({"id": range(5), "prompt": column_of(PROMPTS, kind)}).replace_schema_metadata({"owner": "tests"})
    scored = fastroute.score_table(table, router=native)
    assert isinstance(scored, pa.Table)
    check(scored, native, PROMPTS)
    assert scored.drop_columns(["score", "model"]).equals(table, check_metadata=True)
    assert scored.schema.field("score") == pa.field("score", pa.float32(), nullable=False)
    assert scored.schema.field("model") == pa.field("model", pa.string(), nullable=False)
    scored.validate(full=True)
    batch = table.to_batches()[0]
    again = fastroute.score_table(batch, native)
    assert isinstance(again, pa.RecordBatch)
    assert again.equals(scored.to_batches()[0], check_metadata=True)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_chunks_and_slices(native: Any, data: Any) -> None:
    kind = data.draw(st.sampled_from(PLAIN))
    parts = data.draw(st.lists(st.lists(st.text(max_size=30), max_size=9), max_size=5))
    chunked = pa.chunked_array([column_of(part, kind) for part in parts], kind)
    start = data.draw(st.integers(0, 20))
    table = pa.table({"prompt": chunked}).slice(start, data.draw(st.integers(0, 40)))
    scored = fastroute.score_table(table, native)
    check(scored, native, table["prompt"].to_pylist())


def test_more_rows_than_are_scored_at_once(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastroute.batch.frames._ROWS", 100)
    monkeypatch.setattr("fastroute.batch.frames._MODEL_ROWS", 130)
    prompts = [f"prove that {i} is the sum" for i in range(1050)]
    for kind in [*PLAIN, pa.dictionary(pa.int32(), pa.string())]:
        table = pa.table({"prompt": pa.chunked_array([column_of(prompts[:321], kind), column_of(prompts[321:], kind)])})
        check(fastroute.score_table(table, native), native, prompts)
    bad = pa.table({"prompt": pa.chunked_array([pa.array(prompts), pa.array([*prompts[:777], None])])})
    with pytest.raises(DataError, match=r"^table: column 'prompt', row 1827: expected a string, found null"):
        fastroute.score_table(bad, native)


FRAMES = {
    "polars": lambda: pl.DataFrame({"prompt": PROMPTS, "n": range(5)}),
    "polars categories": lambda: pl.DataFrame({"prompt": pl.Series(PROMPTS, dtype=pl.Categorical), "n": range(5)}),
    "polars in chunks": lambda: pl.concat(
        [pl.DataFrame({"prompt": PROMPTS[:2], "n": [0, 1]}), pl.DataFrame({"prompt": PROMPTS[2:], "n": [2, 3, 4]})],
        rechunk=False,
    ),
    "polars slice": lambda: pl.DataFrame({"prompt": ["x", *PROMPTS, "y"], "n": range(-1, 6)}).slice(1, 5),
    "pandas": lambda: pd.DataFrame({"prompt": PROMPTS, "n": range(5)}),
    "pandas objects": lambda: pd.DataFrame({"prompt": pd.Series(PROMPTS, dtype=object), "n": range(5)}),
    "pandas arrow": lambda: pd.DataFrame({"prompt": pd.Series(PROMPTS, dtype="string[pyarrow]"), "n": range(5)}),
    "pandas categories": lambda: pd.DataFrame({"prompt": pd.Categorical(PROMPTS), "n": range(5)}),
    "pandas with an index": lambda: pd.DataFrame({"prompt": PROMPTS, "n": range(5)}, index=[*"edcba"]),
    "pandas with an index of that name": lambda: pd.DataFrame(
        {"prompt": PROMPTS, "n": range(5)}, index=pd.Index([*"edcba"], name="prompt")
    ),
    "pandas with other names": lambda: pd.DataFrame({"prompt": PROMPTS, "n": range(5), 7: 1.5}),
}


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_data_frames(native: Any, make: Any) -> None:
    frame, same = make(), make()
    scored = fastroute.score_table(frame, native, threshold=0.51)
    assert type(scored) is type(frame)
    check(scored, native, PROMPTS, 0.51)
    assert list(scored.columns) == [*frame.columns, "score", "model"]
    # Neither is the table changed that was given, nor the columns of what comes back.
    kept = (
        scored.drop("score", "model") if isinstance(scored, pl.DataFrame) else scored.drop(columns=["score", "model"])
    )
    assert frame.equals(same)
    assert kept.equals(frame)
    if isinstance(frame, pd.DataFrame):
        assert scored.index.equals(frame.index)


class Stream:
    """A table of some other library."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


class NoStream:
    """Gives something that is no stream."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return "capsule"


def test_other_tables(native: Any) -> None:
    table = pa.table({"prompt": PROMPTS})
    for other in (Stream(table), table.to_reader()):
        scored = fastroute.score_table(other, native)
        assert isinstance(scored, pa.Table)
        check(scored, native, PROMPTS)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        5,
        "prompt",
        {"prompt": ["a"]},
        ["a"],
        pl.LazyFrame({"prompt": ["a"]}),
        pl.Series("prompt", ["a"]),
        pd.Series(["a"], name="prompt"),
        pa.array(["a"]),
        pa.chunked_array([["a"]]),
        NoStream(),
        pa.Table,
    ],
    ids=lambda bad: type(bad).__name__,
)
def test_what_is_no_table(native: Any, bad: object) -> None:
    with pytest.raises(InvalidTypeError, match=r"^table: found \w+.*allowed: a pyarrow Table"):
        fastroute.score_table(bad, native)


BAD_CELLS = [
    (pa.table({"prompt": ["a", None]}), "row 1: expected a string, found null"),
    (pa.table({"prompt": pa.array(["a", None]).dictionary_encode()}), "row 1: expected a string, found null"),
    (pa.table({"prompt": pa.array([b"h\xff"], pa.binary()).view(pa.string())}), "row 0: invalid UTF-8 at byte 2"),
    (pa.table({"prompt": [1, 2]}), "expected strings, found int64"),
    (pa.table({"prompt": [b"a"]}), "expected strings, found binary"),
    (pa.table({"prompt": [["a"]]}), "expected strings, found list<"),
    (pa.table({"prompt": pa.array([1, 2]).dictionary_encode()}), "expected strings, found dictionary<values=int64"),
    (pa.table({"prompt": pa.nulls(2)}), "expected strings, found null"),
    (pl.DataFrame({"prompt": ["a", None]}), "row 1: expected a string, found null"),
    (pl.DataFrame({"prompt": [1.5]}), "row 0: expected a string, found float"),
    (pd.DataFrame({"prompt": ["a", None]}), "row 1: expected a string, found null"),
    (
        pd.DataFrame({"prompt": pd.Series(["a", "b", float("nan")], dtype=object)}),
        "row 2: expected a string, found null",
    ),
    (pd.DataFrame({"prompt": pd.Series(["a", 5], dtype=object)}), "row 1: expected a string, found int"),
    (pd.DataFrame({"prompt": pd.Series(["a", b"b"], dtype=object)}), "row 1: expected a string, found bytes"),
    (pd.DataFrame({"prompt": pd.Series(["a", {}], dtype=object)}), "row 1: expected a string, found dict"),
    (pd.DataFrame({"prompt": pd.Series(["a", pd.NA, 3], dtype=object)}), "row 1: expected a string, found NAType"),
    (pd.DataFrame({"prompt": pd.Series(["a", "\ud800"], dtype=object)}), "row 1: holds half of a surrogate pair"),
    (pd.DataFrame({"prompt": [1, 2]}), "row 0: expected a string, found int"),
]


@pytest.mark.parametrize(("table", "message"), BAD_CELLS)
def test_cells_that_are_no_text(native: Any, router: Any, table: Any, message: str) -> None:
    for each in (native, router):
        with pytest.raises(DataError) as error:
            fastroute.score_table(table, each)
        assert re.match(rf"table: column 'prompt'[,:] {re.escape(message)}", str(error.value)), str(error.value)


HALF = "\ud800"
CELLS = ["a", None, "prove that", None, ""]  # what is left of each table below
BAD_UTF8 = pa.array([b"a", b"h\xff", b"prove that", None, b""], pa.binary()).view(pa.string())
WITH_BAD_ROWS = {
    "pyarrow": lambda: pa.table({"prompt": BAD_UTF8}),
    "pyarrow chunks": lambda: pa.table({"prompt": pa.chunked_array([BAD_UTF8[:1], BAD_UTF8[1:2], BAD_UTF8[2:]])}),
    "pyarrow dictionary": lambda: pa.table({"prompt": pa.array(CELLS).dictionary_encode()}),
    "pyarrow batch": lambda: pa.record_batch({"prompt": BAD_UTF8}),
    "polars": lambda: pl.DataFrame({"prompt": CELLS}),
    "polars categories": lambda: pl.DataFrame({"prompt": pl.Series(CELLS, dtype=pl.Categorical)}),
    "polars objects": lambda: pl.DataFrame({"prompt": pl.Series(["a", 5, "prove that", {}, ""], dtype=pl.Object)}),
    "pandas": lambda: pd.DataFrame({"prompt": CELLS}, index=[*"edcba"]),
    "pandas bytes": lambda: pd.DataFrame({"prompt": pd.Series(["a", b"b", "prove that", pd.NA, ""], dtype=object)}),
    "pandas objects": lambda: pd.DataFrame({"prompt": pd.Series(["a", 5, "prove that", HALF, ""], dtype=object)}),
    "pandas strings": lambda: pd.DataFrame({"prompt": pd.Series(["a", HALF, "prove that", HALF, ""], dtype=object)}),
    "pandas categories": lambda: pd.DataFrame({"prompt": pd.Categorical(["a", 5, "prove that", None, ""])}),
}


def values_of(column: Any) -> list[object]:
    """Cells as Python has them, None for what is missing."""
    if isinstance(column, pd.Series):
        return [None if pd.isna(cell) else cell for cell in column]
    return column.to_pylist() if hasattr(column, "to_pylist") else column.to_list()


@pytest.mark.parametrize("make", WITH_BAD_ROWS.values(), ids=WITH_BAD_ROWS)
def test_nulls_for_rows_that_are_no_text(native: Any, router: Any, make: Any) -> None:
    for each in (native, router):
        table, same = make(), make()
        scored = fastroute.score_table(table, each, threshold=0.4, on_error="null")
        assert type(scored) is type(table)
        good = [0, 2, 4]
        expected = np.asarray(each.score([CELLS[row] for row in good]))
        scores = values_of(scored["score"])
        assert [scores[row] for row in good] == expected.tolist()
        assert [scores[row] for row in (1, 3)] == [None, None]
        models = [each.strong if score >= 0.4 else each.weak for score in expected.tolist()]
        assert values_of(scored["model"]) == [models[0], None, models[1], None, models[2]]
        if isinstance(table, (pa.Table, pa.RecordBatch)):
            assert scored.select(["prompt"]).equals(same)
            assert scored.schema.field("score") == pa.field("score", pa.float32(), nullable=True)
            assert scored.schema.field("model") == pa.field("model", pa.string(), nullable=True)
            if "dictionary" in str(table.schema):
                scored.validate(full=True)
        elif isinstance(table, pd.DataFrame):
            assert scored["score"].dtype == np.float32
            assert scored[["prompt"]].equals(table)
        else:
            assert scored["score"].dtype == pl.Float32
        with pytest.raises(DataError, match="row 1: "):
            fastroute.score_table(table, each)


def test_nulls_in_many_rows(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastroute.batch.frames._ROWS", 100)
    monkeypatch.setattr("fastroute.batch.frames._MODEL_ROWS", 130)
    rng = np.random.default_rng(3)
    cells = [None if 300 <= i < 500 or rng.random() < 0.2 else f"prove that {i} is the sum" for i in range(1050)]
    scored = fastroute.score_table(pa.table({"prompt": cells}), native, on_error="null")
    kept = fastroute.score_table(pa.table({"prompt": [cell for cell in cells if cell is not None]}), native)
    assert scored["prompt"].to_pylist() == cells
    for name in ("score", "model"):
        assert scored[name].drop_null().to_pylist() == kept[name].to_pylist()
        assert scored[name].is_null().to_pylist() == [cell is None for cell in cells]


def test_nothing_but_nulls(native: Any) -> None:
    of_nulls = pa.nulls(3)
    for table in (
        pa.table({"prompt": of_nulls}),
        pa.table({"prompt": of_nulls.dictionary_encode()}),
        pa.table({"prompt": pa.array([None] * 3, pa.large_string())}),
        pl.DataFrame({"prompt": [None] * 3}),
        pd.DataFrame({"prompt": [None] * 3}),
        pd.DataFrame({"prompt": pd.Series([1, 2, 3], dtype=object)}),
    ):
        scored = fastroute.score_table(table, native, on_error="null")
        assert values_of(scored["score"]) == values_of(scored["model"]) == [None] * 3


def test_no_row_to_give_a_null(native: Any) -> None:
    table = pa.table({"prompt": PROMPTS})
    scored = fastroute.score_table(table, native, on_error="null")
    assert scored.cast(fastroute.score_table(table, native).schema).equals(fastroute.score_table(table, native))
    assert scored.schema.field("score").nullable


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"prompt": [1, None]}),
        pa.table({"prompt": [b"a"]}),
        pa.table({"prompt": pa.array([1, 2]).dictionary_encode()}),
        pl.DataFrame({"prompt": [1.5]}),
        pd.DataFrame({"prompt": [1, 2]}),
        pd.DataFrame({"prompt": pd.Categorical([1, 2])}),
    ],
    ids=lambda table: str(type(table)),
)
def test_a_column_of_another_type_is_an_error_with_nulls_too(native: Any, table: Any) -> None:
    with pytest.raises(DataError, match=r"^table: column 'prompt': expected strings, found \w+"):
        fastroute.score_table(table, native, on_error="null")


def lying(kind: pa.DataType, ends: tuple[int, ...]) -> pa.Array:
    """An array whose offsets pyarrow did not look at."""
    offsets = np.array(ends, np.int32 if kind == pa.string() else np.int64)
    return pa.Array.from_buffers(kind, len(ends) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(b"ten bytes.")])


@pytest.mark.parametrize("kind", PLAIN[:2], ids=str)
def test_buffers_that_lie(native: Any, router: Any, kind: pa.DataType) -> None:
    for ends in [(0, 11, 4), (0, -3, 4), (0, 2**31 - 1, 9)]:
        array = lying(kind, ends)
        columns = [array, pa.chunked_array([pa.array(["a"], kind), array])]
        columns.append(pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), array))
        unsound = [pa.table({"prompt": column}) for column in columns]
        for table in [*unsound, unsound[0].slice(1), pa.record_batch({"prompt": array})]:
            for each in (native, router):
                message = r"^table: column 'prompt': not a sound Arrow array, in the rows from 0: offsets: row \d"
                for on_error in ("fail", "null"):
                    with pytest.raises(DataError, match=message):
                        fastroute.score_table(table, each, on_error=on_error)


def test_dictionaries_that_lie(native: Any) -> None:
    values = pa.array(["a", "b"])
    for indices in ([0, 2], [-1, 0], [0, 127], [-128, 0]):
        column = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), values, safe=False)
        if indices[0] == -1:
            message = "row 0: expected a string, found null"
        else:
            message = r"not a sound Arrow array, in the rows from 0: indices: row \d: found -?\d+"
        with pytest.raises(DataError, match=message):
            fastroute.score_table(pa.table({"prompt": column}), native)
    kept = pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.uint8()), pa.array(["a", "b", None]))
    with pytest.raises(DataError, match="row 1: expected a string, found null"):
        fastroute.score_table(pa.table({"prompt": kept}), native)
    check(fastroute.score_table(pa.table({"prompt": kept.take([0, 2, 0])}), native), native, ["b", "a", "b"])


def test_names(native: Any, tiny_router_folder: Path) -> None:
    table = pa.table({"question": PROMPTS, "score": range(5)})
    scored = fastroute.score_table(
        table, str(tiny_router_folder), column="question", score_column="difficulty", model_column="answered by"
    )
    assert scored.column_names == ["question", "score", "difficulty", "answered by"]
    np.testing.assert_array_equal(scored["difficulty"], native.score(PROMPTS))
    for frame in (table, table.to_batches()[0], table.to_pandas(), pl.from_arrow(table)):
        with pytest.raises(InvalidArgumentError, match="table: there is a column 'score' already"):
            fastroute.score_table(frame, native, column="question")
        with pytest.raises(DataError, match="table: no column 'prompt'; it has 'question', 'score'"):
            fastroute.score_table(frame, native, score_column="new")
        with pytest.raises(InvalidArgumentError, match="two of the new columns would be named 'x'"):
            fastroute.score_table(frame, native, score_column="x", model_column="x")
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["prompt", "prompt"])
    for frame in (twice, twice.to_pandas()):
        with pytest.raises(DataError, match="table: 2 columns are named 'prompt'"):
            fastroute.score_table(frame, native)


def test_other_arguments(native: Any) -> None:
    table = pa.table({"prompt": PROMPTS})
    for bad in (None, 5, ["prompt"], b"prompt"):
        with pytest.raises(InvalidTypeError, match=r"^column: found"):
            fastroute.score_table(table, native, column=bad)
    for bad in (5, b"mf", [native], object):
        with pytest.raises(InvalidTypeError, match=r"^router: found"):
            fastroute.score_table(table, bad)
    with pytest.raises(UnknownRouterError):
        fastroute.score_table(table, "no-such-router")
    for bad in ("half", [0.5]):
        with pytest.raises(InvalidTypeError, match=r"^threshold: found"):
            fastroute.score_table(table, native, threshold=bad)
    with pytest.raises(InvalidArgumentError, match=r"^threshold: found 1.5"):
        fastroute.score_table(table, native, threshold=1.5)
    for bad in ("skip", None, ["null"]):
        with pytest.raises(InvalidArgumentError, match=r"^on_error: found .*allowed: 'fail' or 'null'"):
            fastroute.score_table(table, native, on_error=bad)


def test_no_rows(native: Any) -> None:
    for kind in (*KINDS, pa.null()):
        table = pa.table({"prompt": pa.array([], kind)})
        scored = fastroute.score_table(table, native)
        assert scored.num_rows == 0
        assert scored.schema.names == ["prompt", "score", "model"]
    assert fastroute.score_table(pl.DataFrame({"prompt": []}), native).height == 0
    assert len(fastroute.score_table(pd.DataFrame({"prompt": pd.Series([], dtype=object)}), native)) == 0
    assert fastroute.score_table(pa.table({"prompt": pa.chunked_array([], pa.string())}), native).num_rows == 0


def test_a_router_that_reads_python_strings(router: Any) -> None:
    scored = fastroute.score_table(pa.table({"prompt": PROMPTS}), router)
    assert router.batch_sizes == [5]  # LengthRouter looks at each
    check(scored, router, PROMPTS)


class Reading:
    """Lets another router score, and notes what it was given."""

    reads_arrow = True
    given: list[type]

    def __init__(self, router: Any, *, in_place: bool) -> None:
        self.strong, self.weak, self.threshold = router.strong, router.weak, router.threshold
        self._router, self.reads_arrow, self.given = router, in_place, []

    def score(self, prompts: Any) -> Any:
        self.given.append(type(prompts))
        return self._router.score(prompts)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parquet_is_read_in_place_to_the_same_bytes(native: Any, tmp_path: Path, kind: pa.DataType) -> None:
    rng = np.random.default_rng(1)
    prompts = [PROMPTS[i % 5] + str(rng.integers(30 if "dict" in str(kind) else 10**9)) for i in range(9000)]
    cells = [None if i % 1000 == 7 else prompt for i, prompt in enumerate(prompts)]
    if pa.types.is_dictionary(kind):
        kind = pa.dictionary(pa.int32(), pa.string())
    pq.write_table(pa.table({"id": range(9000), "prompt": column_of(cells, kind)}), tmp_path / "in.parquet")
    written = {}
    for in_place in (True, False):
        reading, out = Reading(native, in_place=in_place), tmp_path / f"{in_place}.parquet"
        summary = score_log(tmp_path / "in.parquet", out, reading, on_error="skip")
        assert (summary.rows, summary.skipped) == (8991, 9)
        assert {kind.__name__ for kind in reading.given} == {"ArrowTexts" if in_place else "list"}
        written[in_place] = out.read_bytes()
    assert written[True] == written[False]
    scored = pq.read_table(tmp_path / "True.parquet")
    check(scored, native, [cell for cell in cells if cell is not None])
