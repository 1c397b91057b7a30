"""The similarity-weighted router: Elo ratings from the battles whose prompts are like the one at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from fastroute import _core
from fastroute.builtin import DEFAULT_ENCODER, STRONG, WEAK
from fastroute.encoders import Encoder, load_encoder
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError
from fastroute.policies import Policy, Threshold
from fastroute.routers.arguments import seed_in_range, seed_of, whole_number
from fastroute.routers.base import encoder_of, model_index, names_of, training_rows, untrained
from fastroute.routers.battle_index import (
    INDEX_FILE,
    BattleIndex,
    IndexedBattles,
    index_battles,
    join_indexes,
    numbers_per_model,
    read_index,
)
from fastroute.routers.battle_moments import (
    MOMENTS_FILE,
    MOST_RANK,
    ErrorBand,
    encoded_moments,
    fitted_moments,
    joined_moments,
    read_moments,
)
from fastroute.routers.elo_fitting import ratings_of, shifted, sources_of, unindexed, welcome
from fastroute.routers.elo_settings import EloSettings
from fastroute.routers.embedding import EmbeddingRouter
from fastroute.routers.explanation import BattleExplanation, NearestBattle
from fastroute.routers.kept_battles import BATTLES_FILE, KeptBattles, join_kept_battles, keep_battles, read_battles
from fastroute.routers.kept_prompts import keep_of
from fastroute.routers.neighbour_search import (
    IVF_FILE,
    InvertedLists,
    SearchedScorer,
    build_lists,
    checked_search,
    read_lists,
    search_of,
    searched,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fastroute.artifact import Artifact
    from fastroute.routers.base import Contents
    from fastroute.training.battles import Battles
    from fastroute.training.progress import Progress

__all__ = ["SimilarityWeightedRouter"]

KEEP = ("prompts", "battles")
_HELD_OUT = 0.1
_MOST_HELD_OUT = 4000


class SimilarityWeightedRouter(EmbeddingRouter):
    """Similarity-weighted Elo (RouteLLM, arXiv 2406.18665, section 4.1): battles on similar prompts weigh more.

    With s_i the cosine similarity of a prompt to the prompt of battle i and m the largest of them, the battle weighs
    ``base ** (s_i / m)``. Strengths of tiers of models maximise the likelihood of the weighted battles, ties half a
    win each way, and the score is ``1 - 1 / (1 + 10 ** ((R_strong - R_weak) / 400))`` for the tiers of the pair. The
    paper's further factor of 10 cancels in that fit.

    Values at the edge, the same for every prompt: .5 for two models of one tier; 1 or 0 where chains of wins lead
    only from one tier to the other. A prompt that is similar to none (m of 0 or less, such as one without tokens)
    gets the win rate of all battles alike. No battle weighs less than 2 ** -40 times the most.

    `fastroute.load` gives a trained one; `fit` trains one. A trained router never changes, but for `fit` and the
    identity that `save` gives it, and any number of threads may use it at once.

    Parameters
    ----------
    strong, weak
        The models to route between.
    encoder
        Reads prompts: an encoder, its name or its path; the built-in one by default. None for a router of embeddings
        alone.
    tiers
        Tiers of models with like ratings, at most; 1 to 64.
    base
        How much more the most similar battle weighs than one at a right angle; 1 to 1e30. RouteLLM has 10.
    normaliser
        "best": similarities are divided by the best one, as in RouteLLM. "none": the exponent is the similarity.
    compat
        "routellm" counts battles within a tier as RouteLLM's code does, which pulls the tier to 1000 points. None
        leaves them out: they say nothing of tiers.
    neighbours
        Only battles on so many of the most similar prompts count; 0 for all. At least 1000 without shrinkage. Where
        they don't compare the two tiers, the score is the win rate of all battles.
    shrinkage
        Battles of all prompts alike that are added to those of the neighbours, each as heavy as the most similar one;
        0 for none.
    search
        How neighbours are found, as `KnnRouter` has it: "exact", "ivf" (FAISS) or "auto".
    moments
        Rank of the moments that `with_moments` scores by; 0 for none, 32 is a good one. Needs the normaliser "none".
    seed
        Of the prompts held out for the threshold, of the pairs drawn from outcomes, and of lists.

    Attributes
    ----------
    models_ : tuple of str
        The K models it knows.
    ratings_ : numpy.ndarray
        (K,) float64, Elo points over all battles.
    tiers_ : numpy.ndarray
        (K,) int64, from 0 for the strongest.
    """

    kind: ClassVar[str] = "sw_ranking"

    models_: tuple[str, ...]
    ratings_: NDArray[np.float64]
    tiers_: NDArray[np.int64]

    def __init__(
        self,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        encoder: Encoder | str | os.PathLike[str] | None = DEFAULT_ENCODER,
        tiers: int = 10,
        base: float = 10.0,
        normaliser: str = "best",
        compat: str | None = None,
        neighbours: int = 0,
        shrinkage: float = 0.0,
        search: str = "auto",
        moments: int = 0,
        seed: int = 0,
    ) -> None:
        self._settings = EloSettings(
            tiers=tiers, base=base, normaliser=normaliser, compat=compat, neighbours=neighbours, shrinkage=shrinkage
        )
        if moments and (self._settings.normalised or neighbours):
            raise InvalidArgumentError(
                f"moments: found {moments} with normaliser {normaliser!r} and neighbours {neighbours}, allowed: 0; the "
                "best similarity, and the nearest prompts, take a scan"
            )
        self._seed = seed_in_range(seed)
        self._strong, self._weak = strong, weak
        self._encoder = encoder if encoder is None or isinstance(encoder, Encoder) else load_encoder(encoder)
        self._artifact = ""
        self._threshold = Threshold(0.5)  # until fit chooses one
        self._manifest: dict[str, Any] = {}
        self._index: _core.SimilarityIndex | None = None
        self._kept: KeptBattles | None = None
        self._keep: str | None = None
        self._moments: _core.BattleMoments | None = None
        self._rank = whole_number("moments", moments, least=0, most=MOST_RANK)
        self._band: ErrorBand | None = None
        self._approximate = False
        self._search = checked_search(search)
        self._lists: InvertedLists | None = None
        self._scorer = None
        self._elo: _core.SimilarityWeighted | None = None

    def fit(
        self,
        battles: object = None,
        *,
        outcomes: object = None,
        embeddings: NDArray[np.float32] | None = None,
        keep: str | None = "prompts",
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> SimilarityWeightedRouter:
        """Index battles, outcomes as battles, or both.

        Prompts that come more than once are one. The threshold becomes the one that sends half of a tenth of the
        prompts to the strong model, scored without their battles.

        Parameters
        ----------
        battles
            A pyarrow table, pandas or polars frame or dictionary of columns with model_a, model_b, winner
            (model_a, model_b or tie) and either prompt (text) or row (index into `embeddings`); or what
            `fastroute.training` made of such tables. Judgements of one pair on one prompt by one source count as one
            battle with their mean, unless compat is "routellm".
        outcomes
            Such a table with model, score (0 to 1, or true and false) and prompt or row: models that were scored on one
            prompt fight by the difference.
        embeddings
            float32 (n, d), finite: needed where tables give rows. The router reads text only if its encoder has the
            same d.
        keep
            What the artifact has for `explain`: "prompts" and their battles; "battles", with keys in place of the
            prompts' texts; or None for nothing.
        provenance
            What the artifact is to say of its training: data with hashes and licences, the command.
        progress
            Called with (steps done, steps in all).

        Returns
        -------
        SimilarityWeightedRouter
            Itself.

        Raises
        ------
        DataError
            A column is missing, or holds what is not allowed.
        UnknownModelError
            `strong` or `weak` is in none of the tables.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed, or no chain of wins compares the two models' tiers.
        """
        from fastroute.training.splits import held_out
        from fastroute.training.tiers import assign_tiers

        if provenance is not None and not isinstance(provenance, Mapping):
            raise InvalidTypeError(f"provenance: found {type(provenance).__name__}, allowed: a mapping")
        if keep is not None and keep not in KEEP:
            raise InvalidArgumentError(f"keep: found {keep!r}, allowed: None, {', '.join(KEEP)}")

        def tell(done: int) -> None:
            if progress is not None:
                progress(done, 4)

        data = self._battles(battles, outcomes)
        if not len(data):
            raise InvalidArgumentError("battles: found none, needed to rate models")
        for argument, model in (("strong", self._strong), ("weak", self._weak)):
            model_index(data.models, model, argument)
        tell(0)
        rows, encoder = training_rows(self._encoder, data, embeddings)
        quantised = unindexed(data, rows)
        tell(1)
        ratings = ratings_of(data)
        tiers = assign_tiers(ratings, self._settings.tiers) - 1
        kept = ~held_out(data.prompt_keys, _HELD_OUT, self._seed)
        other = type(self).__new__(type(self))  # complete, or not at all
        other.__dict__.update(self.__dict__)
        other._encoder, other.models_, other.ratings_, other.tiers_ = encoder, data.models, ratings, tiers
        # What an earlier fit found has no place in this one.
        other._moments = other._lists = other._band = other._kept = None
        other._approximate, other._threshold = False, Threshold(0.5)
        tell(2)
        calibration, metrics, median = other._calibrate(data, rows, quantised, kept)
        tell(3)
        indexed = other._indexed(data, quantised)
        other._hold(indexed.index)
        other._kept, other._keep = other._kept_of(data, indexed, keep), keep
        if self._rank or indexed.index.fine is None:
            other._moments = fitted_moments(indexed.index, rows[indexed.place], self._rank)
        other._lists = other._listed()
        other._complete()
        other._measure()
        if median is not None:
            score, then = median
            other._threshold = Threshold(shifted(score, then=then, now=other._native.global_rate))
        other._manifest = {
            "threshold": other.threshold,
            "calibration": calibration,
            "training": {
                **(provenance or {}),
                **data.counts(),
                "prompts": len(indexed.index),
                "battles_within_a_tier": indexed.within if self._settings.compat is None else "as RouteLLM counts them",
                "sources": sources_of(data),
                "dropped_rows": data.dropped,
            },
            "metrics": metrics,
        }
        other._artifact = ""
        self.__dict__.update(other.__dict__)
        tell(4)
        return self

    def with_battles(
        self,
        battles: object = None,
        *,
        outcomes: object = None,
        embeddings: NDArray[np.float32] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> SimilarityWeightedRouter:
        """Return a router that knows further battles besides; those it has, its tiers and its threshold stay.

        A model that it does not know joins the tier whose mean rating is next to its own, from its battles against
        those that it does.

        Parameters
        ----------
        battles, outcomes, embeddings
            As `fit` takes them. Each counts 1 on average, as those that are there do.
        provenance
            What the artifact is to say of them.

        Raises
        ------
        DataError, InvalidTypeError, InvalidArgumentError
            As `fit` raises them; also where embeddings have other dimensions than the index.
        """
        index, _ = self._trained()
        data = self._battles(battles, outcomes)
        if not len(data):
            raise InvalidArgumentError("battles: found none, needed to add some")
        rows, encoder = training_rows(self._encoder, data, embeddings)
        if rows.shape[1] != index.dim:
            raise InvalidArgumentError(f"embeddings: found {rows.shape[1]} columns, allowed: {index.dim}")
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._encoder = encoder
        other.models_, other.ratings_, other.tiers_ = welcome(data, self.models_, self.ratings_, self.tiers_)
        added = other._indexed(data, unindexed(data, rows))
        stored = self._stored()
        joined, places = join_indexes(stored, added.index)
        other._hold(joined)
        kept = other._kept_of(data, added, self._keep)
        other._kept = join_kept_battles(self._kept, kept, places) if self._kept and kept else None
        if self._rank or joined.fine is None:
            before = self._moments or fitted_moments(stored, index.unit_rows(np.arange(index.size)), self._rank)
            after = fitted_moments(added.index, rows[added.place], self._rank)
            other._moments = joined_moments(((stored, before), (added.index, after)), joined, other._trained()[0])
        if self._lists is not None:
            other._lists = other._listed()
        other._complete()
        other._measure()
        training = dict(self._manifest.get("training", {}))
        appended = {
            **(provenance or {}),
            **data.counts(),
            "battles_within_a_tier": added.within,
            "sources": sources_of(data),
            "dropped_rows": data.dropped,
        }
        training |= {"prompts": len(joined), "appended": [*training.get("appended", []), appended]}
        other._manifest = {**self._manifest, "training": training}
        other._artifact = ""
        return other

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> SimilarityWeightedRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        router = cls.__new__(cls)
        router.models_ = names_of(artifact, "models", fewest=2)
        router._settings = EloSettings.of_artifact(artifact)
        router._seed = seed_of(artifact)
        router.tiers_ = numbers_per_model(artifact, "tiers", router.models_, np.int64)
        router.ratings_ = numbers_per_model(artifact, "ratings", router.models_, np.float64)
        router._encoder = encoder_of(artifact, encoder)
        index = read_index(artifact)
        try:
            router._hold(index)
        except InvalidArgumentError as error:
            raise ArtifactCorruptError(f"{artifact.path}: {error}") from error
        router._kept = read_battles(artifact, prompts=len(index), models=len(router.models_))
        router._keep = keep_of(artifact, () if router._kept is None else KEEP)
        router._moments = read_moments(artifact, dim=router._trained()[0].dim)
        router._rank = 0 if router._moments is None else router._moments.rank
        router._band, router._approximate = ErrorBand.of_artifact(artifact), False
        if (router._band is None) == (router._rank > 0):
            raise ArtifactCorruptError(f"{artifact.path}: moments: an error band and factors are needed, or neither")
        router._lists = read_lists(artifact, prompts=len(index), dim=router._trained()[0].dim)
        router._search = search_of(artifact)
        router._restore(artifact, strong=strong, weak=weak)
        return router

    @property
    def metrics(self) -> Mapping[str, Any]:
        """How battles between the two tiers went that the index did not hold while its threshold was chosen."""
        return dict(self._manifest.get("metrics", {}))

    @property
    def prompts(self) -> int:
        """How many distinct prompts its index has."""
        return self._trained()[0].size

    @property
    def constant(self) -> bool:
        """Whether every prompt has the same score: both models are of one tier, or one's tier never loses."""
        return self._native.constant

    @property
    def base(self) -> float:
        """How much more the most similar battle weighs than one at a right angle."""
        return self._settings.base

    @property
    def normaliser(self) -> str:
        """What similarities are divided by: "best" or "none"."""
        return self._settings.normaliser

    @property
    def neighbours(self) -> int:
        """How many prompts' battles count; 0 for all."""
        return self._settings.neighbours

    @property
    def shrinkage(self) -> float:
        """Battles of all prompts alike that are added to those of the neighbours."""
        return self._settings.shrinkage

    @property
    def compat(self) -> str | None:
        """Whose way of counting battles within a tier it has: "routellm", or None for leaving them out."""
        return self._settings.compat

    @property
    def error_band(self) -> ErrorBand | None:
        """How far scores by moments are off for this pair, as measured; None for a router without them."""
        return self._band

    def with_moments(self, enabled: bool = True) -> SimilarityWeightedRouter:
        """Return a router that scores by the moments of its battles, whose cost does not grow with their number.

        The mean of ``base ** similarity`` over the prompts of a cell is taken as that of a normal distribution with
        their mean and covariance along `moments` directions. Where such a score lies within `error_band` of the
        threshold in question, its own or the one that `route` is given, the exact scan decides; so decisions are those
        of the exact scan but for errors beyond the measured band. A policy other than a threshold gets exact scores.

        Parameters
        ----------
        enabled
            False returns the exact router.

        Raises
        ------
        InvalidArgumentError
            The router was trained without moments.
        """
        self._trained()
        if enabled and self._band is None:
            raise InvalidArgumentError("with_moments: this router has none; train it with moments=32")
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._approximate = bool(enabled)
        return other

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts: the win rate of the strong model's tier against the weak one's.

        A single prompt takes one pass over the index on one thread; up to 64 of a batch share one, and batches use
        `fastroute.info().threads` threads, all without the GIL. A prompt scores the same bits alone and in a batch, on
        any number of threads and any machine.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of n.

        Returns
        -------
        float or numpy.ndarray
            In [0, 1]; float32 (n,) for an iterable. After `with_moments` exact only near the router's threshold.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str; the first bad index is named.
        FastrouteError
            The fit of a prompt does not converge, which no battles are known to bring about.
        """
        return self._score_near(prompts, self.threshold) if self._approximate else super().score(prompts)

    def score_embeddings(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score embeddings of this router's encoder; see `EmbeddingRouter.score_embeddings`."""
        if self._approximate and self._band is not None:
            return self._native.score_embeddings_near(embeddings, self.threshold, self._band.band)
        return super().score_embeddings(embeddings)

    def _score_for(self, prompts: Any, policy: Policy) -> Any:
        if not self._approximate:
            return super().score(prompts)
        return self._score_near(prompts, policy.value) if isinstance(policy, Threshold) else super().score(prompts)

    def _score_near(self, prompts: str | Iterable[str], threshold: float) -> float | NDArray[np.float32]:
        assert self._band is not None
        if self._native_encoder is not None or self._encoder is None:
            return self._native.score_near(prompts, threshold, self._band.band)
        embeddings = self._encoder.embed([prompts] if isinstance(prompts, str) else prompts)
        scores = self._native.score_embeddings_near(embeddings, threshold, self._band.band)
        return float(scores[0]) if isinstance(prompts, str) else scores

    def explain(self, prompt: str, k: int = 5, *, per_prompt: int = 1) -> BattleExplanation:
        """Show the battles on the most similar prompts, which weigh most but for what a battle itself counts.

        Parameters
        ----------
        prompt
            A prompt.
        k
            Battles to show, at least 1; fewer where there are fewer.
        per_prompt
            At most so many on one and the same prompt, at least 1: first those between the tiers of the pair, then
            those of one of them.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            `prompt` is no str, `k` or `per_prompt` is no int of 1 or more, or the router was trained without keeping
            battles, or without a text encoder.
        """
        index, _ = self._trained()
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: str")
        k, per_prompt = whole_number("k", k, least=1), whole_number("per_prompt", per_prompt, least=1)
        if self._kept is None:
            raise InvalidArgumentError(
                "explain: this router was trained without keeping its battles; train it with keep='prompts'"
            )
        score = self.score(prompt)  # says where there is no text encoder
        assert self._encoder is not None
        counted = self._settings.neighbours or index.size
        find = self._scorer.nearest if isinstance(self._scorer, SearchedScorer) else index.nearest
        rows, similarities = find(np.ascontiguousarray(self._encoder.embed([prompt])), min(k, counted))
        weights = self._settings.weights(similarities[0].astype(np.float64))
        battles: list[NearestBattle] = []
        for row, similarity, weight in zip(rows[0].tolist(), similarities[0].tolist(), weights.tolist(), strict=True):
            battles += self._kept.nearest(row, self.models_, self._telling(), similarity, weight)[:per_prompt]
        return BattleExplanation(score, self._native.global_rate, index.size, tuple(battles[:k]))

    def _telling(self) -> NDArray[np.int64]:
        """How many of the pair's tiers each model belongs to: what its battles tell of the pair."""
        strong, weak = (self.tiers_[self.models_.index(model)] for model in (self._strong, self._weak))
        return np.where(self.tiers_ == strong, 1, 0) + np.where(self.tiers_ == weak, 2, 0)

    def _contents(self) -> Contents:
        index = self._stored()
        members = {
            "models": list(self.models_),
            "tiers": self.tiers_.tolist(),
            "ratings": self.ratings_.tolist(),
            "strong": self._strong,
            "weak": self._weak,
            **self._settings.members(),
            "search": self._search,
            "seed": self._seed,
            "kept": self._keep,
            **({} if self._lists is None else {"ivf": self._lists.member()}),
            **({} if self._band is None else {"moments": self._band.member()}),
        }
        files = {INDEX_FILE: index.encoded()}
        if self._kept is not None:
            files[BATTLES_FILE] = self._kept.encoded()
        if self._moments is not None:
            files[MOMENTS_FILE] = encoded_moments(self._moments)
        if self._lists is not None:
            files[IVF_FILE] = self._lists.encoded()
        return self._with_encoder(members, files)

    def _battles(self, battles: object, outcomes: object) -> Battles:
        from fastroute.training.battles import Battles
        from fastroute.training.preferences import battles_from_preferences
        from fastroute.training.together import battles_of_both

        if self._settings.compat is not None and battles is not None and not isinstance(battles, Battles):
            # RouteLLM counts every row, and tells side a from side b.
            battles = battles_from_preferences(battles, name="battles", merge_repeats=False)
        return battles_of_both(battles, outcomes, seed=self._seed)

    def _indexed(self, data: Battles, quantised: BattleIndex, kept: NDArray[np.bool_] | None = None) -> IndexedBattles:
        place = {model: int(tier) for model, tier in zip(self.models_, self.tiers_, strict=True)}
        return index_battles(
            data,
            quantised,
            np.array([place[model] for model in data.models], np.int64),
            tiers=int(self.tiers_.max()) + 1,
            compat=self._settings.compat,
            kept=kept,
        )

    def _kept_of(self, data: Battles, indexed: IndexedBattles, keep: str | None) -> KeptBattles | None:
        if keep is None:
            return None
        model = np.array([self.models_.index(model) for model in data.models], np.int64)
        return keep_battles(data, indexed.place, indexed.taken, model, texts=keep == "prompts")

    def _hold(self, index: BattleIndex) -> None:
        """Build the native index. Of the rows, only the engine's copy is kept."""
        if not len(index):
            raise InvalidArgumentError("battles: found none between two tiers, needed to compare them")
        self._index, self._counts = index.native(int(self.tiers_.max()) + 1)
        self._rest = {name: getattr(index, name) for name in ("keys", "lengths", "cells", "counts")}

    def _complete(self) -> None:
        """Build the native side for the pair."""
        index, counts = self._trained()
        strong, weak = self._pair(index.dim)
        self._elo = _core.SimilarityWeighted(
            index,
            counts,
            self._native_encoder,
            strong=int(self.tiers_[strong]),
            weak=int(self.tiers_[weak]),
            base=self._settings.base,
            normalised=self._settings.normalised,
            neighbours=self._settings.neighbours,
            shrinkage=self._settings.shrinkage,
            moments=self._moments,
        )
        self._scorer = searched(self._elo, index, self._lists, self._settings.neighbours, self._encoder)

    def _measure(self) -> None:
        """See how far the moments are off for the pair."""
        if self._rank:
            self._band = ErrorBand.measured(self._native, self._trained()[0])

    def _listed(self) -> InvertedLists | None:
        if not self._settings.neighbours:
            return None
        index, _ = self._trained()
        return build_lists(index, self._search, neighbours=self._settings.neighbours, seed=self._seed)

    @property
    def _native(self) -> _core.SimilarityWeighted:
        if self._elo is None:
            raise untrained()
        return self._elo

    def _forget_calibration(self) -> None:
        super()._forget_calibration()
        self._measure()

    def _stored(self) -> BattleIndex:
        index, _ = self._trained()
        return BattleIndex(rows=index.rows(), fine=index.fine(), scales=index.scales(), **self._rest)

    def _trained(self) -> tuple[_core.SimilarityIndex, _core.BattleCounts]:
        if self._index is None:
            raise untrained()
        return self._index, self._counts

    def _calibrate(
        self, data: Battles, rows: NDArray[np.float32], quantised: BattleIndex, kept: NDArray[np.bool_]
    ) -> tuple[dict[str, Any], dict[str, Any], tuple[float, float] | None]:
        """Score prompts that the index does not hold, and see how their battles went.

        Returns
        -------
        tuple
            What the artifact says of it, how battles went, and the median score with the win rate of all battles alike.
        """
        from fastroute.training.held_out_battles import held_out_metrics

        asked = np.flatnonzero(~kept)[:_MOST_HELD_OUT]
        try:
            self._hold(self._indexed(data, quantised, kept).index)
            self._complete()
        except InvalidArgumentError:
            return {}, {}, None  # too few battles to do without some; the whole index says whether they are enough
        if not len(asked):
            return {}, {}, None
        scores = self.score_embeddings(np.ascontiguousarray(rows[asked]))
        median = float(np.median(scores)), self._native.global_rate
        calibration = {"strong_fraction": 0.5, "prompts": len(asked), "on": "held-out training prompts"}
        score_of = np.full(len(data.prompt_keys), np.nan)
        score_of[asked] = scores
        strong, weak = (int(self.tiers_[self.models_.index(model)]) for model in (self._strong, self._weak))
        return calibration, held_out_metrics(data, self.tiers_, score_of, strong=strong, weak=weak), median
