"""Requests as bytes: parsed to be looked at, and sent on as they came but for the value of ``model``.

What upstreams get are the client's own bytes, so that duplicate keys, white space, fields that are unknown here and
numbers of any length survive. Where ``model`` occurs more than once at the top, each is replaced: parsers differ in
which one they heed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from fastroute.serving.refusals import RefusalError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Body", "BodyReader"]

_NAMED: Final = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*')
_STRUCTURE: Final = re.compile(rb'["{}\[\]]')
_STRING_END: Final = re.compile(rb'["\\]')
_COLON: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_MOST_MODEL = 256


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body.

    Attributes
    ----------
    raw
        As it came.
    members
        Parsed; of duplicate keys the last one counts.
    model
        What it asks for.
    """

    raw: bytes
    members: dict[str, Any]
    model: str
    _spans: tuple[tuple[int, int], ...]

    @property
    def streams(self) -> bool:
        """Whether it asks for a stream."""
        return self.members.get("stream") is True

    def with_model(self, model: str) -> bytes:
        """Return the bytes with another model; the very same ones where it is the same."""
        if model == self.model and len(self._spans) == 1:
            return self.raw
        name, parts, at = json.dumps(model).encode(), [], 0
        for start, end in self._spans:
            parts += [self.raw[at:start], name]
            at = end
        return b"".join([*parts, self.raw[at:]])


class BodyReader:
    """Reads bodies, as hostile.

    Parameters
    ----------
    most_depth
        Of arrays and objects within one another.
    """

    def __init__(self, most_depth: int) -> None:
        import orjson

        self._loads: Callable[[bytes], Any] = orjson.loads
        self._depth = most_depth

    def read(self, raw: bytes, *, needs_model: bool = True) -> Body:
        """Parse a body and find its model.

        Raises
        ------
        RefusalError
            It is no JSON object, nested too deeply, or lacks a model.
        """
        members = self._parsed(raw)
        if raw.count(b"[") + raw.count(b"{") > self._depth:
            _check_depth(raw, self._depth)
        if not isinstance(members, dict):
            raise RefusalError(400, "body: expected a JSON object", code="invalid_json")
        model = members.get("model")
        if model is None and not needs_model and "model" not in members:
            return Body(raw, members, "auto", ())
        if not isinstance(model, str) or not model:
            raise RefusalError(400, "model: expected the name of a model", code="invalid_model", param="model")
        if len(model) > _MOST_MODEL:
            raise RefusalError(
                400,
                f"model: found {len(model)} characters, allowed: {_MOST_MODEL}",
                code="invalid_model",
                param="model",
            )
        return Body(raw, members, model, _model_spans(raw))

    def _parsed(self, raw: bytes) -> Any:
        try:
            return self._loads(raw)
        except ValueError as error:
            # Half a surrogate pair and numbers beyond float64 are JSON all the same.
            if b"\\u" not in raw and not str(error).startswith("number is infinity"):
                raise RefusalError(400, f"body: broken JSON: {_plain(error)}", code="invalid_json") from None
        try:
            return json.loads(raw.decode("utf-8"), parse_int=float, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise RefusalError(400, f"body: broken JSON: {_plain(error)}", code="invalid_json") from None


def _plain(error: Exception) -> str:
    """Return what a message may say: the place, and nothing of the body."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return str(error)[:120] if isinstance(error, json.JSONDecodeError) else "not UTF-8, or no JSON number"


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def _check_depth(raw: bytes, most: int) -> None:
    depth, at = 0, 0
    while found := _STRUCTURE.search(raw, at):
        at, mark = found.end(), found[0]
        if mark == b'"':
            at = _end_of_string(raw, at)
        elif mark in b"{[":
            depth += 1
            if depth > most:
                raise RefusalError(400, f"body: nested more than {most} deep", code="too_deep")
        else:
            depth -= 1


def _end_of_string(raw: bytes, at: int) -> int:
    """Return where a string ends that begins before `at`; the JSON is known to be well-formed."""
    while True:
        found = _STRING_END.search(raw, at)
        if found is None:
            return len(raw)
        if found[0] == b'"':
            return found.end()
        at = found.end() + 1


def _model_spans(raw: bytes) -> tuple[tuple[int, int], ...]:
    """Return where the values of ``model`` at the top begin and end."""
    # The key is there; no letter of it is escaped and it is in no other place: this is it.
    if raw.count(b'"model"') == 1 and b"\\u006" not in raw:
        found = _NAMED.search(raw)
        if found is not None and raw[found.end() : found.end() + 1] == b'"':
            return ((found.end(), _end_of_string(raw, found.end() + 1)),)
    spans, depth, at, value_at = [], 0, 0, -1
    while found := _STRUCTURE.search(raw, at):
        start, mark = found.start(), found[0]
        at = found.end()
        if mark != b'"':
            depth += 1 if mark in b"{[" else -1
            continue
        at = _end_of_string(raw, at)
        if depth != 1 or start == value_at:
            continue
        colon = _COLON.match(raw, at)
        if colon is None:
            continue
        value_at = colon.end()
        if raw[start:at] == b'"model"' or (b"\\u006" in raw[start:at] and json.loads(raw[start:at]) == "model"):
            spans.append((value_at, _end_of_value(raw, value_at)))
    return tuple(spans)


def _end_of_value(raw: bytes, at: int) -> int:
    """Return where a value ends."""
    if raw[at : at + 1] == b'"':
        return _end_of_string(raw, at + 1)
    if raw[at : at + 1] not in (b"{", b"["):
        found = re.compile(rb"[,}\] \t\r\n]").search(raw, at)
        return found.start() if found else len(raw)
    depth = 0
    while found := _STRUCTURE.search(raw, at):
        at, mark = found.end(), found[0]
        if mark == b'"':
            at = _end_of_string(raw, at)
            continue
        depth += 1 if mark in b"{[" else -1
        if not depth:
            break
    return at
