"""The mixture of domain experts, in plain NumPy: its score from weights, and the recipe that finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gain_of(weights: Mapping[str, NDArray[np.float32]], surface: Floats, embedding: Floats) -> float:
    """One prompt's gain, from the formulas at the head of src/routing/domain_experts.h."""
    w = {name: np.asarray(values, np.float64) for name, values in weights.items()}
    z = np.clip((surface - w["surface_mean"]) * w["surface_scale"], -6, 6)
    domains, experts = len(w["classifier_bias"]), len(w["expert_bias"])
    logits = w["classifier_bias"] + w["classifier_surface"] @ z + w["classifier_embedding"] @ embedding
    posterior = np.exp(logits - logits.max())
    posterior /= posterior.sum()
    gains = np.zeros(experts)
    for k in range(experts):
        y = np.clip((z - w["expert_mean"][k]) * w["expert_scale"][k], -4, 4)
        gains[k] = w["expert_bias"][k] + w["expert_surface"][k] @ y + w["expert_embedding"][k] @ embedding
    mixture = float(posterior @ gains[:domains])
    acting = []
    for i in range(experts - domains):
        looks = w["gate_bias"][i] + w["gate_surface"][i] @ z + w["gate_embedding"][i] @ embedding
        off = (z - w["expert_mean"][domains + i]) * w["density_scale"][i]
        ramps = []
        for x, (begin, end) in (
            (looks, w["gate_ramp"][i]),
            (np.minimum(off**2, 100).sum(), w["density_ramp"][i]),
        ):
            ramps.append(min(max((x - begin) / (end - begin), 0.0), 1.0))
        acting.append(min(ramps))
    total = max(sum(acting), 1.0)
    return mixture + sum(a / total * (gains[domains + i] - mixture / 2) for i, a in enumerate(acting))


def score_of(gain: float) -> float:
    size = abs(gain)
    if size > 0.9:
        size = 0.9 + 0.1 * (size - 0.9) / (size - 0.9 + 0.1)
    return (1 + np.copysign(size, gain)) / 2


def fit_and_predict(
    surface: Floats,
    embedding: Floats,
    domain: Sequence[str],
    strong: Floats,
    weak: Floats,
    *,
    folds: NDArray[np.int64],
    prior: Mapping[str, float],
    weak_only: frozenset[str],
    comparable: bool,
) -> Floats:
    """Gains that the recipe gives its own training prompts; nothing is folded, and no rows are drawn."""
    from sklearn.linear_model import LogisticRegression

    spread = surface.std(axis=0)
    varies = spread > 1e-9
    z = np.clip((surface - surface.mean(axis=0)) / np.where(varies, spread, 1) * varies, -6, 6)
    e = (embedding - embedding.mean(axis=0)) / embedding.std(axis=0)
    names = sorted(set(domain))
    labels = np.array([names.index(name) for name in domain])
    classifier = LogisticRegression(C=0.003, class_weight="balanced", tol=1e-10, max_iter=10000)
    odds = classifier.fit(np.hstack([z, e]), labels).decision_function(np.hstack([z, e]))
    if odds.ndim == 1:
        odds = np.stack([np.zeros(len(odds)), odds], axis=1)
    odds += np.log([prior[name] for name in names])
    posterior = np.exp(odds - odds.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    gain = np.zeros(len(domain))
    for k, name in enumerate(names):
        mine = labels == k
        whole = np.hstack([z, e])
        spread = whole[mine].std(axis=0)
        y = (whole - whole[mine].mean(axis=0)) / np.maximum(spread, 0.15) * (spread >= 0.02)
        y[:, : z.shape[1]] = np.clip(y[:, : z.shape[1]], -4, 4)
        if comparable:
            level = (sum((strong - weak)[mine]) + 20 * (strong - weak).mean()) / (mine.sum() + 20)
            gain += posterior[:, k] * level
        for view in (y[:, : z.shape[1]], y):
            for side, sign in ((strong, 1.0), (weak, -1.0)):
                if sign > 0 and name in weak_only:
                    continue
                predicted = _ridge(view[mine], side[mine], folds[mine], view)
                gain += posterior[:, k] * sign * predicted / 2
    return gain


def _ridge(columns: Floats, target: Floats, folds: NDArray[np.int64], wanted: Floats) -> Floats:
    penalties = (30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e5)

    def solve(x: Floats, y: Floats, penalty: float) -> Floats:
        centred = x - x.mean(axis=0)
        return np.linalg.solve(centred.T @ centred + penalty * np.eye(x.shape[1]), centred.T @ (y - y.mean()))

    errors = []
    for penalty in penalties:
        error = 0.0
        for fold in set(folds.tolist()):
            held = folds == fold
            slope = solve(columns[~held], target[~held], penalty)
            predicted = (columns[held] - columns[~held].mean(axis=0)) @ slope + target[~held].mean()
            error += float(((predicted - target[held]) ** 2).sum())
        errors.append(error)
    best = max(range(len(penalties)), key=lambda i: (-errors[i], i))
    return (wanted - columns.mean(axis=0)) @ solve(columns, target, penalties[best])
