"""One configuration, loaded: what a request meets from its first byte to its last, whatever is reloaded meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastroute import loading
from fastroute.errors import DataError, FastrouteError, MissingDependencyError
from fastroute.messages import prompt_of
from fastroute.serving.bodies import BodyReader
from fastroute.serving.refusals import RefusalError
from fastroute.serving.scoring import Scorer

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from fastroute.policies import Decision
    from fastroute.serving.bodies import Body
    from fastroute.serving.config import Config, RouterSettings
    from fastroute.serving.metrics import Metrics
    from fastroute.serving.naming import Target
    from fastroute.serving.sessions import Sessions

__all__ = ["Gateway", "Plan", "load_gateway"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who is asked.

    Attributes
    ----------
    models
        Names of upstreams: the first is asked, and the second if the first fails before its first byte.
    router
        Label; None where the client chose the model.
    decision
        None where the client chose, or routing failed.
    reason
        Why there is no decision though a router was asked for; for logs.
    """

    models: tuple[str, ...]
    router: str | None = None
    decision: Decision | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """A configuration and its routers; never changed.

    Attributes
    ----------
    scorers
        By label.
    bodies
        Reads requests within the limits.
    """

    config: Config
    scorers: Mapping[str, Scorer]
    bodies: BodyReader

    async def plan(
        self, target: Target, body: Body, session: Hashable | None, sessions: Sessions, metrics: Metrics
    ) -> Plan:
        """Decide who answers; a failure of routing is no failure of the request.

        Raises
        ------
        RefusalError
            The messages are not what the API takes.
        """
        hour = metrics.hour
        if target.upstream is not None:
            if hour is not None:
                hour.chosen(target.upstream)
            return Plan((target.upstream,))
        assert target.router is not None
        label, settings = target.router, self.config.routers[target.router]
        prompt, reason = _prompt_of(body.members, self.config.limits.messages)
        key = None if session is None else (session, label, target.threshold)
        decision, seconds = None, None
        if key is not None:
            decision = sessions.find(key)
            if decision is not None and decision.model not in (settings.strong, settings.weak):
                decision = None  # of a configuration that is gone
            if decision is not None:
                metrics.of(metrics.sticky, label).inc()
        if decision is None and prompt is not None:
            start = time.perf_counter()
            try:
                decision = await self.scorers[label].decide(
                    prompt, target.threshold, self.config.limits.routing_seconds
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, the request is answered
                reason = type(error).__name__
            else:
                seconds = time.perf_counter() - start
                metrics.of(metrics.routing, label).observe(seconds)
                metrics.of(metrics.scores, label).observe(decision.score)
                if key is not None:
                    sessions.keep(key, decision)
        if decision is None:
            metrics.of(metrics.routing_failures, label).inc()
            default = self.config.default_model or settings.strong
            if hour is not None:
                hour.undecided(label, default)
            others = [name for name in (settings.strong, settings.weak) if name != default]
            return Plan((default, others[0]), label, None, reason)
        if hour is not None:
            hour.decided(label, decision.model, decision.score, seconds)
        other = settings.weak if decision.model == settings.strong else settings.strong
        return Plan((decision.model, other), label, decision)


def load_gateway(config: Config) -> Gateway:
    """Load the routers of a configuration; takes as long as that takes.

    Raises
    ------
    DataError
        A router can't be loaded, or can't score; the message names its place in the file.
    MissingDependencyError
        The extra is not installed.
    """
    scorers = {
        label: _scorer(settings, f"{config.path}: routers[{index}].artifact")
        for index, (label, settings) in enumerate(config.routers.items())
    }
    return Gateway(config, scorers, BodyReader(config.limits.json_depth))


def _scorer(settings: RouterSettings, place: str) -> Scorer:
    try:
        return Scorer(settings, loading.load(settings.artifact))
    except MissingDependencyError:
        raise
    except FastrouteError as error:
        raise DataError(f"{place}: {error}") from None
    except Exception as error:  # noqa: BLE001 - of a third party
        raise DataError(
            f"{place}: found a router that fails ({type(error).__name__}), allowed: one that scores"
        ) from None


def _prompt_of(members: Mapping[str, Any], most: int) -> tuple[str | None, str | None]:
    """Return the text to score, or None and why there is none."""
    if "messages" not in members and "prompt" in members:
        return _text_of(members["prompt"])
    messages = members.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RefusalError(400, "messages: expected an array with messages", code="invalid_messages", param="messages")
    if len(messages) > most:
        raise RefusalError(
            400, f"messages: found {len(messages)}, allowed: {most}", code="too_many_messages", param="messages"
        )
    try:
        return prompt_of(messages), None
    except DataError as error:
        if str(error).startswith("no message"):
            return None, "no text"
        raise RefusalError(400, f"messages: {error}", code="invalid_messages", param="messages") from None


def _text_of(prompt: object) -> tuple[str | None, str | None]:
    """Return the text of a completion's prompt; token ids have none."""
    if isinstance(prompt, str):
        return prompt, None
    if isinstance(prompt, list) and prompt and all(isinstance(each, str) for each in prompt):
        return "\n".join(prompt), None
    if isinstance(prompt, list) and prompt:
        return None, "no text"
    raise RefusalError(
        400, "prompt: expected text, or an array that is not empty", code="invalid_prompt", param="prompt"
    )
