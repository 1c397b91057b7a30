"""Keys that can't be printed, and where they come from: the environment or a file."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ClientKeys", "Secret"]


class Secret:
    """A text that shows itself only when asked to."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(...)"

    def reveal(self) -> str:
        """Return the text; for the header that it is sent in, and for taking it out of messages."""
        return self._value


class ClientKeys:
    """The keys that clients may show. The time of a comparison says nothing about them.

    Parameters
    ----------
    keys
        At least one.
    """

    __slots__ = ("_digests",)

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key.encode()) for key in keys)

    def __repr__(self) -> str:
        return f"ClientKeys({len(self._digests)})"

    def __len__(self) -> int:
        return len(self._digests)

    def match(self, header: bytes | None) -> int | None:
        """Return which key an Authorization header holds, None where it holds none of them."""
        if header is None or header[:7].lower() != b"bearer ":
            return None
        given = _digest(header[7:].strip())
        found = None
        for index, digest in enumerate(self._digests):  # all of them, whichever matches
            if hmac.compare_digest(given, digest):
                found = index
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
