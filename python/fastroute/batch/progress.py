"""A progress bar for terminals, shown once a run takes longer than a second."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from fastroute.batch.reading import Begins, Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastroute.batch.inputs import Inputs
    from fastroute.batch.reading import Event
    from fastroute.batch.summary import Progress

_DELAY = 1.0
_INTERVAL = 0.1


class Meter:
    """Tells a `Progress` how far a run has got: in one file's own unit, or in bytes of all files."""

    def __init__(self, progress: Progress | None, inputs: Inputs, rows: int) -> None:
        self._progress = progress
        self._rows = rows
        self._many = inputs.many
        self._ends: list[int] = []
        self._in_rows = False
        self._started = False
        if progress is not None and inputs.many:
            total = 0
            for file in inputs.files:
                self._ends.append(total)
                total += _size_of(file.path)
            self._started = True
            progress.start(total, "B")

    def update(self, event: Event) -> None:
        """Take note of a file that has been opened, or of rows that have been scored."""
        if isinstance(event, Begins):
            self._begin(event)
        elif isinstance(event, Rows):
            self._advance(event)

    def _begin(self, event: Begins) -> None:
        if self._progress is not None and not self._started:
            self._in_rows = event.unit != "B"
            self._started = True
            self._progress.start(event.total if self._in_rows else event.stored, event.unit)

    def _advance(self, event: Rows) -> None:
        self._rows += len(event.batch.prompts) + len(event.batch.bad)
        if self._progress is None:
            return
        if self._in_rows:
            position = event.batch.mark.rows
        elif event.position is None:
            position = event.batch.mark.offset
        else:
            position = event.position + (self._ends[event.file] if self._many else 0)
        self._progress.update(position, self._rows)

    def close(self) -> None:
        """End the display."""
        if self._progress is not None and self._started:
            self._progress.close()


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


class TerminalProgress:
    """Draws how far a run has got on a terminal, and nothing anywhere else.

    Parameters
    ----------
    stream : text file
        Usually `sys.stderr`.
    clock : callable
        Seconds since any fixed time.
    """

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._shown = stream.isatty()
        self._bar: _Bar | None = None

    def start(self, total: int | None, unit: str) -> None:
        """Begin a run over `total` of `unit`."""
        self._total = total
        self._unit = unit
        self._started = self._painted = self._clock()

    def update(self, position: int, rows: int) -> None:
        """Redraw, at most ten times a second."""
        if not self._shown:
            return
        now = self._clock()
        elapsed = now - self._started
        if elapsed < _DELAY or now - self._painted < _INTERVAL:
            return
        self._painted = now
        if self._bar is None:
            self._bar = _open_bar(self._stream, self._total, self._unit, elapsed)
        self._bar.draw(position, f"{rows / elapsed:,.0f} rows/s")

    def close(self) -> None:
        """Wipe the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Bar(Protocol):
    def draw(self, position: int, rate: str) -> None: ...
    def close(self) -> None: ...


def _open_bar(stream: TextIO, total: int | None, unit: str, elapsed: float) -> _Bar:
    try:
        from tqdm import tqdm
    except ImportError:
        return _PlainBar(stream, total, unit)
    bar = tqdm(
        file=stream,
        total=total,
        unit=unit if unit == "B" else f" {unit}",
        unit_scale=True,
        leave=False,
        dynamic_ncols=True,
        delay=1e-9,  # no first line before there is a position
    )
    bar.start_t -= elapsed
    return _TqdmBar(bar)


class _TqdmBar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def draw(self, position: int, rate: str) -> None:
        self._bar.n = position
        self._bar.set_postfix_str(rate, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


class _PlainBar:
    """One line that is written over; needs no terminal control but the carriage return."""

    def __init__(self, stream: TextIO, total: int | None, unit: str) -> None:
        self._stream = stream
        self._total = total
        self._unit = unit
        self._width = 0

    def draw(self, position: int, rate: str) -> None:
        if self._total:
            # a file may grow while it is read
            share = min(1.0, position / self._total)
            done = f"{share:4.0%} of {_amount(self._total, self._unit)}"
        else:
            done = f"{_amount(position, self._unit)} read"
        self._write(f"{done}, {rate}")

    def close(self) -> None:
        self._write("")
        self._stream.write("\r")
        self._stream.flush()

    def _write(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]
        self._stream.write(f"\r{text:<{self._width}}")
        self._stream.flush()
        self._width = len(text)


def _amount(count: int, unit: str) -> str:
    if unit != "B":
        return f"{count:,} {unit}"
    for scale, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= scale:
            return f"{count / scale:,.1f} {prefix}B"
    return f"{count} B"
