"""How a similarity-weighted router weighs battles."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError
from fastroute.routers.arguments import real_number, whole_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastroute.artifact import Artifact

__all__ = ["COMPAT", "MOST_TIERS", "NORMALISERS", "EloSettings"]

MOST_TIERS: Final = 64
NORMALISERS: Final = ("best", "none")
COMPAT: Final = ("routellm",)
_LARGEST_BASE = 1e30
_MOST_NEIGHBOURS = 1_000_000_000
_FEWEST_NEIGHBOURS = 1000  # without shrinkage
_LARGEST_SHRINKAGE = 1e9
_LEAST_EXPONENT = -40.0  # of weights, as csrc/kernels.h has it


@dataclass(frozen=True, slots=True)
class EloSettings:
    """Settings, as `SimilarityWeightedRouter` describes them.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        One has a type or value that is not allowed.
    """

    tiers: int
    base: float
    normaliser: str
    compat: str | None
    neighbours: int
    shrinkage: float

    def __post_init__(self) -> None:
        """Check them."""
        checked = {
            "tiers": whole_number("tiers", self.tiers, least=1, most=MOST_TIERS),
            "base": real_number("base", self.base, least=1, most=_LARGEST_BASE),
            "neighbours": whole_number("neighbours", self.neighbours, least=0, most=_MOST_NEIGHBOURS),
            "shrinkage": real_number("shrinkage", self.shrinkage, least=0, most=_LARGEST_SHRINKAGE),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.normaliser not in NORMALISERS:
            raise InvalidArgumentError(f"normaliser: found {self.normaliser!r}, allowed: {', '.join(NORMALISERS)}")
        if self.compat is not None and self.compat not in COMPAT:
            raise InvalidArgumentError(f"compat: found {self.compat!r}, allowed: None, {', '.join(COMPAT)}")
        if self.shrinkage and not self.neighbours:
            raise InvalidArgumentError(f"shrinkage: found {self.shrinkage:g} without neighbours, allowed: 0")
        if 0 < self.neighbours < _FEWEST_NEIGHBOURS and not self.shrinkage:
            raise InvalidArgumentError(
                f"neighbours: found {self.neighbours} without shrinkage, allowed: 0 for all prompts, or "
                f"{_FEWEST_NEIGHBOURS} or more, since fewer seldom have battles enough for a fit"
            )

    @staticmethod
    def of_artifact(artifact: Artifact) -> EloSettings:
        """Read what a manifest says; an older one has no neighbours."""
        said = artifact.manifest
        given = {name: said.get(name) for name in ("base", "normaliser", "compat")}
        rest: dict[str, Any] = {"neighbours": said.get("neighbours", 0), "shrinkage": said.get("shrinkage", 0.0)}
        try:
            return EloSettings(tiers=said.get("most_tiers", MOST_TIERS), **given, **rest)  # type: ignore[arg-type]
        except (InvalidArgumentError, InvalidTypeError) as error:
            raise ArtifactCorruptError(f"{artifact.path}: {error}") from error

    def members(self) -> dict[str, Any]:
        """Return what a manifest says, where "tiers" are the models' own."""
        return {("most_tiers" if name == "tiers" else name): value for name, value in asdict(self).items()}

    @property
    def normalised(self) -> bool:
        """Whether similarities are divided by the best one."""
        return self.normaliser == "best"

    def weights(self, similarities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights of battles on prompts of these similarities, (k,), the best of all first."""
        best = similarities[0]
        if self.normalised:
            if best <= 0:  # similar to none: all count alike
                return np.ones_like(similarities)
            similarities, best = similarities / best, np.float64(1.0)
        exponents = (similarities - best) * math.log2(self.base)
        weights: NDArray[np.float64] = np.exp2(np.maximum(exponents, _LEAST_EXPONENT))
        return weights
