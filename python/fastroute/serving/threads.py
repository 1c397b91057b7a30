"""Threads beside the event loop, for routers that take their time."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Final

__all__ = ["end_threads", "one_thread"]

_PREFIX: Final = "fastroute-"
# More would starve them on a busy machine, and with them the loop, whose lock they may hold.
_NICENESS: Final = 5
_ALL: Final[weakref.WeakSet[ThreadPoolExecutor]] = weakref.WeakSet()


def one_thread(name: str) -> ThreadPoolExecutor:
    """Return an executor of one thread, which lets the event loop go first where both want the same core."""
    executor = ThreadPoolExecutor(1, thread_name_prefix=f"{_PREFIX}{name}", initializer=_step_back)
    _ALL.add(executor)
    return executor


def end_threads(seconds: float) -> bool:
    """Have all threads end, and return whether they have; one within a router that never returns can't."""
    for executor in tuple(_ALL):
        executor.shutdown(wait=False, cancel_futures=True)
    deadline = time.monotonic() + seconds
    running = [thread for thread in threading.enumerate() if thread.name.startswith(_PREFIX)]
    for thread in running:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in running)


def _step_back() -> None:
    if sys.platform != "linux":
        return  # elsewhere a thread has no niceness of its own, and its number may be that of another process
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
