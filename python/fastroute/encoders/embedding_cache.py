"""Embeddings that were paid for, by a hash of their text: in memory, and on disk if so asked."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DiskCache", "MemoryCache", "text_key"]

_MARK = b"fastroute embedding 1\n"
_DIGEST = 32
_MOST_BYTES = 1 << 20


def text_key(encoder: str, text: str) -> str:
    """Hash of a text for an encoder: 64 hex digits."""
    return hashlib.sha256(f"{encoder}\n{text}".encode()).hexdigest()


class MemoryCache:
    """The embeddings that were used last. Any number of threads may use it at once, without a lock.

    Each step is one operation of the dictionary; what another thread took away meanwhile is as good as never found.
    So a fork can't leave a child with a lock that nobody holds.

    Parameters
    ----------
    entries
        How many; 0 for none.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._rows: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def get(self, key: str) -> NDArray[np.float32] | None:
        """Return an embedding, which the caller may not change; None where there is none."""
        row = self._rows.get(key)
        if row is not None:
            with suppress(KeyError):
                self._rows.move_to_end(key)
        return row

    def put(self, key: str, row: NDArray[np.float32]) -> None:
        """Keep a copy of an embedding, and let go of what was not used for the longest time."""
        if not self._entries:
            return
        kept = row.copy()  # a view would keep the whole batch in memory
        self._rows[key] = kept
        with suppress(KeyError):
            self._rows.move_to_end(key)
            while len(self._rows) > self._entries:
                self._rows.popitem(last=False)


class DiskCache:
    """A folder with one file per embedding, for any number of processes at once; it only grows.

    A file appears whole, under the hash of its text, and has a checksum: one that is cut short, altered or of another
    length counts as absent, and is replaced. Nothing in the folder is text.

    Parameters
    ----------
    folder
        Made where it isn't there; its parent must be.

    Raises
    ------
    InvalidArgumentError
        It is no folder, and can't be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise InvalidArgumentError(
                f"cache_folder: {folder} can't be made: {error.strerror or error}; allowed: a folder, or a new one"
            ) from None
        self._folder = folder

    def get(self, key: str, dim: int | None) -> NDArray[np.float32] | None:
        """Return an embedding of `dim` numbers, all finite; None where there is none."""
        try:
            with self._path(key).open("rb") as file:
                content = file.read(_MOST_BYTES)
        except OSError:
            return None
        head = len(_MARK) + _DIGEST
        digest, data = content[len(_MARK) : head], content[head:]
        if not content.startswith(_MARK) or not data or len(data) % 4 or _digest(key, data) != digest:
            return None
        row = np.frombuffer(data, "<f4").astype(np.float32)
        return row if (dim is None or len(row) == dim) and np.isfinite(row).all() else None

    def put(self, key: str, row: NDArray[np.float32]) -> None:
        """Keep an embedding; raises OSError where it can't be written, and leaves nothing half-written."""
        data = row.astype("<f4").tobytes()
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MARK + _digest(key, data) + data)
            Path(temporary).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.f32"


def _digest(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + data).digest()
