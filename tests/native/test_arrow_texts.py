"""Strings in Arrow's buffers: the scores of the same Python strings, and buffers that lie are refused."""

from __future__ import annotations

import gc
import re
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.native.weighted_moments import with_moments

from fastroute import _core
from fastroute.encoders import load_encoder
from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.routers import ExpertsRouter, KnnRouter, MatrixFactorizationRouter, SimilarityWeightedRouter

KINDS = {"u": pa.string(), "U": pa.large_string()}
if hasattr(pa, "string_view"):  # from pyarrow 16
    KINDS["vu"] = pa.string_view()
TEXTS = st.lists(st.none() | st.text(max_size=40) | st.sampled_from(["prove that", "the sum is", ""]), max_size=40)


def texts_of(array: pa.Array) -> _core.ArrowTexts:
    layout = next(layout for layout, kind in KINDS.items() if kind == array.type)
    return _core.ArrowTexts(layout, len(array), array.offset, array.buffers())


@pytest.fixture(scope="session")
def knn(tiny_encoder_folder) -> KnnRouter:
    rng = np.random.default_rng(3)
    prompts = [f"prove that {i} is {'the sum ' * int(rng.integers(9))}" for i in range(200)]
    scored = {
        "prompt": prompts * 2,
        "model": ["large"] * 200 + ["small"] * 200,
        "score": rng.uniform(0, 1, 400).tolist(),
    }
    return KnnRouter("large", "small", encoder=load_encoder(tiny_encoder_folder)).fit(scored)


@pytest.fixture(scope="session")
def routers(
    router: MatrixFactorizationRouter, experts: ExpertsRouter, ranking: SimilarityWeightedRouter, knn: KnnRouter
) -> list[Any]:
    return [router, experts, ranking, knn]


@settings(deadline=None, max_examples=80)
@given(
    cells=TEXTS, layout=st.sampled_from([*KINDS]), cut=st.tuples(st.integers(0, 9), st.integers(0, 40)), twice=st.data()
)
def test_scores_are_those_of_the_strings(routers: list[Any], cells: list[str | None], layout: str, cut, twice) -> None:
    array = pa.array(cells, KINDS[layout]).slice(*cut)
    wanted = array.to_pylist()
    texts = texts_of(array)
    assert texts.bad() == [(row, None) for row, cell in enumerate(wanted) if cell is None]
    good = texts.good()
    prompts = [cell for cell in wanted if cell is not None]
    assert list(good) == prompts
    assert good.bad() == []
    assert len(texts) == len(wanted)
    for each in routers:
        np.testing.assert_array_equal(each.score(good), each.score(prompts))
    np.testing.assert_array_equal(_core.surface_features(good), _core.surface_features(prompts))
    np.testing.assert_array_equal(routers[0].encoder.embed(good), routers[0].encoder.embed(prompts))
    rows = twice.draw(st.lists(st.integers(-1, len(wanted) - 1), max_size=20))
    taken = texts.take(np.array(rows, np.int64))
    picked = [None if row == -1 else wanted[row] for row in rows]
    assert list(taken.good()) == [cell for cell in picked if cell is not None]
    assert taken.bad() == [(row, None) for row, cell in enumerate(picked) if cell is None]


def test_many_rows_on_several_threads(routers: list[Any], threads: Callable[[int], None]) -> None:
    cells = [f"prove that {i} is the sum " + "é√日🎉"[i % 4] * (i % 7) for i in range(5_000)]
    expected = [each.score(cells) for each in routers]
    for count in (1, 2, 4):
        threads(count)
        for each, scores in zip(routers, expected, strict=True):
            np.testing.assert_array_equal(each.score(texts_of(pa.array(cells))), scores)


def test_moments(ranking: SimilarityWeightedRouter) -> None:
    scorer = with_moments(ranking)
    cells = [f"prove that {i} is the sum" for i in range(300)]
    texts = texts_of(pa.array(cells))
    np.testing.assert_array_equal(scorer.approximate(texts), scorer.approximate(cells))
    np.testing.assert_array_equal(scorer.score_near(texts, 0.5, 0.1), scorer.score_near(cells, 0.5, 0.1))


def test_every_router_reads_them_in_place(routers: list[Any]) -> None:
    assert all(each.reads_arrow for each in routers)
    assert not MatrixFactorizationRouter(encoder=None).reads_arrow


def test_buffers_outlive_their_array(router: MatrixFactorizationRouter) -> None:
    texts = texts_of(pa.array([f"prove that {i}" for i in range(10_000)]))
    good = texts.good().take(np.arange(10_000)[::-1].copy())
    del texts
    gc.collect()
    junk = [pa.array(["x" * 50] * 1000) for _ in range(20)]
    assert good[0] == "prove that 9999"
    assert len(junk) == 20
    np.testing.assert_array_equal(router.score(good), router.score([f"prove that {i}" for i in range(9_999, -1, -1)]))


def test_a_buffer_in_use_can_not_be_resized() -> None:
    data = bytearray(b"prove")
    texts = _core.ArrowTexts("u", 1, 0, [None, offsets(0, 5), data])
    with pytest.raises(BufferError):
        data += b" more"
    data[:] = b"\xff\xff\xff\xff\xff"  # not what was checked; read all the same
    assert texts[0] == "\ufffd" * 5
    del texts
    data += b" more"


def test_other_threads_run_meanwhile(router: MatrixFactorizationRouter) -> None:
    texts = texts_of(pa.array(["prove that the sum is " * 40] * 20_000))
    began, seen = threading.Event(), []

    def count() -> None:
        began.set()
        while not done.is_set():
            seen.append(len(seen))
            done.wait(1e-4)

    done = threading.Event()
    thread = threading.Thread(target=count)
    thread.start()
    began.wait()
    before = len(seen)
    router.score(texts)
    after = len(seen)
    done.set()
    thread.join()
    assert after > before


def test_a_sequence_of_str() -> None:
    texts = texts_of(pa.array(["a", "é", None, "日本"]))
    assert [texts[0], texts[1], texts[-1], len(texts)] == ["a", "é", "日本", 4]
    for row in (4, -5):
        with pytest.raises(IndexError):
            texts[row]
    with pytest.raises(InvalidTypeError, match=r"^texts\[2\]: found null, allowed: str"):
        texts[-2]
    assert list(texts_of(pa.array([], pa.string()))) == []


def test_rows_that_are_no_text(routers: list[Any]) -> None:
    array = pa.array([b"good", None, b"h\xff", b"\xed\xa0\x80"], pa.binary()).view(pa.string())
    texts = texts_of(array)
    assert texts.bad() == [(1, None), (2, 1), (3, 0)]
    assert list(texts.good()) == ["good"]
    assert texts.take(np.array([2, 0], np.int64)).bad() == [(0, 1)]
    for each in routers:
        with pytest.raises(InvalidTypeError, match=r"^prompts\[1\]: found null, allowed: str"):
            each.score(texts)
        with pytest.raises(InvalidArgumentError, match=r"^prompts\[0\]: invalid UTF-8 at byte 2"):
            each.score(texts_of(array.slice(2)))


@settings(deadline=None, max_examples=200)
@given(cell=st.binary(max_size=30))
def test_utf8_is_what_python_takes(cell: bytes) -> None:
    texts = texts_of(pa.array([cell], pa.binary()).view(pa.string()))
    try:
        expected, bad = [cell.decode()], []
    except UnicodeDecodeError as error:
        expected, bad = [], [(0, error.start)]
    assert list(texts.good()) == expected
    assert texts.bad() == bad


def offsets(*values: int, width: str = "i") -> bytes:
    return struct.pack(f"{len(values)}{width}", *values)


def view(length: int, buffer: int, begin: int) -> bytes:
    return struct.pack("4i", length, 0, buffer, begin)


DATA = b"ten bytes."
LYING = [
    ("u", 1, 0, [None, offsets(0, 11), DATA], "offsets: row 0: found 0 to 11, allowed: ascending, 0 to 10"),
    ("u", 2, 0, [None, offsets(0, 6, 5), DATA], "offsets: row 1: found 6 to 5"),
    ("u", 1, 0, [None, offsets(-1, 5), DATA], "offsets: row 0: found -1 to 5"),
    ("u", 1, 0, [None, offsets(2**31 - 1, 2**31 - 1), DATA], "offsets: row 0"),
    ("u", 1, 0, [None, offsets(0, 1), None], "allowed: ascending, 0 to 0"),
    ("u", 2, 0, [None, offsets(0, 1), DATA], "offsets: found 8 bytes, allowed: one more than there are slots of 4"),
    ("u", 1, 1, [None, offsets(0, 1), DATA], "for 1 rows from slot 1"),
    ("u", 1, 2**63 - 1, [None, offsets(0, 1), DATA], "offsets: found 8 bytes"),
    ("u", 2**63 - 1, 0, [None, offsets(0, 1), DATA], "offsets: found 8 bytes"),
    ("u", 1, 0, [None, None, DATA], "offsets: found 0 bytes"),
    ("u", 1, 0, [b"", offsets(0, 1), DATA], "validity: found 0 bytes, allowed: a bit a slot"),
    ("u", 1, 8, [b"\xff", offsets(*range(10)), DATA], "validity: found 1 bytes"),
    ("U", 1, 0, [None, offsets(0, 11, width="q"), DATA], "offsets: row 0: found 0 to 11"),
    ("U", 1, 0, [None, offsets(0, 2**62, width="q"), DATA], "offsets: row 0"),
    ("U", 1, 0, [None, offsets(-(2**63), 2**63 - 1, width="q"), DATA], "offsets: row 0"),
    ("U", 1, 0, [None, offsets(0, 5), DATA], "offsets: found 8 bytes, allowed: one more than there are slots of 8"),
    ("vu", 1, 0, [None, view(13, 0, 0), DATA], "views: row 0: found 13 bytes from 0, allowed: within the 10 of"),
    ("vu", 1, 0, [None, view(13, 1, 0), DATA], "views: row 0: found buffer 1, allowed: one of 1"),
    ("vu", 1, 0, [None, view(13, -1, 0), DATA], "views: row 0: found buffer -1"),
    ("vu", 1, 0, [None, view(13, 0, -1), DATA], "views: row 0"),
    ("vu", 1, 0, [None, view(-1, 0, 0), DATA], "views: row 0: found a length of -1"),
    ("vu", 2, 0, [None, view(1, 0, 0), DATA], "views: found 16 bytes, allowed: 16 a slot"),
    ("u", 1, 0, [None, offsets(0, 1)], "buffers: found 2, allowed: validity, offsets and data"),
    ("u", 1, 0, [None, offsets(0, 1), DATA, DATA], "buffers: found 4, allowed: validity, offsets and data"),
    ("vu", 1, 0, [None], "buffers: found 1, allowed: validity, views and any number of data"),
    ("x", 1, 0, [None, offsets(0, 1), DATA], "layout: found 'x', allowed: 'u', 'U' or 'vu'"),
]


@pytest.mark.parametrize(("layout", "length", "offset", "buffers", "message"), LYING)
def test_buffers_that_lie(layout: Any, length: int, offset: int, buffers: list[Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.escape(message)):
        _core.ArrowTexts(layout, length, offset, buffers)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_arrays_that_pyarrow_made_of_such_buffers(kind: pa.DataType) -> None:
    width = "i" if kind == pa.string() else "q"
    for values in [(0, 11, 4), (0, -3, 4), (0, 2**31 - 1, 9)]:
        buffers = [None, pa.py_buffer(offsets(*values, width=width)), pa.py_buffer(DATA)]
        with pytest.raises(InvalidArgumentError, match=r"^offsets: row [01]: found"):
            texts_of(pa.Array.from_buffers(kind, 2, buffers))


def test_what_is_no_argument(router: MatrixFactorizationRouter) -> None:
    good: list[Any] = [None, offsets(0, 1), DATA]
    for bad in (None, 5, b"u", ["u"]):
        with pytest.raises(InvalidTypeError, match=r"^layout: found"):
            _core.ArrowTexts(bad, 1, 0, good)  # type: ignore[arg-type]
    for name in ("length", "offset"):
        for bad in (None, "1", 1.0, True, np.ones(2)):
            with pytest.raises(InvalidTypeError, match=rf"^{name}: found"):
                _core.ArrowTexts("u", **{"length": 1, "offset": 0, name: bad}, buffers=good)  # type: ignore[arg-type]
        for bad in (-1, 2**64, 10**400):
            with pytest.raises(InvalidArgumentError, match=rf"^{name}: found"):
                _core.ArrowTexts("u", **{"length": 1, "offset": 0, name: bad}, buffers=good)  # type: ignore[arg-type]
    for bad in (None, 5, b"abc", {1: 2}, iter(good)):
        with pytest.raises(InvalidTypeError, match=r"^buffers: found"):
            _core.ArrowTexts("u", 1, 0, bad)  # type: ignore[arg-type]
    for bad in (5, "text", [1], np.zeros(8, np.int32)[::2]):
        with pytest.raises(InvalidTypeError, match=r"^buffers\[1\]: found"):
            _core.ArrowTexts("u", 1, 0, [None, bad, DATA])  # type: ignore[list-item]
    texts = _core.ArrowTexts("u", 1, 0, good)
    for bad in (None, [0], np.zeros(1), np.zeros(1, np.int32), np.zeros((1, 1), np.int64), np.zeros(4, np.int64)[::2]):
        with pytest.raises((InvalidTypeError, InvalidArgumentError), match=r"^indices: found"):
            texts.take(bad)  # type: ignore[arg-type]
    for index in (1, -2, 2**63 - 1, -(2**63)):
        with pytest.raises(InvalidArgumentError, match=rf"^indices: row 1: found {index}, allowed: below the 1 of"):
            texts.take(np.array([0, index], np.int64))
    with pytest.raises(InvalidTypeError, match=r"^prompts: found fastroute\._core\.ArrowTexts without buffers"):
        router.score(_core.ArrowTexts.__new__(_core.ArrowTexts))


def test_buffers_anywhere_in_memory() -> None:
    for shift in range(9):
        buffer = memoryview(b"\0" * shift + offsets(0, 3, 10))[shift:]
        assert list(_core.ArrowTexts("u", 2, 0, (None, buffer, DATA))) == ["ten", " bytes."]
