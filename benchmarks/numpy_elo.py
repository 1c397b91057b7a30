"""Similarity-weighted Elo in float32 NumPy: what one would write without fastroute, given what fastroute knows.

It gets the same shortcuts: rows sorted by cell, so that a fit needs sums over runs, and Newton's method from the fit
of equal weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_OUTCOMES = ("model_a", "model_b", "tie")


class NumpyElo:
    """Win rates of one pair of tiers, for one query or for a matrix of them."""

    def __init__(
        self,
        battles: Sequence[tuple[int, int, str]],
        embeddings: NDArray[np.float32],
        strong: int,
        weak: int,
        *,
        compat: str | None = None,
    ) -> None:
        tiers = 1 + max(max(a, b) for a, b, _ in battles)
        cell = np.array([(a * tiers + b) * 3 + _OUTCOMES.index(winner) for a, b, winner in battles])
        order = np.argsort(cell, kind="stable")
        cells, self._starts = np.unique(cell[order], return_index=True)
        self._rows = embeddings[order]
        self._rows /= np.linalg.norm(self._rows, axis=1, keepdims=True)
        self._pair = (strong, weak)
        self._to_wins = _wins_per_cell(cells, tiers, compat)
        self._sides = tiers + 1
        counts = np.diff(np.append(self._starts, len(battles)))
        self._equal = np.zeros(self._sides)
        self._equal = self._strengths(counts[None].astype(np.float64))[0]

    def score(self, query: NDArray[np.float32]) -> float:
        weights = self._rows @ (query / np.linalg.norm(query))
        _powers_of_ten(weights, weights.max())
        return float(self._win_rates(np.add.reduceat(weights, self._starts)[None])[0])

    def score_batch(self, queries: NDArray[np.float32]) -> NDArray[np.float64]:
        weights = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ self._rows.T
        _powers_of_ten(weights, weights.max(axis=1, keepdims=True))
        return self._win_rates(np.add.reduceat(weights, self._starts, axis=1))

    def _win_rates(self, sums: NDArray[np.floating]) -> NDArray[np.float64]:
        strength = self._strengths(sums.astype(np.float64))
        strong, weak = self._pair
        rates: NDArray[np.float64] = 1 / (1 + np.exp(strength[:, weak] - strength[:, strong]))
        return rates

    def _strengths(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Newton's method for each row of sums; the strengths of the last side are 0."""
        wins = (sums @ self._to_wins).reshape(-1, self._sides, self._sides)
        fought = wins + wins.transpose(0, 2, 1)
        played = fought.sum(axis=(0, 2)) > 0
        free = np.flatnonzero(played)
        # RouteLLM's house has a rating; where there is none the first tier gets one.
        free = free[:-1] if played[-1] else free[1:]
        strength = np.tile(self._equal, (len(sums), 1))
        for _ in range(50):
            rate = 1 / (1 + np.exp(strength[:, None, :] - strength[:, :, None]))
            gradient = (wins - fought * rate).sum(axis=2)
            bend = fought * rate * (1 - rate)
            curvature = -bend
            curvature[:, range(self._sides), range(self._sides)] += bend.sum(axis=2)
            step = np.linalg.solve(curvature[:, free[:, None], free], gradient[:, free, None])[..., 0]
            strength[:, free] += step
            if np.abs(step).max() < 1e-8:
                return strength
        raise AssertionError("Newton's method did not end")


def _powers_of_ten(similarity: NDArray[np.float32], best: NDArray[np.float32]) -> None:
    """Weights in place; without the factor of ten, which no fit sees."""
    similarity *= np.float32(np.log(10)) / best
    np.exp(similarity, out=similarity)


def _wins_per_cell(cells: NDArray[np.int64], tiers: int, compat: str | None) -> NDArray[np.float64]:
    """Matrix from sums per cell to wins of each side over each; the side after the last tier is RouteLLM's house."""
    made = np.zeros((len(cells), tiers + 1, tiers + 1))
    for k, cell in enumerate(cells.tolist()):
        a, b, outcome = cell // (3 * tiers), cell // 3 % tiers, _OUTCOMES[cell % 3]
        if a == b:
            if compat is None:
                continue
            a = tiers
        made[k, a, b] = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[outcome]
        made[k, b, a] = 1.0 - made[k, a, b]
    return made.reshape(len(cells), -1)
