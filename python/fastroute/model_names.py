"""The names by which a request asks for a router, as RouteLLM has them: ``router-mf-0.11593``.

| name | router | threshold |
|---|---|---|
| ``router-mf-0.11593`` | ``mf`` | 0.11593 |
| ``router-mf`` | ``mf`` | its own |
| ``router-my-router-0.5`` | ``my-router`` | 0.5 |
| ``auto`` | the default | its own |
| anything else | none: a model's plain name | |

RouteLLM 0.2.0 needs a threshold and takes no dash in a router's name. Every name with which it routes means the same
here, except that it looks only at how a name begins: to it ``routers-mf-0.5`` is a router's, here it is a model's.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastroute.errors import InvalidArgumentError, InvalidTypeError

__all__ = ["AUTO", "RoutedName", "parse_model"]

AUTO = "auto"
_PREFIX = "router-"
_LONGEST = 200  # characters: each dash may cost an attempt to read a number
_ALLOWED = (
    "allowed: 'router-LABEL-THRESHOLD' with a threshold from 0 to 1, 'router-LABEL', 'auto', or the name of a model "
    "that doesn't begin with 'router-'"
)


@dataclass(frozen=True, slots=True)
class RoutedName:
    """What a name asks for.

    Attributes
    ----------
    router
        Label of the router; None for the default one. Whether there is such a router is not known here.
    threshold
        In [0, 1]; None for the router's own.
    """

    router: str | None
    threshold: float | None


def parse_model(name: str) -> RoutedName | None:
    """Read the name of a model.

    Parameters
    ----------
    name
        As a request has it under "model".

    Returns
    -------
    RoutedName or None
        None where it is a model's plain name: it is not "auto" and does not begin with "router-". Where a label has
        dashes, the longest end that is a number is the threshold: "router-mf-1e-1" is mf at 0.1.

    Raises
    ------
    InvalidTypeError
        `name` is no str.
    InvalidArgumentError
        It begins with "router-", and the label is missing, the threshold is empty, not a number or outside [0, 1], or
        the whole is longer than 200 characters.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"model: found {type(name).__name__}, allowed: the name of a model as a str")
    if name == AUTO:
        return RoutedName(None, None)
    if not name.startswith(_PREFIX):
        return None
    if len(name) > _LONGEST:
        raise InvalidArgumentError(f"model: found {len(name)} characters, allowed for a router: {_LONGEST}")
    label, threshold = _split(name[len(_PREFIX) :])
    if not label or label != label.strip("-") or (threshold is None and _number(label) is not None):
        raise InvalidArgumentError(f"model: found {name!r}, in which a label or threshold is missing; {_ALLOWED}")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InvalidArgumentError(f"model: found {name!r} with the threshold {threshold}; {_ALLOWED}")
    return RoutedName(label, None if threshold is None else abs(threshold))  # no negative zero


def _split(rest: str) -> tuple[str, float | None]:
    """Return the label, and the threshold if there is one: the longest end after a dash that is a number."""
    dash = rest.find("-")
    while dash >= 0:
        threshold = _number(rest[dash + 1 :])
        if threshold is not None:
            return rest[:dash], threshold
        dash = rest.find("-", dash + 1)
    return rest, None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
