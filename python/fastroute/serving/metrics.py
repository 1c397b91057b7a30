"""What a server counts, for Prometheus. Labels come from the configuration alone: clients can't add any."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fastroute.serving.config import Price
    from fastroute.serving.playground.hour import Hour

__all__ = ["Metrics", "Usage", "usage_in"]

Usage = tuple[int, int]  # input and output tokens
_TOKENS: Final = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d{1,12})(?![\d.eE])')
_ROUTING = (5e-6, 2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.02, 0.1, 0.5, 2.0)
_UPSTREAM = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes
    ----------
    hour
        Counts for the playground; None where there is none.
    """

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        registry = self._registry = CollectorRegistry()
        by_model = ("model", "router")
        self.requests = Counter("fastroute_requests", "Requests sent to a model", by_model, registry=registry)
        self.answers = Counter("fastroute_answers", "Answers by status", ("status",), registry=registry)
        self.scores = Histogram(
            "fastroute_score",
            "Scores",
            ("router",),
            buckets=[each / 20 for each in range(1, 21)],
            registry=registry,
        )
        self.routing = Histogram(
            "fastroute_routing_seconds", "Time of a decision", ("router",), buckets=_ROUTING, registry=registry
        )
        self.upstream = Histogram(
            "fastroute_upstream_seconds", "Time to the first byte", ("model",), buckets=_UPSTREAM, registry=registry
        )
        self.failures = Counter(
            "fastroute_upstream_failures", "Requests that an upstream failed", ("model",), registry=registry
        )
        self.fallbacks = Counter(
            "fastroute_fallbacks", "Requests that another model answered", ("model",), registry=registry
        )
        self.routing_failures = Counter(
            "fastroute_routing_failures", "Requests that the default model answered", ("router",), registry=registry
        )
        self.sticky = Counter("fastroute_sticky", "Requests of a known session", ("router",), registry=registry)
        self.saved = Counter(
            "fastroute_saved_dollars", "Saved against the strong model's price", ("router",), registry=registry
        )
        self.in_flight = Gauge("fastroute_in_flight", "Requests under way", registry=registry)
        self.loop_delay = Gauge("fastroute_loop_delay_seconds", "How late the event loop is", registry=registry)
        self.reloads = Counter("fastroute_reloads", "New configurations", ("result",), registry=registry)
        self._children: dict[Any, Any] = {}
        self.hour: Hour | None = None

    def of(self, metric: Any, *labels: str) -> Any:
        """Return a metric's child; looked up once."""
        key = (id(metric), labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))

    def save(self, router: str, usage: Usage, strong: Price, used: Price) -> None:
        """Count dollars; where the model used is the dearer one, none."""
        dollars = usage[0] * (strong.input - used.input) + usage[1] * (strong.output - used.output)
        if dollars > 0:
            self.of(self.saved, router).inc(dollars / 1e6)
            if self.hour is not None:
                self.hour.saved(router, dollars / 1e6)


def usage_in(answer: bytes) -> Usage | None:
    """Return the token usage that an answer, or the end of one, has; None where it has none."""
    at = answer.rfind(b'"usage"')
    if at < 0:
        return None
    found = {name: int(count) for name, count in reversed(_TOKENS.findall(answer, at))}
    return (found[b"prompt"], found.get(b"completion", 0)) if b"prompt" in found else None
