"""The paths that the playground's page asks: what is served, and what its scores and its hour hold."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import math
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastroute.errors import FastrouteError
from fastroute.serving.playground.hour import BINS, Hour
from fastroute.serving.refusals import RefusalError
from fastroute.serving.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import ThreadPoolExecutor

    from fastroute.serving.gateway import Gateway
    from fastroute.serving.scoring import Scorer
    from fastroute.serving.upstreams import Headers

__all__ = ["Playground"]

_LOG: Final = logging.getLogger("fastroute.serving")
_FOLDER: Final = Path(__file__).parent / "page"
_SCRIPT: Final = b"text/javascript; charset=utf-8"
# All that is served: no path of a client's is ever looked up on the disk.
_FILES: Final = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/playground/style.css": ("style.css", b"text/css; charset=utf-8"),
    "/playground/icon.svg": ("icon.svg", b"image/svg+xml"),
    "/playground/playground.js": ("playground.js", _SCRIPT),
    "/playground/server.js": ("server.js", _SCRIPT),
    "/playground/routers.js": ("routers.js", _SCRIPT),
    "/playground/threshold.js": ("threshold.js", _SCRIPT),
    "/playground/traffic.js": ("traffic.js", _SCRIPT),
    "/playground/charts.js": ("charts.js", _SCRIPT),
    "/playground/dom.js": ("dom.js", _SCRIPT),
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_NEAREST: Final = 5
_LEAST_TIMED: Final = 3  # the first one after others finds cold caches
_MOST_TIMED: Final = 25
_TIMED_SECONDS: Final = 3e-4
_SLOW_SECONDS: Final = 5e-3  # of a first decision, with caches cold or not; then it is the only one
_LEAST_WEIGHT: Final = 0.005  # of a domain that is shown
_FEATURES_SHOWN: Final = 6
_LONGEST_TEXT: Final = 400  # characters of a prompt or message that is shown


class Playground:
    """A page's files, its answers, and the hour that it shows; for one event loop.

    Attributes
    ----------
    files
        By path: content, and its type.
    page_headers, data_headers
        What is sent with files, and with answers.
    hour
        Where the server counts.
    """

    page_headers: Headers = [  # noqa: RUF012 - never changed
        (b"content-security-policy", _POLICY),
        _NOSNIFF,
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    ]
    data_headers: Headers = [_NOSNIFF, (b"cache-control", b"no-store")]  # noqa: RUF012 - never changed

    def __init__(self) -> None:
        self.files: Mapping[str, tuple[bytes, bytes]] = {
            path: ((_FOLDER / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()
        }
        self.hour = Hour()
        # One for each router, by label: one that takes long holds up no other's explanation.
        self._threads: dict[str, ThreadPoolExecutor] = {}

    def follow(self, gateway: Gateway) -> None:
        """Keep of the hour what a new configuration still has."""
        known = {
            label: (scorer.router.artifact, scorer.settings.strong, scorer.settings.weak)
            for label, scorer in gateway.scorers.items()
        }
        self.hour.keep(known, gateway.config.upstreams)
        for label in self._threads.keys() - known.keys():
            self._threads.pop(label).shutdown(wait=False)

    def last_hour(self, gateway: Gateway) -> bytes:
        """Return the hour's figures, as JSON."""
        config, hour = gateway.config, self.hour
        return _json(
            {
                "bins": BINS,
                "default_router": config.default_router,
                "routers": [_settings(scorer) | hour.router(label) for label, scorer in gateway.scorers.items()],
                "direct": hour.direct(),
                "models": {name: hour.upstream(name) for name in config.upstreams},
            }
        )

    async def scores(self, gateway: Gateway, members: Mapping[str, Any]) -> bytes:
        """Return what each router says of a prompt, as JSON; in no figure of what was routed.

        Raises
        ------
        RefusalError
            There is no prompt.
        """
        prompt = members.get("prompt")
        if not isinstance(prompt, str):
            raise RefusalError(400, "prompt: expected text", code="invalid_prompt", param="prompt")
        if gateway.config.log_prompts:
            _LOG.info("asked the playground: %s", json.dumps(prompt))
        patience = gateway.config.limits.routing_seconds
        each = (self._said(scorer, prompt, patience) for scorer in gateway.scorers.values())
        return _json({"routers": await asyncio.gather(*each)})

    async def _said(self, scorer: Scorer, prompt: str, patience: float) -> dict[str, Any]:
        """Return a decision, its time and its explanation; what fails is said of this router alone."""
        said = _settings(scorer) | {"score": None, "model": None, "microseconds": None, "error": None}
        try:
            decision, said["microseconds"] = await _timed(scorer, prompt, patience)
        except Exception as error:  # noqa: BLE001 - a router may raise anything
            return said | {"error": _words(error, patience), "explanation": None}
        said |= {"score": decision.score, "model": decision.model}
        try:
            said["explanation"] = await asyncio.wait_for(self._explained(scorer, prompt), patience)
        except Exception as error:  # noqa: BLE001 - the score stands all the same
            said["explanation"] = {"kind": "text", "text": f"No explanation: {_words(error, patience)}"}
        return said

    async def _explained(self, scorer: Scorer, prompt: str) -> dict[str, Any] | None:
        label = scorer.settings.label
        thread = self._threads.get(label)
        if thread is None:
            thread = self._threads[label] = one_thread("explaining")
        held = [prompt]
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, _explanation, scorer.router, held)
        finally:
            held.clear()  # what has been given up waits for its turn all the same, but not with its prompt


async def _timed(scorer: Scorer, prompt: str, patience: float) -> tuple[Any, float]:
    """Return a decision and the median time of some, in microseconds; of one where that takes long.

    All of them have `patience` together.
    """
    times: list[float] = []
    while True:
        start = time.perf_counter()
        decision = await scorer.decide(prompt, None, patience - sum(times))
        times.append(time.perf_counter() - start)
        least = _LEAST_TIMED if scorer.in_place and times[0] <= _SLOW_SECONDS else 1
        if len(times) >= least and (len(times) == _MOST_TIMED or sum(times) > _TIMED_SECONDS):
            return decision, statistics.median(times) * 1e6
        await asyncio.sleep(0)  # one decision at a time: the event loop is others' too


def _settings(scorer: Scorer) -> dict[str, Any]:
    settings, router = scorer.settings, scorer.router
    return {
        "label": settings.label,
        "kind": router.kind,
        "artifact": router.artifact,
        "strong": settings.strong,
        "weak": settings.weak,
        "threshold": scorer.threshold,
    }


def _words(error: Exception, patience: float) -> str:
    """Say what went wrong; what a third party's error says is not known to be fit for showing."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return f"took longer than routing_seconds, {patience:g} s"
    if isinstance(error, FastrouteError):
        return _short(str(error))
    return type(error).__name__


def _explanation(router: Any, held: list[str]) -> dict[str, Any] | None:
    """Return why a prompt got its score, for JSON; None where the router can't say. For a thread."""
    (prompt,) = held
    try:
        explain = getattr(router, "explain", None)
        found = None if explain is None else _plain(_members_of(explain(prompt)))
        _json(found)  # what JSON can't have is this router's fault alone
    except (StopIteration, SystemExit) as error:
        # A future can't hold the one, and the other would end the server.
        raise RuntimeError(type(error).__name__) from None
    return found


def _members_of(found: Any) -> dict[str, Any]:
    """Return an explanation as a mapping, whose ``kind`` says what is in it; what is too long to read is left out."""
    from fastroute.routers import BattleExplanation, CascadeExplanation, Explanation, NeighbourExplanation

    if isinstance(found, BattleExplanation):
        found = dataclasses.replace(found, battles=found.battles[:_NEAREST])
        return {"kind": "battles", **dataclasses.asdict(found)}
    if isinstance(found, NeighbourExplanation):
        found = dataclasses.replace(found, nearest=found.nearest[:_NEAREST])
        return {"kind": "neighbours", **dataclasses.asdict(found)}
    if isinstance(found, CascadeExplanation):
        return {"kind": "cascade", **dataclasses.asdict(found)}
    if isinstance(found, Explanation):
        domains = tuple(share for share in found.domains if share.weight >= _LEAST_WEIGHT)
        found = dataclasses.replace(found, domains=domains, features=found.features[:_FEATURES_SHOWN])
        return {"kind": "domains", **dataclasses.asdict(found)}
    return {"kind": "text", "text": str(found)}  # a third party's


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """Return a value as JSON can have it: numbers that are none are null, long texts are cut."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."
