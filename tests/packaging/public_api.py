"""Write down the public names: ``python tests/packaging/public_api.py > tests/packaging/public_api.txt``.

The text is a contract with users: a line may be added, but a line that goes or changes breaks somebody's program
and belongs in CHANGELOG.md.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Iterator
from types import ModuleType

MODULES = (
    "fastroute",
    "fastroute.artifact",
    "fastroute.augmentation",
    "fastroute.batch",
    "fastroute.client",
    "fastroute.compat.routellm",
    "fastroute.encoders",
    "fastroute.errors",
    "fastroute.integrations.langchain",
    "fastroute.integrations.litellm",
    "fastroute.integrations.llama_index",
    "fastroute.integrations.ray",
    "fastroute.integrations.spark",
    "fastroute.model_names",
    "fastroute.reporting",
    "fastroute.routers",
)


def parameter(each: inspect.Parameter) -> str:
    """One parameter as it is written."""
    text = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "") + each.name
    if each.annotation is not each.empty and each.name != "self":
        text += f": {each.annotation}"
    if each.default is each.empty:
        return text
    return f"{text} = {each.default.__name__ if callable(each.default) else repr(each.default)}"


def signature(function: object) -> str:
    """Parameters and what is returned; the same text on every version of Python."""
    if getattr(function, "__module__", "") == "typing":  # all that is left of overloads without an implementation
        return "(...)"
    found = inspect.signature(function)  # type: ignore[arg-type]
    parts: list[str] = []
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not any(part.startswith("*") for part in parts):
            parts.append("*")
        parts.append(parameter(each))
    returned = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    return f"({', '.join(parts)}){returned}"


def members(cls: type) -> Iterator[str]:
    """A class's own and inherited public members, those of other packages aside."""
    if issubclass(cls, BaseException):
        return
    if dataclasses.is_dataclass(cls):
        yield from (f"{field.name}: {field.type}" for field in dataclasses.fields(cls))
    elif "__init__" in vars(cls) and not getattr(cls, "_is_protocol", False):
        yield f"__init__{signature(cls.__init__)}"
    names = {name for base in cls.__mro__ if base.__module__.startswith("fastroute") for name in vars(base)}
    for name in sorted(name for name in names if not name.startswith("_")):
        member = inspect.getattr_static(cls, name)
        if isinstance(member, property):
            yield f"{name}: {inspect.get_annotations(member.fget).get('return')}  (property)"
        elif isinstance(member, (classmethod, staticmethod)):
            yield f"{name}{signature(member.__func__)}  ({type(member).__name__})"
        elif inspect.isfunction(member):
            yield f"{name}{signature(member)}"
        elif not inspect.ismemberdescriptor(member):
            yield f"{name} = {member!r}"


def lines(module: ModuleType) -> Iterator[str]:
    """The public names of a module."""
    for name in sorted(module.__all__):
        value = getattr(module, name)
        if inspect.isclass(value):
            bases = ", ".join(base.__name__ for base in value.__bases__ if base.__name__ not in ("object", "Generic"))
            yield f"{module.__name__}.{name}({bases})"
            yield from (f"    {member}" for member in members(value))
        elif inspect.isfunction(value):
            yield f"{module.__name__}.{name}{signature(value)}"
        else:
            yield f"{module.__name__}.{name}: {type(value).__name__}"


def describe() -> str:
    """The whole text."""
    return "".join(f"{line}\n" for name in MODULES for line in lines(importlib.import_module(name)))


if __name__ == "__main__":
    print(describe(), end="")
