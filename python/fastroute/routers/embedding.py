"""Routers that score embeddings, for any two of the models that they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, overload

from fastroute.encoders import StaticEncoder
from fastroute.errors import EncoderMismatchError
from fastroute.policies import Threshold
from fastroute.routers.base import BaseRouter, different_models, model_index, untrained

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    from fastroute import _core
    from fastroute.artifact import Artifact

__all__ = ["EmbeddingRouter", "Scorer"]


class Scorer(Protocol):
    """The native side of a router, for one pair of models."""

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score_embeddings(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score embeddings."""


class EmbeddingRouter(BaseRouter):
    """A router of K models whose score depends on the embedding alone. `_complete` makes its `_scorer`."""

    models_: tuple[str, ...]
    _scorer: Scorer | None

    @property
    def models(self) -> tuple[str, ...]:
        """The models it knows: any two can be a pair."""
        self._ready()
        return self.models_

    @property
    def reads_arrow(self) -> bool:
        """Whether batches take the strings of Arrow tables in place: with a static encoder."""
        return isinstance(self._encoder, StaticEncoder)

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts; the class says what a score is.

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
        scorer = self._scorer
        if scorer is None:
            raise untrained()
        if self._encoder is None or isinstance(self._encoder, StaticEncoder):
            return scorer.score(prompts)
        if isinstance(prompts, str):
            return float(scorer.score_embeddings(self._encoder.embed([prompts]))[0])
        return scorer.score_embeddings(self._encoder.embed(prompts))

    def score_embeddings(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score embeddings of this router's encoder.

        Parameters
        ----------
        embeddings
            float32 (n, d), C-contiguous, finite.

        Returns
        -------
        numpy.ndarray
            float32 (n,), within 1e-6 of what `score` gives for the texts.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            Not such an array; a NaN or Inf is named by row.
        """
        return self._ready().score_embeddings(embeddings)

    def with_models(self, strong: str, weak: str) -> Self:
        """Return a router for another pair of its models, on the same weights.

        A threshold holds for the pair that it was calibrated on. For another one it becomes .5: the strong model
        answers what it is expected to do better on more often than not.

        Raises
        ------
        UnknownModelError
            Names the nearest models that it knows.
        InvalidArgumentError
            They are one model, or nothing that the router was trained on compares them.
        """
        self._ready()
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._strong, other._weak = strong, weak
        other._complete()
        if (strong, weak) != (self._strong, self._weak):
            other._forget_calibration()
        return other

    def _restore(self, artifact: Artifact, *, strong: str | None, weak: str | None) -> None:
        super()._restore(artifact, strong=strong, weak=weak)
        pair = artifact.manifest.get("strong"), artifact.manifest.get("weak")
        if (self._strong, self._weak) != pair:
            self._forget_calibration()

    def _pair(self, dim: int) -> tuple[int, int]:
        """Places of the pair among the models, once it and the encoder fit a router of `dim` dimensions."""
        strong = model_index(self.models_, self._strong, "strong")
        weak = model_index(self.models_, self._weak, "weak")
        different_models(self._strong, self._weak)
        if self._encoder is not None and self._encoder.dim != dim:
            raise EncoderMismatchError(
                f"encoder: {self._encoder.name!r} gives {self._encoder.dim} dimensions, the router has {dim}"
            )
        return strong, weak

    @property
    def _native_encoder(self) -> _core.StaticEncoder | None:
        return self._encoder.native if isinstance(self._encoder, StaticEncoder) else None

    def _ready(self) -> Scorer:
        if self._scorer is None:
            raise untrained()
        return self._scorer

    def _forget_calibration(self) -> None:
        self._threshold = Threshold(0.5)
        kept = {key: value for key, value in self._manifest.items() if key != "calibration"}
        self._manifest = kept | {"threshold": self.threshold}
