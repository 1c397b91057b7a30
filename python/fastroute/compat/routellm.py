"""RouteLLM's Controller (routellm 0.2.0): its arguments, methods and errors, with fastroute's routers.

>>> from fastroute.compat.routellm import Controller
>>> client = Controller(routers=["mf"], strong_model="gpt-4-1106-preview", weak_model="openai/mixtral-8x7b")

What differs is in docs/client.md; above all, thresholds are to be calibrated anew: these are other routers.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass
from numbers import Real
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fastroute.client.choosing import chat_text, plain_messages
from fastroute.client.loading import load_routers
from fastroute.client.sdk import import_openai
from fastroute.errors import InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.model_names import parse_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastroute.routers import Router

__all__ = ["Controller", "ModelPair", "RoutingError"]

_PREFIX = "openai/"


class RoutingError(InvalidArgumentError):
    """A router or threshold is missing, or not one that is allowed."""


@dataclass
class ModelPair:
    """Names that requests are sent to."""

    strong: str
    weak: str


class Controller:
    """RouteLLM's controller. Any number of threads may use one at once.

    Parameters
    ----------
    routers
        Names of built-in routers, or of entries in `config`; or a mapping of labels to routers, names or paths.
    strong_model, weak_model
        As LiteLLM names them. Without LiteLLM: a name without a slash, or ``openai/NAME``.
    config
        ``{"mf": {"checkpoint_path": PATH}}``, PATH that of an artifact of fastroute; None for the built-in routers.
    api_base, api_key
        Of both models; None leaves them to LiteLLM or the openai package, which read the environment.
    progress_bar
        Accepted, and of no effect: loading takes milliseconds, scoring microseconds.

    Attributes
    ----------
    model_pair
        The two names.
    model_counts
        By router's label and model's name: how many completions went there.
    routers
        Routers by label.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        An argument is not as above, or an entry of `config` is one that only RouteLLM can load.
    FastrouteError
        As `fastroute.load`.
    """

    def __init__(  # noqa: PLR0917 - the order is RouteLLM's
        self,
        routers: Iterable[str] | Mapping[str, Router | str | os.PathLike[str]],
        strong_model: str,
        weak_model: str,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        progress_bar: bool = False,
    ) -> None:
        for argument, model in (("strong_model", strong_model), ("weak_model", weak_model)):
            if not isinstance(model, str):
                raise InvalidTypeError(f"{argument}: found {type(model).__name__}, allowed: the name of a model")
        self.model_pair = ModelPair(strong_model, weak_model)
        self.routers = load_routers(routers, config)
        self.api_base = api_base
        self.api_key = api_key
        self.progress_bar = progress_bar
        self.model_counts: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.chat = SimpleNamespace(completions=SimpleNamespace(create=self.completion, acreate=self.acompletion))
        self._lock = Lock()
        self._clients: dict[str, Any] = {}

    def completion(self, *, router: str | None = None, threshold: float | None = None, **kwargs: Any) -> Any:
        """Choose a model by the last message of the user, and ask it.

        Parameters
        ----------
        router, threshold
            Which router decides, and from which score up the strong model answers.
        **kwargs
            As of chat completions. A `model` such as "router-mf-0.5" takes precedence over `router` and `threshold`;
            in "router-mf" and "auto" the threshold is the router's own.

        Returns
        -------
        object
            What LiteLLM returns, or the openai package where LiteLLM is not installed.

        Raises
        ------
        RoutingError
            Router or threshold is missing, or not allowed.
        DataError
            `messages` are not what they should be.
        MissingDependencyError
            Neither LiteLLM nor openai is installed, or the model's name needs LiteLLM.
        """
        arguments = self._routed(router, threshold, kwargs)
        litellm = _litellm()
        if litellm is not None:
            return litellm.completion(api_base=self.api_base, api_key=self.api_key, **arguments)
        arguments["model"] = _name_for_openai(arguments["model"])
        return self._client("OpenAI").chat.completions.create(**arguments)

    async def acompletion(self, *, router: str | None = None, threshold: float | None = None, **kwargs: Any) -> Any:
        """Do as `completion`, with a call that is awaited; choosing is done in another thread."""
        arguments = await asyncio.to_thread(self._routed, router, threshold, kwargs)
        litellm = await asyncio.to_thread(_litellm)  # loading it takes seconds
        if litellm is not None:
            return await litellm.acompletion(api_base=self.api_base, api_key=self.api_key, **arguments)
        arguments["model"] = _name_for_openai(arguments["model"])
        return await self._client("AsyncOpenAI").chat.completions.create(**arguments)

    def route(self, prompt: str, router: str, threshold: float) -> str:
        """Return the name of the model that should answer a prompt.

        Raises
        ------
        RoutingError
            `router` or `threshold` is missing, or not allowed.
        InvalidTypeError
            `prompt` is no str.
        """
        self._check(router, threshold)
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompt: found {type(prompt).__name__}, allowed: a str")
        return self._model(prompt, router, threshold)

    def batch_calculate_win_rate(self, prompts: Any, router: str) -> Any:
        """Score prompts; not every router's score is a win rate, see docs/client.md.

        Parameters
        ----------
        prompts
            A pandas Series of str, or any iterable of them.
        router
            Label of the router.

        Returns
        -------
        pandas.Series or list
            Scores in [0, 1] as floats: a Series of the same index and name for a Series, else a list.

        Raises
        ------
        RoutingError
            `router` is not one of `routers`.
        InvalidTypeError
            `prompts` holds something other than str.
        """
        self._check(router, 0)
        if isinstance(prompts, str):
            raise InvalidTypeError("prompts: found str, allowed: a pandas Series or an iterable of str")
        scores = self.routers[router].score(list(prompts)).tolist()
        # Of a Series without importing pandas, which needs not be there for lists.
        if hasattr(prompts, "index") and hasattr(prompts, "to_frame"):
            return type(prompts)(scores, index=prompts.index, name=prompts.name, dtype="float64")
        return scores

    def _routed(self, router: str | None, threshold: float | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return a completion's arguments with the model that is chosen, which is counted."""
        if "model" in kwargs:
            router, threshold = self._named(kwargs["model"])
        if router is None or threshold is None:
            raise RoutingError(
                "router, threshold: found one or both missing, allowed: both, or a model 'router-mf-0.5'"
            )
        self._check(router, threshold)
        messages = plain_messages(kwargs.get("messages"))
        text = chat_text(messages)
        model = self.model_pair.strong if text is None else self._model(text, router, threshold)
        with self._lock:
            self.model_counts[router][model] += 1
        given = kwargs.get("messages")
        return {**kwargs, "model": model, "messages": given if isinstance(given, (list, tuple)) else messages}

    def _named(self, model: object) -> tuple[str, float]:
        try:
            name = parse_model(model)  # type: ignore[arg-type]
        except InvalidArgumentError as error:
            raise RoutingError(str(error)) from None
        if name is None:
            raise RoutingError(f"model: found {model!r}, allowed: 'router-LABEL-THRESHOLD', 'router-LABEL' or 'auto'")
        label = next(iter(self.routers)) if name.router is None else name.router
        self._check(label, 0)
        return label, self.routers[label].threshold if name.threshold is None else name.threshold

    def _check(self, router: object, threshold: Any) -> None:
        if router is None or threshold is None:
            raise RoutingError("router, threshold: found one or both missing, allowed: both")
        if not isinstance(router, str) or router not in self.routers:
            raise RoutingError(f"router: found {router!r}, allowed: {', '.join(self.routers)}")
        if not isinstance(threshold, Real) or not 0 <= float(threshold) <= 1:
            raise RoutingError(f"threshold: found {threshold!r}, allowed: 0 to 1")

    def _model(self, text: str, router: str, threshold: float) -> str:
        chosen = self.routers[router]
        decision = chosen.route(text, threshold)
        return self.model_pair.strong if decision.model == chosen.strong else self.model_pair.weak

    def _client(self, sdk: str) -> Any:
        """Return the SDK's client, made at its first use."""
        with self._lock:
            if sdk not in self._clients:
                package = import_openai()
                try:
                    self._clients[sdk] = getattr(package, sdk)(base_url=self.api_base, api_key=self.api_key)
                except package.OpenAIError:
                    raise InvalidArgumentError("api_key: found none; give it, or set OPENAI_API_KEY") from None
            return self._clients[sdk]


def _litellm() -> Any:
    """Import LiteLLM; None where it is not installed."""
    # Else loading it fetches a list of prices.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        import litellm
    except ImportError:
        return None
    return litellm


def _name_for_openai(model: str) -> str:
    """Return a model's name at an OpenAI-compatible API.

    Raises
    ------
    MissingDependencyError
        It has a provider's prefix, which only LiteLLM knows.
    """
    name = model.removeprefix(_PREFIX)
    if "/" in name and name == model:
        raise MissingDependencyError(
            f"model: found {model!r}, whose provider only LiteLLM knows: pip install 'fastroute[routellm]'; or write "
            f"'{_PREFIX}{model}' where that is its name at an OpenAI-compatible API (api_base)"
        )
    return name
