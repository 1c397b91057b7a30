"""One event loop for this process, on a thread of its own, that any thread may send work to.

The caller waits outside of it, so that it may have a loop itself, and so that a signal meets the caller. Connections
are kept open in between. A forked child makes its own; its parent's is never touched there.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from fastroute.endpoints.exchange import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import aiohttp

__all__ = ["Background", "run_in_background"]

T = TypeVar("T")
_CLOSING_SECONDS = 2.0
_END = object()


class Background:
    """The loop and what belongs to it; its members but `loop` are for what runs in it.

    Attributes
    ----------
    loop
        Runs until the process ends.
    kept
        What others keep between their calls, by what it is for.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._session: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self.loop.run_forever, name="fastroute-endpoints", daemon=True)
        self._thread.start()

    def session(self) -> aiohttp.ClientSession:
        """Return the session whose connections all requests share."""
        if self._session is None:
            self._session = open_session()
        return self._session

    def stop(self) -> None:
        """Cancel what is under way, close the connections and end the thread."""
        with suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._close(), self.loop).result(_CLOSING_SECONDS)
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_CLOSING_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()

    async def _close(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def run_in_background(
    main: Callable[[Background, Callable[[Any], None]], Coroutine[Any, Any, T]], on_item: Callable[[Any], None]
) -> T:
    """Run a coroutine in the background, and wait for it; any thread but the background's own may call.

    An interrupt, or an error of `on_item`, cancels it and is raised at once.

    Parameters
    ----------
    main
        Called with the background, and with a function that hands an item to the caller.
    on_item
        Called with each item, in the caller's thread, before this returns.
    """
    background = _this_process()
    items: SimpleQueue[Any] = SimpleQueue()
    running = asyncio.run_coroutine_threadsafe(main(background, items.put), background.loop)
    running.add_done_callback(lambda _: items.put(_END))
    try:
        while (item := items.get()) is not _END:
            on_item(item)
        return running.result()
    except BaseException:
        running.cancel()
        raise


class _Process:
    background: Background | None = None
    lock = threading.Lock()
    inherited: list[Background | None] = []  # noqa: RUF012  never freed: its end would touch the parent's connections


def _this_process() -> Background:
    with _Process.lock:
        if _Process.background is None:
            _Process.background = Background()
        return _Process.background


def _in_child() -> None:
    _Process.inherited.append(_Process.background)
    _Process.background, _Process.lock = None, threading.Lock()


def _at_exit() -> None:
    background, _Process.background = _Process.background, None
    if background is not None:
        background.stop()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
