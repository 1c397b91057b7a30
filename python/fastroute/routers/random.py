"""The random router: the baseline that every other router has to beat."""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING, Any, ClassVar, overload

import numpy as np

from fastroute.builtin import STRONG, WEAK
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError
from fastroute.policies import Threshold
from fastroute.routers.base import BaseRouter, different_models, threshold_of

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fastroute.artifact import Artifact
    from fastroute.encoders import Encoder
    from fastroute.routers.base import Contents

__all__ = ["RandomRouter"]

_STEPS = 1 << 24  # what a float32 below 1 holds exactly
_SEEDS = 1 << 63
_KEPT = ("threshold", "calibration")


class RandomRouter(BaseRouter):
    """Scores that say nothing of the prompt: uniform in [0, 1), the same for the same prompt and seed.

    At threshold t the share ``1 - t`` of distinct prompts goes to the strong model. Never changes but for the
    identity that `save` gives it; any number of threads may use it at once.

    Parameters
    ----------
    strong, weak
        The models to route between: any two names.
    seed
        0 to 2**63 - 1; another seed gives other scores.
    """

    kind: ClassVar[str] = "random"

    def __init__(self, strong: str = STRONG, weak: str = WEAK, *, seed: int = 0) -> None:
        self._strong, self._weak = different_models(strong, weak)
        try:
            self._seed = operator.index(seed)
        except TypeError:
            raise InvalidTypeError(f"seed: found {type(seed).__name__}, allowed: an int") from None
        if not 0 <= self._seed < _SEEDS:
            raise InvalidArgumentError(f"seed: found {self._seed}, allowed: 0 to 2**63 - 1")
        self._key = self._seed.to_bytes(8, "little")
        self._threshold = Threshold(0.5)
        self._artifact = ""
        self._encoder = None
        self._manifest = {}

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> RandomRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this."""
        _refuse_encoder(encoder)
        saved: Any = artifact.manifest
        try:
            router = cls(
                saved.get("strong") if strong is None else strong,
                saved.get("weak") if weak is None else weak,
                seed=saved.get("seed"),
            )
        except (InvalidTypeError, InvalidArgumentError) as error:
            if strong is not None or weak is not None:
                raise
            raise ArtifactCorruptError(f"{artifact.path}: {error}") from error
        router._threshold = threshold_of(artifact)
        router._artifact = artifact.sha256
        router._manifest = {key: artifact.manifest[key] for key in _KEPT if key in artifact.manifest}
        return router

    @classmethod
    def built_in(
        cls, *, strong: str | None = None, weak: str | None = None, encoder: Encoder | str | os.PathLike[str] | None
    ) -> RandomRouter:
        """Make the one that is loaded as "random"."""
        _refuse_encoder(encoder)
        usual = cls()
        return cls(usual.strong if strong is None else strong, usual.weak if weak is None else weak)

    @property
    def seed(self) -> int:
        """What the scores depend on beside the prompt."""
        return self._seed

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...
    def score(self, prompts: str | Iterable[str]) -> float | NDArray[np.float32]:
        """Score prompts: a hash of each, uniform in [0, 1); float32 (n,) for an iterable.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str; the first bad index is named.
        """
        if isinstance(prompts, str):
            return self._hashed(prompts)
        try:
            given = list(prompts)
        except TypeError:
            raise InvalidTypeError(
                f"prompts: found {type(prompts).__name__}, allowed: a str or an iterable of str"
            ) from None
        for index, prompt in enumerate(given):
            if not isinstance(prompt, str):
                raise InvalidTypeError(f"prompts[{index}]: found {type(prompt).__name__}, allowed: a str")
        return np.fromiter((self._hashed(prompt) for prompt in given), np.float32, len(given))

    def _contents(self) -> Contents:
        members = {"strong": self._strong, "weak": self._weak, "seed": self._seed, "threshold": self.threshold}
        return members, {}

    def _hashed(self, prompt: str) -> float:
        digest = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=3, key=self._key).digest()
        return int.from_bytes(digest, "little") / _STEPS


def _refuse_encoder(encoder: object) -> None:
    if encoder is not None:
        raise InvalidArgumentError("encoder: the random router reads no text; encoder= is not allowed")
