"""How a command ends: exit codes, one-line errors, signals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from fastroute.cli.parsing import printable
from fastroute.errors import FastrouteError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

DONE = 0
FAILURE = 1
USAGE = 2
_BY_SIGNAL = 128


class Terminated(BaseException):
    """Another process asked this one to end; raised so that open files are cleaned up on the way out."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def exit_code_of(action: Callable[[], int]) -> int:
    """Run a command and turn its way of ending into an exit code and at most one line on stderr."""
    try:
        with _signals_raised():
            code = action()
            sys.stdout.flush()
    except FastrouteError as error:
        complain(str(error))
        code = USAGE if isinstance(error, InvalidArgumentError) else FAILURE
    except KeyboardInterrupt:
        complain("interrupted")
        code = _BY_SIGNAL + signal.SIGINT
    except Terminated as end:
        complain(f"ended by {signal.Signals(end.signum).name}")
        code = _BY_SIGNAL + end.signum
    except BrokenPipeError:
        code = _BY_SIGNAL + signal.SIGPIPE
    except OSError as error:
        complain(f"{error.filename or 'stdout'}: {error.strerror or error}")
        code = FAILURE
    _settle_stdout()
    return code


def complain(message: str) -> None:
    """Write one line of error to stderr."""
    print(f"fastroute: error: {printable(' '.join(message.splitlines()))}", file=sys.stderr)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into an exception; those that are ignored (nohup) stay ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    replaced = [s for s in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(s) is signal.SIG_DFL]
    for signum in replaced:
        signal.signal(signum, _raise_terminated)
    try:
        yield
    finally:
        for signum in replaced:
            signal.signal(signum, signal.SIG_DFL)


def _raise_terminated(signum: int, _: FrameType | None) -> None:
    raise Terminated(signum)


def _settle_stdout() -> None:
    """Write what is left; where that can't be, let the interpreter's last flush go nowhere in silence."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
