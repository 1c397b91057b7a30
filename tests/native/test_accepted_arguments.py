"""What callers have at hand and may give: every sequence of str, every array that is what it must be."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import fastroute
from fastroute.routers import MatrixFactorizationRouter

TEXTS = ["prove that", "the sum is 2", "", "\u4e2d \u00e9 \U0001f600", "a\ud800b"]


class Text(str):
    """A str of another class."""

    __slots__ = ()


class Sequence:
    """An object that has items and nothing else of a sequence."""

    def __len__(self) -> int:
        return len(TEXTS)

    def __getitem__(self, index: int) -> str:
        return TEXTS[index]


def generator() -> Iterator[str]:
    yield from TEXTS


CONTAINERS: list[Callable[[], object]] = [
    lambda: list(TEXTS),
    lambda: tuple(TEXTS),
    generator,
    lambda: iter(TEXTS),
    lambda: deque(TEXTS),
    lambda: dict.fromkeys(TEXTS).keys(),
    lambda: dict(enumerate(TEXTS)).values(),
    lambda: map(str, TEXTS),
    lambda: [Text(text) for text in TEXTS],
    lambda: [np.str_(text) for text in TEXTS],
    lambda: np.array(TEXTS, dtype=object),
    lambda: np.array(TEXTS, dtype=object)[::1],
    lambda: pd.Series(TEXTS, dtype=object),
    lambda: pd.Series(TEXTS, dtype=object, index=list("edcba")),
    lambda: pd.Index(TEXTS, dtype=object),
    Sequence,
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_sequences_of_str(router: MatrixFactorizationRouter, container: Callable[[], object]) -> None:
    expected = np.array([router.score(text) for text in TEXTS], np.float32)
    np.testing.assert_array_equal(router.score(container()), expected)
    assert [decision.score for decision in router.route(container())] == expected.tolist()
    np.testing.assert_array_equal(router.encoder.embed(container()), router.encoder.embed(TEXTS))


@pytest.mark.parametrize("make", [np.array, pl.Series, pd.Series], ids=["numpy", "polars", "pandas"])
def test_columns_of_str(router: MatrixFactorizationRouter, make: Callable[[list[str]], object]) -> None:
    """Their own string dtypes hold no lone surrogates."""
    texts = TEXTS[:-1]
    np.testing.assert_array_equal(router.score(make(texts)), router.score(texts))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", [str, Text, np.str_])
def test_single_prompts(router: MatrixFactorizationRouter, kind: type[str], text: str) -> None:
    assert type(router.score(kind(text))) is float
    assert router.score(kind(text)) == router.score([text])[0]
    assert router.encoder.tokenize(kind(text)) == router.encoder.tokenize(text)
    assert isinstance(router.route(kind(text)), fastroute.Decision)


def test_arrays(router: MatrixFactorizationRouter) -> None:
    rows = router.encoder.embed(TEXTS)
    expected = router.score_embeddings(rows)
    frozen = rows.copy()
    frozen.flags.writeable = False
    described = rows.astype(np.dtype("f4", metadata={"unit": "none"}))
    for same in (frozen, described, pickle.loads(pickle.dumps(rows)), rows.view(np.matrix), np.vstack([rows])):
        np.testing.assert_array_equal(router.score_embeddings(same), expected)
    for part in (rows[:1], rows[1:3], rows[:0]):
        assert router.score_embeddings(part).shape == (len(part),)


def test_read_only_memory_maps(router: MatrixFactorizationRouter, tmp_path: Path) -> None:
    rows = router.encoder.embed(TEXTS)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.testing.assert_array_equal(router.score_embeddings(mapped), router.score_embeddings(rows))


@pytest.mark.parametrize("value", [0, 1, 0.25, np.float32(0.25), np.float64(1), np.int64(0), Fraction(1, 4)])
def test_thresholds(router: MatrixFactorizationRouter, value: float) -> None:
    assert router.route("a", threshold=value).threshold == float(value)
    assert type(fastroute.Threshold(value).value) is float


@pytest.mark.parametrize("count", [1, 2, 1024, np.int8(3), np.uint64(5), np.array(4)])
def test_numbers_of_threads(threads: Callable[[int], None], count: int) -> None:
    threads(count)
    assert fastroute.info().threads == int(count)


def test_paths(tiny_router_folder: Path, tiny_encoder_folder: Path) -> None:
    prompts = ["prove that"]
    expected = fastroute.load(tiny_router_folder).score(prompts)
    for path in (str(tiny_router_folder), tiny_router_folder, f"{tiny_router_folder}/"):
        np.testing.assert_array_equal(fastroute.load(path).score(prompts), expected)
    for encoder in (str(tiny_encoder_folder), tiny_encoder_folder):
        np.testing.assert_array_equal(fastroute.load(tiny_router_folder, encoder=encoder).score(prompts), expected)
