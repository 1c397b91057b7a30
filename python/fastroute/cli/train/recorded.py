"""What an artifact says of how it was made: enough to repeat it, and no path of this machine."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["as_written", "recorded"]

PACKAGES = ("fastroute", "numpy", "numba")


def as_written(values: Sequence[object] | None) -> list[str]:
    """Write the values of an option as a user would, none where it was not given."""
    return [repr(value).removesuffix(".0") if isinstance(value, float) else str(value) for value in values or ()]


def recorded(
    kind: str,
    files: Mapping[str, str | None],
    options: Mapping[str, object],
    output: str,
    *,
    packages: Sequence[str] = PACKAGES,
) -> dict[str, Any]:
    """Make the `training` of a manifest: the command, its data with hashes and licences, versions.

    Parameters
    ----------
    kind
        Name of the router.
    files
        Argument's name to path of the data; None for those that were not given. Only names of files are recorded.
    options
        Argument's name to value of all else, in the order to write them. None and [] are left out, a sequence is an
        option with several values, True is one without.
    output
        Path of the artifact.
    packages
        Whose versions to record.
    """
    from fastroute.training.provenance import describe_data

    given = {name: Path(path) for name, path in files.items() if path is not None}
    words = ["fastroute", "train", kind]
    for name, value in {**{name: path.name for name, path in given.items()}, **options}.items():
        words += _words(f"--{name.replace('_', '-')}", value)
    return {
        "command": shlex.join([*words, "-o", Path(output).name]),
        "data": [describe_data(path) for path in given.values()],
        "versions": {package: version(package) for package in packages},
    }


def _words(option: str, value: object) -> list[str]:
    if value is None or value is False or value == []:
        return []
    if value is True:
        return [option]
    return [option, *(map(str, value) if isinstance(value, (list, tuple)) else [str(value)])]
