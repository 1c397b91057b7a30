"""Models grow: matrix factorization of up to 1,000 of them, on embeddings that are given."""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.curves.measuring import Clock, Reader, native_call, threads
from benchmarks.curves.plots import Curve, Plot, at_least
from fastroute import _core

DIM, MODEL_RANK = 256, 8
TOGETHER = 256
SIZES = (2, 4, 10, 30, 100, 300, 1000)
QUICK = (2, 100, 1000)


def _factors(models: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([4, models])
    shapes = ((models, MODEL_RANK), (MODEL_RANK, DIM), (MODEL_RANK,), (models,))
    return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)  # type: ignore[return-value]


def _blas_rate(clock: Clock, embeddings: np.ndarray) -> float:
    """Products of floats and sums a second of BLAS's matrix product on one thread."""
    vectors = np.random.default_rng(5).standard_normal((1000, DIM)).astype(np.float32)
    return embeddings.size * len(vectors) / clock.best(lambda: embeddings @ vectors.T)


def measure(clock: Clock, reader: Reader) -> Plot:
    """All sizes, on one thread."""
    embeddings = np.random.default_rng(6).standard_normal((TOGETHER, DIM)).astype(np.float32)
    one = embeddings[:1]
    call, rate = native_call(clock), _blas_rate(clock, embeddings)
    single, many, pair = [], [], []
    clock.say("models grow")
    with threads(1):
        for models in QUICK if clock.quick else SIZES:
            v, w, c, b = _factors(models)
            native = _core.MatrixFactorization(v, w, c, b)
            exact = embeddings.astype(np.float64) @ ((v * c).astype(np.float64) @ w).T + b
            np.testing.assert_allclose(native.logits(embeddings), exact, rtol=1e-4, atol=2e-3)
            np.testing.assert_array_equal(native.logits(one), native.logits(embeddings)[:1])
            scorer = native.pair_scorer(None, 0, models - 1)
            wins = 1 / (1 + np.exp(exact[:, -1] - exact[:, 0]))
            np.testing.assert_allclose(scorer.score_embeddings(embeddings), wins, atol=1e-3)
            work, read = models * DIM / rate, reader.seconds(models * DIM * 4)
            limits = (call + at_least(read=read, work=work), work, call + reader.seconds(DIM * 8))
            calls = (
                partial(native.logits, one),
                partial(native.logits, embeddings),
                partial(scorer.score_embeddings, one),
            )
            shares = (1, TOGETHER, 1)
            names = ("all, one", "all, 256", "a pair")
            for name, points, each, share, limit in zip(
                names, (single, many, pair), calls, shares, limits, strict=True
            ):
                points.append(clock.show(name, clock.time(each, models, share=share, limit=limit)))
    curves = (
        Curve("all models, one prompt a call", tuple(single), "a native call and reading a vector per model"),
        Curve(f"all models, {TOGETHER} prompts a call, each", tuple(many), "BLAS's matrix product, one thread"),
        Curve("a pair of models, one prompt a call", tuple(pair), "a native call and reading two vectors"),
    )
    measured = {"float multiply-adds a second, BLAS": rate, "seconds of a native call": call}
    title = f"Matrix factorization as models grow (embedding given, d = {DIM}, one thread)"
    return Plot("models", title, "models", "seconds a prompt", curves, measured)
