"""Every paid answer on disk before it is used: the cache of requests, and what makes a run resumable.

One JSON object a line, only ever appended::

    {"journal": "fastroute augment", "version": 1}
    {"event": "start", "key": K, "dollars": worst case}      before a request is sent
    {"event": "free", "key": K}                              refused, so not billed
    {"event": "answer", "key": K, "dollars": as billed, ...} the answer; synced to disk

K is the SHA-256 of the endpoint, the model and the whole request. A start without an end is a request whose answer was
lost: it may have been billed, and counts as that. Keys of APIs are never part of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastroute.errors import DataError, FastrouteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fastroute.augmentation.endpoint import Endpoint

__all__ = ["Completion", "Journal", "Ledger", "open_journal", "read_ledger", "request_key"]

_HEADER = {"journal": "fastroute augment", "version": 1}


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer.

    Attributes
    ----------
    text
        None where the answer has no text, as when a filter cut it.
    finish_reason
        Why it ended, as the endpoint says.
    tokens_in, tokens_out
        As the endpoint counts them; None where it does not say.
    """

    text: str | None
    finish_reason: str | None
    tokens_in: int | None
    tokens_out: int | None


@dataclass(slots=True)
class Ledger:
    """What a journal says: answers by key, and dollars."""

    answers: dict[str, Completion] = field(default_factory=dict)
    spent: float = 0.0
    open: dict[str, list[float]] = field(default_factory=dict)

    @property
    def unconfirmed(self) -> float:
        """Dollars that requests without an answer may have cost, at most."""
        return math.fsum(worst for held in self.open.values() for worst in held)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in one line; raises KeyError, TypeError or ValueError where it is none of ours."""
        kind, key = event["event"], event["key"]
        if kind == "start":
            self.open.setdefault(key, []).append(_dollars(event))
            return
        held = self.open.get(key)
        if not held or kind not in ("free", "answer"):
            raise ValueError(f"{kind!r} without a start")
        held.pop()
        if not held:
            del self.open[key]
        if kind == "answer":
            self.answers[key] = Completion(
                _typed(event, "text", str),
                _typed(event, "finish_reason", str),
                _typed(event, "tokens_in", int),
                _typed(event, "tokens_out", int),
            )
            self.spent += _dollars(event)


class Journal:
    """A journal that this process alone writes; see `open_journal`. Used by one thread."""

    def __init__(self, path: Path, descriptor: int, ledger: Ledger) -> None:
        self._path = path
        self._descriptor = descriptor
        self._failure: str | None = None
        self.ledger = ledger

    def start(self, key: str, worst: float) -> None:
        """Say that a request is about to be sent, which costs `worst` dollars at most."""
        self._append({"event": "start", "key": key, "dollars": worst})

    def free(self, key: str) -> None:
        """Say that the request was not billed."""
        self._append({"event": "free", "key": key})

    def answer(self, key: str, role: str, model: str, completion: Completion, dollars: float) -> None:
        """Keep an answer; on disk when this returns."""
        event = {"event": "answer", "key": key, "dollars": dollars, "role": role, "model": model}
        event |= {name: getattr(completion, name) for name in Completion.__slots__}
        self._append(event)
        with self._reported():
            os.fsync(self._descriptor)

    def _append(self, event: dict[str, Any]) -> None:
        line = _line(event)
        with self._reported():
            while line:
                line = line[os.write(self._descriptor, line) :]
        self.ledger.apply(event)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        if self._failure is not None:  # a line behind half a line would be lost with it
            raise FastrouteError(self._failure)
        try:
            yield
        except OSError as error:
            self._failure = f"{self._path}: can't be written: {error.strerror or error}"
            raise FastrouteError(self._failure) from error


def request_key(endpoint: Endpoint, body: Mapping[str, Any]) -> str:
    """Return what stands for a request in the journal."""
    request = {"url": endpoint.url.rstrip("/"), "body": body}
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def read_ledger(path: Path) -> Ledger:
    """Read a journal, which need not exist; raises DataError as `open_journal`."""
    try:
        return _parse(path, path.read_bytes())[0]
    except FileNotFoundError:
        return Ledger()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """Open a journal for writing, or begin one. A last line that a killed process cut short is dropped.

    Raises
    ------
    DataError
        The file is no journal, is damaged, or can't be read.
    FastrouteError
        Another run has it open, or it can't be written.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise FastrouteError(f"{path}: can't be opened: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FastrouteError(f"{path}: another run is writing to it; wait for its end") from None
        ledger, whole = _parse(path, path.read_bytes())
        try:
            os.ftruncate(descriptor, whole)
            if not whole:
                os.write(descriptor, _line(_HEADER))
                os.fsync(descriptor)
                _sync_folder(path.parent)
        except OSError as error:
            raise FastrouteError(f"{path}: can't be written: {error.strerror or error}") from error
        yield Journal(path, descriptor, ledger)
    finally:
        os.close(descriptor)


def _parse(path: Path, raw: bytes) -> tuple[Ledger, int]:
    """Return what a journal says, and how many of its bytes are whole lines."""
    ledger = Ledger()
    whole = raw.rfind(b"\n") + 1
    # Not splitlines, which knows more line ends than this one.
    lines = raw[:whole].split(b"\n")[:-1]
    if not lines and not _line(_HEADER).startswith(raw):
        raise DataError(f"{path}: expected a journal of fastroute augment, found something else")
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            if number > 1:
                ledger.apply(event)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is damaged: {error}") from None
        if number == 1 and event != _HEADER:
            raise DataError(f"{path}: expected a journal that begins with {json.dumps(_HEADER)}, found something else")
    return ledger, whole


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event, allow_nan=False).encode() + b"\n"


def _dollars(event: Mapping[str, Any]) -> float:
    value = event["dollars"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"dollars: found {value!r}")
    return float(value)


def _typed(event: Mapping[str, Any], name: str, kind: type) -> Any:
    value = event[name]
    if value is not None and type(value) is not kind:
        raise ValueError(f"{name}: found {type(value).__name__}")
    return value


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some file systems can't
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
