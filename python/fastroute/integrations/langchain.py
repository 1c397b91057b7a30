"""LangChain: a runnable that names the model for a prompt, and a chat model that is two.

::

    from fastroute.integrations.langchain import routed_chat_model

    model = routed_chat_model(ChatOpenAI(model="gpt-5"), ChatOpenAI(model="gpt-5-mini"))
    model.bind_tools([search]).invoke("Prove that sqrt(2) is irrational.")

Needs ``pip install 'fastroute[langchain]'``, which is langchain-core; it is imported by the calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.errors import InvalidTypeError, MissingDependencyError
from fastroute.integrations.deciding import Choice, Chooser

if TYPE_CHECKING:
    import os
    from types import ModuleType

    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

    from fastroute.integrations.deciding import OnChoice, OnFailure
    from fastroute.integrations.langchain_model import RoutedChatModel
    from fastroute.policies import Policy
    from fastroute.routers import Router

__all__ = ["Choice", "model_picker", "routed_chat_model"]


def model_picker(
    strong: str,
    weak: str,
    router: Router | str | os.PathLike[str] | None = None,
    *,
    threshold: float | None = None,
    policy: Policy | None = None,
    on_failure: OnFailure = "strong",
    on_choice: OnChoice | None = None,
) -> Runnable[Any, str]:
    """Make a runnable that returns the id of the model that should answer.

    Parameters
    ----------
    strong, weak
        The two ids.
    router, threshold, policy, on_failure, on_choice
        As for `routed_chat_model`.

    Returns
    -------
    langchain_core.runnables.Runnable
        Of what a chat model takes (a string, a prompt's value, messages) to a string. Asynchronously, routers that
        take more than microseconds score in a thread.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError, UnknownRouterError, ArtifactError, MissingDependencyError
        As `routed_chat_model` raises.
    """
    module = _import_model()
    chooser = Chooser(
        router,
        strong=strong,
        weak=weak,
        threshold=threshold,
        policy=policy,
        on_failure=on_failure,
        on_choice=on_choice,
    )
    picker: Runnable[Any, str] = module.picker(chooser)
    return picker


def routed_chat_model(
    strong: BaseChatModel,
    weak: BaseChatModel,
    router: Router | str | os.PathLike[str] | None = None,
    *,
    threshold: float | None = None,
    policy: Policy | None = None,
    on_failure: OnFailure = "strong",
    on_choice: OnChoice | None = None,
) -> RoutedChatModel:
    """Make a chat model that has each call answered by one of two.

    Parameters
    ----------
    strong, weak
        The two chat models, of any providers; a choice is named after their `model_name` or `model`, or is "strong" or
        "weak" where these are the same or missing.
    router
        A router, a built-in name, the path of an artifact, or None for the default router.
    threshold, policy
        As for ``router.route``.
    on_failure : {"strong", "weak", "raise"}
        What answers messages that can't be scored, such as those without a text of the user.
    on_choice
        Called with the `Choice` of every call.

    Returns
    -------
    RoutedChatModel
        A ``BaseChatModel``. `bind_tools` and `with_structured_output` are those of both models, each with its
        provider's own format; what else runnables and chat models have works as on any chat model. Runs, caches and
        rate limits are those of the model that answers, and ``response_metadata["fastroute"]`` of its message (of the
        first chunk, where it streams) is the choice.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.
    UnknownRouterError, ArtifactError
        There is no such router, or it can't be loaded.
    MissingDependencyError
        langchain-core is not installed, or the router needs an extra.
    """
    module = _import_model()
    for argument, model in (("strong", strong), ("weak", weak)):
        if not isinstance(model, module.BaseChatModel):
            raise InvalidTypeError(f"{argument}: found {type(model).__name__}, allowed: a chat model of LangChain")
    strong_name, weak_name = _name(strong), _name(weak)
    if strong_name is None or weak_name is None or strong_name == weak_name:
        strong_name, weak_name = "strong", "weak"
    chooser = Chooser(
        router,
        strong=strong_name,
        weak=weak_name,
        threshold=threshold,
        policy=policy,
        on_failure=on_failure,
        on_choice=on_choice,
    )
    routed: RoutedChatModel = module.RoutedChatModel(strong=strong, weak=weak, chooser=chooser)
    return routed


def _name(model: object) -> str | None:
    names = (getattr(model, attribute, None) for attribute in ("model_name", "model"))
    return next((name for name in names if isinstance(name, str) and name), None)


def _import_model() -> ModuleType:
    try:
        import langchain_core.language_models  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            "routing in LangChain needs langchain-core, which is not installed: pip install 'fastroute[langchain]'"
        ) from error
    from fastroute.integrations import langchain_model

    return langchain_model
