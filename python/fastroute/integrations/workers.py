"""The router that workers load: named on the driver, and the same on each of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastroute.errors import ArtifactError, InvalidTypeError

if TYPE_CHECKING:
    from fastroute.routers import Router

__all__ = ["WorkerRouter", "for_workers"]


@dataclass(frozen=True, slots=True)
class WorkerRouter:
    """What travels to workers in place of a router: where it is, and which artifact has to be there.

    Attributes
    ----------
    source : str
        A built-in name, or an absolute path.
    artifact : str
        SHA-256 of the artifact; empty for the built-in router "random".
    """

    source: str
    artifact: str

    def load(self) -> Router:
        """Load the router.

        Raises
        ------
        ArtifactError
            Another artifact is there than on the driver, or it can't be read.
        UnknownRouterError
            Nothing is there.
        """
        import fastroute

        router = fastroute.load(self.source)
        if router.artifact != self.artifact:
            raise ArtifactError(
                f"router {self.source!r}: found the artifact {router.artifact}, expected {self.artifact}, which the "
                "driver loaded; give every node the same router, and leave it as it is while it is in use"
            )
        return router


def for_workers(router: str | os.PathLike[str] | None) -> tuple[WorkerRouter, Router]:
    """Load a router on the driver, and give what its workers need to load the same one.

    Parameters
    ----------
    router
        A built-in name, a path that every node sees, or None for the default router.

    Raises
    ------
    InvalidTypeError
        `router` is something else, such as a router.
    FastrouteError
        The router can't be loaded; see `fastroute.load`.
    """
    import fastroute
    from fastroute import builtin
    from fastroute.loading import DEFAULT_ROUTER

    if router is None:
        router = DEFAULT_ROUTER
    if not isinstance(router, (str, os.PathLike)):
        raise InvalidTypeError(
            f"router: found {type(router).__name__}, allowed: a built-in name, or the path of an artifact that every "
            "node sees. A router can't be sent to other processes: save it with router.save(path), and give the path"
        )
    loaded = fastroute.load(router)
    if isinstance(router, str) and (router == "random" or builtin.find_router(router) is not None):
        return WorkerRouter(router, loaded.artifact), loaded
    return WorkerRouter(os.path.abspath(os.fspath(router)), loaded.artifact), loaded  # noqa: PTH100 - links stay
