"""A router's battles with moments, as the engine takes them."""

from __future__ import annotations

import numpy as np

from fastroute import _core
from fastroute.routers import SimilarityWeightedRouter
from fastroute.training.battle_moments import fit_moments


def native_of(router: SimilarityWeightedRouter) -> tuple[_core.SimilarityIndex, _core.BattleCounts]:
    """Its index without a fine part, and its counts."""
    index, counts = router._trained()
    return _core.SimilarityIndex(index.rows(), index.scales()), counts


def moments_of(router: SimilarityWeightedRouter, rank: int) -> _core.BattleMoments:
    index, _ = router._trained()
    fine = index.fine()
    assert fine is not None
    exact = (index.rows() + fine / 254.0).astype(np.float32)
    rest = router._rest
    return _core.BattleMoments(*fit_moments(rest["lengths"], rest["cells"], rest["counts"], exact, rank))


def with_moments(router: SimilarityWeightedRouter, *, normalised: bool = False) -> _core.SimilarityWeighted:
    index, counts = native_of(router)
    assert router.encoder is not None
    tier = dict(zip(router.models_, router.tiers_.tolist(), strict=True))
    return _core.SimilarityWeighted(
        index,
        counts,
        router.encoder._native,
        strong=tier["large"],
        weak=tier["small"],
        base=router.base,
        normalised=normalised,
        moments=moments_of(router, 0 if normalised else 4),
    )
