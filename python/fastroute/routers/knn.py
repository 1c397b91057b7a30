"""The nearest-neighbours router: how the two models did on the scored prompts that are most like the one at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fastroute import _core
from fastroute.artifact import Artifact, safetensors
from fastroute.builtin import DEFAULT_ENCODER, STRONG, WEAK
from fastroute.encoders import Encoder, load_encoder
from fastroute.errors import ArtifactCorruptError, FastrouteError, InvalidArgumentError, InvalidTypeError
from fastroute.policies import Threshold
from fastroute.routers.arguments import real_number, seed_in_range, seed_of, whole_number
from fastroute.routers.base import encoder_of, model_index, names_of, untrained
from fastroute.routers.embedding import EmbeddingRouter
from fastroute.routers.explanation import NearestPrompt, NeighbourExplanation
from fastroute.routers.kept_prompts import KeptPrompts, keep_of
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
from fastroute.routers.scored_prompts import INDEX_FILE, ScoredPrompts, read_scored_prompts

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fastroute.routers.base import Contents
    from fastroute.training.comparisons.plan import Plan
    from fastroute.training.progress import Progress

__all__ = ["KnnRouter"]

KEEP = ("prompts", "keys")
PROMPTS_FILE = "prompts.safetensors"
LARGEST_BASE = 1e30
MOST_NEIGHBOURS = 1_000_000
LARGEST_SHRINKAGE, LARGEST_GUARD = 1e9, 100.0


class KnnRouter(EmbeddingRouter):
    """Nearest neighbours: how much better the strong model did on the scored prompts most like the one at hand.

    Of the k nearest prompts i with cosine similarity s_i, s the largest of them, each weighs ``base ** (s_i - s)``, and
    the gain is the weighted mean of the strong model's quality less the weak one's, shrunk to the mean gain over all
    prompts as if `shrinkage` more neighbours had that. The router deviates from that mean only by what exceeds `guard`
    standard errors of the paired gains, so a prompt whose neighbours disagree is scored as the average prompt. The
    score is ``(1 + gain) / 2``.

    A prompt that is similar to none, such as one without tokens, scores as the average prompt too. `fastroute.load`
    gives a trained router; `fit` trains one. A trained router never changes, but for `fit` and the identity that `save`
    gives it, and any number of threads may use it at once.

    Parameters
    ----------
    strong, weak
        The models to route between.
    encoder
        Reads prompts: an encoder, its name or its path; the built-in one by default.
    neighbours
        k, at least 1.
    base
        How much more the most similar prompt weighs than one at a right angle to it; 1 to 1e30, 1 for all alike.
    shrinkage
        How many average prompts are added to the neighbours; 0 for none.
    guard
        Standard errors by which the neighbours' gain must differ from the average to count; 0 for no guard.
    search
        "exact": every prompt is looked at. "ivf": lists of prompts that lie together are, by FAISS, needs
        ``pip install 'fastroute[faiss]'``. "auto": "ivf" from 100,000 prompts up, where FAISS is installed.
    seed
        Of folds and lists.

    Attributes
    ----------
    models_ : tuple of str
        The K models it knows.
    """

    kind: ClassVar[str] = "knn"

    models_: tuple[str, ...]

    def __init__(
        self,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        encoder: Encoder | str | os.PathLike[str] = DEFAULT_ENCODER,
        neighbours: int = 100,
        base: float = 1.0,
        shrinkage: float = 10.0,
        guard: float = 1.0,
        search: str = "auto",
        seed: int = 0,
    ) -> None:
        self._settings = _checked(neighbours=neighbours, base=base, shrinkage=shrinkage, guard=guard)
        self._search = checked_search(search)
        self._seed = seed_in_range(seed)
        self._strong, self._weak = strong, weak
        self._encoder: Encoder | None = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
        self._artifact = ""
        self._threshold = Threshold(0.5)  # until fit chooses one
        self._manifest: dict[str, Any] = {}
        self._scored: ScoredPrompts | None = None
        self._kept: KeptPrompts | None = None
        self._keep: str | None = None
        self._lists: InvertedLists | None = None
        self._scorer = None

    def fit(
        self,
        outcomes: object = None,
        *,
        judge_scores: object = None,
        plan: Plan | str | os.PathLike[str] | None = None,
        domain_column: str | None = None,
        score_range: tuple[float, float] = (0.0, 1.0),
        most_prompts: int | None = None,
        keep: str | None = "prompts",
        among: Sequence[Mapping[str, Any]] = (),
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> KnnRouter:
        """Index scores of models on prompts; needs ``pip install 'fastroute[train]'``.

        Tables are pyarrow tables, pandas or polars frames or dictionaries of columns. Rows whose column `overlap` names
        an evaluation set are left out.

        Parameters
        ----------
        outcomes
            A row per prompt and model: prompt, model, score; benchmark results or your own labels.
        judge_scores
            The same with marks from 1 to 10 of a judge; they become the task "chat".
        plan
            Which models stand for the strong and the weak one in which task: a `Plan`, a built-in name or the path of a
            JSON file (`fastroute.training.comparisons.plan`). Where a task has both models they stand for themselves,
            else its models are split in two. Where tasks compare different models, gains are relative to their domain.
        domain_column
            Column of `outcomes` that names each row's task; benchmark, else source, where None.
        score_range
            The worst and the best score of `outcomes`.
        most_prompts
            Draw so many, by their keys and the seed; all where None.
        keep
            What the artifact has for `explain`: the "prompts", their "keys", or None for nothing.
        among
            Settings to choose from, each a mapping of neighbours, base, shrinkage and guard, those that it lacks being
            the router's own: the router takes those under which held-out prompts are ranked best.
        provenance
            What the artifact is to say of its training: data with hashes and licences, the command.
        progress
            Called with (steps done, steps in all).

        Returns
        -------
        KnnRouter
            Itself. Its threshold sends half of the training prompts, each scored without its fold, to the strong model,
            or as nearly half as allow those that the guard gives one score.

        Raises
        ------
        DataError
            A column is missing or holds what is not allowed, or nothing compares two models.
        UnknownModelError
            `strong` or `weak` was not scored.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed.
        """
        from fastroute.training.comparisons.pairing import comparisons_of
        from fastroute.training.comparisons.plan import Plan, read_plan
        from fastroute.training.comparisons.sources import read_sources
        from fastroute.training.halving import halving
        from fastroute.training.qualities import held_out_report, qualities_of
        from fastroute.training.splits import drawn

        if keep is not None and keep not in KEEP:
            raise InvalidArgumentError(f"keep: found {keep!r}, allowed: None, {', '.join(KEEP)}")
        choices = [_checked(**{**self._settings, **settings}) for settings in _choices(among)]
        if provenance is not None and not isinstance(provenance, Mapping):
            raise InvalidTypeError(f"provenance: found {type(provenance).__name__}, allowed: a mapping")
        chosen = plan if isinstance(plan, Plan) else Plan() if plan is None else read_plan(plan)
        sources = read_sources(outcomes, judge_scores, None, domain_column=domain_column, score_range=score_range)
        for argument, model in (("strong", self._strong), ("weak", self._weak)):
            model_index(sources.models, model, argument)
        comparisons, left_out = comparisons_of(sources.tasks, chosen, (self._strong, self._weak))
        data = qualities_of(comparisons, chosen, (self._strong, self._weak))
        if most_prompts is not None:
            most = whole_number("most_prompts", most_prompts, least=1)
            data = data.take(drawn(data.keys, most, self._seed))
        assert self._encoder is not None
        embeddings = np.ascontiguousarray(self._encoder.embed(data.prompts), np.float32)
        other = type(self).__new__(type(self))  # complete, or not at all
        other.__dict__.update(self.__dict__)
        other.models_ = data.models
        other._scored = ScoredPrompts.of(embeddings, data.rows)
        other._keep = keep
        other._kept = None if keep is None else KeptPrompts.of(data.prompts if keep == "prompts" else data.keys)
        gains = other._scored.gains(data.models.index(self._strong), data.models.index(self._weak))
        measure = partial(held_out_report, data, comparisons, embeddings, gains, seed=self._seed)
        tried = []
        if len(choices) > 1:
            reports = measure(choices, interval=False, progress=progress)
            tried = [
                {**settings, "held_out_apgr": report["held_out_apgr"]}
                for settings, (_, report) in zip(choices, reports, strict=True)
            ]
            best = max(range(len(tried)), key=lambda place: tried[place]["held_out_apgr"] or 0.0)
            other._settings, progress = choices[best], None
        else:
            other._settings = choices[0]
        scores, metrics = measure([other._settings], progress=progress)[0]
        other._lists = build_lists(
            other._scored.index, self._search, neighbours=other._settings["neighbours"], seed=self._seed
        )
        other._complete()
        value, calibration = halving(scores[~np.isnan(scores)])
        other._threshold = Threshold(value)
        other._manifest = {
            "threshold": other.threshold,
            "calibration": calibration,
            "training": {
                **(provenance or {}),
                "prompts": len(data.prompts),
                "domains": list(data.domains),
                "gains_are": "differences in score" if data.comparable else "relative to the prompt's domain",
                "dropped_rows": sources.dropped,
                "tasks_left_out": list(left_out),
            },
            "metrics": {**metrics, **({"tried": tried} if tried else {})},
        }
        other._artifact = ""
        self.__dict__.update(other.__dict__)
        return self

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> KnnRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        manifest = artifact.manifest
        router = cls.__new__(cls)
        router.models_ = names_of(artifact, "models", fewest=2)
        given = {name: manifest.get(name) for name in ("neighbours", "base", "shrinkage", "guard")}
        try:
            router._settings = _checked(**given)
        except FastrouteError as error:
            raise ArtifactCorruptError(f"{artifact.path}: {error}") from error
        router._encoder = encoder_of(artifact, encoder)
        if router._encoder is None:
            raise ArtifactCorruptError(f"{artifact.path}: encoder is None; a knn router reads text")
        router._scored = read_scored_prompts(artifact, models=len(router.models_))
        router._keep, router._kept = _read_kept(artifact, len(router._scored))
        router._lists = read_lists(artifact, prompts=len(router._scored), dim=router._scored.dim)
        router._search, router._seed = search_of(artifact), seed_of(artifact)
        router._scorer = None
        router._restore(artifact, strong=strong, weak=weak)
        return router

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures on training prompts, each scored without its fold, with intervals."""
        return dict(self._manifest.get("metrics", {}))

    @property
    def prompts(self) -> int:
        """How many scored prompts its index has."""
        return len(self._indexed())

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its neighbours, base, shrinkage and guard."""
        return dict(self._settings)

    @property
    def neighbours(self) -> int:
        """How many prompts count."""
        return int(self._settings["neighbours"])

    @property
    def constant(self) -> bool:
        """Whether every prompt with a token has the same score: all prompts are neighbours and weigh alike."""
        self._indexed()
        return self.neighbours >= self._pair_index.size and self._settings["base"] == 1

    @property
    def recall(self) -> float:
        """Share of the nearest prompts that the search finds: 1 for the exact scan."""
        self._indexed()
        return self._lists.recall if self._lists is not None and isinstance(self._scorer, SearchedScorer) else 1.0

    def quality(self, prompts: str | Iterable[str]) -> NDArray[np.float32]:
        """Rate all K models on prompts: their quality on each one's neighbours, shrunk to their mean.

        Returns
        -------
        numpy.ndarray
            float32 (n, K), columns as in `models`; (K,) for a single prompt. On the scale of scores from 0 to 1, or
            relative to the domain where training compared different models. Without the guard: the difference of two
            columns is a gain as it was measured.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str.
        """
        scored = self._indexed()
        assert self._encoder is not None
        single = isinstance(prompts, str)
        embeddings = self._encoder.embed([prompts] if isinstance(prompts, str) else prompts)
        ids, similarities = scored.index.nearest(np.ascontiguousarray(embeddings), self.neighbours)
        rated = scored.quality_near(
            ids,
            self._weights(similarities.astype(np.float64)),
            models=len(self.models_),
            shrinkage=self._settings["shrinkage"],
        )
        quality: NDArray[np.float32] = rated[0] if single else rated
        return quality

    def explain(self, prompt: str, k: int = 5) -> NeighbourExplanation:
        """Show the scored prompts that a prompt's score rests on.

        Parameters
        ----------
        prompt
            A prompt.
        k
            Prompts to show, at least 1; fewer where there are fewer.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            `prompt` is no str, `k` is no int of 1 or more, or the router was trained without keeping prompts.
        """
        self._indexed()
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: str")
        k = whole_number("k", k, least=1)
        if self._kept is None:
            raise InvalidArgumentError(
                "explain: this router was trained without keeping its prompts; train it with keep='prompts'"
            )
        assert self._encoder is not None
        embedding = np.ascontiguousarray(self._encoder.embed([prompt]))
        count = min(self.neighbours, self._pair_index.size)
        find = self._scorer.nearest if isinstance(self._scorer, SearchedScorer) else self._pair_index.nearest
        ids, similarities = find(embedding, count)
        gain, standard_error, guarded = self._native.explain_neighbours(ids, similarities)[0].tolist()
        ids, similarities = ids[:, :k], similarities[:, :k]
        weights = self._weights(similarities.astype(np.float64))[0]
        strong, weak = (self._qualities[:, side] for side in range(2))
        nearest = tuple(
            NearestPrompt(
                self._kept[int(self._pair_rows[row])], float(strong[row]), float(weak[row]), similarity, weight
            )
            for row, similarity, weight in zip(ids[0].tolist(), similarities[0].tolist(), weights.tolist(), strict=True)
        )
        return NeighbourExplanation(
            score=self.score(prompt),
            gain=gain,
            standard_error=standard_error,
            global_gain=self._native.mean_gain,
            trusted=guarded != self._native.mean_gain,
            neighbours=count,
            nearest=nearest,
        )

    def _contents(self) -> Contents:
        scored = self._indexed()
        members = {
            "models": list(self.models_),
            "strong": self._strong,
            "weak": self._weak,
            **self._settings,
            "search": self._search,
            "seed": self._seed,
            "kept": self._keep,
            **({} if self._lists is None else {"ivf": self._lists.member()}),
        }
        files = {INDEX_FILE: scored.encoded()}
        if self._kept is not None:
            files[PROMPTS_FILE] = safetensors.encode(self._kept.tensors())
        if self._lists is not None:
            files[IVF_FILE] = self._lists.encoded()
        return self._with_encoder(members, files)

    def _complete(self) -> None:
        """Build the native side for the pair, on the prompts that both models were scored on."""
        scored = self._indexed()
        places = self._pair(scored.dim)
        self._qualities = np.stack([scored.column(place) for place in places], axis=1)
        known = ~np.isnan(self._qualities).any(axis=1)
        if not known.any():
            raise InvalidArgumentError(
                f"strong, weak: found {self._strong!r} and {self._weak!r}, which no prompt was scored for both; "
                "allowed: models that were scored on the same prompts"
            )
        self._pair_rows: NDArray[np.int64] = np.flatnonzero(known)
        self._qualities = self._qualities[known]
        whole = len(self._pair_rows) == len(scored)
        self._pair_index = scored.index if whole else scored.take(self._pair_rows)
        gains = scored.gains(*places)[self._pair_rows]
        self._native = _core.NearestGains(self._pair_index, gains, self._native_encoder, **self._settings)
        lists = None if self._lists is None else self._lists.take(self._pair_rows)
        self._scorer = searched(self._native, self._pair_index, lists, self.neighbours, self._encoder)

    def _weights(self, similarities: NDArray[np.float64]) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = self._settings["base"] ** (similarities - similarities[:, :1])
        return weights

    def _indexed(self) -> ScoredPrompts:
        if self._scored is None:
            raise untrained()
        return self._scored


def _checked(*, neighbours: object, base: object, shrinkage: object, guard: object) -> dict[str, Any]:
    return {
        "neighbours": whole_number("neighbours", neighbours, least=1, most=MOST_NEIGHBOURS),
        "base": real_number("base", base, least=1, most=LARGEST_BASE),
        "shrinkage": real_number("shrinkage", shrinkage, least=0, most=LARGEST_SHRINKAGE),
        "guard": real_number("guard", guard, least=0, most=LARGEST_GUARD),
    }


def _choices(among: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(among, Sequence) or not all(isinstance(each, Mapping) for each in among):
        raise InvalidTypeError(f"among: found {type(among).__name__}, allowed: a list of mappings")
    known = ("neighbours", "base", "shrinkage", "guard")
    unknown = [name for each in among for name in each if name not in known]
    if unknown:
        raise InvalidArgumentError(f"among: found {unknown[0]!r}, allowed: {', '.join(known)}")
    return among or ({},)


def _read_kept(artifact: Artifact, count: int) -> tuple[str | None, KeptPrompts | None]:
    there = PROMPTS_FILE in artifact.files
    keep = keep_of(artifact, KEEP if there else ())
    if not there:
        return None, None
    source = str(artifact.path / PROMPTS_FILE)
    return keep, KeptPrompts.read(
        safetensors.decode(artifact.files[PROMPTS_FILE], source=source), source=source, count=count
    )
