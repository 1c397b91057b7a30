"""Reading ahead and writing behind, in threads of their own, each at most so many bytes away from the scoring."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from typing_extensions import Self

__all__ = ["ReadAhead", "WriteBehind"]

T = TypeVar("T")
# Seconds after which a thread that was to start is taken for one that did not.
_PATIENCE = 1.0


class _Channel(Generic[T]):
    """A queue between two threads, bounded in bytes; what is larger than the bound passes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._ended = False
        self._failure: BaseException | None = None
        # Held by itself and not through the condition, whose methods a signal may end with the lock taken.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def put(self, item: T, size: int) -> bool:
        """Wait for room and add an item; False once the other side has ended."""
        with self._lock:
            while self._bytes and self._bytes + size > self._limit and not self._ended:
                self._changed.wait()
            if self._ended:
                return False
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify_all()
            return True

    def take(self) -> tuple[T, int] | None:
        """Wait for an item, which counts until `free` is called; None at the end.

        Raises what the other side failed with.
        """
        with self._lock:
            while not self._items and not self._ended:
                self._changed.wait()
            if self._items:
                return self._items.popleft()
        _raise(self._taken_failure())
        return None

    def free(self, size: int) -> None:
        with self._lock:
            self._bytes -= size
            self._changed.notify_all()

    def end(self, failure: BaseException | None = None) -> None:
        """Let no more in; what is there can still be taken."""
        with self._lock:
            self._ended = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def _taken_failure(self) -> BaseException | None:
        failure, self._failure = self._failure, None
        return failure

    def drop(self) -> None:
        """End, and throw away what is there."""
        with self._lock:
            self._items.clear()
            self._ended = True
            self._changed.notify_all()


class _Worker:
    """A thread that can be waited for whatever interrupts its start, and whatever interrupts the waiting."""

    def __init__(self, run: Callable[[], None], name: str) -> None:
        self._run = run
        self._over = threading.Event()
        self._begun = False
        self._thread = threading.Thread(target=self._body, name=name, daemon=True)

    def start(self) -> None:
        self._begun = True
        self._thread.start()

    def wait(self) -> None:
        """Wait for the end; an interrupt ends the waiting."""
        while self._begun and not self._over.wait(_PATIENCE):
            if self._thread.ident is None:  # interrupted before there was a thread, or there can't be one
                return
        if self._begun:
            self._thread.join()

    def wait_out(self) -> None:
        """Wait for the end; an interrupt is raised after it, since the caller is about to close what the thread uses.

        The thread is told to end before: it is busy with one item at most.
        """
        interrupt: BaseException | None = None
        while True:
            try:
                self.wait()
                break
            except BaseException as error:  # noqa: BLE001 - raised below
                interrupt = error
        _raise(interrupt)

    def _body(self) -> None:
        try:
            self._run()
        finally:
            self._over.set()


def _raise(failure: BaseException | None) -> None:
    """Raise a failure, if there is one, and let nothing else keep it: with it go the files that it was about."""
    try:
        if failure is not None:
            raise failure
    finally:
        del failure


class _Stage(Generic[T]):
    """A thread at the other end of a channel, from entering to leaving."""

    def __init__(self, limit: int, name: str) -> None:
        self._channel: _Channel[T] = _Channel(limit)
        self._worker = _Worker(self._run, name)

    def __enter__(self) -> Self:
        try:
            self._worker.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Throw away what has not been taken, and wait until the thread has let go of everything."""
        try:
            self._channel.drop()
        finally:
            self._channel.drop()  # once more, where an interrupt came first
            self._worker.wait_out()

    def _run(self) -> None:
        raise NotImplementedError


class ReadAhead(_Stage[T]):
    """Iterates over items that another thread takes from an iterator, once it is entered.

    Parameters
    ----------
    items : generator of (item, size)
        Sizes in bytes. It is used, and closed, by the other thread alone.
    limit : int
        Bytes of items that may wait.
    """

    def __init__(self, items: Generator[tuple[T, int], None, None], limit: int) -> None:
        super().__init__(limit, "fastroute-read")
        self._items = items

    def __iter__(self) -> Iterator[T]:
        while (taken := self._channel.take()) is not None:
            item, size = taken
            yield item
            self._channel.free(size)

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            with closing(self._items):
                for item, size in self._items:
                    if not self._channel.put(item, size):
                        break
        except BaseException as error:  # noqa: BLE001 - raised where the items are taken
            failure = error
        self._channel.end(failure)


class WriteBehind(_Stage[T]):
    """Hands items to a function in another thread, in order, once it is entered.

    Parameters
    ----------
    handle : callable
        Called for each item by the other thread alone.
    limit : int
        Bytes of items that may wait.
    """

    def __init__(self, handle: Callable[[T], None], limit: int) -> None:
        super().__init__(limit, "fastroute-write")
        self._handle = handle
        self._failure: BaseException | None = None

    def put(self, item: T, size: int) -> None:
        """Add an item; raises what the function failed with."""
        if not self._channel.put(item, size):
            self._worker.wait()
            self._raise_failure()

    def finish(self) -> None:
        """Wait until everything has been handled; raises what the function failed with."""
        self._channel.end()
        self._worker.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        _raise(failure)

    def _run(self) -> None:
        try:
            while (taken := self._channel.take()) is not None:
                item, size = taken
                self._handle(item)
                self._channel.free(size)
        except BaseException as error:  # noqa: BLE001 - raised where items are put
            self._failure = error
            self._channel.drop()
