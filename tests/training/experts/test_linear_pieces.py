"""Ridge regression, the classifier, standardisation and clusters against plain or scikit-learn's own answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from fastroute.training.experts.domains import clusters_for, clusters_of
from fastroute.training.experts.linear import (
    PENALTIES,
    Features,
    Local,
    Standardisation,
    fit_classifier,
    fit_ridges,
)
from fastroute.training.splits import fold_of


def some(n: int = 200, p: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((n, p)) + rng.standard_normal(p)
    return columns, columns @ rng.standard_normal(p) + 3 * rng.standard_normal(n)


def test_ridge_is_scikit_learns_under_the_best_penalty() -> None:
    columns, target = some()
    folds = np.arange(len(target)) % 5
    (found,) = fit_ridges(columns, [target], folds)
    errors = []
    for penalty in PENALTIES:
        held = np.zeros(len(target))
        for fold in range(5):
            inside = folds != fold
            model = Ridge(penalty).fit(columns[inside], target[inside])
            held[~inside] = model.predict(columns[~inside])
        errors.append(float(((held - target) ** 2).sum()))
    assert found.penalty == PENALTIES[int(np.argmin(errors))]
    expected = Ridge(found.penalty).fit(columns, target)
    np.testing.assert_allclose(found.weights, expected.coef_, atol=1e-9)
    np.testing.assert_allclose(found(columns), expected.predict(columns) - target.mean(), atol=1e-9)


def test_targets_fitted_together_are_fitted_apart() -> None:
    columns, target = some()
    other = np.random.default_rng(1).standard_normal(len(target))
    folds = np.arange(len(target)) % 5
    together = fit_ridges(columns, [target, other], folds)
    for found, alone in zip(together, (target, other), strict=True):
        (expected,) = fit_ridges(columns, [alone], folds)
        assert found.penalty == expected.penalty
        np.testing.assert_allclose(found.weights, expected.weights, atol=1e-12)


def test_degenerate_regressions() -> None:
    columns, target = some(30)
    one_fold = fit_ridges(columns, [target], np.zeros(30, np.int64))[0]
    assert not one_fold.weights.any()
    constant = fit_ridges(columns, [np.full(30, 0.7)], np.arange(30) % 5)[0]
    assert constant.penalty == PENALTIES[-1]
    np.testing.assert_allclose(constant.weights, 0, atol=1e-15)
    flat = fit_ridges(np.ones((30, 4)), [target], np.arange(30) % 5)[0]
    assert np.isfinite(flat.weights).all()
    np.testing.assert_allclose(flat(np.ones((2, 4))), 0)


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_classifier_has_scikit_learns_probabilities(classes: int) -> None:
    columns, _ = some(300)
    labels = np.argsort(columns[:, :classes], axis=1)[:, -1] if classes > 1 else np.zeros(300, np.int64)
    weights, bias = fit_classifier(columns, labels, classes, strength=0.01)
    odds = columns @ weights.T + bias
    found = np.exp(odds - odds.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    if classes == 1:
        assert not weights.any()
        return
    model = LogisticRegression(C=0.01, class_weight="balanced", tol=1e-8, max_iter=5000).fit(columns, labels)
    np.testing.assert_allclose(found, model.predict_proba(columns), atol=1e-9)


def test_standardisation_folds_into_raw_weights() -> None:
    rng = np.random.default_rng(0)
    raw = Features(rng.standard_normal((50, 29)) * 3, rng.standard_normal((50, 8)) + 5)
    raw.surface[:, 4] = 2.0  # a constant column
    standard = Standardisation.of(raw)
    done = standard(raw)
    assert np.abs(done.surface).max() <= 6
    np.testing.assert_allclose(done.surface[:, 4], 0)
    np.testing.assert_allclose(done.embedding.mean(axis=0), 0, atol=1e-12)
    weights = rng.standard_normal(8)
    folded, offset = standard.on_raw_embedding(weights)
    np.testing.assert_allclose(raw.embedding @ folded + offset, done.embedding @ weights, atol=1e-12)


def test_within_a_domain_rare_columns_are_not_blown_up() -> None:
    rng = np.random.default_rng(0)
    features = Features(rng.standard_normal((100, 29)), rng.standard_normal((100, 8)))
    features.surface[:, 0] = 0.001 * rng.standard_normal(100)  # dropped
    features.surface[:, 1] = 0.05 * rng.standard_normal(100)  # floored
    local = Local.of(features)
    columns = local(features)
    assert not columns[:, 0].any()
    assert columns[:, 1].std() == pytest.approx(0.05 / 0.15, rel=0.2)
    far = local(Features(np.full((1, 29), 50.0), np.full((1, 8), 50.0)))
    assert np.abs(far[:, :29]).max() == 4
    assert np.abs(far[:, 29:]).min() > 4  # the embedding stays linear


def test_folds_belong_to_keys_and_seeds() -> None:
    keys = tuple(f"k{i}" for i in range(1000))
    folds = fold_of(keys, 0)
    assert set(folds.tolist()) == set(range(5))
    assert np.bincount(folds).min() > 150
    np.testing.assert_array_equal(fold_of(keys[::-1], 0), folds[::-1])
    assert (fold_of(keys, 1) != folds).any()


def test_clusters_are_found_and_named() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [60, 40, 20])
    centres = rng.standard_normal((3, 8)) * 10
    features = Features(
        np.repeat(centres[:, :1], 29, axis=1)[codes] + 0.1 * rng.standard_normal((120, 29)),
        centres[codes] + 0.1 * rng.standard_normal((120, 8)),
    )
    prompts = [f"{('apples', 'python', 'poems')[code]} and so on {i}" for i, code in enumerate(codes)]
    found, names = clusters_of(features, prompts, 3, seed=0)
    np.testing.assert_array_equal(found, codes)  # the largest first
    assert [name.split(":")[0] for name in names] == ["cluster 1", "cluster 2", "cluster 3"]
    for name, word in zip(names, ("apples", "python", "poems"), strict=True):
        assert word in name
    same = Features(np.zeros((10, 29)), np.zeros((10, 8)))
    found, names = clusters_of(same, ["x"] * 10, 4, seed=0)
    assert len(names) == 1
    assert not found.any()
    assert [clusters_for(n) for n in (20, 399, 400, 10_000)] == [1, 1, 2, 8]
