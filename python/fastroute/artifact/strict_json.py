"""JSON from strangers: bounded memory and depth, no duplicate keys, no number that is not one."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from fastroute.errors import ArtifactCorruptError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

# Working memory of one parse. With the text itself it keeps a reader under twice the file plus 1 MiB.
_BUDGET = 896 * 1024
# Upper bounds, in bytes, on what each mark makes CPython allocate.
_COST = {"{": 100, "[": 100, ",": 60, ":": 180}
_MAX_INTEGER_CHARACTERS = 20  # a sign and the 19 digits of 2**63, or the 20 digits of 2**64
_NESTING = re.compile(r'["\[\]{}]|\\.', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _RefusedError(ValueError):
    """Valid JSON, but nothing that fastroute writes."""


def parse_object(raw: bytes, *, source: str, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Parse one JSON object.

    Parameters
    ----------
    raw
        UTF-8 text, at most `max_bytes` long and `MAX_DEPTH` deep.
    source
        The file's name, for messages.
    max_bytes
        Parsing takes up to 3.5 times as much memory.

    Raises
    ------
    ArtifactCorruptError
        Not JSON, not an object, too large to parse in bounded memory, too deep, a key twice in one object,
        an integer beyond 64 bits, a number that is not finite, or half of a surrogate pair.
    """
    try:
        _check_memory(raw, max_bytes)
        text = raw.decode("utf-8")
        _check_depth(text)
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_int=_integer,
            parse_float=_finite_number,
            parse_constant=_refuse_constant,
        )
        if "\\u" in text:
            _check_strings(value)
    except _RefusedError as error:
        raise ArtifactCorruptError(f"{source}: {error}") from None
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError
        raise ArtifactCorruptError(f"{source}: not valid JSON in UTF-8: {error}") from None
    if not isinstance(value, dict):
        raise ArtifactCorruptError(f"{source}: expected a JSON object, found {type(value).__name__}")
    return value


def _check_memory(raw: bytes, max_bytes: int) -> None:
    if len(raw) > max_bytes:
        raise _RefusedError(f"{len(raw)} bytes of JSON; at most {max_bytes} are allowed")
    # One character beyond Latin-1 makes CPython keep the whole string at up to four bytes a character.
    width = 1 if raw.isascii() and b"\\u" not in raw else 4
    structure = sum(cost * raw.count(mark.encode()) for mark, cost in _COST.items())
    if 2 * width * len(raw) + structure > _BUDGET * max_bytes // MAX_BYTES:
        raise _RefusedError(f"too many JSON values or non-ASCII text in {len(raw)} bytes; keep arrays in .safetensors")


def _check_depth(text: str) -> None:
    # Before parsing: the parser recurses in C, and an application may have lifted the recursion limit.
    depth, in_string = 0, False
    for match in _NESTING.finditer(text):
        mark = match[0]
        if mark == '"':
            in_string = not in_string
        elif in_string:
            continue
        elif mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise _RefusedError(f"JSON nested deeper than {MAX_DEPTH} levels")
        elif mark in "]}":
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise _RefusedError(f"key {key[:80]!r} occurs twice in one JSON object")
        value[key] = item
    return value


def _integer(digits: str) -> int:
    if len(digits) <= _MAX_INTEGER_CHARACTERS:
        value = int(digits)
        if -(2**63) <= value < 2**64:
            return value
    raise _RefusedError(f"integer {digits[:24]}... does not fit 64 bits")


def _finite_number(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise _RefusedError(f"number {digits[:24]} is beyond the range of a double")
    return value


def _refuse_constant(name: str) -> float:
    raise _RefusedError(f"{name} is not a JSON number; every number must be finite")


def _check_strings(value: Any) -> None:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and _SURROGATE.search(item):
            raise _RefusedError("a string holds half of a surrogate pair")
