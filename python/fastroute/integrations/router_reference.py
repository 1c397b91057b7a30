"""A router for other processes: its name or path and its hash travel, and each process loads it once."""

from __future__ import annotations

import functools
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastroute.errors import ArtifactError, InvalidTypeError

if TYPE_CHECKING:
    from fastroute.routers import Router

__all__ = ["RouterReference"]

_AT_MOST = 4  # routers that a process keeps
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class RouterReference:
    """Which router to load, and what must be found then.

    Attributes
    ----------
    router : str
        Name of a built-in router, or absolute path.
    artifact : str
        SHA-256 of the artifact; empty for `random`, which has none.
    """

    router: str
    artifact: str

    @classmethod
    def to(cls, router: str | os.PathLike[str] | None) -> RouterReference:
        """Load a router here, which finds what is wrong with it, and return where and which it is.

        Raises
        ------
        InvalidTypeError
            `router` is an object rather than a name or a path: it can't be sent.
        UnknownRouterError, ArtifactError, MissingDependencyError
            As `fastroute.load` raises.
        """
        from fastroute import builtin
        from fastroute.loading import DEFAULT_ROUTER, load

        if router is None:
            router = DEFAULT_ROUTER
        if not isinstance(router, (str, os.PathLike)):
            raise InvalidTypeError(
                f"router: found {type(router).__name__}, which can't be sent to other processes, allowed: a built-in "
                f"name, or a path that every node sees, such as one that router.save(path) wrote"
            )
        artifact = load(router).artifact
        is_name = isinstance(router, str) and (router == "random" or builtin.find_router(router) is not None)
        return cls(str(router) if is_name else os.path.abspath(router), artifact)  # noqa: PTH100  not resolved: links are kept

    def load(self) -> Router:
        """Return the router, loaded at the first call in this process; any number of threads may call.

        Raises
        ------
        ArtifactError
            What lies there is another artifact.
        UnknownRouterError, MissingDependencyError
            As `fastroute.load` raises.
        """
        with _loading:
            return _load(self)


@functools.lru_cache(maxsize=_AT_MOST)
def _load(reference: RouterReference) -> Router:
    from fastroute.loading import load

    loaded = load(reference.router)
    if loaded.artifact != reference.artifact:
        raise ArtifactError(
            f"router {reference.router!r}: expected the artifact {reference.artifact}, which the job was started with, "
            f"found {loaded.artifact}; every node needs the same one until the job has ended"
        )
    return loaded
