"""LlamaIndex: a selector that sends a query to a strong or a weak query engine, by its difficulty.

::

    from fastroute.integrations.llama_index import difficulty_selector

    engine = RouterQueryEngine(difficulty_selector(strong="gpt-5", weak="gpt-5-mini"), [strong_tool, weak_tool])

Needs ``pip install 'fastroute[llama-index]'``, which is llama-index-core; it is imported by the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastroute.errors import MissingDependencyError
from fastroute.integrations.deciding import Choice, Chooser

if TYPE_CHECKING:
    import os
    from types import ModuleType

    from fastroute.integrations.deciding import OnChoice, OnFailure
    from fastroute.integrations.llama_index_selector import DifficultySelector
    from fastroute.policies import Policy
    from fastroute.routers import Router

__all__ = ["Choice", "difficulty_selector"]


def difficulty_selector(
    router: Router | str | os.PathLike[str] | None = None,
    *,
    strong: str = "strong",
    weak: str = "weak",
    threshold: float | None = None,
    policy: Policy | None = None,
    on_failure: OnFailure = "strong",
    on_choice: OnChoice | None = None,
) -> DifficultySelector:
    """Make a selector that chooses between two of the choices, the same two for every query.

    Parameters
    ----------
    router
        A router, a built-in name, the path of an artifact, or None for the default router.
    strong, weak
        Names of the two choices: the ``name`` of a tool's metadata, or the choice itself where that is a string.
    threshold, policy
        As for ``router.route``.
    on_failure : {"strong", "weak", "raise"}
        What answers a query that can't be scored, such as an empty one.
    on_choice
        Called with the `Choice` of every query.

    Returns
    -------
    DifficultySelector
        A ``BaseSelector``. Its selections are single, and their reasons the scores. Asynchronously, routers that take
        more than microseconds score in a thread. It asks no LLM.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed; later, from selecting: none of the choices, or several,
        have a name.
    UnknownRouterError, ArtifactError
        There is no such router, or it can't be loaded.
    MissingDependencyError
        llama-index-core is not installed, or the router needs an extra.
    """
    module = _import_selector()
    chooser = Chooser(
        router,
        strong=strong,
        weak=weak,
        threshold=threshold,
        policy=policy,
        on_failure=on_failure,
        on_choice=on_choice,
    )
    selector: DifficultySelector = module.DifficultySelector(chooser, (strong, weak))
    return selector


def _import_selector() -> ModuleType:
    try:
        import llama_index.core.base.base_selector  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "routing in LlamaIndex needs llama-index-core, which is not installed: pip install 'fastroute[llama-index]'"
        ) from error
    from fastroute.integrations import llama_index_selector

    return llama_index_selector
