"""Packages that fine-tuning and exporting need, imported where they are needed."""

from __future__ import annotations

import importlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastroute.errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["needed", "quiet_transformers"]


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
            f"fine-tuning and exporting models needs {package}: pip install 'fastroute[train-bert]' ({error!s:.200})"
        ) from error


@contextmanager
def quiet_transformers(transformers: Any) -> Iterator[None]:
    """Keep transformers from drawing bars and logging what is no error; what is wrong is raised."""
    logs = transformers.utils.logging
    verbosity, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity(logs.CRITICAL)
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(verbosity)
        if bars:
            logs.enable_progress_bar()
