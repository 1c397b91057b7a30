"""RouteLLM's battles and embeddings as a `sw_ranking` router with its settings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.builtin import STRONG, WEAK
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.importing.battles import read_embedded_battles
from fastroute.importing.origin import EMBEDDINGS, in_memory, origin, reading_encoder, settings_of
from fastroute.routers import SimilarityWeightedRouter
from fastroute.routers.base import different_models, model_index
from fastroute.routers.battle_index import INDEX_FILE, index_battles
from fastroute.routers.battle_moments import MOMENTS_FILE, encoded_moments, fitted_moments
from fastroute.routers.elo_fitting import sources_of, unindexed
from fastroute.routers.elo_settings import EloSettings
from fastroute.routers.kept_battles import BATTLES_FILE, keep_battles
from fastroute.training.strengths import bradley_terry
from fastroute.training.tiers import assign_tiers

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from fastroute.encoders import Encoder
    from fastroute.training.battles import Battles

    Path = str | os.PathLike[str]

__all__ = ["import_sw_ranking"]

_KEEP: Final = ("prompts", "battles")
_BASE: Final = 10.0
_INITIAL: Final = 1000.0
_POINTS: Final = 400 / math.log(10)  # of Elo, in a logit
# RouteLLM has none, and models that never lose have no finite rating; this moves no other by what could be seen.
_PENALTY: Final = 1e-6


def import_sw_ranking(
    battles: Path | Iterable[Path],
    embeddings: Path | Iterable[Path],
    strong: str = STRONG,
    weak: str = WEAK,
    *,
    encoder: Encoder | Path | None = EMBEDDINGS,
    tiers: int = 10,
    threshold: float = 0.5,
    keep: str | None = "prompts",
    licence: str | None = None,
    training: Mapping[str, Any] | None = None,
) -> SimilarityWeightedRouter:
    """Make a router of RouteLLM's battles and embeddings, with the settings of its `SWRankingRouter`.

    Nothing is sent or downloaded. Tiers are cut as RouteLLM's code does, not as `SimilarityWeightedRouter.fit` does,
    and battles within a tier count as they do there.

    Parameters
    ----------
    battles
        A path or paths of data sets on disk: model_a, model_b, prompt (a JSON list), winner_model_a, winner_model_b.
    embeddings
        A path or paths of data sets on disk: embeddings, a row for each battle whose first turn has 16 characters or
        more.
    strong, weak
        The models to route between.
    encoder
        As `import_matrix_factorization` takes it.
    tiers
        Tiers of models with like ratings, at most; 1 to 64.
    threshold
        Used by `route` when none is given.
    keep
        What the artifact has for `explain`: "prompts" and their battles; "battles", with keys in place of the prompts'
        texts; or None for nothing.
    licence
        Of the data; what the front matter of README.md in the folders says where None.
    training
        What the artifact says of how it was made, beside the files that were read: JSON values.

    Raises
    ------
    DataError
        A file is missing or not sound, a column is missing or holds what is not allowed, or there are not as many
        embeddings as battles.
    UnknownModelError
        `strong` or `weak` has no battle.
    EncoderMismatchError
        The encoder's embeddings have another length than the data's.
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed, or nothing compares the two models' tiers.
    MissingDependencyError
        pyarrow is not installed.
    """
    said = settings_of(threshold, licence, training)
    settings = EloSettings(tiers=tiers, base=_BASE, normaliser="best", compat="routellm", neighbours=0, shrinkage=0.0)
    if keep is not None and keep not in _KEEP:
        raise InvalidArgumentError(f"keep: found {keep!r:.40}, allowed: None, {', '.join(_KEEP)}")
    reader = reading_encoder(encoder)
    read = read_embedded_battles(battles, embeddings)
    data = read.battles
    different_models(strong, weak)
    for argument, model in (("strong", strong), ("weak", weak)):
        model_index(data.models, model, argument)
    ratings = _ratings(data)
    tier = assign_tiers(ratings, settings.tiers, variance=True) - 1
    indexed = index_battles(
        data, unindexed(data, read.embeddings), tier, tiers=int(tier.max()) + 1, compat=settings.compat
    )
    files = {INDEX_FILE: indexed.index.encoded()}
    if indexed.index.fine is None:
        files[MOMENTS_FILE] = encoded_moments(fitted_moments(indexed.index, read.embeddings[indexed.place], 0))
    if keep is not None:
        texts, own = replace(data, prompts=read.texts), np.arange(len(data.models))
        kept = keep_battles(texts, indexed.place, indexed.taken, own, texts=keep == "prompts")
        files[BATTLES_FILE] = kept.encoded()
    made = {
        **(training or {}),
        **origin("RouteLLM's similarity-weighted ranking", read.sources, licence),
        **data.counts(),
        "prompts": len(indexed.index),
        "battles_within_a_tier": "as RouteLLM counts them",
        "sources": sources_of(data),
        "dropped_rows": data.dropped,
        "embeddings": EMBEDDINGS,
    }
    manifest = {
        "models": list(data.models),
        "tiers": tier.tolist(),
        "ratings": ratings.tolist(),
        "strong": strong,
        "weak": weak,
        **settings.members(),
        "search": "exact",
        "seed": 0,
        "kept": keep,
        **said,
        "training": made,
    }
    artifact = in_memory("battles", manifest, files, reader)
    return SimilarityWeightedRouter.from_artifact(artifact, strong=strong, weak=weak, encoder=reader)


def _ratings(data: Battles) -> NDArray[np.float64]:
    """Elo points of each model over all battles, with a mean of 1000."""
    strengths = bradley_terry(len(data.models), data.model_a, data.model_b, data.outcome, data.weight, penalty=_PENALTY)
    if not np.isfinite(strengths).all():
        raise DataError("battles: no ratings explain them")
    return _INITIAL + _POINTS * strengths
