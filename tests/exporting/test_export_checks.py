"""Comparing runs and scores; nothing here needs torch."""

from __future__ import annotations

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.exporting.checks import agreement, check_export, padded_batches

IDS = padded_batches([[5, 6, 7], [5], [], [8, 9]], 1)


def logits(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return (ids * mask).sum(axis=1, keepdims=True).astype(np.float32)


def states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.sin(ids[..., None] * np.arange(3)).astype(np.float32)


def test_batches_are_padded_and_skip_what_is_empty() -> None:
    ((ids, mask),) = IDS
    assert ids.tolist() == [[5, 6, 7], [5, 1, 1], [8, 9, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]


def test_equal_runs() -> None:
    found = check_export(logits, logits, IDS)
    assert found.manifest() == {"sequences": 3, "tokens": 6, "largest_difference": 0.0}


def test_the_largest_difference_is_told() -> None:
    def other(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return logits(ids, mask) + np.float32([[0], [0.001], [0.005]])

    with pytest.raises(DataError, match=r"largest difference is 0\.000294 \(batch 0, 3 x 3 tokens\), at most 0\.0001"):
        check_export(logits, other, IDS)
    # relative to 17
    assert check_export(logits, other, IDS, tolerance=0.001).largest_difference == pytest.approx(0.005 / 17, rel=1e-3)


def test_states_of_padding_do_not_count() -> None:
    def other(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask[..., None] == 1, states(ids, mask), np.float32(np.nan))

    assert check_export(states, other, IDS).largest_difference == 0
    with pytest.raises(DataError, match="batch 0: the graph gives NaN"):
        check_export(states, lambda ids, mask: other(ids, 0 * mask), IDS)


def test_shapes_and_nothing_to_compare() -> None:
    with pytest.raises(DataError, match=r"batch 0: the graph gives the shape \(3, 3, 3\), and torch \(3, 1\)"):
        check_export(logits, states, IDS)
    with pytest.raises(InvalidArgumentError, match="batches: found none"):
        check_export(logits, logits, [])


def test_agreement_of_scores() -> None:
    rng = np.random.default_rng(0)
    before = np.round(rng.random(200), 2)  # with ties
    after = np.clip(np.round(before + 0.05 * rng.standard_normal(200), 2), 0, 1)
    found = agreement(before, after, 0.5)
    scipy = pytest.importorskip("scipy.stats", reason="needs SciPy")
    assert found.prompts == 200
    assert found.correlation == pytest.approx(scipy.pearsonr(before, after).statistic)
    assert found.rank_correlation == pytest.approx(scipy.spearmanr(before, after).statistic)
    assert found.equal_decisions == np.mean((before >= 0.5) == (after >= 0.5))
    assert found.largest_difference == np.abs(before - after).max()
    assert found.manifest()["threshold"] == 0.5


def test_agreement_without_spread_has_no_correlation() -> None:
    found = agreement([0.5, 0.5], [0.4, 0.6], 0.5)
    assert (found.correlation, found.rank_correlation, found.equal_decisions) == (None, None, 0.5)


def test_scores_that_cannot_be_compared() -> None:
    with pytest.raises(DataError, match=r"after\[1\]: is nan"):
        agreement([0.1, 0.2], [0.1, float("nan")], 0.5)
    with pytest.raises(InvalidArgumentError, match=r"found the shapes \(2,\) and \(1,\)"):
        agreement([0.1, 0.2], [0.1], 0.5)
    with pytest.raises(InvalidArgumentError, match="allowed"):
        agreement([], [], 0.5)
