"""Surface features of the core against regular expressions: random, degenerate and real text."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.surface_reference import surface_features

from fastroute import _core

LISTS = _core.surface_word_lists()
PIECES = [
    *"aZ09 \t\n\v\f\r.,;:?!%\"'`()[]{}$_\\^*/+-=<>",
    *("\n", "\nA. ", "\n(B) ", "C: ", "A) x\n", "```", "``", "1,234.5", "3.1.4", "1e9", "  ", "\x00", "\x7f"),
    *("\u201c", "\u201d", "\u2019", "\u00e9", "\u4e2d", "\U0001f600", "\ud800", "\u2028", "\u0660", "e\u0301"),
    *("how many ", "Explain ", "don't ", "FUNCTION ", "if ", "words", "translate", "x" * 20, "9" * 30),
]


def compare(texts: list[str]) -> None:
    found = _core.surface_features(texts)
    assert found.dtype == np.float32
    assert found.shape == (len(texts), 29)
    expected = np.array([surface_features(text, LISTS) for text in texts]).reshape(-1, 29)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


def test_names_and_lists() -> None:
    assert len(_core.surface_names()) == len(set(_core.surface_names())) == 29
    assert len(LISTS) == 8
    for name, words in LISTS.items():
        assert len(set(words)) == len(words), name
        assert all(word.isascii() and word.isalpha() and word.islower() and len(word) <= 16 for word in words), name


def test_degenerate_texts() -> None:
    compare(["", " ", "\n", "?", "A", "A. ", "A. x\nB. y", "\n" * 100, "x" * 64, "x" * 63 + " y", "```" * 50, "\ud800"])
    compare([])


@settings(deadline=None, max_examples=300)
@given(text=st.text(max_size=200))
def test_any_text(text: str) -> None:
    compare([text])


@settings(deadline=None, max_examples=300)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=60))
def test_texts_made_of_what_is_looked_for(pieces: list[str]) -> None:
    compare(["".join(pieces)])


def test_long_texts_at_every_place_of_a_block() -> None:
    rng = random.Random(0)
    long = "".join(rng.choices(PIECES, k=3000))
    compare([" " * shift + long for shift in range(130)])


@pytest.mark.data
@pytest.mark.slow
def test_every_prompt_of_the_data_pack(data_pack: Path) -> None:
    import pyarrow.parquet as pq

    texts: set[str] = set()
    for name in ("outcomes", "judge_scores", "preferences"):
        texts |= set(pq.read_table(data_pack / f"{name}.parquet", columns=["prompt"])["prompt"].to_pylist())
    assert len(texts) > 30_000
    compare(sorted(texts))
