"""Where a run's output and what belongs to it go."""

from __future__ import annotations

import os
from pathlib import Path

from fastroute.errors import InvalidArgumentError

__all__ = ["Places"]

FOLDER_MANIFEST = "_manifest.json"  # readers of datasets pass over names that begin with an underscore


class Places:
    """Where a run's output and what belongs to it go.

    Parameters
    ----------
    target : str
        The output: a file, or a folder where `many`.
    rejects : str, optional
        File of the rows that are left out; beside the output by default.
    """

    def __init__(self, target: str, *, many: bool, rejects: str | None = None) -> None:
        self.target = Path(os.path.realpath(target))
        self.many = many
        self.partial = self.target.with_name(f"{self.target.name}.partial")
        beside = self.target.with_name(f"{self.target.name}.rejects.jsonl")
        self.rejects = beside if rejects is None else Path(os.path.realpath(rejects))
        self.manifest = (
            self.target / FOLDER_MANIFEST if many else self.target.with_name(f"{self.target.name}.manifest.json")
        )

    def check(self, *, overwrite: bool) -> None:
        """Refuse to write over what is there.

        Raises
        ------
        InvalidArgumentError
            Something is there and `overwrite` is false; or it is no output of a run, which is never replaced.
        """
        if self.many and self.target.exists():
            self._check_folder(overwrite=overwrite)
        if not self.many and self.target.exists() and not overwrite:
            raise InvalidArgumentError(f"{self.target}: the output exists; pass --overwrite to replace it")
        if self.rejects.exists() and not overwrite:
            raise InvalidArgumentError(f"{self.rejects}: the file exists; pass --overwrite to replace it, or --rejects")

    def _check_folder(self, *, overwrite: bool) -> None:
        if not self.target.is_dir():
            raise InvalidArgumentError(f"{self.target}: expected a folder to write, found a file")
        if any(self.target.iterdir()):
            if not overwrite:
                raise InvalidArgumentError(f"{self.target}: the output exists; pass --overwrite to replace it")
            if not self.manifest.is_file():
                raise InvalidArgumentError(
                    f"{self.target}: has no {FOLDER_MANIFEST}, so it is no output of fastroute; it is not replaced"
                )
