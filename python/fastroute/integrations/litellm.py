"""LiteLLM: one model group of a Router or of the proxy whose requests go to a strong or a weak group, by the prompt.

::

    from fastroute.integrations.litellm import tier_classifier

    auto = {"classifier_type": "custom", "classifier_plugin": tier_classifier(), "max_tokens_from_tier_model": False,
            "tiers": {"SIMPLE": "gpt-5-mini", "COMPLEX": "gpt-5"}}
    params = {"model": "auto_router/complexity_router", "complexity_router_config": auto,
              "complexity_router_default_model": "gpt-5"}
    router = litellm.Router([*deployments, {"model_name": "fastroute", "litellm_params": params}])
    await router.acompletion("fastroute", messages)

Needs ``pip install 'fastroute[litellm]'``; LiteLLM is imported by the calls. What LiteLLM does within a group, and for
every other group, stays LiteLLM's: strategy, cooldowns, health checks, fallbacks.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from fastroute.errors import InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.integrations.deciding import Choice, Chooser

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from types import ModuleType

    import litellm

    from fastroute.integrations.deciding import OnChoice, OnFailure
    from fastroute.policies import Policy
    from fastroute.routers import Router

__all__ = ["Choice", "RoutingStrategy", "TierClassifier", "routing_strategy", "tier_classifier"]


def tier_classifier(
    router: Router | str | os.PathLike[str] | None = None,
    *,
    strong: str = "COMPLEX",
    weak: str = "SIMPLE",
    threshold: float | None = None,
    policy: Policy | None = None,
    on_failure: OnFailure = "strong",
    on_choice: OnChoice | None = None,
) -> TierClassifier:
    """Make a classifier plugin for LiteLLM's complexity router, in the SDK's Router and in the proxy.

    Parameters
    ----------
    router
        A router, a built-in name, the path of an artifact, or None for the default router.
    strong, weak
        The two tiers, as LiteLLM's ``tiers`` names them.
    threshold, policy
        As for ``router.route``.
    on_failure : {"strong", "weak", "raise"}
        The tier of a request that can't be scored, such as one without a text of the user. With "raise", LiteLLM's
        ``classifier_fallback`` decides.
    on_choice
        Called with the `Choice` of every request.

    Returns
    -------
    TierClassifier
        For ``classifier_plugin``.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.
    UnknownRouterError, ArtifactError
        There is no such router, or it can't be loaded.
    MissingDependencyError
        LiteLLM is not installed, or is too old to have classifier plugins, or the router needs an extra.

    Notes
    -----
    LiteLLM asks it for asynchronous calls only: ``Router.completion`` of the group is an error of LiteLLM.
    """
    types = _import_litellm("types.router")
    if not hasattr(types, "ClassifierPlugin"):
        raise MissingDependencyError(
            f"litellm {_version()} has no classifier plugins, litellm 1.99.4 has: pip install -U litellm, "
            "or use routing_strategy"
        )
    return TierClassifier(
        Chooser(
            router,
            strong=strong,
            weak=weak,
            threshold=threshold,
            policy=policy,
            on_failure=on_failure,
            on_choice=on_choice,
        )
    )


class TierClassifier:
    """A ``ClassifierPlugin`` of LiteLLM; made by `tier_classifier`."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    async def classify(self, context: Any) -> str:
        """Return the tier of a request; routers that take more than microseconds score in a thread."""
        return (await self._chooser.achoose(list(context.structured_messages))).name


def routing_strategy(
    llm_router: litellm.Router,
    router: Router | str | os.PathLike[str] | None = None,
    *,
    strong: str,
    weak: str,
    alias: str = "fastroute",
    threshold: float | None = None,
    policy: Policy | None = None,
    on_failure: OnFailure = "strong",
    on_choice: OnChoice | None = None,
) -> RoutingStrategy:
    """Make a custom routing strategy, for the Routers of LiteLLM that have their core in Python.

    ::

        llm_router.set_custom_routing_strategy(routing_strategy(llm_router, strong="gpt-5", weak="gpt-5-mini"))
        llm_router.completion("fastroute", messages)

    Parameters
    ----------
    llm_router
        The Router that it is for.
    router, threshold, policy, on_failure, on_choice
        As for `tier_classifier`.
    strong, weak
        Two model groups of the Router.
    alias
        The name under which requests are routed; it need not be a group of the Router.

    Returns
    -------
    RoutingStrategy
        For ``llm_router.set_custom_routing_strategy``.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed; `strong` or `weak` is no group of `llm_router`; or
        `llm_router` is one that keeps its own picks from a custom strategy (litellm 1.110), for which there is
        `tier_classifier`.
    UnknownRouterError, ArtifactError
        There is no such router, or it can't be loaded.
    MissingDependencyError
        LiteLLM is not installed, or the router needs an extra.
    """
    module = _import_litellm()
    if not isinstance(llm_router, module.Router):
        raise InvalidTypeError(f"llm_router: found {type(llm_router).__name__}, allowed: a litellm.Router")
    if hasattr(llm_router, "register_plugin"):
        raise InvalidArgumentError(
            f"llm_router: in litellm {_version()} a custom strategy is asked for every group and can't leave one to "
            "LiteLLM's own; allowed: a Router of litellm 1.75 to 1.108. Use tier_classifier"
        )
    if not isinstance(alias, str):
        raise InvalidTypeError(f"alias: found {type(alias).__name__}, allowed: a name")
    groups = sorted(set(llm_router.get_model_names()))
    for argument, name in (("strong", strong), ("weak", weak)):
        if name == alias:
            raise InvalidArgumentError(f"{argument}: found {name!r:.60}, which is the alias, allowed: a model group")
        if name not in groups and not any("*" in group for group in groups):
            raise InvalidArgumentError(
                f"{argument}: found {name!r:.60}, allowed: a model group of the Router: {', '.join(groups)}"
            )
    chooser = Chooser(
        router,
        strong=strong,
        weak=weak,
        threshold=threshold,
        policy=policy,
        on_failure=on_failure,
        on_choice=on_choice,
    )
    return RoutingStrategy(llm_router, chooser, alias)


class RoutingStrategy:
    """Has what ``CustomRoutingStrategyBase`` of LiteLLM has; made by `routing_strategy`."""

    def __init__(self, llm_router: litellm.Router, chooser: Chooser, alias: str) -> None:
        # LiteLLM's own, before they are replaced.
        self._pick = llm_router.get_available_deployment
        self._apick = llm_router.async_get_available_deployment
        self._chooser = chooser
        self._alias = alias

    def get_available_deployment(
        self,
        model: str,
        messages: list[dict[str, str]] | None = None,
        input: str | list[Any] | None = None,  # noqa: A002
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Return the deployment that LiteLLM picks in the group that is chosen, or in any other group."""
        if model == self._alias:
            model = self._chooser.choose(input if messages is None else messages).name
        picked: Mapping[str, Any] = self._pick(
            model=model,
            messages=messages,
            input=input,
            specific_deployment=specific_deployment,
            request_kwargs=request_kwargs,
        )
        return picked

    async def async_get_available_deployment(
        self,
        model: str,
        messages: list[dict[str, str]] | None = None,
        input: str | list[Any] | None = None,  # noqa: A002
        specific_deployment: bool | None = False,
        request_kwargs: dict[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Return what `get_available_deployment` does; routers that take more than microseconds score in a thread."""
        if model == self._alias:
            model = (await self._chooser.achoose(input if messages is None else messages)).name
        picked: Mapping[str, Any] = await self._apick(
            model=model,
            messages=messages,
            input=input,
            specific_deployment=specific_deployment,
            request_kwargs={} if request_kwargs is None else request_kwargs,
        )
        return picked


def _version() -> str:
    try:
        return version("litellm")
    except PackageNotFoundError:
        return "of an unknown version"


def _import_litellm(name: str = "") -> ModuleType:
    import importlib

    try:
        return importlib.import_module(f"litellm.{name}" if name else "litellm")
    except ImportError as error:
        raise MissingDependencyError(
            "routing in LiteLLM needs litellm, which is not installed: pip install 'fastroute[litellm]'"
        ) from error
