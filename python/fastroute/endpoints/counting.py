"""Counts that all threads of a process add to, and that a fork can't leave locked."""

from __future__ import annotations

import os
import threading

__all__ = ["Count"]


class Count:
    """A number that only grows; any number of threads may add to it at once.

    Attributes
    ----------
    value
        What it is now.
    """

    def __init__(self) -> None:
        self.value = 0

    def add(self, more: int) -> None:
        """Add to it."""
        if more:
            with _Process.lock:
                self.value += more


class _Process:
    lock = threading.Lock()  # one for all, so that a child can make it anew


def _in_child() -> None:
    _Process.lock = threading.Lock()


os.register_at_fork(after_in_child=_in_child)
