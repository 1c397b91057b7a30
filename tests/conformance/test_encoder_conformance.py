"""What every encoder must do (scorecard 11)."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fastroute.encoders import Encoder

Same = Callable[[object, object], bool]

PROMPTS = ["prove that the sum is 2", "", "why", "\u4e2d \U0001f600", "a\ud800b", "the " * 3000, "x" * 5000, "[MASK]"]


def test_is_an_encoder(encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.name, str)
    assert encoder.name
    assert re.fullmatch("[0-9a-f]{64}", encoder.sha256)
    assert type(encoder.dim) is int
    assert encoder.dim >= 1


def test_embeddings_are_ready_to_score(encoder: Encoder) -> None:
    for prompts in (PROMPTS, PROMPTS[:1], []):
        embedded = encoder.embed(prompts)
        assert embedded.dtype == np.float32
        assert embedded.shape == (len(prompts), encoder.dim)
        assert embedded.flags.c_contiguous
        assert np.isfinite(embedded).all()


def test_embeddings_are_the_same_every_time_and_in_any_batch(encoder: Encoder, same: Same) -> None:
    embedded = encoder.embed(PROMPTS)
    np.testing.assert_array_equal(encoder.embed(PROMPTS), embedded)
    assert same(encoder.embed(PROMPTS[::-1]), embedded[::-1])
    assert same(encoder.embed(PROMPTS * 30), np.tile(embedded, (30, 1)))
    for prompt, row in zip(PROMPTS, embedded, strict=True):
        assert same(encoder.embed([prompt])[0], row)
    assert len(np.unique(embedded, axis=0)) > 3


def test_embeddings_are_the_callers_own(encoder: Encoder) -> None:
    embedded = encoder.embed(PROMPTS)
    kept = embedded.copy()
    embedded[:] = 9
    np.testing.assert_array_equal(encoder.embed(PROMPTS), kept)


def test_several_threads_may_use_it(encoder: Encoder) -> None:
    expected = encoder.embed(PROMPTS * 10)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: np.array_equal(encoder.embed(PROMPTS * 10), expected), range(50)))
