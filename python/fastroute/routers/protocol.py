"""What every router has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fastroute.encoders import Encoder
    from fastroute.policies import Decision, Policy

__all__ = ["Router"]


@runtime_checkable
class Router(Protocol):
    """From a prompt to a score and a decision. Any number of threads may use one router at once.

    A third-party router registers its class under its kind in the entry-point group ``fastroute.routers``;
    the class has ``from_artifact(artifact, *, strong, weak, encoder)``, which `fastroute.load` calls.
    """

    @property
    def kind(self) -> str:
        """Kind of router, such as "mf"."""

    @property
    def strong(self) -> str:
        """The strong model of the pair."""

    @property
    def weak(self) -> str:
        """The weak model of the pair."""

    @property
    def threshold(self) -> float:
        """Used by `route` when none is given."""

    @property
    def calibration(self) -> Mapping[str, Any]:
        """How the threshold was chosen, as the artifact has it; empty where it does not say."""

    @property
    def artifact(self) -> str:
        """SHA-256 of the artifact; empty for a router that was never saved."""

    @property
    def encoder(self) -> Encoder | None:
        """The encoder, where the router has one."""

    @overload
    def score(self, prompts: str) -> float: ...
    @overload
    def score(self, prompts: Iterable[str]) -> NDArray[np.float32]: ...

    @overload
    def route(self, prompts: str, threshold: float | None = None, policy: Policy | None = None) -> Decision: ...
    @overload
    def route(
        self, prompts: Iterable[str], threshold: float | None = None, policy: Policy | None = None
    ) -> list[Decision]: ...

    def with_threshold(self, threshold: float, calibration: Mapping[str, Any] | None = None) -> Router:
        """Return the same router with another threshold of its own, and how it was chosen."""

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write an artifact; returns its SHA-256."""
