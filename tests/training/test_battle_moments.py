"""Means and directions of the prompts of each cell, against their definition."""

from __future__ import annotations

import numpy as np
import pytest

from fastroute.training.battle_moments import fit_moments

LENGTHS = np.array([2, 1, 0, 3, 1, 1, 2], np.uint16)
CELLS = np.array([7, 3, 7, 1, 7, 3, 7, 7, 3, 1], np.uint16)
COUNTS = np.array([1, 2, 0.5, 3, 1, 1, 4, 2, 0.25, 1], np.float32)


def embeddings(dim: int) -> np.ndarray:
    return np.random.default_rng(dim).standard_normal((len(LENGTHS), dim)).astype(np.float32)


@pytest.mark.parametrize("rank", [0, 1, 2, 4, 30])
@pytest.mark.parametrize("dim", [1, 2, 3, 20])
def test_moments(dim: int, rank: int) -> None:
    """Of more prompts than dimensions, and of fewer."""
    rows = embeddings(dim)
    cells, means, factors = fit_moments(LENGTHS, CELLS, COUNTS, rows, rank)
    assert cells.tolist() == [1, 3, 7]
    assert [a.dtype for a in (cells, means, factors)] == [np.uint16, np.float32, np.float32]
    assert factors.shape == (3, rank, dim)
    unit = rows.astype(np.float64) / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    prompts = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    for c, cell in enumerate(cells):
        chosen = cell == CELLS
        share = COUNTS[chosen] / COUNTS[chosen].sum()
        x = unit[prompts[chosen]]
        mean = (share[:, None] * x).sum(axis=0)
        covariance = sum(s * np.outer(row - mean, row - mean) for s, row in zip(share, x, strict=True))
        np.testing.assert_allclose(means[c], mean, atol=1e-7)
        u, values, _ = np.linalg.svd(covariance)
        kept = (u[:, :rank] * values[:rank]) @ u[:, :rank].T
        np.testing.assert_allclose(factors[c].T @ factors[c], kept, atol=1e-6)
        lengths = (factors[c].astype(np.float64) ** 2).sum(axis=1)
        np.testing.assert_allclose(lengths, np.pad(values, (0, rank))[:rank], atol=1e-6)
        for row in factors[c]:
            assert not row.any() or row[np.abs(row).argmax()] > 0


def test_prompts_without_tokens() -> None:
    rows = embeddings(3)
    rows[0] = 0
    _, means, factors = fit_moments(LENGTHS, CELLS, COUNTS, rows, 2)
    assert np.isfinite(means).all()
    assert np.isfinite(factors).all()


def test_a_cell_of_one_prompt_has_no_directions() -> None:
    _, means, factors = fit_moments(
        np.array([1, 1]), np.array([1, 2], np.uint16), np.ones(2, np.float32), embeddings(5)[:2], 3
    )
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, rtol=1e-6)
    assert not factors.any()


def test_lengths_of_embeddings_do_not_matter() -> None:
    rows = embeddings(4)
    for scaled in (rows * np.float32(1e-18), rows * np.float32(2**60)):
        for found, expected in zip(
            fit_moments(LENGTHS, CELLS, COUNTS, scaled, 2), fit_moments(LENGTHS, CELLS, COUNTS, rows, 2), strict=True
        ):
            np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_same_bits_again() -> None:
    first, second = (fit_moments(LENGTHS, CELLS, COUNTS, embeddings(20), 4) for _ in range(2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
