"""The cascade: a fast router decides where its score is clear, and a careful one everywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

import numpy as np

from fastroute.artifact import ROUTER, Artifact, safetensors, write_artifact
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.onnx.arguments import checked_device
from fastroute.policies import Decision, Policy, QualityFloor, Threshold
from fastroute.routers.answered import answered_scores, fallbacks_of
from fastroute.routers.base import BaseRouter, weights_of
from fastroute.routers.explanation import CascadeExplanation
from fastroute.routers.nested import encoders_of, open_parts, seen_by, written
from fastroute.routers.protocol import Router
from fastroute.routers.score_bounds import ScoreBounds
from fastroute.routers.timing import mean_microseconds
from fastroute.routers.unit_scores import texts_of, unit_score, unit_scores

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from fastroute.encoders import Encoder
    from fastroute.training.progress import Progress

__all__ = ["CascadeRouter"]

_ROLES: Final = ("first", "second")
_BOUNDS_FILE: Final = "bounds.safetensors"
_DEEPEST: Final = 3  # cascades inside each other
_CHUNK: Final = 1024
_TIMED_PROMPTS: Final = 256


class CascadeRouter(BaseRouter):
    """Two routers of one pair of models: a fast one decides, unless its score leaves too much open.

    The score is the second router's, kept within two bounds that depend on the first router's score. At any
    threshold t both bounds are on one side of t, and the first router has decided, or the second decides as it would
    alone. So one score serves every threshold, policy and evaluation, and the band of first scores that reach the
    second router moves with the threshold (`docs/decisions/0008-one-score-for-a-cascade.md`).

    `route` asks the second router only where the threshold needs it. `score` gives the score itself, which takes the
    second router for nearly every prompt; `score_at` stops as `route` does. `calibrate` makes the bounds. A calibrated
    cascade never changes but for that and the identity that `save` gives it, and any number of threads may use it at
    once, if they may use its routers.

    Parameters
    ----------
    first
        The fast router: any `Router`, also a third party's or a cascade.
    second
        The careful one, for the same pair of models.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        One is no router, they have different pairs, or cascades are nested more than 3 deep.
    """

    kind: ClassVar[str] = "cascade"

    _bounds: ScoreBounds | None

    def __init__(self, first: Router, second: Router) -> None:
        self._first, self._second = first, second
        for role, router in zip(_ROLES, (first, second), strict=True):
            if isinstance(router, type) or not isinstance(router, Router):
                raise InvalidTypeError(f"{role}: found {type(router).__name__}, allowed: a Router")
        self._strong, self._weak = second.strong, second.weak
        self._threshold = Threshold(second.threshold)
        self._artifact = ""
        self._manifest = {}
        self._bounds = None
        self._complete()

    def calibrate(
        self,
        prompts: Iterable[str],
        *,
        threshold: float | None = None,
        strong_fraction: float | None = None,
        disagreement: float = 0.02,
        confidence: float = 0.9,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> CascadeRouter:
        """Set threshold and bounds so that few decisions differ from the second router's own.

        Parameters
        ----------
        prompts
            n unlabelled prompts like those to come, which neither router was trained on; each is scored by both.
        threshold
            Of the second router, such as ``second.threshold``.
        strong_fraction
            Instead of `threshold`: the share of strong calls; .5 where neither is given.
        disagreement
            Share of decisions that may differ from the second router's alone, in (0, 1).
        confidence
            Probability, over the draw of the prompts, that no more do; in (0, 1).
        seed
            Of the split into prompts to fit on and prompts to check on, and of the prompts that are timed.
        progress
            Called with (scores done, scores in all).

        Returns
        -------
        CascadeRouter
            Itself. `calibration` says what was found, and `metrics` has the curve of shares that reach the second
            router against agreement. Where the prompts are too few or the first router tells too little, all do, and
            ``calibration["reason"]`` says why.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            An argument has a type or value that is not allowed, or a router gives no scores from 0 to 1.
        EndpointError
            A prompt got a router's fallback score, for want of an answer.

        Notes
        -----
        `fastroute.calibration.calibrate_cascade` says what is guaranteed, and under which assumptions.
        """
        from fastroute.calibration import calibrate_cascade

        if isinstance(prompts, str):
            raise InvalidTypeError("prompts: found str, allowed: an iterable of str")
        given = texts_of(prompts)
        if not given:
            raise InvalidArgumentError("prompts: found none, allowed: 1 or more")
        settings: dict[str, Any] = {
            "threshold": threshold,
            "strong_fraction": strong_fraction,
            "disagreement": disagreement,
            "confidence": confidence,
            "seed": seed,
        }
        calibrate_cascade([0.5], [0.5], **settings)  # what is wrong is said before minutes of scoring
        scores = []
        for place, (role, router) in enumerate(self._parts()):
            chunks = []
            for start in range(0, len(given), _CHUNK):
                chunk = given[start : start + _CHUNK]
                chunks.append(unit_scores(role, answered_scores(router, chunk, role), len(chunk)))
                if progress is not None:
                    progress(place * len(given) + start + len(chunk), 2 * len(given))
            scores.append(np.concatenate(chunks))
        search = calibrate_cascade(*scores, **settings)
        self._threshold = Threshold(search.threshold)
        self._bounds = search.bounds
        self._artifact = ""
        self._manifest = {
            "threshold": search.threshold,
            "calibration": {
                **search.record(),
                "strong": self.strong,
                "weak": self.weak,
                "microseconds": self._microseconds(given, seed),
            },
            "training": {
                "settings": {
                    "threshold": threshold,
                    "strong_fraction": 0.5 if threshold is None and strong_fraction is None else strong_fraction,
                    "disagreement": search.disagreement,
                    "confidence": search.confidence,
                    "seed": int(seed),
                },
                "prompts": len(given),
            },
            "metrics": {"curve": search.curve()},
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
    ) -> CascadeRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this.

        For another pair than the artifact's the bounds say nothing: the second router then decides alone.
        """
        router = cls.__new__(cls)
        weights, _ = weights_of(
            artifact, _BOUNDS_FILE, dict.fromkeys(("knots", "low", "high", "share"), ("K",)), {"K": None}
        )
        try:
            router._bounds = ScoreBounds(**weights)
        except InvalidArgumentError as error:
            raise ArtifactCorruptError(f"{artifact.path / _BOUNDS_FILE}: {error}") from error
        router._first, router._second = open_parts(artifact, _ROLES, strong=strong, weak=weak, encoder=encoder)
        router._encoder = None
        router._restore(artifact, strong=strong, weak=weak)
        if (router._strong, router._weak) != (artifact.manifest.get("strong"), artifact.manifest.get("weak")):
            router._bounds = ScoreBounds.everything()
            router._threshold = Threshold(0.5)
            router._manifest = {"threshold": 0.5}
        return router

    @property
    def first(self) -> Router:
        """The fast router."""
        return self._first

    @property
    def second(self) -> Router:
        """The careful router."""
        return self._second

    @property
    def encoder(self) -> Encoder | None:
        """The first router's encoder, or the second's where the first has none."""
        return self._encoder

    @property
    def band(self) -> tuple[float, float] | None:
        """Lowest and highest score of the first router that reach the second at the threshold; None if none does."""
        return self.band_at(self.threshold)

    def band_at(self, threshold: float) -> tuple[float, float] | None:
        """Lowest and highest score of the first router that reach the second at another threshold."""
        return self._calibrated().open_at(Threshold(threshold).value)

    @property
    def escalated(self) -> float:
        """Share of prompts that is expected to reach the second router at the threshold, whatever it is now."""
        return self._calibrated().open_share(self.threshold)

    @property
    def fallbacks(self) -> int:
        """How many prompts got a router's fallback score so far, for want of an answer; a shared count counts once."""
        return sum(self._fallback_counts().values())

    @property
    def metrics(self) -> Mapping[str, Any]:
        """The curve: share of the checked prompts that reach the second router, and agreement with it."""
        return dict(self._manifest.get("metrics", {}))

    @property
    def gold_keys(self) -> NDArray[np.uint64]:
        """uint64 hashes of both routers' gold prompts, which an evaluation leaves out."""
        empty = np.zeros(0, np.uint64)
        keys: NDArray[np.uint64] = np.unique(
            np.concatenate([empty, *(getattr(router, "gold_keys", empty) for _, router in self._parts())])
        )
        return keys

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts: the second router's score, kept within the bounds of the first's.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of n.

        Returns
        -------
        float or numpy.ndarray
            In [0, 1]; float32 (n,) for an iterable. All that reach the second router do so in one call.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            `prompts` is neither a str nor an iterable of str, a router gives no score from 0 to 1, or the cascade isn't
            calibrated.
        """
        return self._one(prompts, None) if isinstance(prompts, str) else self._many(prompts, None)

    @overload
    def score_at(self, prompts: str, threshold: float | None = None) -> float: ...
    @overload
    def score_at(self, prompts: Iterable[str], threshold: float | None = None) -> NDArray[np.float32]: ...
    def score_at(self, prompts: str | Iterable[str], threshold: float | None = None) -> float | NDArray[np.float32]:
        """Score prompts as far as a threshold needs it, the router's own if None; raises as `score` does.

        Returns
        -------
        float or numpy.ndarray
            The score where the second router was asked; elsewhere the bound nearer to the threshold, which is on the
            score's side of it.
        """
        at = self.threshold if threshold is None else Threshold(threshold).value
        return self._one(prompts, at) if isinstance(prompts, str) else self._many(prompts, at)

    @overload
    def route(self, prompts: str, threshold: float | None = None, policy: Policy | None = None) -> Decision: ...
    @overload
    def route(
        self, prompts: Iterable[str], threshold: float | None = None, policy: Policy | None = None
    ) -> list[Decision]: ...
    def route(
        self, prompts: str | Iterable[str], threshold: float | None = None, policy: Policy | None = None
    ) -> Decision | list[Decision]:
        """Decide which model should answer, and ask the second router only where that decides.

        A decision's model is what `score` and the threshold say; its score is that of `score_at`. A policy whose
        threshold is not known before the score, such as `Budget`, needs the score of every prompt.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of them.
        threshold
            Scores from here up go to the strong model; the router's own threshold if None.
        policy
            Decides instead of a threshold; asked once per prompt, in order.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            As `score` does; `threshold` is outside [0, 1], `policy` is none, or both are given.
        """
        chosen = self._policy(threshold, policy)
        at = chosen.value if isinstance(chosen, Threshold) else None
        at = chosen.threshold if isinstance(chosen, QualityFloor) else at
        if isinstance(prompts, str):
            return self._decide(self._one(prompts, at), chosen)
        return [self._decide(score, chosen) for score in self._many(prompts, at).tolist()]

    def explain(self, prompt: str) -> CascadeExplanation:
        """Say which router decides on a prompt at the threshold, and within what bounds.

        Raises
        ------
        InvalidTypeError
            `prompt` is no str.
        """
        bounds = self._calibrated()
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: str")
        first = unit_score("first", self._first.score(prompt))
        low, high = bounds.of_one(first)
        asked = low < self.threshold <= high
        second = unit_score("second", self._second.score(prompt)) if asked else None
        return CascadeExplanation(self.score_at(prompt), self.threshold, first, low, high, second)

    def to(self, device: str) -> Self:
        """Return the cascade with its routers on a device, those that run in the core left where they are.

        Bounds and threshold stay those that were calibrated, whatever device that was on.

        Parameters
        ----------
        device
            "cpu", or "cuda" where a router, or its encoder, is a network.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            No device, or none that a router with a network runs on; or neither has one.
        MissingDependencyError
            What the device needs is not installed; the message says what.
        """
        wanted = checked_device(device)
        moved = [_moved(role, router, wanted) for role, router in self._parts()]
        if wanted != "cpu" and not any(_movable(router) for _, router in self._parts()):
            raise InvalidArgumentError(
                f"device: found {device!r}, allowed for a cascade of {self._first.kind!r} and {self._second.kind!r}: "
                f"'cpu'"
            )
        if moved[0] is self._first and moved[1] is self._second:
            return self
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._first, other._second = moved
        other._complete()
        return other

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the cascade to a folder, both routers inside, whole or not at all, and return its SHA-256.

        An artifact that is already there is replaced. Encoders are bundled unless they are built-in ones.

        Raises
        ------
        ArtifactError
            `path` holds something else, or can't be written; then it is as it was.
        """
        bounds = self._calibrated()
        parts = {role: written(router) for role, router in self._parts()}
        manifests = [part.manifest for part in parts.values()]
        training = self._manifest.get("training")
        manifest = {
            "kind": self.kind,
            "name": self.kind,
            "strong": self._strong,
            "weak": self._weak,
            **{role: {"kind": part.manifest["kind"], "sha256": part.sha256} for role, part in parts.items()},
            "encoders": sorted(set().union(*map(encoders_of, manifests))),
            **self._manifest,
            "training": {**(training if isinstance(training, dict) else {}), **seen_by(manifests)},
        }
        files = {f"{role}.{name}": data for role, part in parts.items() for name, data in part.all_files().items()}
        files[_BOUNDS_FILE] = safetensors.encode(dict(bounds.tensors))
        self._artifact = write_artifact(path, format=ROUTER, manifest=manifest, files=files)
        return self._artifact

    def _complete(self) -> None:
        """Check that the parts go together."""
        for role, router in self._parts():
            if (router.strong, router.weak) != (self._strong, self._weak):
                raise InvalidArgumentError(
                    f"{role}: found {router.strong!r} and {router.weak!r}, allowed: the pair {self._strong!r} and "
                    f"{self._weak!r}"
                )
        depths = [router._depth for _, router in self._parts() if isinstance(router, CascadeRouter)]
        self._depth: int = 1 + max(depths, default=0)
        if self._depth > _DEEPEST:
            raise InvalidArgumentError(f"first, second: found cascades {self._depth} deep, allowed: {_DEEPEST}")
        self._encoder = self._second.encoder if self._first.encoder is None else self._first.encoder

    def _parts(self) -> Sequence[tuple[str, Router]]:
        return (("first", self._first), ("second", self._second))

    def _fallback_counts(self) -> dict[int, int]:
        """Fallbacks by what counts them: `with_threshold` makes routers that share a count."""
        counts: dict[int, int] = {}
        for _, router in self._parts():
            if isinstance(router, CascadeRouter):
                counts |= router._fallback_counts()
            else:
                counts[id(getattr(router, "_fallbacks", router))] = fallbacks_of(router)
        return counts

    def _calibrated(self) -> ScoreBounds:
        if self._bounds is None:
            raise InvalidArgumentError(
                "router: the cascade is not calibrated yet; call calibrate, or fastroute.load a saved one"
            )
        return self._bounds

    def _one(self, prompt: str, at: float | None) -> float:
        """Score of one prompt, as far as the threshold `at` needs it."""
        low, high = self._calibrated().of_one(unit_score("first", self._first.score(prompt)))
        if not (low < high if at is None else low < at <= high):
            return high if at is not None and high < at else low
        return min(max(unit_score("second", self._second.score(prompt)), low), high)

    def _many(self, prompts: Iterable[str], at: float | None) -> NDArray[np.float32]:
        bounds, given = self._calibrated(), texts_of(prompts)
        low, high = bounds.of_many(unit_scores("first", self._first.score(given), len(given)))
        asked = np.flatnonzero(low < high if at is None else (low < at) & (at <= high))
        scores = low if at is None else np.where(high < at, high, low)
        if len(asked):
            second = self._second.score([given[row] for row in asked.tolist()])
            scores[asked] = np.clip(unit_scores("second", second, len(asked)), low[asked], high[asked])
        return scores.astype(np.float32)

    def _microseconds(self, prompts: Sequence[str], seed: int) -> dict[str, float]:
        """Mean time of a prompt on its own."""
        count = min(len(prompts), _TIMED_PROMPTS)
        sample = [prompts[row] for row in np.random.default_rng(seed).choice(len(prompts), count, replace=False)]
        return {
            "first": mean_microseconds(self._first.score, sample),
            "second": mean_microseconds(self._second.score, sample),
            "cascade": mean_microseconds(self.score_at, sample),
        }


def _movable(router: Router) -> bool:
    """Whether a router has a network that can be moved: its own, its encoder's, or that of a router in it."""
    if isinstance(router, CascadeRouter):
        return any(_movable(part) for _, part in router._parts())
    if isinstance(router, BaseRouter) and type(router).to is BaseRouter.to:
        return hasattr(router.encoder, "to")
    return hasattr(router, "to")


def _moved(role: str, router: Router, device: str) -> Router:
    if not _movable(router):
        return router
    try:
        moved: Router = router.to(device)  # type: ignore[attr-defined]  # of those that are movable
    except (InvalidArgumentError, MissingDependencyError) as error:
        raise type(error)(f"{error} ({role}, the cascade's router of kind {router.kind!r})") from error
    return moved
