"""Sums of weights per cell of battles in float64, from every cosine and from moments, and the win rates of them.

Each formula is written down from its definition: no eigenvectors where a covariance will do, no rows in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray
from tests.reference.battle_sets import BattleSet
from tests.reference.elo_reference import HOUSE, rating_gap

from fastroute import _core

LEAST_WEIGHT = 2.0**-40  # of the largest

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class CellTable:
    """Prompts that have battles between tiers, and how much each counts in which cells."""

    tiers: int
    strong: int
    weak: int
    lengths: NDArray[np.int64]
    cells: NDArray[np.uint16]
    counts: NDArray[np.float32]
    embeddings: NDArray[np.float32]

    def native(self) -> tuple[_core.SimilarityIndex, _core.BattleCounts]:
        """Index without a fine part, and counts."""
        rows, _, scales = _core.quantise_rows(self.embeddings)
        offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        return _core.SimilarityIndex(rows, scales), _core.BattleCounts(self.tiers, offsets, self.cells, self.counts)

    def scorer(self, *, base: float, normalised: bool, moments: _core.BattleMoments | None) -> _core.SimilarityWeighted:
        index, counts = self.native()
        return _core.SimilarityWeighted(
            index,
            counts,
            None,
            strong=self.strong,
            weak=self.weak,
            base=base,
            normalised=normalised,
            moments=moments,
        )

    def prompts(self) -> NDArray[np.int64]:
        """The prompt of each cell."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def sums(self, weights: Vector) -> Vector:
        return np.bincount(
            self.cells,
            weights=self.counts.astype(np.float64) * weights[self.prompts()],
            minlength=(self.tiers + 1) ** 2,
        )


def cell_table(battles: BattleSet, compat: str | None = None) -> CellTable:
    tiers = max(battles.tier) + 1
    tier = np.array(battles.tier, np.int64)
    a, b = tier[battles.model_a], tier[battles.model_b]
    within = a == b
    a = np.where(within, tiers, a)
    outcome = np.array([{"model_a": 1.0, "model_b": 0.0}.get(winner, 0.5) for winner in battles.winner])
    found: dict[tuple[int, int], float] = {}
    for row, one, other, won, left_out in zip(
        battles.row.tolist(),
        a.tolist(),
        b.tolist(),
        outcome.tolist(),
        (within & (compat is None)).tolist(),
        strict=True,
    ):
        for i, j, share in ((one, other, won), (other, one, 1 - won)):
            if share > 0 and not left_out:
                key = (row, i * (tiers + 1) + j)
                found[key] = found.get(key, 0.0) + share
    prompts: dict[int, list[tuple[int, float]]] = {}
    for (row, cell), count in sorted(found.items()):
        prompts.setdefault(row, []).append((cell, count))
    rows = sorted(prompts, key=lambda row: (prompts[row], row))  # equal ones together, as the router has them
    entries = [entry for row in rows for entry in prompts[row]]
    return CellTable(
        tiers=tiers,
        strong=battles.tier_of(battles.strong),
        weak=battles.tier_of(battles.weak),
        lengths=np.array([len(prompts[row]) for row in rows], np.int64),
        cells=np.array([cell for cell, _ in entries], np.uint16),
        counts=np.array([count for _, count in entries], np.float32),
        embeddings=battles.embeddings[np.array(rows, np.int64)],
    )


def units(rows: NDArray[np.floating]) -> Vector:
    exact = rows.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.divide(exact, norms, out=np.zeros_like(exact), where=norms > 0)


def rate_of_sums(table: CellTable, sums: Sequence[float]) -> float:
    """Win rate in decimal arithmetic."""
    sides = table.tiers + 1
    name = [*range(table.tiers), HOUSE]
    wins = {(name[c // sides], name[c % sides]): Decimal(float(x)) for c, x in enumerate(sums) if x > 0}
    gap = rating_gap(wins, table.strong, table.weak)
    with localcontext(prec=50):
        return float(1 - 1 / (1 + 10 ** (gap / 400)))


def cosines(table: CellTable, queries: NDArray[np.floating]) -> Vector:
    """(queries, prompts), by parts: a whole large matrix in float64 would be large indeed."""
    parts = range(0, max(len(table.embeddings), 1), 8192)
    return np.concatenate([units(queries) @ units(table.embeddings[i : i + 8192]).T for i in parts], axis=1)


def weights(cosine: Vector, base: float, best: float | None) -> Vector:
    """`best` None: the exponent is the cosine."""
    slope = np.log(base) / (1.0 if best is None else best)
    return np.maximum(np.exp(slope * (cosine - cosine.max())), LEAST_WEIGHT)


def exact_rates(table: CellTable, queries: NDArray[np.floating], *, base: float, normalised: bool) -> Vector:
    return np.array(
        [
            rate_of_sums(table, table.sums(weights(cosine, base, cosine.max() if normalised else None)))
            for cosine in cosines(table, queries)
        ]
    )


def corrected_rate(table: CellTable, query: NDArray[np.floating], *, base: float, normalised: bool) -> float:
    """As the engine does it: from rounded rows and the rounded query, and what that moved each cell's mean by."""
    rows, _, scales = _core.quantise_rows(table.embeddings)
    stored = rows * scales[:, None].astype(np.float64)
    code, _, scale = _core.quantise_rows(query[None])
    read = code[0] * float(scale[0])
    q = units(query[None])[0]
    rounded, best = stored @ read, None
    if normalised:
        place = int(rounded.argmax())
        exact = float(stored[place] @ q)
        best = exact if exact > rounded[place] / 2 else float(rounded[place])
    sums = table.sums(weights(rounded, base, best))
    for cell in np.unique(table.cells).tolist():
        entries = np.flatnonzero(table.cells == cell)
        share = table.counts[entries].astype(np.float64) / table.counts[entries].sum(dtype=np.float64)
        exact_mean = share @ units(table.embeddings)[table.prompts()[entries]]
        stored_mean = share @ stored[table.prompts()[entries]]
        shift = _in_127_steps(exact_mean - stored_mean) @ q + _in_127_steps(stored_mean) @ (q - read)
        sums[cell] *= np.exp(np.log(base) / (best or 1.0) * shift)
    return rate_of_sums(table, sums)


def _in_127_steps(row: Vector) -> Vector:
    step = np.abs(row).max() / 127
    return np.rint(row / step) * step if step > 0 else row


def approximate_rate(table: CellTable, query: NDArray[np.floating], *, base: float, rank: int) -> float:
    """From the mean and the variance of each cell's cosines, the latter over `rank` directions if that is fewer."""
    q = units(query[None])[0]
    slope = np.log(base)
    exact, prompts = units(table.embeddings), table.prompts()
    exponents = np.full((table.tiers + 1) ** 2, -np.inf)
    for cell in np.unique(table.cells).tolist():
        entries = np.flatnonzero(table.cells == cell)
        share = table.counts[entries].astype(np.float64) / table.counts[entries].sum(dtype=np.float64)
        rows = exact[prompts[entries]]
        mean = share @ rows
        covariance = (rows - mean).T @ (share[:, None] * (rows - mean))
        if rank < len(covariance):
            u, values, _ = np.linalg.svd(covariance)
            covariance = (u[:, :rank] * values[:rank]) @ u[:, :rank].T
        exponents[cell] = slope * (mean @ q) + slope**2 / 2 * (q @ covariance @ q)
    weight = np.maximum(np.exp(exponents - exponents.max()), LEAST_WEIGHT)
    return rate_of_sums(table, table.sums(np.ones(len(exact))) * weight)
