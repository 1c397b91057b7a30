"""A request until it is answered: cache, limits, tries, and the journal around each of them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from fastroute.augmentation.journal import request_key
from fastroute.augmentation.limits import CapReachedError, Spending
from fastroute.endpoints.exchange import ExchangeError
from fastroute.endpoints.pacing import RateLimit, backoff_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastroute.augmentation.client import ChatClient
    from fastroute.augmentation.endpoint import Endpoint
    from fastroute.augmentation.journal import Completion, Journal
    from fastroute.augmentation.limits import Limits

__all__ = ["Asker", "RequestFailedError", "RunStoppedError"]

_LONGEST_PAUSE = 600.0  # seconds; a server that wants more is not waited for


class RequestFailedError(Exception):
    """A request failed for good; the message is the reason."""


class RunStoppedError(Exception):
    """The run sends no more requests."""


class Asker:
    """Asks models, each thing once; used within one event loop.

    Attributes
    ----------
    sent
        Requests sent.
    tokens_in, tokens_out, dollars
        What the answers to them came to.
    stopped
        Why no more requests are sent; None while they are.
    """

    def __init__(self, client: ChatClient, journal: Journal, limits: Limits) -> None:
        self._client = client
        self._journal = journal
        self._limits = limits
        self._spending = Spending(limits.max_dollars, journal.ledger.spent + journal.ledger.unconfirmed)
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._rates: dict[tuple[str, str], RateLimit] = {}
        # The same request twice at once is one request.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stopping = asyncio.Event()
        self._failed_in_a_row = 0
        self.sent = self.tokens_in = self.tokens_out = 0
        self.dollars = 0.0
        self.stopped: str | None = None

    async def ask(self, role: str, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion:
        """Return the answer to a request, from the journal if it is there.

        Raises
        ------
        RequestFailedError
            It was refused, or not answered in as many tries as are allowed.
        RunStoppedError
            The answer is not in the journal and no more requests are sent.
        """
        key = request_key(endpoint, body)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            known = self._journal.ledger.answers.get(key)
            if known is not None:
                return known
            self._check_running()
            try:
                answer = await self._tries(key, role, endpoint, body)
            except RequestFailedError as error:
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= self._limits.failures_in_a_row:
                    self._stop(f"{self._failed_in_a_row} requests in a row failed, the last one with: {error}")
                raise
            self._failed_in_a_row = 0
            return answer

    async def _tries(self, key: str, role: str, endpoint: Endpoint, body: Mapping[str, Any]) -> Completion:
        rate = self._rates.setdefault((endpoint.url, endpoint.model), RateLimit(self._limits.requests_per_minute))
        tried = 0
        while True:
            tried += 1
            try:
                async with self._slots:
                    return await self._try(key, role, endpoint, body, rate)
            except ExchangeError as error:
                too_long = error.retry_after is not None and error.retry_after > _LONGEST_PAUSE
                if not error.transient or too_long or tried == self._limits.tries:
                    raise RequestFailedError(str(error) if tried == 1 else f"{error} (tried {tried} times)") from None
                if error.retry_after:
                    rate.pause(error.retry_after)
                else:
                    await self._wait(backoff_seconds(self._limits.backoff, tried))

    async def _try(
        self, key: str, role: str, endpoint: Endpoint, body: Mapping[str, Any], rate: RateLimit
    ) -> Completion:
        worst = endpoint.worst_dollars(body) or 0.0
        try:
            await self._spending.hold(worst)
        except CapReachedError:
            self._stop(f"the next request could take the cost past {self._limits.max_dollars:g} dollars (max_dollars)")
            raise RunStoppedError from None
        charged = 0.0
        try:
            while seconds := rate.take():
                await self._wait(seconds)
            self._check_running()
            self._journal.start(key, worst)
            charged = worst
            self.sent += 1
            try:
                answer = await self._client.complete(endpoint, body)
            except ExchangeError as error:
                if not error.billed:
                    charged = 0.0
                    self._journal.free(key)
                raise
            charged = _billed(endpoint, answer, worst)
            self._journal.answer(key, role, endpoint.model, answer, charged)
            self.tokens_in += answer.tokens_in or 0
            self.tokens_out += answer.tokens_out or 0
            self.dollars += charged
            return answer
        finally:
            self._spending.settle(worst, charged)

    async def _wait(self, seconds: float) -> None:
        """Sleep, but no longer than the run goes on."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        self._check_running()

    def _check_running(self) -> None:
        if self.stopped is not None:
            raise RunStoppedError

    def _stop(self, reason: str) -> None:
        self.stopped = self.stopped or reason
        self._stopping.set()


def _billed(endpoint: Endpoint, answer: Completion, worst: float) -> float:
    """Dollars of an answer; its worst case where the endpoint does not say what it used."""
    if answer.tokens_in is None or answer.tokens_out is None:
        return worst
    return endpoint.dollars(answer.tokens_in, answer.tokens_out) or 0.0
