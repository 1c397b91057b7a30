"""What made a scored log, by the manifests that `fastroute score` leaves beside its outputs.

A manifest counts for a file where it lists it with the size that the file has, and says which router made the column.
Manifests are data from disk: what is not as it should be counts as not there.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.artifact.strict_json import parse_object
from fastroute.batch.endpoints import STANDARD
from fastroute.batch.runs.manifest import FORMAT, MAX_BYTES
from fastroute.batch.runs.places import FOLDER_MANIFEST
from fastroute.errors import ArtifactError
from fastroute.reporting.results import ScoredBy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastroute.reporting.sources import LogFile

__all__ = ["scored_by"]

_LONGEST = 200


def scored_by(files: Sequence[LogFile], score_column: str) -> tuple[ScoredBy, ...]:
    """Return which routers made the scores of a log, those of most files first; without the files that none lists."""
    manifests = _Manifests(score_column)
    found = Counter(maker for file in files if (maker := manifests.maker_of(file.path)) is not None)
    return tuple(ScoredBy(*maker, files=count) for maker, count in found.most_common())


_Maker = tuple[str, str, str]  # kind, artifact, fastroute


@dataclass(frozen=True, slots=True)
class _Run:
    """What a manifest says: the maker of a column, and the bytes of each output."""

    maker: _Maker
    sizes: dict[str, int]


class _Manifests:
    """Finds the manifest of a file; those of folders are read once."""

    def __init__(self, score_column: str) -> None:
        self._column = score_column
        self._runs: dict[str, _Run | None] = {}

    def maker_of(self, path: str) -> _Maker | None:
        if path == STANDARD:
            return None
        whole = Path(os.path.abspath(path))  # noqa: PTH100 - links are not followed, `..` is taken off
        try:
            size = whole.stat().st_size
        except OSError:
            return None
        run = _read(f"{whole}.manifest.json", self._column)
        if run is not None and size in run.sizes.values():
            return run.maker
        for folder in whole.parents:
            run = self._of_folder(folder)
            if run is not None and run.sizes.get(whole.relative_to(folder).as_posix()) == size:
                return run.maker
        return None

    def _of_folder(self, folder: Path) -> _Run | None:
        place = str(folder / FOLDER_MANIFEST)
        if place not in self._runs:
            self._runs[place] = _read(place, self._column)
        return self._runs[place]


def _read(place: str, score_column: str) -> _Run | None:
    path = Path(place)
    try:
        if not path.is_file():  # a pipe would never end
            return None
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        values = parse_object(raw, source=place, max_bytes=MAX_BYTES)
    except (OSError, ValueError, ArtifactError):
        return None
    maker = _maker(values, score_column)
    sizes = _sizes(values.get("outputs"))
    return _Run(maker, sizes) if maker is not None and sizes else None


def _maker(values: dict[str, Any], score_column: str) -> _Maker | None:
    options, routers = values.get("options"), values.get("routers")
    columns = options.get("columns") if isinstance(options, dict) else None
    if values.get("format") != FORMAT or not isinstance(columns, list) or not isinstance(routers, list):
        return None
    for pair, router in zip(columns, routers, strict=False):
        if isinstance(pair, list) and pair and pair[0] == score_column and isinstance(router, dict):
            maker = router.get("kind"), router.get("artifact"), values.get("fastroute")
            return maker if all(isinstance(each, str) and len(each) <= _LONGEST for each in maker) else None  # type: ignore[return-value]
    return None


def _sizes(outputs: object) -> dict[str, int]:
    if not isinstance(outputs, list):
        return {}
    return {
        output["name"]: output["bytes"]
        for output in outputs
        if isinstance(output, dict) and isinstance(output.get("name"), str) and isinstance(output.get("bytes"), int)
    }
