"""How long and how often an API is asked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["Patience"]

_WHOLE = {"tries": (1, 20), "concurrency": (1, 1024)}
_REAL = {"timeout": (0.001, 3600), "backoff": (0.001, 60), "longest_wait": (0, 3600)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long and how often an API is asked.

    Attributes
    ----------
    timeout
        Seconds for one try.
    tries
        How often a request is sent until it is answered, 20 at most.
    backoff
        Seconds before the second try, at most; doubled for each one after it, up to a minute, and drawn at random.
    longest_wait
        Seconds that a server's Retry-After is waited for; a request whose server wants more fails.
    concurrency
        Requests under way at once, all threads of a process together.

    Raises
    ------
    InvalidTypeError, InvalidArgumentError
        One of them has a type or value that is not allowed.
    """

    timeout: float
    tries: int
    backoff: float
    longest_wait: float
    concurrency: int

    def __post_init__(self) -> None:
        for name, (least, most) in (_WHOLE | _REAL).items():
            value = getattr(self, name)
            kinds = (int,) if name in _WHOLE else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                allowed = "an int" if name in _WHOLE else "a number"
                raise InvalidTypeError(f"{name}: found {type(value).__name__}, allowed: {allowed}")
            if not least <= value <= most:
                raise InvalidArgumentError(f"{name}: found {value!r:.40}, allowed: {least:g} to {most:g}")

    def manifest(self) -> dict[str, Any]:
        """Return what an artifact says of it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_manifest(cls, value: object) -> Patience:
        """Read what `manifest` gave."""
        names = [each.name for each in fields(cls)]
        if not isinstance(value, dict) or set(value) != set(names):
            raise InvalidTypeError(f"patience: found {value!r:.80}, allowed: an object with {', '.join(names)}")
        return cls(**value)
