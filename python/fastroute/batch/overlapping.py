"""Reading ahead and writing behind, in threads of their own, each at most so many bytes away from the scoring."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["ReadAhead", "WriteBehind"]

T = TypeVar("T")


class _Channel(Generic[T]):
    """A queue between two threads, bounded in bytes; what is larger than the bound passes alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._ended = False
        self._failure: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: T, size: int) -> bool:
        """Wait for room and add an item; False once the other side has ended."""
        with self._changed:
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
        with self._changed:
            while not self._items and not self._ended:
                self._changed.wait()
            if self._items:
                return self._items.popleft()
            if self._failure is not None:
                raise self._failure
            return None

    def free(self, size: int) -> None:
        with self._changed:
            self._bytes -= size
            self._changed.notify_all()

    def end(self, failure: BaseException | None = None) -> None:
        """Let no more in; what is there can still be taken."""
        with self._changed:
            self._ended = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def drop(self) -> None:
        """End, and throw away what is there."""
        with self._changed:
            self._items.clear()
            self._ended = True
            self._changed.notify_all()

    @property
    def failure(self) -> BaseException | None:
        return self._failure


class ReadAhead(Generic[T]):
    """Iterates over items that another thread takes from an iterator.

    Parameters
    ----------
    items : iterator of (item, size)
        Sizes in bytes. It is used, and closed, by the other thread alone.
    limit : int
        Bytes of items that may wait.
    """

    def __init__(self, items: Iterator[tuple[T, int]], limit: int) -> None:
        self._items = items
        self._channel: _Channel[T] = _Channel(limit)
        self._thread = threading.Thread(target=self._run, name="fastroute-read", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while (taken := self._channel.take()) is not None:
            item, size = taken
            yield item
            self._channel.free(size)

    def close(self) -> None:
        """Stop reading, and wait until the thread has let go of the input."""
        self._channel.drop()
        self._thread.join()

    def _run(self) -> None:
        failure: BaseException | None = None
        try:
            for item, size in self._items:
                if not self._channel.put(item, size):
                    break
        except BaseException as error:  # noqa: BLE001 - raised where the items are taken
            failure = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            self._channel.end(failure)


class WriteBehind(Generic[T]):
    """Hands items to a function in another thread, in order.

    Parameters
    ----------
    handle : callable
        Called for each item by the other thread alone.
    limit : int
        Bytes of items that may wait.
    """

    def __init__(self, handle: Callable[[T], None], limit: int) -> None:
        self._handle = handle
        self._channel: _Channel[T] = _Channel(limit)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="fastroute-write", daemon=True)
        self._thread.start()

    def put(self, item: T, size: int) -> None:
        """Add an item; raises what the function failed with."""
        if not self._channel.put(item, size):
            self._thread.join()
            assert self._failure is not None
            raise self._failure

    def finish(self) -> None:
        """Wait until everything has been handled; raises what the function failed with."""
        self._channel.end()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Throw away what has not been handled, and wait for the thread."""
        self._channel.drop()
        self._thread.join()

    def _run(self) -> None:
        try:
            while (taken := self._channel.take()) is not None:
                item, size = taken
                self._handle(item)
                self._channel.free(size)
        except BaseException as error:  # noqa: BLE001 - raised where items are put
            self._failure = error
            self._channel.drop()
