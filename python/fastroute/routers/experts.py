"""The experts router: a soft mixture of domain experts that predict what the strong model gains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from fastroute import _core
from fastroute.artifact import Artifact, safetensors
from fastroute.builtin import DEFAULT_ENCODER, STRONG, WEAK
from fastroute.encoders import Encoder, StaticEncoder, load_encoder
from fastroute.errors import ArtifactCorruptError, ArtifactVersionError, InvalidArgumentError, InvalidTypeError
from fastroute.onnx.arguments import checked_prompts
from fastroute.policies import Threshold
from fastroute.routers.base import BaseRouter, encoder_of, model_index, names_of, untrained, weights_of
from fastroute.routers.explanation import DomainShare, Explanation, FeatureEffect

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from fastroute.routers.base import Contents
    from fastroute.training.comparisons import Plan
    from fastroute.training.experts import ExpertsFit, GoldLabels
    from fastroute.training.progress import Progress

__all__ = ["ExpertsRouter"]

_WEIGHTS_FILE = "weights.safetensors"
# Tensors by name: K domains, E = K + G experts, G gold sets, F surface features, d dimensions.
_TENSORS: dict[str, tuple[str, ...]] = {
    "surface_mean": ("F",),
    "surface_scale": ("F",),
    "classifier_bias": ("K",),
    "classifier_surface": ("K", "F"),
    "classifier_embedding": ("K", "d"),
    "expert_bias": ("E",),
    "expert_mean": ("E", "F"),
    "expert_scale": ("E", "F"),
    "expert_surface": ("E", "F"),
    "expert_embedding": ("E", "d"),
    "gate_bias": ("G",),
    "gate_surface": ("G", "F"),
    "gate_embedding": ("G", "d"),
    "gate_ramp": ("G", "2"),
    "density_scale": ("G", "F"),
    "density_ramp": ("G", "2"),
}
_GOLD_KEYS = "gold_keys"


class ExpertsRouter(BaseRouter):
    """A soft mixture of domain experts, each of which predicts what the strong model gains over the weak one.

    ``gain = sum_k pi_k(x) g_k(x)``: pi_k, a multinomial classifier's probability that prompt x is of domain k; g_k,
    the expected score of the strong less that of the weak model within the domain. Both are linear in the surface
    features (`docs/surface-features.md`) and the embedding. The score is ``(1 + gain) / 2``; where a gain leaves
    [-.9, .9] it approaches 0 or 1 instead of being cut off, so it is strictly increasing in the gain.

    The two sides are tiers of models alike: any strong model of the tier against any weak one has the same scores.
    `fastroute.load` gives a trained router; `fit` trains one. A trained one never changes, but for `fit` and the
    identity that `save` gives it, and any number of threads may use it at once.

    Parameters
    ----------
    strong, weak
        The models to route between; both must be in the training data.
    encoder
        Reads prompts: an encoder, its name or its path; the built-in one by default.
    seed
        Of folds, draws and clusters.

    Attributes
    ----------
    domains_ : tuple of str
        The K domains.
    gold_ : tuple of str
        The G gold sets.
    strong_models_, weak_models_ : tuple of str
        The tiers.
    parameters_ : dict of str to numpy.ndarray
        float32 arrays, not writeable, by the names that ``src/routing/domain_experts.h`` explains.
    """

    kind: ClassVar[str] = "experts"

    domains_: tuple[str, ...]
    gold_: tuple[str, ...]
    strong_models_: tuple[str, ...]
    weak_models_: tuple[str, ...]
    parameters_: dict[str, NDArray[np.float32]]

    def __init__(
        self,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        encoder: Encoder | str | os.PathLike[str] = DEFAULT_ENCODER,
        seed: int = 0,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise InvalidTypeError(f"seed: found {type(seed).__name__}, allowed: an int")
        if not 0 <= seed < 1 << 32:
            raise InvalidArgumentError(f"seed: found {seed}, allowed: 0 to 2**32 - 1")
        self._strong, self._weak = strong, weak
        self._encoder: Encoder = encoder if isinstance(encoder, Encoder) else load_encoder(encoder)
        self._seed = int(seed)
        self._artifact = ""
        self._threshold = Threshold(0.5)  # until fit chooses one
        self._manifest: dict[str, Any] = {}
        self._gold_keys: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._native: _core.DomainExperts | None = None

    def fit(
        self,
        outcomes: object = None,
        *,
        judge_scores: object = None,
        preferences: object = None,
        gold: Sequence[GoldLabels] | Mapping[str, object] = (),
        plan: Plan | str | os.PathLike[str] | None = None,
        domain_column: str | None = None,
        clusters: int | None = None,
        score_range: tuple[float, float] = (0.0, 1.0),
        embed: Callable[[Sequence[str]], NDArray[np.float32]] | None = None,
        unseen: Callable[[tuple[str, ...]], NDArray[np.bool_]] | None = None,
        provenance: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
    ) -> ExpertsRouter:
        """Train on scores of models on prompts; needs ``pip install 'fastroute[train]'``.

        Tables are pyarrow tables, pandas or polars frames or dictionaries of columns. Rows whose column `overlap`
        names an evaluation set are left out.

        Parameters
        ----------
        outcomes
            A row per prompt and model: prompt, model, score; benchmark results or your own labels, of any number of
            models.
        judge_scores
            The same with marks from 1 to 10 of a judge; they become the domain "chat".
        preferences
            Battles; their prompts teach what the domain "chat" looks like, and their winners nothing.
        gold
            Labels of this very pair by the name of their set: a table with the columns prompt, strong, weak, scores in
            [0, 1]. Each becomes a gold expert that acts where its set is dense.
        plan
            Domains, priors and tiers: a `Plan`, a built-in name or the path of a JSON file
            (`fastroute.training.comparisons.plan`).
        domain_column
            Column of `outcomes` that names each row's domain; benchmark, else source, where None.
        clusters
            Find this many domains by clustering instead; 0 for as many as there are prompts for. The default where
            nothing names domains.
        score_range
            The worst and the best score of `outcomes`.
        embed
            Gives the encoder's embeddings instead of it, such as from a cache: float32 (n, dim) of n prompts.
        unseen
            Tells for keys of prompts which of them the encoder was not trained on; where it was trained on these data,
            the figures are to be of those alone.
        provenance
            What the artifact is to say of its training: data with hashes and licences, the command.
        progress
            Called with (fits done, fits in all).

        Returns
        -------
        ExpertsRouter
            Itself. Its threshold sends half of the expected traffic to the strong model.

        Raises
        ------
        DataError
            A column is missing or holds what is not allowed, or there are too few prompts.
        UnknownModelError
            `strong` or `weak` was not scored.
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed.
        MissingDependencyError
            scikit-learn is not installed.
        """
        from fastroute.training.comparisons.plan import Plan, read_plan
        from fastroute.training.comparisons.sources import read_sources
        from fastroute.training.experts.fit import fit_experts
        from fastroute.training.experts.gold_tables import gold_labels

        _check(clusters, domain_column, score_range)
        chosen = plan if isinstance(plan, Plan) else Plan() if plan is None else read_plan(plan)
        sources = read_sources(
            outcomes,
            judge_scores,
            preferences,
            domain_column=domain_column,
            score_range=score_range,
        )
        for argument, model in (("strong", self._strong), ("weak", self._weak)):
            model_index(sources.models, model, argument)
        labels = gold_labels(gold)
        fitted = fit_experts(
            sources.tasks,
            self._encoder.embed if embed is None else embed,
            pair=(self._strong, self._weak),
            plan=chosen,
            clusters=clusters,
            chat_prompts=sources.chat_prompts,
            gold=labels,
            seed=self._seed,
            unseen=unseen,
            progress=progress,
        )
        dim = fitted.parameters["expert_embedding"].shape[1]
        if embed is not None and dim != self._encoder.dim:
            raise InvalidArgumentError(f"embed: found {dim} dimensions, allowed: the encoder's {self._encoder.dim}")
        self._take(fitted)
        from fastroute.training.experts.report import report_of

        self._manifest = {
            "threshold": self.threshold,
            "calibration": {
                "strong_fraction": 0.5,
                "prompts": fitted.rows[0],
                "on": "training prompts, domains weighted by their share of traffic",
            },
            "training": {
                **(provenance or {}),
                "settings": {"seed": self._seed},
                "prompts": fitted.rows[0],
                "unscored_prompts": fitted.rows[1],
                "dropped_rows": sources.dropped,
                "gold": [{"benchmark": each.name, "prompts": len(each.prompts), **each.origin} for each in labels],
            },
            "metrics": report_of(fitted),
        }
        return self

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> ExpertsRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        manifest = artifact.manifest
        version = manifest.get("surface_version")
        if version != _core.SURFACE_VERSION:
            raise ArtifactVersionError(
                f"{artifact.path}: surface features of version {version!r}; this fastroute has {_core.SURFACE_VERSION}"
            )
        router = cls.__new__(cls)
        router.domains_ = names_of(artifact, "domains")
        router.gold_ = names_of(artifact, "gold", fewest=0)
        router.strong_models_, router.weak_models_ = (
            names_of(artifact, "strong_models"),
            names_of(artifact, "weak_models"),
        )
        found = encoder_of(artifact, encoder)
        if found is None:
            raise ArtifactCorruptError(f"{artifact.path}: encoder is None; an experts router reads text")
        router._encoder = found
        extents = {
            "K": len(router.domains_),
            "G": len(router.gold_),
            "E": len(router.domains_) + len(router.gold_),
            "F": len(_core.surface_names()),
            "d": found.dim,
            "2": 2,
        }
        router.parameters_, tensors = weights_of(artifact, _WEIGHTS_FILE, _TENSORS, extents)
        for values in router.parameters_.values():
            values.setflags(write=False)
        router._gold_keys = np.zeros(0, np.uint64)
        if router.gold_:
            keys = safetensors.expect_tensor(
                tensors, _GOLD_KEYS, source=str(artifact.path / _WEIGHTS_FILE), dtype="uint64", shape=(None,)
            )
            router._gold_keys = keys.copy()
        router._seed = 0
        router._restore(artifact, strong=strong, weak=weak)
        return router

    @property
    def encoder(self) -> Encoder:
        """The encoder."""
        return self._encoder

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Figures on held-out training prompts, with intervals."""
        return dict(self._manifest.get("metrics", {}))

    @property
    def gold_keys(self) -> NDArray[np.uint64]:
        """uint64 hashes of the gold prompts (`fastroute.tables.prompt_hashes`), which an evaluation leaves out."""
        keys: NDArray[np.uint64] = self._gold_keys.copy()
        return keys

    @property
    def reads_arrow(self) -> bool:
        """Whether batches take the strings of Arrow tables in place: with a static encoder."""
        return self._reads_text

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts: ``(1 + gain) / 2``.

        Batches use `fastroute.info().threads` threads without the GIL; a prompt scores the same bits alone
        and in a batch, on any number of threads and any machine.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of n.

        Returns
        -------
        float or numpy.ndarray
            In [0, 1]; float32 (n,) for an iterable.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str; the first bad index is named.
        """
        # Neither `_trained` nor `_reads_text`: two more calls of Python are a tenth of a short prompt's time.
        native = self._native
        if native is None:
            raise untrained()
        reads_text = isinstance(self._encoder, StaticEncoder)
        return native.score(prompts) if reads_text else self._with_embeddings(native.score, prompts)

    @overload
    def gain(self, prompts: str) -> float: ...
    @overload
    def gain(self, prompts: Iterable[str]) -> NDArray[np.float64]: ...
    def gain(self, prompts: str | Iterable[str]) -> float | NDArray[np.float64]:
        """Predict what the strong model scores above the weak one.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of n.

        Returns
        -------
        float or numpy.ndarray
            On the scale of scores from 0 to 1; float64 (n,) for an iterable. Where domains were trained on different
            models, as the built-in router's were, it is relative: 0 for a prompt like its domain's others.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str; the first bad index is named.
        """
        native = self._trained()
        return native.gain(prompts) if self._reads_text else self._with_embeddings(native.gain, prompts)

    def explain(self, prompt: str) -> Explanation:
        """Say how a prompt's score came about.

        Raises
        ------
        InvalidTypeError
            `prompt` is no str.
        """
        native = self._trained()
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: str")
        embedding = self._encoder.embed([prompt])
        weights, gains = native.mixture([prompt], None if self._reads_text else embedding)
        weights, gains = weights[0], gains[0]
        p = self.parameters_
        surface = _core.surface_features([prompt])[0]
        z = np.clip((surface - p["surface_mean"]) * p["surface_scale"], -_core.SURFACE_CLIP, _core.SURFACE_CLIP)
        y = np.clip((z - p["expert_mean"]) * p["expert_scale"], -_core.EXPERT_CLIP, _core.EXPERT_CLIP)
        effects = weights @ (p["expert_surface"] * y).astype(np.float64)
        gain = float(weights @ gains)
        features = [
            FeatureEffect(name, float(value), float(effect))
            for name, value, effect in zip(_core.surface_names(), surface, effects, strict=True)
        ]
        features.append(FeatureEffect("embedding", None, gain - float(effects.sum())))
        names = (*self.domains_, *(f"gold: {name}" for name in self.gold_))
        shares = [
            DomainShare(name, float(weight), float(each))
            for name, weight, each in zip(names, weights, gains, strict=True)
        ]
        return Explanation(
            self.score(prompt),
            gain,
            tuple(sorted(shares, key=lambda share: -share.weight)),
            tuple(sorted(features, key=lambda feature: -abs(feature.effect))),
        )

    def with_models(self, strong: str, weak: str) -> ExpertsRouter:
        """Return a router for another strong model of the strong tier and weak one of the weak tier, same scores.

        Raises
        ------
        UnknownModelError
            Names the nearest models of the tier.
        """
        self._trained()
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._strong, other._weak = strong, weak
        other._check_pair()
        return other

    def _contents(self) -> Contents:
        self._trained()
        members = {
            "strong": self._strong,
            "weak": self._weak,
            "strong_models": list(self.strong_models_),
            "weak_models": list(self.weak_models_),
            "domains": list(self.domains_),
            "gold": list(self.gold_),
            "surface_version": _core.SURFACE_VERSION,
        }
        weights: dict[str, NDArray[Any]] = {name: self.parameters_[name] for name in _TENSORS}
        if self.gold_:
            weights[_GOLD_KEYS] = self._gold_keys
        return self._with_encoder(members, {_WEIGHTS_FILE: safetensors.encode(weights)})

    @property
    def _reads_text(self) -> bool:
        return isinstance(self._encoder, StaticEncoder)

    def _with_embeddings(self, of: Callable[..., Any], prompts: str | Iterable[str]) -> Any:
        """Call the core for prompts that another encoder embeds."""
        if isinstance(prompts, str):
            return float(of([prompts], self._encoder.embed([prompts]))[0])
        given = checked_prompts(prompts)  # read twice
        return of(given, self._encoder.embed(given))

    def _take(self, fitted: ExpertsFit) -> None:
        """Become what was fitted, or stay what it is where that can't be."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.domains_, other.gold_ = fitted.domains, fitted.gold
        other.strong_models_ = tuple(sorted({*fitted.strong_models, self._strong}))
        other.weak_models_ = tuple(sorted({*fitted.weak_models, self._weak}))
        other.parameters_ = {name: fitted.parameters[name] for name in _TENSORS}
        for values in other.parameters_.values():
            values.setflags(write=False)
        other._gold_keys = fitted.gold_keys
        other._threshold = Threshold(fitted.threshold)
        other._artifact = ""
        other._complete()
        self.__dict__.update(other.__dict__)

    def _complete(self) -> None:
        """Build the native side for the weights."""
        self._check_pair()
        encoder = self._encoder.native if isinstance(self._encoder, StaticEncoder) else None
        dim = self.parameters_["expert_embedding"].shape[1]
        if self._encoder.dim != dim:
            raise InvalidArgumentError(
                f"encoder: {self._encoder.name!r} gives {self._encoder.dim} dimensions, not {dim}"
            )
        self._native = _core.DomainExperts(encoder, **self.parameters_)

    def _check_pair(self) -> None:
        model_index(self.strong_models_, self._strong, "strong")
        model_index(self.weak_models_, self._weak, "weak")
        if self._strong == self._weak:
            raise InvalidArgumentError(f"strong, weak: found {self._strong!r} for both, allowed: two models")

    def _trained(self) -> _core.DomainExperts:
        if self._native is None:
            raise untrained()
        return self._native


def _check(clusters: object, domain_column: object, score_range: object) -> None:
    if clusters is not None:
        if isinstance(clusters, bool) or not isinstance(clusters, (int, np.integer)):
            raise InvalidTypeError(f"clusters: found {type(clusters).__name__}, allowed: an int")
        if clusters < 0:
            raise InvalidArgumentError(f"clusters: found {clusters}, allowed: 0 or more")
        if domain_column is not None:
            raise InvalidArgumentError("clusters, domain_column: found both, allowed: one of them")
    if domain_column is not None and not isinstance(domain_column, str):
        raise InvalidTypeError(f"domain_column: found {type(domain_column).__name__}, allowed: the name of a column")
    is_pair = isinstance(score_range, (tuple, list)) and len(score_range) == 2
    if not is_pair or not all(
        isinstance(end, (int, float)) and not isinstance(end, bool)
        for end in score_range  # type: ignore[attr-defined]
    ):
        raise InvalidTypeError(f"score_range: found {score_range!r:.60}, allowed: two numbers")
