"""Many requests to one API, from any thread, until each is answered or has failed for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from fastroute.endpoints.address import check_address, check_named_by_user, read_key
from fastroute.errors import EndpointError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping

    from fastroute.endpoints.background import Background
    from fastroute.endpoints.exchange import ExchangeError, HttpClient
    from fastroute.endpoints.pacing import RateLimit
    from fastroute.endpoints.patience import Patience

__all__ = ["Service"]

T = TypeVar("T")
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)


class Service:
    """An OpenAI-compatible API. Any number of threads may use one at once, also while they run an event loop.

    Parameters
    ----------
    base_url
        Base of the API, such as ``https://host/v1``. Plain http takes no key unless the host is this machine.
    key_env
        Name of the environment variable that holds the API key, read at each use; None sends none.
    patience
        How long and how often it is asked.
    unless_named
        For a URL that an artifact names: how the user may allow it, beside listing its host. None where the user
        gave the URL.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        `base_url` or `key_env` is not allowed.
    """

    def __init__(self, base_url: str, key_env: str | None, patience: Patience, unless_named: str | None = None) -> None:
        check_address(base_url, key_env, argument="base_url")
        self.base_url = base_url
        self.key_env = key_env
        self.patience = patience
        self._unless_named = unless_named

    def ask_all(
        self,
        path: str,
        count: int,
        body_of: Callable[[int], Mapping[str, Any]],
        read: Callable[[int, Any], T],
        *,
        on_answer: Callable[[int, T], None],
        on_failure: Callable[[int, ExchangeError], None] | None = None,
        most_bytes: int | None = None,
    ) -> None:
        """Send requests 0 to `count` - 1, so many at once as is allowed, and wait for all.

        Parameters
        ----------
        path
            Appended to the base, such as ``/embeddings``.
        body_of
            Makes the body of a request; called in another thread.
        read
            Takes what was asked for out of an answer, parsed; called in another thread. Where it raises something
            like ValueError or LookupError, the request is tried again; an ExchangeError says itself whether it is.
        on_answer
            Called with what was read, in this thread, in any order.
        on_failure
            Called with what failed for good, in this thread; where None, the first failure ends all.
        most_bytes
            Of an answer.

        Raises
        ------
        EndpointError
            A request failed for good, where `on_failure` is None.
        InvalidArgumentError
            The key is not in the environment; or an artifact names a host that the user did not.
        MissingDependencyError
            aiohttp is not installed.
        """
        from fastroute.endpoints.background import run_in_background
        from fastroute.endpoints.exchange import MAX_RESPONSE_BYTES, ExchangeError, import_aiohttp

        if not count:
            return
        if self._unless_named is not None:
            check_named_by_user(self.base_url, otherwise=self._unless_named)
        key = read_key(self.key_env)
        import_aiohttp()
        keys = {} if key is None or self.key_env is None else {self.key_env: key}
        url = f"{self.base_url.rstrip('/')}{path}"

        def deliver(item: tuple[int, Any]) -> None:
            index, found = item
            if not isinstance(found, ExchangeError):
                on_answer(index, found)
            elif on_failure is not None:
                on_failure(index, found)
            else:
                raise EndpointError(f"{url}: {found}")

        def work(background: Background, hand: Callable[[Any], None]) -> Any:
            job = _Job(url, keys, body_of, read, most_bytes or MAX_RESPONSE_BYTES, on_failure is None)
            return _Asking(self, background, job).all(count, hand)

        run_in_background(work, deliver)


@dataclass(frozen=True, slots=True)
class _Job:
    """What one call of `ask_all` asks."""

    url: str
    keys: Mapping[str, str]
    body_of: Callable[[int], Mapping[str, Any]]
    read: Callable[[int, Any], Any]
    most_bytes: int
    ends_at_failure: bool


class _Asking:
    """One call of `ask_all`, within the event loop."""

    def __init__(self, service: Service, background: Background, job: _Job) -> None:
        self._service = service
        self._background = background
        self._job = job
        self._ended = False

    async def all(self, count: int, hand: Callable[[Any], None]) -> None:
        import asyncio

        from fastroute.endpoints.exchange import HttpClient

        patience = self._service.patience
        client = HttpClient(self._background.session(), self._job.keys, timeout=patience.timeout)
        slots, rate = self._kept()
        indices = iter(range(count))
        workers = [
            asyncio.create_task(self._work(indices, client, slots, rate, hand))
            for _ in range(min(patience.concurrency, count))
        ]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)

    def _kept(self) -> tuple[asyncio.Semaphore, RateLimit]:
        """Return what all calls of a service share in this process."""
        import asyncio

        from fastroute.endpoints.pacing import RateLimit

        kept = self._background.kept
        if self._service not in kept:
            kept[self._service] = asyncio.Semaphore(self._service.patience.concurrency), RateLimit(None)
        found: tuple[asyncio.Semaphore, RateLimit] = kept[self._service]
        return found

    async def _work(
        self,
        indices: Iterator[int],
        client: HttpClient,
        slots: asyncio.Semaphore,
        rate: RateLimit,
        hand: Callable[[Any], None],
    ) -> None:
        from fastroute.endpoints.exchange import ExchangeError

        for index in indices:
            try:
                found = await self._answered(index, client, slots, rate)
            except ExchangeError as error:
                found = error
                self._ended = self._job.ends_at_failure
            hand((index, found))
            if self._ended:
                return

    async def _answered(self, index: int, client: HttpClient, slots: asyncio.Semaphore, rate: RateLimit) -> Any:
        import asyncio

        from fastroute.endpoints.exchange import ExchangeError
        from fastroute.endpoints.pacing import backoff_seconds

        patience, body = self._service.patience, self._job.body_of(index)
        tried = 0
        while True:
            tried += 1
            try:
                async with slots:
                    while seconds := rate.take():
                        await asyncio.sleep(seconds)
                    return await self._try(index, body, client)
            except ExchangeError as error:
                too_long = error.retry_after is not None and error.retry_after > patience.longest_wait
                if not error.transient or too_long or tried == patience.tries:
                    raise _counted(error, tried) from None
                if error.retry_after:
                    rate.pause(error.retry_after)
                else:
                    await asyncio.sleep(backoff_seconds(patience.backoff, tried))

    async def _try(self, index: int, body: Mapping[str, Any], client: HttpClient) -> Any:
        from fastroute.endpoints.exchange import parsed

        content = await client.post(self._job.url, body, key_env=self._service.key_env, most_bytes=self._job.most_bytes)
        try:
            return self._job.read(index, parsed(content))
        except _UNREADABLE:
            raise client.unexpected("the answer is not what was asked for", content) from None


def _counted(error: ExchangeError, tried: int) -> ExchangeError:
    """Say how often it was tried."""
    from fastroute.endpoints.exchange import ExchangeError

    if tried == 1:
        return error
    times = f"(tried {tried} times)"
    return ExchangeError(f"{error} {times}", transient=False, summary=f"{error.summary} {times}")
