"""The routers of a client: by name, by path, or as RouteLLM's config has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastroute.errors import InvalidArgumentError, InvalidTypeError, UnknownRouterError
from fastroute.loading import load

if TYPE_CHECKING:
    from fastroute.routers import Router

__all__ = ["load_routers"]

_MANIFEST = "router.json"
_MEMBERS = ("checkpoint_path", "strong_model", "weak_model")
_IMPORTING = (
    "nothing is downloaded at run time, and RouteLLM's files are not read as they are: fetch the checkpoint yourself, "
    "make an artifact of it with 'fastroute import-routellm PATH', and give that folder as checkpoint_path; or leave "
    "the entry out for a built-in router"
)


def load_routers(routers: object, config: object) -> dict[str, Router]:
    """Load routers under the labels that requests name them by.

    Parameters
    ----------
    routers
        Labels; or labels with a router, a built-in name or the path of an artifact each; None for the default router.
    config
        As of RouteLLM: ``{label: {"checkpoint_path": PATH, "strong_model": ..., "weak_model": ...}}``, each member
        optional. The path is that of an artifact. The models are the pair that the router itself compares, not the
        names that requests are sent to. Labels that `routers` lacks are not looked at.

    Returns
    -------
    dict
        In the order given; the first is the default.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument is not as above; or an entry has what only RouteLLM can load, such as the id of a checkpoint on a
        hub. The message says what to do.
    FastrouteError
        As `fastroute.load`.
    """
    if config is not None and not isinstance(config, Mapping):
        raise InvalidTypeError(f"config: found {type(config).__name__}, allowed: a mapping of labels to mappings")
    if routers is None:
        router = load()
        return {router.kind: router}
    if isinstance(routers, Mapping):
        found = dict(routers.items())
    elif isinstance(routers, Iterable) and not isinstance(routers, (str, bytes)):
        found = dict.fromkeys(routers)
    else:
        raise InvalidTypeError(f"routers: found {type(routers).__name__}, allowed: a list of names, or a mapping")
    if not found:
        raise InvalidArgumentError("routers: found none, allowed: one or more")
    return {_checked(label): _load(label, given, (config or {}).get(label)) for label, given in found.items()}


def _checked(label: object) -> str:
    if not isinstance(label, str):
        raise InvalidTypeError(f"routers: found {type(label).__name__}, allowed: names as str")
    if not label or label != label.strip("-"):
        raise InvalidArgumentError(f"routers: found {label!r}, allowed: names that neither begin nor end with a dash")
    return label


def _load(label: str, given: Any, entry: object) -> Router:
    if given is not None and not isinstance(given, (str, os.PathLike)):
        if not callable(getattr(given, "route", None)):
            raise InvalidTypeError(f"routers[{label!r}]: found {type(given).__name__}, allowed: a Router or a path")
        router: Router = given
        return router
    if entry is None:
        return load(label if given is None else given)
    where = f"config[{label!r}]"
    if not isinstance(entry, Mapping):
        raise InvalidTypeError(f"{where}: found {type(entry).__name__}, allowed: a mapping with {', '.join(_MEMBERS)}")
    unknown = [str(member) for member in entry if member not in _MEMBERS]
    if unknown:
        raise InvalidArgumentError(f"{where}: found {', '.join(unknown)}, allowed: {', '.join(_MEMBERS)}; {_IMPORTING}")
    path = entry.get("checkpoint_path", label if given is None else given)
    if "checkpoint_path" in entry:
        if not isinstance(path, (str, os.PathLike)):
            raise InvalidTypeError(f"{where}: checkpoint_path: found {type(path).__name__}, allowed: a path")
        if not os.path.isfile(os.path.join(os.fspath(path), _MANIFEST)):  # noqa: PTH113, PTH118 - as fastroute.loading
            raise UnknownRouterError(
                f"{where}: checkpoint_path: found {os.fspath(path)!r}, which is no folder with a {_MANIFEST}; "
                f"{_IMPORTING}"
            )
    return load(path, strong=entry.get("strong_model"), weak=entry.get("weak_model"))
