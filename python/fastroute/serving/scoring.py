"""Scores within an event loop that is never held up.

A router that answers in microseconds is asked in place. Any other is asked in a thread, with all prompts that wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from fastroute.errors import InvalidArgumentError
from fastroute.policies import Decision
from fastroute.serving.threads import one_thread

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from fastroute.routers import Router
    from fastroute.serving.config import RouterSettings

__all__ = ["Scorer"]

_IN_PLACE_SECONDS: Final = 1e-3
_IN_PLACE_CHARACTERS: Final = 16_384
_NATIVE: Final = ("experts", "knn", "mf", "random", "sw_ranking")
_MOST_AT_ONCE: Final = 16
_SAMPLE: Final = "Prove that the square root of 2 is irrational, and say which step fails for 4. " * 3


class Scorer:
    """A router and its pair of upstreams; its coroutines are for one event loop.

    Parameters
    ----------
    settings
        Label, threshold and pair.
    router
        Loaded; scored once here, to see that it works and how long it takes.

    Raises
    ------
    Exception
        Whatever the router raises; InvalidArgumentError where its threshold is none.

    Attributes
    ----------
    in_place
        Whether short prompts are scored in the event loop itself.
    """

    def __init__(self, settings: RouterSettings, router: Router) -> None:
        self.settings = settings
        self.router = router
        self.threshold = router.threshold if settings.threshold is None else settings.threshold
        if not 0.0 <= self.threshold <= 1.0:  # of a third party
            raise InvalidArgumentError(f"threshold: found {self.threshold!r}, allowed: from 0 to 1")
        self.in_place = _is_native(router) and _seconds(router) < _IN_PLACE_SECONDS
        self._waiting: deque[tuple[str, asyncio.Future[float]]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def decide(self, prompt: str, threshold: float | None, patience: float) -> Decision:
        """Choose one of the two upstreams, by the names that the configuration has for them.

        Raises
        ------
        Exception
            Whatever the router raises; TimeoutError after `patience` seconds.
        """
        if self.in_place and len(prompt) <= _IN_PLACE_CHARACTERS:
            score = self.router.score(prompt)
        else:
            score = await asyncio.wait_for(self._score_beside(prompt), patience)
        compared = self.threshold if threshold is None else threshold
        if not 0.0 <= score <= 1.0:  # of a third party
            raise ValueError("the score is not in [0, 1]")
        settings = self.settings
        model = settings.strong if score >= compared else settings.weak
        return Decision(model, float(score), compared, settings.label, self.router.artifact)

    def _score_beside(self, prompt: str) -> asyncio.Future[float]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[float] = loop.create_future()
        while self._waiting and self._waiting[0][1].done():  # given up, while the thread is with others for too long
            self._waiting.popleft()
        self._waiting.append((prompt, future))
        if self._worker is None:
            self._worker = loop.create_task(self._work())
        return future

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = one_thread("scoring")
        try:
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._waiting)))]
                some = [(prompt, future) for prompt, future in some if not future.done()]
                found = await loop.run_in_executor(self._thread, self._scores, [prompt for prompt, _ in some])
                for (_, future), score in zip(some, found, strict=True):
                    if future.done():
                        continue
                    if isinstance(score, Exception):
                        future.set_exception(score)
                    else:
                        future.set_result(score)
        finally:
            self._worker = None

    def _scores(self, prompts: list[str]) -> list[float | Exception]:
        """Score all at once, or one by one where that fails: one prompt's fault is not another's."""
        if not prompts:
            return []
        try:
            scores = [float(score) for score in self.router.score(prompts)]
            if len(scores) != len(prompts):
                raise ValueError("found another number of scores than of prompts")  # noqa: TRY301 - as if it raised
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a router may raise anything
            if len(prompts) == 1:
                # A future can't hold the one, and the other would end the server.
                is_one = isinstance(error, (StopIteration, SystemExit))
                return [RuntimeError(type(error).__name__) if is_one else error]  # type: ignore[list-item]
        else:
            return scores  # type: ignore[return-value]
        return [self._scores([prompt])[0] for prompt in prompts]


def _is_native(router: Router) -> bool:
    from fastroute.encoders import StaticEncoder

    return router.kind in _NATIVE and (router.encoder is None or isinstance(router.encoder, StaticEncoder))


def _seconds(router: Router) -> float:
    """Return the median time of a score."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        router.score(_SAMPLE)
        times.append(time.perf_counter() - start)
    return sorted(times)[3]
