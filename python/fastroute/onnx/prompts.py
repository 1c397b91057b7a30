"""What users give as prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from fastroute.errors import InvalidTypeError

__all__ = ["checked_prompts"]


def checked_prompts(prompts: object) -> list[str]:
    """Return prompts as a list, or name the first that is no str."""
    if isinstance(prompts, (str, bytes, Mapping, AbstractSet)) or not isinstance(prompts, Iterable):
        raise InvalidTypeError(f"prompts: found {type(prompts).__name__}, allowed: an iterable of str, in order")
    given = list(prompts)
    for index, prompt in enumerate(given):
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompts[{index}]: found {type(prompt).__name__}, allowed: a str")
    return given
