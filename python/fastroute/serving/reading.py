"""A YAML file as checked values. Errors name the file and the path of the value, such as ``models[1].base_url``."""

from __future__ import annotations

import difflib
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

from fastroute.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Node", "read_yaml"]

_MOST_BYTES = 1 << 20
_MOST_SHOWN = 60
_TYPES = {dict: "a mapping", list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false"}
_SECRET_NAMES = re.compile(r"key|token|secret|password", re.IGNORECASE)


class Node:
    """A value of the file and its place.

    Parameters
    ----------
    file
        What errors call the file.
    path
        Of the value within it; empty for the whole.
    value
        As PyYAML read it.
    """

    __slots__ = ("file", "path", "value")

    def __init__(self, file: str, path: str, value: Any) -> None:
        self.file = file
        self.path = path
        self.value = value

    def refuse(self, found: str, allowed: str) -> NoReturn:
        """Raise DataError."""
        raise DataError(f"{self.file}: {self.path or 'the file'}: found {found}, allowed: {allowed}")

    def shown(self) -> str:
        """Return what a message may say of the value; what may be a key is not shown."""
        if self.value is None:
            return "nothing"
        if isinstance(self.value, (dict, list)):
            return _TYPES[type(self.value)]
        if _SECRET_NAMES.search(self.path.rpartition(".")[2]):
            return f"{_TYPES.get(type(self.value), type(self.value).__name__)} (not shown: it may be a key)"
        return repr(self.value)[:_MOST_SHOWN]

    def members(self, known: tuple[str, ...], required: tuple[str, ...] = ()) -> dict[str, Node]:
        """Return the members of a mapping, of which all are known and none is missing."""
        if not isinstance(self.value, dict):
            self.refuse(self.shown(), f"a mapping with {', '.join(known)}")
        for key in self.value:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f" (did you mean {near[0]!r}?)" if near else ""
                self._at(str(key)[:_MOST_SHOWN]).refuse(f"an unknown key{hint}", ", ".join(known))
        for key in required:
            if key not in self.value:
                self._at(key).refuse("nothing", "a value: it is required")
        return {key: self._at(key) for key in self.value}

    def items(self, allowed: str) -> Iterator[Node]:
        """Yield the items of a list that has at least one."""
        if not isinstance(self.value, list) or not self.value:
            self.refuse("an empty list" if self.value == [] else self.shown(), f"a list of {allowed}")
        for index, item in enumerate(self.value):
            yield Node(self.file, f"{self.path}[{index}]", item)

    def text(self, pattern: str = r".+", allowed: str = "text") -> str:
        """Return a text that matches the whole of `pattern`."""
        if not isinstance(self.value, str) or not self.value.isprintable() or not re.fullmatch(pattern, self.value):
            self.refuse(self.shown(), allowed)
        return self.value

    def number(self, least: float, most: float) -> float:
        """Return a number within bounds."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            self.refuse(self.shown(), f"a number from {least:g} to {most:g}")
        if not least <= value <= most:
            self.refuse(f"{value}"[:_MOST_SHOWN], f"a number from {least:g} to {most:g}")
        return float(value)

    def whole(self, least: int, most: int) -> int:
        """Return a whole number within bounds."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.refuse(self.shown(), f"a whole number from {least} to {most}")
        return int(value)

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            self.refuse(self.shown(), "true or false")
        return self.value

    def _at(self, key: str) -> Node:
        value = self.value.get(key)
        return Node(self.file, f"{self.path}.{key}" if self.path else key, value)


def read_yaml(path: Path) -> Node:
    """Read a file of at most 1 MiB.

    Raises
    ------
    DataError
        It can't be read, or is no YAML, or has a key twice in one mapping.
    MissingDependencyError
        PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingDependencyError(
            "serving needs PyYAML, which is not installed: pip install 'fastroute[serve]'"
        ) from error
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: found no file that can be read ({error.strerror}), allowed: a YAML file") from None
    if len(content) > _MOST_BYTES:
        raise DataError(f"{path}: found more than {_MOST_BYTES} bytes, allowed: {_MOST_BYTES}")

    # A key that occurs twice is an error: one of the two would be lost in silence.
    strict: Any = type("StrictLoader", (yaml.SafeLoader,), {})

    def mapping(loader: Any, node: Any) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = loader.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _UnreadableError(f"line {key_node.start_mark.line + 1}: a key that is no text")
            if key in seen:
                raise _UnreadableError(
                    f"line {key_node.start_mark.line + 1}: the key {key[:_MOST_SHOWN]!r} for a second time"
                )
            seen.add(key)
        return dict(loader.construct_mapping(node, deep=True))

    strict.add_constructor("tag:yaml.org,2002:map", mapping)
    try:
        value = yaml.load(content, strict)  # noqa: S506 - of SafeLoader
    except _UnreadableError as error:
        raise DataError(f"{path}: found {error}, allowed: each key once, as text") from None
    except yaml.YAMLError as error:
        # The message of PyYAML quotes the line, on which a key may be.
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
        problem = getattr(error, "problem", None) or "text that is no YAML"
        raise DataError(f"{path}: {where}found broken YAML ({problem}), allowed: a YAML mapping") from None
    except (RecursionError, ValueError):
        raise DataError(f"{path}: found YAML that can't be read, allowed: a YAML mapping") from None
    return Node(str(path), "", value)


class _UnreadableError(Exception):
    pass
