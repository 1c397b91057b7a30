"""The causal_llm router through an endpoint: a language model classifies the prompt by one token."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, ClassVar, Final, overload

import numpy as np

from fastroute.builtin import STRONG, WEAK
from fastroute.endpoints.counting import Count
from fastroute.endpoints.patience import Patience
from fastroute.endpoints.service import Service
from fastroute.errors import (
    ArtifactCorruptError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidTypeError,
)
from fastroute.onnx.arguments import checked_prompts
from fastroute.policies import Threshold
from fastroute.routers.base import BaseRouter, different_models
from fastroute.routers.label_question import DEFAULT_LABELS, DEFAULT_TEMPLATE, LabelQuestion

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from fastroute.artifact import Artifact
    from fastroute.encoders import Encoder
    from fastroute.endpoints.exchange import ExchangeError
    from fastroute.routers.base import Contents

__all__ = ["CausalLlmEndpointRouter"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_MEMBERS: Final = ("base_url", "model", "key_env", "fallback", "patience")
_ALLOWED: Final = "use with_endpoint of the loaded router"
_log = logging.getLogger(__name__)


class CausalLlmEndpointRouter(BaseRouter):
    """A decoder as a classifier (RouteLLM's `causal_llm`, arXiv 2406.18665, section 4.1), behind a URL.

    The model reads the prompt in a template and answers with one token, a label. The score is the mean of the labels'
    values, weighted by their probabilities at that token: with the default labels, the probability that the weak
    model's answer would be worth less than 4 of 5. vLLM, llama.cpp and OpenAI give such probabilities.

    Prompts go to that endpoint and nowhere else. `fastroute.load` gives a saved one without any request. Needs ``pip
    install 'fastroute[endpoint]'`` for the first request. Any number of threads may use it at once, also while they
    run an event loop; a forked child opens its own connections. It never changes but for its counts.

    Equal prompts of one call are asked once. How far a score is the same every time is up to the endpoint. Lone
    surrogates count as U+FFFD. A prompt can talk a model into a label: don't let a score guard anything but cost.

    Parameters
    ----------
    base_url
        Base of the API, such as ``http://localhost:8000/v1``. Plain http takes no key unless the host is this machine.
    model
        Name of the model that classifies.
    strong, weak
        The models to route between: any two names.
    key_env
        Name of the environment variable that holds the API key; None sends none. The key itself is in no file or
        message.
    template
        Messages with "role" and "content" are sent to ``/chat/completions``, a string to ``/completions``; it has
        ``{prompt}`` once. The model's next token is to be a label: end a string where it comes.
    labels
        Tokens that are labels, and what each says: 1 for "the strong model is needed", 0 for "it is not".
    top
        Most probable tokens that are asked for; labels beyond them have probability 0. vLLM gives 20 at most unless it
        is started otherwise, OpenAI 20 in chats and 5 in completions.
    min_mass
        Where the labels have less probability than this together, the model did not answer the question.
    fallback
        Score of a prompt without an answer, counted in `fallbacks`: 1 sends it to the strong model. Where None, it is
        an EndpointError.
    max_characters
        Characters of a prompt after this many don't count; `truncated` counts the prompts that were cut.
    extra
        Further members of requests, such as ``{"chat_template_kwargs": {"enable_thinking": False}}`` for vLLM.
    threshold
        Used by `route` when none is given.
    timeout, tries, backoff, longest_wait, concurrency
        Seconds for one try; how often a prompt is sent; seconds before the second try, at most, doubled for each one
        after it and drawn at random; seconds that a Retry-After is waited for; requests under way at once. 408, 409,
        429, 5xx, timeouts, broken connections and malformed answers are tried again.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        One of them has a type or value that is not allowed.
    """

    kind: ClassVar[str] = "causal_llm_endpoint"

    def __init__(
        self,
        base_url: str,
        model: str,
        strong: str = STRONG,
        weak: str = WEAK,
        *,
        key_env: str | None = None,
        template: str | Sequence[Mapping[str, str]] | None = None,
        labels: Mapping[str, float] | None = None,
        top: int = 20,
        min_mass: float = 0.5,
        fallback: float | None = 1.0,
        max_characters: int = 16_000,
        extra: Mapping[str, Any] | None = None,
        threshold: float = 0.5,
        timeout: float = 10.0,
        tries: int = 3,
        backoff: float = 0.25,
        longest_wait: float = 5.0,
        concurrency: int = 16,
    ) -> None:
        self._question = LabelQuestion(
            DEFAULT_TEMPLATE if template is None else template,  # type: ignore[arg-type]  # made a tuple there
            DEFAULT_LABELS if labels is None else labels,
            top,
            min_mass,
            max_characters,
            {} if extra is None else extra,
        )
        patience = Patience(
            timeout=timeout, tries=tries, backoff=backoff, longest_wait=longest_wait, concurrency=concurrency
        )
        self._model = _checked_model(model)
        self._service = Service(base_url, key_env, patience)
        self._fallback = _checked_fallback(fallback)
        self._fallbacks, self._truncated = Count(), Count()
        self._strong, self._weak = different_models(strong, weak)
        self._threshold = Threshold(threshold)
        self._artifact = ""
        self._encoder = None
        self._manifest = {"threshold": self.threshold}

    @classmethod
    def from_artifact(
        cls,
        artifact: Artifact,
        *,
        strong: str | None = None,
        weak: str | None = None,
        encoder: Encoder | str | os.PathLike[str] | None = None,
    ) -> CausalLlmEndpointRouter:
        """Make a router of a verified artifact; `fastroute.load` calls this. Nothing is sent."""
        if encoder is not None:
            raise EncoderMismatchError(
                f"{artifact.path}: a causal_llm_endpoint router reads text by itself; encoder= is not allowed"
            )
        if artifact.files:
            raise ArtifactCorruptError(
                f"{artifact.path}: its manifest lists {next(iter(artifact.files))!r:.60}; this router has no files"
            )
        saved = artifact.manifest.get("endpoint")
        if not isinstance(saved, dict) or set(saved) != set(_MEMBERS):
            raise ArtifactCorruptError(
                f"{artifact.path}: endpoint is {saved!r:.80}; an object with {', '.join(_MEMBERS)} is needed"
            )
        router = cls.__new__(cls)
        router._encoder = None
        router._fallbacks, router._truncated = Count(), Count()
        try:
            router._question = LabelQuestion.from_manifest(artifact.manifest.get("question"))
            router._model = _checked_model(saved["model"])
            router._fallback = _checked_fallback(saved["fallback"])
            patience = Patience.from_manifest(saved["patience"])
            router._service = Service(saved["base_url"], saved["key_env"], patience, unless_named=_ALLOWED)
        except (InvalidTypeError, InvalidArgumentError) as error:
            raise ArtifactCorruptError(f"{artifact.path}: {error}") from error
        router._restore(artifact, strong=strong, weak=weak)
        return router

    @property
    def base_url(self) -> str:
        """Base of the API."""
        return self._service.base_url

    @property
    def model(self) -> str:
        """The model that classifies."""
        return self._model

    @property
    def labels(self) -> Mapping[str, float]:
        """Tokens that are labels, and what each says."""
        return dict(self._question.labels)

    @property
    def fallbacks(self) -> int:
        """How many prompts had no answer and got `fallback` so far, in all threads of this process.

        Routers that `with_threshold` and `with_record` make of this one share its count: read it of one of them. One of
        `with_endpoint` begins at 0.
        """
        return self._fallbacks.value

    @property
    def truncated(self) -> int:
        """How many prompts have been cut at `max_characters` so far, in all threads of this process."""
        return self._truncated.value

    def with_endpoint(self, base_url: str, *, key_env: str | None = None, model: str | None = None) -> Self:
        """Return this router at another endpoint, or at its own where an artifact named it.

        Parameters
        ----------
        base_url
            Base of the API.
        key_env
            Name of the environment variable that holds the API key; None sends none.
        model
            Name of the model there; the router's own if None.

        Raises
        ------
        InvalidTypeError, InvalidArgumentError
            One of them is not allowed.
        """
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._service = Service(base_url, key_env, self._service.patience)
        other._model = self._model if model is None else _checked_model(model)
        other._fallbacks, other._truncated = Count(), Count()
        other._artifact = ""
        return other

    @overload
    def score(self, prompts: str, *, progress: Callable[[int, int], None] | None = None) -> float: ...
    @overload
    def score(
        self, prompts: Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> NDArray[np.float32]: ...
    def score(
        self, prompts: str | Iterable[str], *, progress: Callable[[int, int], None] | None = None
    ) -> float | NDArray[np.float32]:
        """Score prompts: what the model says of each, up to `concurrency` at once.

        Parameters
        ----------
        prompts
            One prompt, or an iterable of n.
        progress
            Called with (prompts done, prompts in all) after each answer, in this thread.

        Returns
        -------
        float or numpy.ndarray
            In [0, 1]; float32 (n,) for an iterable, in order.

        Raises
        ------
        InvalidTypeError
            `prompts` is neither a str nor an iterable of str; the first bad index is named.
        EndpointError
            A prompt has no answer, and `fallback` is None.
        InvalidArgumentError
            The key is not in the environment; or an artifact names a host that the user did not.
        MissingDependencyError
            aiohttp is not installed.
        """
        if isinstance(prompts, str):
            return float(self._scores([prompts], progress)[0])
        return self._scores(checked_prompts(prompts), progress)

    def _scores(self, prompts: Sequence[str], progress: Callable[[int, int], None] | None) -> NDArray[np.float32]:
        scores = np.empty(len(prompts), np.float32)
        places: dict[str, list[int]] = {}
        for place, prompt in enumerate(prompts):
            text = _SURROGATE.sub("\ufffd", prompt[: self._question.max_characters])
            places.setdefault(text, []).append(place)
        texts = list(places)
        done, failed, reason = 0, 0, ""

        def settle(index: int, score: float) -> None:
            nonlocal done
            where = places[texts[index]]
            scores[where] = score
            done += len(where)
            if progress is not None:
                progress(done, len(prompts))

        def fall_back(index: int, error: ExchangeError) -> None:
            nonlocal failed, reason
            failed += len(places[texts[index]])
            reason = reason or error.summary
            assert self._fallback is not None
            settle(index, self._fallback)

        self._truncated.add(sum(len(prompt) > self._question.max_characters for prompt in prompts))
        self._service.ask_all(
            self._question.path,
            len(texts),
            lambda index: self._question.body(self._model, texts[index]),
            self._read,
            on_answer=settle,
            on_failure=None if self._fallback is None else fall_back,
        )
        if failed:
            self._fallbacks.add(failed)
            # Of the server's own words there are none: they may repeat the prompt.
            _log.warning(
                "%d of %d prompts have no answer and got the score %g; the first one: %s",
                failed, len(prompts), self._fallback, reason,
            )  # fmt: skip
        return scores

    def _read(self, _: int, answer: Any) -> float:
        from fastroute.endpoints.exchange import ExchangeError

        mass, score = self._question.mass_and_score(answer)
        if not mass or mass < self._question.min_mass:
            raise ExchangeError(
                f"the labels have a probability of {mass:.3g}, under min_mass {self._question.min_mass:g}",
                transient=False,
            )
        return score

    def _contents(self) -> Contents:
        members = {
            "strong": self._strong,
            "weak": self._weak,
            "endpoint": {
                "base_url": self._service.base_url,
                "model": self._model,
                "key_env": self._service.key_env,
                "fallback": self._fallback,
                "patience": self._service.patience.manifest(),
            },
            "question": self._question.manifest(),
        }
        return members, {}

    def _complete(self) -> None:
        different_models(self._strong, self._weak)


def _checked_model(model: object) -> str:
    if not isinstance(model, str):
        raise InvalidTypeError(f"model: found {type(model).__name__}, allowed: the name of a model")
    if not 0 < len(model) <= 256 or not model.isprintable():
        raise InvalidArgumentError(f"model: found {model!r:.60}, allowed: 1 to 256 printable characters")
    return model


def _checked_fallback(fallback: object) -> float | None:
    if fallback is None:
        return None
    if isinstance(fallback, bool) or not isinstance(fallback, (int, float)):
        raise InvalidTypeError(f"fallback: found {type(fallback).__name__}, allowed: a number or None")
    if not 0 <= fallback <= 1:
        raise InvalidArgumentError(f"fallback: found {fallback!r:.40}, allowed: 0 to 1, or None")
    return float(fallback)
