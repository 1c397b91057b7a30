"""Bad arguments: each a typed error that names the argument; at least 60 for each function (scorecard 22)."""

from __future__ import annotations

import decimal
import fractions
import io
import re
from collections import ChainMap, Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.native.weighted_moments import moments_of, native_of, with_moments
from tests.reference.tiny_artifacts import random_experts

import fastroute
from fastroute import _core
from fastroute.encoders import load_encoder
from fastroute.errors import FastrouteError, InvalidArgumentError, InvalidTypeError, UnknownModelError
from fastroute.routers import ExpertsRouter, MatrixFactorizationRouter, SimilarityWeightedRouter

DIM = 16
Case = tuple[str, Any]


class Nothing:
    """An object with no abilities."""


class Unreadable:
    """Raises what an object without iteration raises."""

    def __iter__(self) -> Iterator[str]:
        raise TypeError("not iterable after all")


class WrongPath:
    """A path that is none."""

    def __init__(self, path: object) -> None:
        self.path = path

    def __fspath__(self) -> object:
        return self.path


# Things that are no str, no path and no number, wherever one of those is expected.
NEVER: list[Case] = [
    ("bytes", b"text"),
    ("bytearray", bytearray(b"text")),
    ("memoryview", memoryview(b"text")),
    ("object", Nothing()),
    ("class", Nothing),
    ("function", len),
    ("lambda", lambda: "text"),
    ("module", re),
    ("Ellipsis", ...),
    ("NotImplemented", NotImplemented),
    ("complex", 1j),
    ("datetime", datetime(2024, 1, 1, tzinfo=timezone.utc)),
    ("dict", {"a": "b"}),
    ("empty dict", {}),
    ("OrderedDict", OrderedDict(a="b")),
    ("Counter", Counter("aab")),
    ("set", {"a"}),
    ("empty set", set()),
    ("frozenset", frozenset("a")),
    ("error", ValueError("text")),
    ("pattern", re.compile("a")),
    ("list of list", [["a"]]),
    ("list of None", [None]),
    ("list of bytes", [b"a"]),
    ("DataFrame", pd.DataFrame({"prompt": ["a"]})),
    ("polars DataFrame", pl.DataFrame({"prompt": ["a"]})),
    ("array of bytes", np.array([b"a"])),
    ("array of two dimensions", np.array([["a"]])),
    ("array of no dimension", np.array("a")),
    ("array of datetimes", np.array(["2024-01-01"], dtype="datetime64[D]")),
]
NUMBERS: list[Case] = [
    ("zero", 0),
    ("int", 5),
    ("huge int", 10**400),
    ("float", 0.5),
    ("nan", float("nan")),
    ("inf", float("inf")),
    ("True", True),
    ("np.float32", np.float32(1)),
    ("np.int8", np.int8(1)),
    ("np.bool", np.bool_(True)),
    ("Fraction", fractions.Fraction(1, 2)),
    ("Decimal", decimal.Decimal(1)),
    ("range", range(3)),
    ("list of ints", [1, 2]),
    ("array of ints", np.arange(3)),
    ("array of floats", np.zeros(3)),
    ("Series of ints", pd.Series([1, 2])),
]
NONE: list[Case] = [("None", None)]


def with_bad_item(bad: object) -> list[Case]:
    """Batches in which one item is no str, at several places and in several containers."""
    kind = type(bad).__name__
    return [
        (f"{kind} first", [bad, "a", "b"]),
        (f"{kind} in the middle", ["a", bad, "b"]),
        (f"{kind} last", ["a", "b", bad]),
        (f"{kind} in a tuple", ("a", bad)),
        (f"{kind} in a deque", deque(["a", bad])),
        (f"{kind} from a generator", (item for item in ["a", bad])),
    ]


def prompts() -> list[Case]:
    """Bad batches, none of them read yet."""
    return [
        *NONE,
        *NEVER,
        *NUMBERS,
        *(case for bad in (None, b"a", 5, 0.5, ["a"], {"a": 1}, np.float32(1)) for case in with_bad_item(bad)),
        ("nan in a Series", pd.Series(["a", float("nan")])),
        ("None in a Series", pd.Series(["a", None], dtype=object)),
        ("NA in an array", np.array(["a", None], dtype=object)),
        ("pyarrow array", pa.array(["a"])),
        ("pyarrow table", pa.table({"prompt": ["a"]})),
        ("chain of dicts", ChainMap({1: "a"})),
        ("file of bytes", io.BytesIO(b"a\nb\n")),
        ("not iterable after all", Unreadable()),
    ]


def floats(rows: int = 3, columns: int = DIM) -> np.ndarray:
    return np.ones((rows, columns), np.float32)


def spoilt(value: float, row: int, column: int, rows: int = 50) -> np.ndarray:
    made = floats(rows)
    made[row, column] = value
    return made


def unaligned() -> np.ndarray:
    return np.frombuffer(bytearray(3 * DIM * 4 + 1), np.float32, offset=1, count=3 * DIM).reshape(3, DIM)


OTHER_DTYPES = [
    "f8",
    "f2",
    "longdouble",
    ">f4",
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "?",
    "c8",
    "c16",
    "O",
    "S4",
]
EMBEDDINGS: list[Case] = [
    *NONE,
    *NEVER,
    *NUMBERS,
    ("str", "text"),
    ("nested lists", floats().tolist()),
    ("list of arrays", list(floats())),
    ("tuple of arrays", tuple(floats())),
    ("buffer", memoryview(floats())),
    ("bytes of an array", floats().tobytes()),
    *((f"dtype {dtype}", np.ones((3, DIM)).astype(dtype)) for dtype in OTHER_DTYPES),
    ("dtype U4", np.full((3, DIM), "a")),
    ("structured", np.zeros(3, [("x", np.float32, DIM)])),
    ("one dimension", np.ones(DIM, np.float32)),
    ("three dimensions", np.ones((3, DIM, 1), np.float32)),
    ("no dimension", np.array(1, np.float32)),
    ("no columns", np.ones((3, 0), np.float32)),
    ("a column less", floats(columns=DIM - 1)),
    ("a column more", floats(columns=DIM + 1)),
    ("transposed", floats(DIM, DIM - 1).T),
    ("Fortran order", np.asfortranarray(floats())),
    ("every other row", floats(6)[::2]),
    ("every other column", floats(columns=2 * DIM)[:, ::2]),
    ("rows backwards", floats()[::-1]),
    ("columns backwards", floats()[:, ::-1]),
    ("columns of a wider array", floats(columns=DIM + 4)[:, 2 : 2 + DIM]),
    ("broadcast", np.broadcast_to(np.ones(DIM, np.float32), (3, DIM))),
    ("strides of zero", np.lib.stride_tricks.as_strided(np.ones(DIM, np.float32), (3, DIM), (0, 4))),
    ("not aligned", unaligned()),
    ("Series", pd.Series([1.0], dtype=np.float32)),
    ("frame of floats", pd.DataFrame(floats())),
    *(
        (f"{value} in row {row}, column {column}", spoilt(value, row, column))
        for value in (float("nan"), float("inf"), float("-inf"))
        for row, column in ((0, 0), (25, DIM // 2), (49, DIM - 1), (0, DIM - 1))
    ),
    ("nan in the last of many rows", spoilt(float("nan"), 4999, 3, rows=5000)),
]

PROMPT: list[Case] = [
    *NONE,
    *NEVER,
    *NUMBERS,
    ("list", ["a"]),
    ("empty list", []),
    ("tuple", ("a",)),
    ("generator", (c for c in "ab")),
    ("iterator", iter("ab")),
    ("array", np.array(["a"])),
    ("Series", pd.Series(["a"])),
    ("Path", Path("text")),
    ("StringIO", io.StringIO("a")),
    ("zip", zip("a", "b", strict=True)),
    ("map", map(str, [1])),
    ("slice", slice(1)),
    ("deque", deque("a")),
]

MODEL: list[Case] = [
    *NEVER,
    *NUMBERS,
    ("list", ["large"]),
    ("tuple", ("large", "small")),
    ("Path", Path("large")),
    ("array", np.array(["large"])),
    ("empty", ""),
    ("unknown", "gpt-9"),
    ("other case", "LARGE"),
    ("space after", "large "),
    ("NUL", "large\x00"),
    ("lone surrogate", "\ud800"),
    ("very long", "x" * 100_000),
    ("newline", "large\n"),
    ("bidirectional", "\u202elarge"),
]

FRACTION: list[Case] = [
    *NEVER,
    ("str", "0.5"),
    ("empty str", ""),
    ("list of floats", [0.5]),
    ("array", np.array([0.5])),
    ("array of no dimension, float", np.array(0.5)),
    ("True", True),
    ("False", False),
    ("np.bool", np.bool_(True)),
    ("Decimal", decimal.Decimal("0.5")),
    ("nan", float("nan")),
    ("np.nan", np.float32("nan")),
    ("inf", float("inf")),
    ("-inf", float("-inf")),
    ("below", -1e-9),
    ("just above", np.nextafter(1, 2)),
    ("above", 1.5),
    ("minus one", -1),
    ("two", 2),
    ("percent", 50),
    ("huge", 1e308),
    ("huge int", 10**400),
    ("huge negative int", -(10**400)),
    ("very huge int", 10**5000),
    ("Fraction above", fractions.Fraction(3, 2)),
    ("huge Fraction", fractions.Fraction(10**400)),
    ("np.float64", np.float64(-0.5)),
    ("np.int64", np.int64(7)),
    ("Series", pd.Series([0.5])),
    ("generator", (x for x in [0.5])),
    ("range", range(1)),
]

COUNT: list[Case] = [
    *NONE,
    *NEVER,
    ("zero", 0),
    ("minus one", -1),
    ("above", 1025),
    ("2**31", 2**31),
    ("2**32", 2**32),
    ("2**32 + 1", 2**32 + 1),
    ("2**63", 2**63),
    ("2**64", 2**64),
    ("2**64 + 1", 2**64 + 1),
    ("-2**63", -(2**63)),
    ("-2**64", -(2**64)),
    ("huge", 10**400),
    ("very huge", 10**5000),
    ("np.int64", np.int64(0)),
    ("np.uint64", np.uint64(2**64 - 1)),
    ("array of no dimension, zero", np.array(0)),
    ("True", True),
    ("False", False),
    ("np.bool", np.bool_(True)),
    ("float", 2.0),
    ("half", 0.5),
    ("nan", float("nan")),
    ("inf", float("inf")),
    ("np.float32", np.float32(2)),
    ("str", "2"),
    ("Decimal", decimal.Decimal(2)),
    ("Fraction", fractions.Fraction(2)),
    ("list of an int", [2]),
    ("array", np.array([2, 3])),
    ("range", range(3)),
    ("tuple", (2,)),
]

PATH: list[Case] = [
    *NEVER,
    *NUMBERS,
    ("empty", ""),
    ("unknown name", "no-such-router"),
    ("nearly a name", "mff"),
    ("NUL", "a\x00b"),
    ("lone surrogate", "\ud800"),
    ("name too long", "x" * 5000),
    ("path too long", "/".join(["x" * 200] * 50)),
    ("absent", Path("/nonexistent/router")),
    ("absent PurePath", Path("nonexistent")),
    ("path of NUL", Path("a\x00b")),
    ("address", "hf://org/repo"),
    ("https", "https://example.invalid/router"),
    ("path that is an int", WrongPath(5)),
    ("path that is None", WrongPath(None)),
    ("path that is bytes", WrongPath(b"router")),
    ("list of paths", ["router"]),
    ("open file", io.StringIO("router")),
]


def named(*arguments: str) -> Callable[[str], bool]:
    """Whether a message begins with an argument's name, perhaps with an index."""
    pattern = re.compile(rf"({'|'.join(arguments)})(\[\d+\])?: ")
    return lambda message: pattern.match(message) is not None


def complaint(
    call: Callable[[Any], object], bad: object, is_named: Callable[[str], bool], expected: tuple[type, ...]
) -> str | None:
    try:
        result = call(bad)
    except Exception as error:  # noqa: BLE001 - any other than the expected is what this looks for
        good = isinstance(error, FastrouteError) and isinstance(error, expected) and is_named(str(error))
        return None if good else f"{type(error).__name__}: {str(error)[:200]}"
    return f"accepted, gave {result!r:.100}"


def check(
    call: Callable[[Any], object], cases: list[Case], is_named: Callable[[str], bool], expected: tuple[type, ...]
) -> None:
    assert len(cases) >= 60
    complaints = (complaint(call, bad, is_named, expected) for _, bad in cases)
    assert [f"{name}: {found}" for (name, _), found in zip(cases, complaints, strict=True) if found] == []


ARGUMENT = (InvalidTypeError, InvalidArgumentError)
TYPE = (InvalidTypeError,)


def test_score(router: MatrixFactorizationRouter) -> None:
    check(router.score, prompts(), named("prompts"), TYPE)


def test_route(router: MatrixFactorizationRouter) -> None:
    check(router.route, prompts(), named("prompts"), TYPE)


def test_route_threshold(router: MatrixFactorizationRouter) -> None:
    check(lambda bad: router.route("a", threshold=bad), FRACTION, named("threshold"), ARGUMENT)
    check(lambda bad: router.route(["a"], bad), FRACTION, named("threshold"), ARGUMENT)


def test_score_models(router: MatrixFactorizationRouter) -> None:
    check(router.score_models, prompts(), named("prompts"), TYPE)


def test_score_embeddings(router: MatrixFactorizationRouter) -> None:
    check(router.score_embeddings, EMBEDDINGS, named("embeddings"), ARGUMENT)


def test_embed(router: MatrixFactorizationRouter) -> None:
    cases = [("str", "a"), ("empty str", ""), ("np.str_", np.str_("a")), *prompts()]
    check(router.encoder.embed, cases, named("prompts"), TYPE)


def test_tokenize(router: MatrixFactorizationRouter) -> None:
    check(router.encoder.tokenize, PROMPT, named("prompt"), TYPE)
    check(lambda bad: router.encoder.tokenize(bad, truncate=True), PROMPT, named("prompt"), TYPE)


def test_with_models(router: MatrixFactorizationRouter) -> None:
    cases = [*NONE, *MODEL]
    check(lambda bad: router.with_models(bad, "small"), cases, named("strong"), (InvalidTypeError, UnknownModelError))
    check(lambda bad: router.with_models("large", bad), cases, named("weak"), (InvalidTypeError, UnknownModelError))


def test_experts(experts: ExpertsRouter) -> None:
    check(experts.score, prompts(), named("prompts"), TYPE)
    check(experts.gain, prompts(), named("prompts"), TYPE)
    check(experts.explain, PROMPT, named("prompt"), TYPE)
    models = [*NONE, *MODEL]
    expected = (InvalidTypeError, UnknownModelError)
    check(lambda bad: experts.with_models(bad, "small"), models, named("strong"), expected)
    check(lambda bad: experts.with_models("large", bad), models, named("weak"), expected)


def test_ranking(ranking: SimilarityWeightedRouter) -> None:
    check(ranking.score, prompts(), named("prompts"), TYPE)
    check(ranking.score_embeddings, EMBEDDINGS, named("embeddings"), ARGUMENT)
    models = [*NONE, *MODEL]
    expected = (InvalidTypeError, UnknownModelError)
    check(lambda bad: ranking.with_models(bad, "small"), models, named("strong"), expected)
    check(lambda bad: ranking.with_models("large", bad), models, named("weak"), expected)
    counts = [case for case in COUNT if case[0] != "np.uint64"]
    check(lambda bad: SimilarityWeightedRouter(tiers=bad), [*counts, ("65", 65)], named("tiers"), ARGUMENT)
    numbers = [*NONE, *NEVER, *((name, bad) for name, bad in FRACTION if name not in TEMPERATURES), ("1e31", 1e31)]
    check(lambda bad: SimilarityWeightedRouter(base=bad), numbers, named("base"), ARGUMENT)


NEIGHBOURS: list[Case] = [
    *(case for case in COUNT if case[0] not in ("above", "2**31", "2**32", "2**32 + 1")),
    ("minus two", -2),
    ("np.int8", np.int8(-1)),
    ("float of a whole number", np.float64(3)),
]
NUMBER: list[Case] = [
    *NONE,
    *(case for case in NEVER if case[0] != "complex"),
    ("complex", 1j),
    ("str", "2"),
    ("empty str", ""),
    ("list of floats", [2.0]),
    ("array", np.array([2.0, 3.0])),
    ("Series", pd.Series([2.0, 3.0])),
    ("range", range(3)),
    ("generator", (x for x in [2.0])),
    ("True", True),
    ("False", False),
    *((f"{value!r}", value) for value in (-1, -1e-9, -0.5, -1e308, float("nan"), float("inf"), float("-inf"))),
    *((f"np {value!r}", np.float64(value)) for value in (-1, -1e-9, -0.5, float("nan"), float("inf"))),
    *((f"np.float32 {value!r}", np.float32(value)) for value in (-1, -0.5, float("nan"), float("inf"))),
    ("huge int", 10**400),
    ("huge negative int", -(10**400)),
    ("Fraction below", fractions.Fraction(-1, 2)),
    ("Decimal below", decimal.Decimal(-1)),
    ("np.int64", np.int64(-7)),
    ("np.int8", np.int8(-7)),
    ("bool in a tuple", (True,)),
]
TEMPERATURES = ("above", "just above", "two", "percent", "np.int64")  # bases from 1 up


def test_native_index() -> None:
    rows, scales = np.ones((3, 4), np.int8), np.full(3, 0.1, np.float32)
    bad_rows = [(name, bad) for name, bad in EMBEDDINGS if name != "dtype i1"]
    check(lambda bad: _core.SimilarityIndex(bad, scales), bad_rows, named("rows"), ARGUMENT)
    check(lambda bad: _core.SimilarityIndex(rows, bad), EMBEDDINGS, named("scales"), ARGUMENT)
    finer = [case for case in bad_rows if case[0] != "None"]
    check(lambda bad: _core.SimilarityIndex(rows, scales, bad), finer, named("fine"), ARGUMENT)
    check(_core.SimilarityIndex(rows, scales).similarities, EMBEDDINGS, named("embeddings"), ARGUMENT)
    nearest = _core.SimilarityIndex(rows, scales).nearest
    check(lambda bad: nearest(bad, 2), EMBEDDINGS, named("embeddings"), ARGUMENT)
    check(lambda bad: nearest(floats(2, 4), bad), NEIGHBOURS, named("k"), ARGUMENT)
    index, candidates = _core.SimilarityIndex(rows, scales), np.zeros((2, 1), np.int64)
    check(lambda bad: index.rank(bad, candidates, 1), EMBEDDINGS, named("embeddings"), ARGUMENT)
    check(lambda bad: index.rank(floats(2, 4), bad, 1), EMBEDDINGS, named("candidates"), ARGUMENT)
    check(lambda bad: index.rank(floats(2, 4), candidates, bad), NEIGHBOURS, named("k"), ARGUMENT)
    places = [(name, bad) for name, bad in EMBEDDINGS if name != "array of ints"]
    check(index.unit_rows, places, named("rows"), ARGUMENT)
    offsets, cells, counts = np.array([0, 1]), np.array([1], np.uint16), np.ones(1, np.float32)
    check(lambda bad: _core.BattleCounts(2, bad, cells, counts), EMBEDDINGS, named("offsets"), ARGUMENT)
    check(lambda bad: _core.BattleCounts(2, offsets, bad, counts), EMBEDDINGS, named("cells"), ARGUMENT)
    check(lambda bad: _core.BattleCounts(2, offsets, cells, bad), EMBEDDINGS, named("counts"), ARGUMENT)
    check(lambda bad: _core.solve_strengths(bad, np.zeros(2)), EMBEDDINGS, named("wins"), ARGUMENT)
    vectors = [(name, bad) for name, bad in EMBEDDINGS if name != "array of floats"]
    check(lambda bad: _core.solve_strengths(np.zeros((2, 2)), bad), vectors, named("start"), ARGUMENT)


def test_native_gains(router: MatrixFactorizationRouter) -> None:
    index = _core.SimilarityIndex(np.ones((3, DIM), np.int8), np.full(3, 0.1, np.float32))
    good: dict[str, Any] = {"neighbours": 2, "base": 10.0, "shrinkage": 0.0, "guard": 0.0}

    def made(gains: Any = None, **changes: Any) -> _core.NearestGains:
        gains = np.zeros(3, np.float32) if gains is None else gains
        return _core.NearestGains(index, gains, router.encoder.native, **{**good, **changes})

    check(made, [case for case in EMBEDDINGS if case[1] is not None], named("gains"), ARGUMENT)
    check(lambda bad: made(neighbours=bad), NEIGHBOURS, named("neighbours"), ARGUMENT)
    for name in ("base", "shrinkage", "guard"):
        check(lambda bad, name=name: made(**{name: bad}), NUMBER, named(name), ARGUMENT)
    scorer = made()
    check(scorer.score, prompts(), named("prompts"), TYPE)
    check(scorer.score_embeddings, EMBEDDINGS, named("embeddings"), ARGUMENT)
    ids, similarities = np.zeros((3, DIM), np.int64), floats()
    others = [case for case in EMBEDDINGS if case[0] != "dtype i8"]
    check(lambda bad: scorer.score_neighbours(bad, similarities), others, named("ids"), ARGUMENT)
    check(lambda bad: scorer.score_neighbours(ids, bad), EMBEDDINGS, named("similarities"), ARGUMENT)
    check(lambda bad: scorer.explain_neighbours(bad, similarities), others, named("ids"), ARGUMENT)
    check(lambda bad: scorer.explain_neighbours(ids, bad), EMBEDDINGS, named("similarities"), ARGUMENT)
    for bad in (ids - 1, ids + 3):
        with pytest.raises(InvalidArgumentError, match=r"^ids: found (-1|3) at row 0, column 0, allowed: 0 to 2"):
            scorer.score_neighbours(bad, similarities)


def test_native_neighbourhood(ranking: SimilarityWeightedRouter) -> None:
    index, counts, encoder = ranking._index, ranking._counts, ranking.encoder.native
    assert index is not None
    assert counts is not None

    def made(**changes: Any) -> _core.SimilarityWeighted:
        options: dict[str, Any] = {"neighbours": 5, "shrinkage": 1.0, **changes}
        return _core.SimilarityWeighted(index, counts, encoder, strong=0, weak=2, base=10.0, normalised=True, **options)

    without_zero = [*(case for case in NEIGHBOURS if case[0] not in ("zero", "np.int64", ZERO)), ("minus three", -3)]
    check(lambda bad: made(neighbours=bad), [*without_zero, ("-2**31", -(2**31))], named("neighbours"), ARGUMENT)
    check(lambda bad: made(shrinkage=bad), NUMBER, named("shrinkage"), ARGUMENT)
    scorer = made()
    ids, similarities = np.zeros((3, DIM), np.int64), floats()
    others = [case for case in EMBEDDINGS if case[0] != "dtype i8"]
    check(lambda bad: scorer.score_neighbours(bad, similarities), others, named("ids"), ARGUMENT)
    check(lambda bad: scorer.score_neighbours(ids, bad), EMBEDDINGS, named("similarities"), ARGUMENT)


ZERO = "array of no dimension, zero"


def test_native_moments(ranking: SimilarityWeightedRouter) -> None:
    cells, means = np.array([1, 3, 7], np.uint16), np.full((3, 4), 0.1, np.float32)
    factors = np.zeros((3, 2, 4), np.float32)
    check(lambda bad: _core.BattleMoments(bad, means), EMBEDDINGS, named("cells"), ARGUMENT)
    outside = ("1.5", np.full((3, 4), 1.5, np.float32)), ("nan", np.full((3, 4), np.nan, np.float32))
    bad_means = [case for case in EMBEDDINGS if case[0] not in ("a column less", "a column more")]
    check(lambda bad: _core.BattleMoments(cells, bad), [*bad_means, *outside], named("means"), ARGUMENT)
    bad_factors = [case for case in EMBEDDINGS if case[0] != "None"]
    bad_factors += [("too many", np.zeros((3, 257, 4), np.float32)), ("inf", np.full((3, 1, 4), np.inf, np.float32))]
    check(lambda bad: _core.BattleMoments(cells, means, bad), bad_factors, named("factors"), ARGUMENT)
    moments = _core.BattleMoments(cells, means, factors)
    assert (moments.size, moments.dim, moments.rank) == (3, 4, 2)

    scorer = with_moments(ranking)
    for batched in (scorer.approximate, lambda bad: scorer.score_near(bad, 0.5, 0.1)):
        check(batched, prompts(), named("prompts"), TYPE)
    for embedded in (scorer.approximate_embeddings, lambda bad: scorer.score_embeddings_near(bad, 0.5, 0.1)):
        check(embedded, EMBEDDINGS, named("embeddings"), ARGUMENT)
    fractions_ = [*NONE, *FRACTION]
    for argument in ("threshold", "band"):

        def near(bad: Any, argument: str = argument) -> object:
            return scorer.score_near("a", **{"threshold": 0.5, "band": 0.1, argument: bad})

        def near_rows(bad: Any, argument: str = argument) -> object:
            return scorer.score_embeddings_near(floats(0), **{"threshold": 0.5, "band": 0.1, argument: bad})

        check(near, fractions_, named(argument), ARGUMENT)
        check(near_rows, fractions_, named(argument), ARGUMENT)


def test_moments_of_other_battles(ranking: SimilarityWeightedRouter) -> None:
    index, counts = native_of(ranking)
    good = moments_of(ranking, 2)
    cells, means, factors = good.cells(), good.means(), good.factors()

    def scorer(moments: _core.BattleMoments, *, normalised: bool = False) -> _core.SimilarityWeighted:
        return _core.SimilarityWeighted(
            index, counts, None, strong=0, weak=1, base=10, normalised=normalised, moments=moments
        )

    for bad, message in [
        (_core.BattleMoments(cells[1:].copy(), means[1:].copy()), "moments: found none of cell 1, which has battles"),
        (_core.BattleMoments(np.append(cells, np.uint16(65535)), np.concatenate([means, means[:1]])),
         "moments: found cell 65535, of which there is no battle"),
        (_core.BattleMoments(cells, means[:, 1:].copy()), "moments: found 15 dimensions, allowed: the index's 16"),
    ]:  # fmt: skip
        with pytest.raises(InvalidArgumentError, match=re.escape(message)):
            scorer(bad)
    with pytest.raises(InvalidArgumentError, match=r"^moments: found factors, and similarities normalised"):
        scorer(good, normalised=True)
    for falling in (cells[::-1].copy(), np.repeat(cells[:1], len(cells))):
        with pytest.raises(InvalidArgumentError, match=r"^cells: found \d+ after \d+, allowed: each once, ascending"):
            _core.BattleMoments(falling, means)
    for moments in (None, _core.BattleMoments(cells, means), _core.BattleMoments(cells, means, factors[:, :0].copy())):
        without = _core.SimilarityWeighted(
            index, counts, ranking.encoder._native, strong=0, weak=1, base=10, normalised=True, moments=moments
        )
        for call, arguments in (
            (without.approximate, ("a",)),
            (without.approximate, ([],)),
            (without.approximate_embeddings, (floats(),)),
            (without.approximate_embeddings, (floats(0),)),
            (without.score_near, ("a", 0.5, 0.1)),
            (without.score_embeddings_near, (floats(), 0.5, 0.1)),
        ):
            with pytest.raises(InvalidArgumentError, match=r"^moments: found none with factors"):
                call(*arguments)
    for call in (lambda: scorer(good).approximate("a"), lambda: scorer(good).score_near(["a"], 0.5, 0.1)):
        with pytest.raises(InvalidArgumentError, match=r"^prompts: this router was trained on embeddings"):
            call()


def test_native_experts(experts: ExpertsRouter) -> None:
    native = experts._native
    assert native is not None
    for batched in (native.mixture, _core.surface_features):
        check(batched, [("str", "a"), *prompts()], named("prompts"), TYPE)
    for call in (native.score, native.gain, native.mixture):
        given = [(name, bad) for name, bad in EMBEDDINGS if bad is not None]

        def with_embeddings(bad: Any, call: Callable[..., object] = call) -> object:
            # As many prompts as there are rows, so that only what is wrong with the rows is found.
            rows = len(bad) if isinstance(bad, np.ndarray) and bad.ndim > 0 else 3
            return call(["a"] * rows, bad)

        check(with_embeddings, given, named("embeddings"), ARGUMENT)
        with pytest.raises(
            InvalidArgumentError, match=r"^embeddings: found 2 rows, allowed: one for each of 3 prompts"
        ):
            call(["a"] * 3, floats(2))


def test_arrays_of_native_experts() -> None:
    good = random_experts(16, gold=1)
    for name, values in good.items():
        other_axes = np.zeros((1, *values.shape), np.float32)
        not_finite = values.copy()
        not_finite.flat[-1] = np.nan
        for bad in (None, values.tolist(), values.astype(np.float64), other_axes, values[..., :-1].copy(), not_finite):
            with pytest.raises(
                FastrouteError, match=rf"^({name}|domain experts|means and scales|expert_embedding|expert_mean)"
            ):
                _core.DomainExperts(None, **{**good, name: bad})
        rest = {key: value for key, value in good.items() if key != name}
        with pytest.raises(InvalidArgumentError, match=rf"^{name}: not given"):
            _core.DomainExperts(None, **rest)


def test_load_models(tiny_router_folder: Path) -> None:
    expected = (InvalidTypeError, UnknownModelError)
    check(lambda bad: fastroute.load(tiny_router_folder, strong=bad), MODEL, named("strong"), expected)
    check(lambda bad: fastroute.load(tiny_router_folder, weak=bad), MODEL, named("weak"), expected)


def test_load_router() -> None:
    check(fastroute.load, PATH, named("router"), ARGUMENT)


def test_load_encoder_argument(tiny_router_folder: Path) -> None:
    """Of `load` and of `load_encoder`: a path that is not there is named itself."""
    for call in (lambda bad: fastroute.load(tiny_router_folder, encoder=bad), load_encoder):

        def is_named(message: str) -> bool:
            return named("encoder")(message) or ("not found" in message or "can't be read" in message)

        check(call, PATH, is_named, (*ARGUMENT, fastroute.errors.ArtifactError))


def test_set_num_threads(threads: Callable[[int], None]) -> None:
    before = fastroute.info().threads
    check(threads, COUNT, named("count"), ARGUMENT)
    assert fastroute.info().threads == before


def test_threshold() -> None:
    check(fastroute.Threshold, [*NONE, *FRACTION], named("threshold"), ARGUMENT)


def test_the_same_model_twice(router: MatrixFactorizationRouter) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^strong, weak: found 'large' for both"):
        router.with_models("large", "large")


def test_unknown_models_are_told_the_nearest(router: MatrixFactorizationRouter) -> None:
    with pytest.raises(UnknownModelError, match=r"'larg'.*the nearest of its 4 models: large"):
        router.with_models("larg", "small")


def test_messages_say_what_was_found_and_where(router: MatrixFactorizationRouter) -> None:
    for call, bad, expected in [
        (router.score, ["a", 5], r"prompts[1]: found int, allowed: str"),
        (router.score, 5, "prompts: found int, allowed: a str or a sequence of str"),
        (router.encoder.tokenize, b"a", "prompt: found bytes, allowed: str"),
        (router.score_embeddings, floats(3, 15), "embeddings: found 15 columns, allowed: 16"),
        (router.score_embeddings, spoilt(float("nan"), 7, 3), "embeddings: row 7, column 3: found NaN"),
        (router.score_embeddings, spoilt(float("-inf"), 49, 15), "embeddings: row 49, column 15: found Inf"),
        (router.score_embeddings, np.ones((2, DIM)), "embeddings: found dtype float64"),
        (router.score_embeddings, np.ones((2, DIM, 3), np.float32), "embeddings: found shape (2, 16, 3)"),
        (router.score_embeddings, np.asfortranarray(floats()), "numpy.ascontiguousarray makes one"),
        (fastroute.set_num_threads, 0, "count: found 0, allowed: 1 to 1024"),
        (fastroute.Threshold, 1.5, "threshold: found 1.5, allowed: 0 to 1"),
    ]:
        with pytest.raises(FastrouteError, match=re.escape(expected)):
            call(bad)


def test_errors_of_an_iterable_are_its_own(router: MatrixFactorizationRouter) -> None:
    def prompts(error: BaseException) -> Iterator[str]:
        yield "a"
        raise error

    for error in (TypeError("mine"), ValueError("mine"), KeyError("mine"), MemoryError("mine"), KeyboardInterrupt()):
        for call in (router.score, router.route, router.encoder.embed, router.score_models):
            with pytest.raises(type(error)) as caught:
                call(prompts(error))
            assert caught.value is error


def test_a_router_that_was_never_trained() -> None:
    untrained = MatrixFactorizationRouter(encoder=None)
    experts = ExpertsRouter()
    for call in (
        lambda: experts.score("a"),
        lambda: experts.gain(["a"]),
        lambda: experts.explain("a"),
        lambda: experts.with_models("large", "small"),
        lambda: experts.save("nowhere"),
        lambda: untrained.score("a"),
        lambda: untrained.route(["a"]),
        lambda: untrained.score_embeddings(floats()),
        lambda: untrained.score_models("a"),
        lambda: untrained.with_models("large", "small"),
        lambda: untrained.models,
        lambda: untrained.save("nowhere"),
    ):
        with pytest.raises(InvalidArgumentError, match=r"^router: it is not trained yet"):
            call()


def test_a_refused_call_changes_nothing(router: MatrixFactorizationRouter) -> None:
    before = router.score(["prove that", "the sum"])
    for bad in (None, ["a", 5], {}):
        with pytest.raises(InvalidTypeError):
            router.score(bad)
    with pytest.raises(InvalidArgumentError):
        router.score_embeddings(spoilt(float("nan"), 0, 0))
    np.testing.assert_array_equal(router.score(["prove that", "the sum"]), before)
