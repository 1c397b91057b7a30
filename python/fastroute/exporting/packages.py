"""Packages that export needs, imported where they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from fastroute.errors import MissingDependencyError

__all__ = ["needed"]


def needed(name: str) -> Any:
    """Import a package of the extra `train-bert`.

    Raises
    ------
    MissingDependencyError
        It is not installed; the message says which extra has it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingDependencyError(
            f"exporting a model needs {package}: pip install 'fastroute[train-bert]' ({error!s:.200})"
        ) from error
