"""``fastroute.load``: from a name or a path to a router."""

from __future__ import annotations

import difflib
import importlib
import os
from typing import TYPE_CHECKING, Any

from fastroute import builtin
from fastroute.artifact import ROUTER, read_artifact
from fastroute.artifact.folder import checked_path
from fastroute.errors import ArtifactCorruptError, InvalidArgumentError, InvalidTypeError, UnknownRouterError

if TYPE_CHECKING:
    from pathlib import Path

    from fastroute.artifact import Artifact
    from fastroute.encoders import Encoder
    from fastroute.routers import Router

__all__ = ["load", "locate", "open_router"]

DEFAULT_ROUTER = "experts"
ENTRY_POINTS = "fastroute.routers"

_KINDS = {
    "bert": "fastroute.routers.bert:BertRouter",
    "cascade": "fastroute.routers.cascade:CascadeRouter",
    "causal_llm": "fastroute.routers.causal_llm:CausalLlmRouter",
    "causal_llm_endpoint": "fastroute.routers.causal_llm_endpoint:CausalLlmEndpointRouter",
    "experts": "fastroute.routers.experts:ExpertsRouter",
    "knn": "fastroute.routers.knn:KnnRouter",
    "mf": "fastroute.routers.matrix_factorization:MatrixFactorizationRouter",
    "random": "fastroute.routers.random:RandomRouter",
    "sw_ranking": "fastroute.routers.similarity_weighted:SimilarityWeightedRouter",
}


def load(
    router: str | os.PathLike[str] | None = None,
    *,
    strong: str | None = None,
    weak: str | None = None,
    encoder: Encoder | str | os.PathLike[str] | None = None,
    device: str | None = None,
) -> Router:
    """Load a router.

    Parameters
    ----------
    router
        Name of a built-in router, or path of an artifact; the default router if None.
    strong, weak
        Models to route between, among those the router knows; the artifact's pair if None. For another pair than
        the artifact's, on which its threshold was calibrated, the threshold is .5.
    encoder
        The encoder that the router was trained with, or its name or path, for a router that doesn't carry it.
    device
        Where a neural network runs, be it the router or its encoder: "cpu", the default, or "cuda". Others run in the
        core, on the CPU.

    Returns
    -------
    Router
        Independent of the files it was read from; any number of threads may use it at once.

    Raises
    ------
    UnknownRouterError
        Neither a built-in name nor a path that exists.
    UnknownModelError
        The router doesn't know `strong` or `weak`.
    ArtifactError
        The artifact is missing a file, altered, newer than this fastroute, or needs another encoder.
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed; the router doesn't run on `device`.
    MissingDependencyError
        The router or the device needs an extra that is not installed; the message says which.
    """
    loaded = _load(router, strong=strong, weak=weak, encoder=encoder)
    if device is None or device == "cpu":
        return loaded
    if not isinstance(device, str):
        raise InvalidTypeError(f"device: found {type(device).__name__}, allowed: 'cpu' or 'cuda'")
    move = getattr(loaded, "to", None)
    if move is None:
        raise InvalidArgumentError(f"device: found {device!r:.60}, allowed for a router of kind {loaded.kind!r}: 'cpu'")
    moved: Router = move(device)
    return moved


def _load(
    router: str | os.PathLike[str] | None,
    *,
    strong: str | None,
    weak: str | None,
    encoder: Encoder | str | os.PathLike[str] | None,
) -> Router:
    if isinstance(router, str) and router == "random":  # the one built-in router that needs no artifact
        from fastroute.routers.random import RandomRouter

        return RandomRouter.built_in(strong=strong, weak=weak, encoder=encoder)
    artifact = read_artifact(locate(DEFAULT_ROUTER if router is None else router), format=ROUTER)
    return open_router(artifact, strong=strong, weak=weak, encoder=encoder)


def open_router(
    artifact: Artifact,
    *,
    strong: str | None = None,
    weak: str | None = None,
    encoder: Encoder | str | os.PathLike[str] | None = None,
) -> Router:
    """Make a router of a verified artifact, whatever its kind; raises as `load` does."""
    kind = str(artifact.manifest["kind"])
    implementation: Any = _implementation(kind, source=str(artifact.path))
    loaded: Router = implementation.from_artifact(artifact, strong=strong, weak=weak, encoder=encoder)
    return loaded


def locate(router: str | os.PathLike[str]) -> Path:
    """Folder of a built-in router or of an artifact; raises as `load` does."""
    if not isinstance(router, (str, os.PathLike)):
        raise InvalidTypeError(f"router: found {type(router).__name__}, allowed: a name or a path")
    if isinstance(router, str):
        found = builtin.find_router(router)
        if found is not None:
            return found
        if "://" in router:
            raise UnknownRouterError(
                f"router: found {router!r}; nothing is fetched at run time: download it and give the folder's path"
            )
    path = checked_path(router, "router")
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where a name is too long or may not be seen
        names = builtin.routers()
        near = difflib.get_close_matches(str(router), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UnknownRouterError(
            f"router: found {str(router)!r}, allowed: a built-in name ({', '.join(names) or 'none here'}) "
            f"or the path of an artifact.{hint}"
        )
    return path


def _implementation(kind: str, *, source: str) -> Any:
    """Class for a kind of router. Installed packages are searched only for kinds that fastroute doesn't have."""
    target = _KINDS.get(kind)
    if target is not None:
        module, _, name = target.partition(":")
        return getattr(importlib.import_module(module), name)
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINTS):
        if entry.name == kind:
            return entry.load()
    raise ArtifactCorruptError(
        f"{source}: router of kind {kind!r}; fastroute has {', '.join(sorted(_KINDS))}, and no installed package "
        f"registers it in the entry-point group {ENTRY_POINTS!r}"
    )
