"""Progress of work that takes longer than a second: one callback, and a bar for terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "progress_bar"]

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@contextmanager
def progress_bar(label: str) -> Iterator[Progress | None]:
    """Give a callback that draws a bar on stderr; None where stderr is no terminal or tqdm is missing."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield None
        return
    if not sys.stderr.isatty():
        yield None
        return
    with tqdm(desc=label, file=sys.stderr, leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield update
