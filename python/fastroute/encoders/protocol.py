"""What every encoder has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Encoder"]


@runtime_checkable
class Encoder(Protocol):
    """Text to vector. Any number of threads may use one encoder at once."""

    @property
    def name(self) -> str:
        """Name of the encoder's artifact."""

    @property
    def sha256(self) -> str:
        """Identity of the encoder's artifact: routers record it and refuse another."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def embed(self, prompts: Iterable[str]) -> NDArray[np.float32]:
        """Embed prompts: float32, shape (n, dim), C-contiguous and finite."""
