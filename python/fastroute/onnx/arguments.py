"""What users give models on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, Literal

import numpy as np

from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["MOST_TOKENS", "POOLINGS", "Device", "checked_device", "checked_max_tokens", "checked_prompts"]

Device = Literal["cpu", "cuda"]
POOLINGS: Final = ("mean", "cls", "graph")
MOST_TOKENS: Final = 1 << 20


def checked_device(device: object) -> Device:
    """Return "cpu" or "cuda", or say what was found."""
    if not isinstance(device, str):
        raise InvalidTypeError(f"device: found {type(device).__name__}, allowed: 'cpu' or 'cuda'")
    if device == "cpu":
        return "cpu"
    if device == "cuda":
        return "cuda"
    raise InvalidArgumentError(f"device: found {device!r:.60}, allowed: 'cpu' or 'cuda'")


def checked_max_tokens(value: object) -> int:
    """Return a number of tokens, or say what was found."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"max_tokens: found {type(value).__name__}, allowed: an int")
    if not 1 <= value <= MOST_TOKENS:
        raise InvalidArgumentError(f"max_tokens: found {value!s:.40}, allowed: 1 to {MOST_TOKENS}")
    return int(value)


def checked_prompts(prompts: object) -> list[str]:
    """Return prompts as a list, or name the first that is no str."""
    if isinstance(prompts, (str, bytes, Mapping, AbstractSet)) or not isinstance(prompts, Iterable):
        raise InvalidTypeError(f"prompts: found {type(prompts).__name__}, allowed: an iterable of str, in order")
    given = list(prompts)
    for index, prompt in enumerate(given):
        if not isinstance(prompt, str):
            raise InvalidTypeError(f"prompts[{index}]: found {type(prompt).__name__}, allowed: a str")
    return given
