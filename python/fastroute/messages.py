"""The text to score of a chat: a list of messages as OpenAI's chat completions take them.

A message is an object with a role and a content. What else it has (name, tool_calls, tool_call_id, ...) is not looked
at. Its text is

- a content that is a string,
- of a content that is an array, the parts that are strings and the `text` of the parts of type text, input_text and
  output_text, joined by newlines. Parts of any other type have none: images, audio, files, refusals, tool calls and
  results, and types that are yet to come.

A message without a text, or with one of white space only, is passed over: null beside tool calls, or a message of the
user that holds only an image or the results of tools, which is a turn of the tools and no question.

Messages and parts may also be Arrow's maps, which arrive as lists of (key, value) tuples, and structs, in which a key
that some other part has is null.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from fastroute.errors import DataError, InvalidArgumentError

__all__ = ["TURNS", "decode", "json_type", "prompt_of"]

TURNS = ("last-user", "first-user", "users", "all")
_TEXT_PARTS = ("text", "input_text", "output_text")
_BLANK_LINE = "\n\n"
_NOTHING = object()
_TYPE_NAMES = {
    dict: "an object",
    list: "an array",
    tuple: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
    object: "nothing",
}
# Numbers are of no account: as floats they parse at any length.
_DECODER = json.JSONDecoder(parse_int=float)


def prompt_of(messages: object, turn: str = "last-user") -> str:
    """Return the text of a chat that a router should score.

    Parameters
    ----------
    messages : list
        Messages, each a mapping with "role" and "content"; the first is the oldest.
    turn : str
        - "last-user": the text of the last message of role "user" that has one.
        - "first-user": of the first one.
        - "users": the texts of all messages of role "user", in order, with a blank line between them.
        - "all": the texts of all messages of whatever role, in order, with a blank line between them: system prompts,
          answers and the results of tools that are messages of their own. Neither roles nor names, and none of what
          the assistant asked of tools.

    Returns
    -------
    str
        Has more than white space; is not stripped. May hold halves of surrogate pairs where the messages do.

    Raises
    ------
    DataError
        There is no such text, or something that had to be looked at is not what it should be. The message is the
        reason, as in "message 3: role: expected a string, found null", with messages and parts counted from 1, and
        quotes nothing of the chat. Looked at are: the roles of all messages, or, for "last-user" and "first-user",
        from that end to the message that is chosen; and the contents of those of role "user", or, for "all", of any.
    InvalidArgumentError
        `turn` is none of `TURNS`.

    Notes
    -----
    A message of role "user" has to have a content, which may be null; others may lack it.
    """
    if turn not in TURNS:
        raise InvalidArgumentError(f"turn: found {turn!r}, allowed: {', '.join(TURNS)}")
    if not isinstance(messages, (list, tuple)):
        raise DataError(f"expected an array of messages, found {json_type(messages)}")
    numbered = list(enumerate(messages, 1))
    role = None if turn == "all" else "user"
    texts = _texts(reversed(numbered) if turn == "last-user" else iter(numbered), role)
    found = list(texts) if turn in ("users", "all") else [text for text in [next(texts, None)] if text is not None]
    if not found:
        raise DataError("no message has text" if role is None else "no message of role 'user' has text")
    return _BLANK_LINE.join(found)


def decode(text: str) -> object:
    """Return what a column holds that has its messages as JSON text.

    Parameters
    ----------
    text : str
        One JSON value, for `prompt_of` to look at. Where a key occurs twice the last one counts.

    Returns
    -------
    object
        Every number in it is a float.

    Raises
    ------
    DataError
        It is not JSON, or nested too deeply for Python's parser. The message is the reason.
    """
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DataError(f"broken JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise DataError("JSON nested too deeply") from None
    return value


def _texts(numbered: Iterator[tuple[int, object]], wanted: str | None) -> Iterator[str]:
    """Yield the texts of the messages of a role, or of all, that have one."""
    for number, message in numbered:
        place = f"message {number}"
        members = _members(message)
        if members is None:
            raise DataError(f"{place}: expected an object, found {json_type(message)}")
        role = members.get("role", _NOTHING)
        if not isinstance(role, str):
            raise DataError(f"{place}: role: expected a string, found {json_type(role)}")
        if wanted is not None and role != wanted:
            continue
        content = members.get("content", _NOTHING if role == "user" else None)
        text = _text_of(content, f"{place}: content")
        if text and not text.isspace():
            yield text


def _text_of(content: object, place: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise DataError(f"{place}: expected a string, null or an array of parts, found {json_type(content)}")
    texts = (_part_text(part, f"{place}: part {number}") for number, part in enumerate(content, 1))
    return "\n".join(text for text in texts if text is not None)


def _part_text(part: object, place: str) -> str | None:
    """Return the text of a part, None for a part of a type that has none."""
    if isinstance(part, str):
        return part
    members = _members(part)
    if members is None:
        raise DataError(f"{place}: expected an object or a string, found {json_type(part)}")
    kind = members.get("type", _NOTHING)
    if not isinstance(kind, str):
        raise DataError(f"{place}: type: expected a string, found {json_type(kind)}")
    if kind not in _TEXT_PARTS:
        return None
    text = members.get("text", _NOTHING)
    if not isinstance(text, str):
        raise DataError(f"{place}: text: expected a string, found {json_type(text)}")
    return text


def _members(value: object) -> Mapping[object, object] | None:
    """Return the members of an object or of Arrow's map, None for anything else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        return {key: member for key, member in value if isinstance(key, str)}
    return None


def json_type(value: object) -> str:
    """Return what a message calls the type of a value: as in JSON, or else by its type's name."""
    return _TYPE_NAMES.get(type(value), type(value).__name__)
