"""Which files a run reads: one, those of a folder and its subfolders, or those that a pattern matches."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.batch.compression import compression_of
from fastroute.batch.endpoints import STANDARD
from fastroute.batch.formats import format_of
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Input", "Inputs", "find_inputs"]

_MAX_NAMED = 3
_BESIDE_OUTPUTS = (".manifest.json", ".rejects.jsonl")  # what a run writes beside a file that it scored


@dataclass(frozen=True, slots=True)
class Input:
    """A file to score.

    Attributes
    ----------
    path : str
        "-" is standard input.
    name : str
        Its path below the folder that the inputs share, with forward slashes: the output's below the output folder.
    """

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files of a run, sorted by name; `many` where the output is a folder, however many they are."""

    files: tuple[Input, ...]
    many: bool

    @property
    def stream(self) -> bool:
        """Whether the input can be read once only: standard input, a pipe, a device."""
        path = self.files[0].path
        return not self.many and (path == STANDARD or (Path(path).exists() and not Path(path).is_file()))


def find_inputs(sources: Sequence[str], format: str | None = None, target: str | None = None) -> Inputs:  # noqa: A002
    """Find the files that paths, folders and patterns mean.

    In folders, and under wildcards, names that begin with a dot or an underscore are passed over, as Spark and Arrow
    do; partitions (``_day=1``) are not. Links to folders are followed, but to one that the link is in. What is no
    regular file is found too, for whoever reads it to refuse. What a run wrote beside a file that it scored is not.

    Parameters
    ----------
    sources : sequence of str
    format : str, optional
        Format of all files, whatever their names.
    target : str, optional
        The output, no part of which is an input.

    Raises
    ------
    InvalidArgumentError
        Nothing there, a file twice, one in a folder whose format its name does not tell, or an output that can't be
        a folder for them.
    DataError
        A folder can't be listed.
    """
    if not sources:
        raise InvalidArgumentError("source: no input given")
    if "" in sources:
        raise InvalidArgumentError("source: found an empty path")
    if len(sources) == 1 and not _is_many(sources[0]):
        return Inputs((Input(sources[0], Path(sources[0]).name),), many=False)
    if STANDARD in sources:
        raise InvalidArgumentError("'-': standard input can't be scored together with files")
    if target is not None:
        _refuse_target(sources, target)
    found = [(root, below) for source in sources for root, below in _expanded(source, target)]
    shared = os.path.commonpath([os.path.realpath(root) for root, _ in found])
    files = sorted(
        (
            # a link keeps its own name, wherever it leads
            Input(str(Path(root, below)), Path(os.path.relpath(Path(os.path.realpath(root), below), shared)).as_posix())
            for root, below in found
        ),
        key=lambda file: file.name,
    )
    for first, second in pairwise(files):
        if first.name == second.name:
            raise InvalidArgumentError(f"{second.path}: the file is given twice")
    if format is None:
        _refuse_unknown(files)
    return Inputs(tuple(files), many=True)


def _is_many(source: str) -> bool:
    return source != STANDARD and (Path(source).is_dir() or (not os.path.lexists(source) and glob.has_magic(source)))


def _refuse_target(sources: Sequence[str], target: str) -> None:
    if target == STANDARD:
        raise InvalidArgumentError("'-': the outputs of several files need a folder, not standard output")
    output = Path(os.path.realpath(target))
    for source in sources:
        folder = Path(os.path.realpath(source))
        if folder.is_dir() and (output == folder or folder in output.parents):
            raise InvalidArgumentError(
                f"{target}: the output lies in the input folder {source}; write it elsewhere, or give a pattern such "
                "as 'logs/day=*/*.parquet'"
            )
    if not output.parent.is_dir():
        raise InvalidArgumentError(f"{target}: there is no folder {str(output.parent)!r} to write it to")


def _expanded(source: str, target: str | None) -> Iterator[tuple[str, str]]:
    """Yield each file of a source as a folder and the path below it."""
    if Path(source).is_dir():
        below = list(_walked(source, ""))
        if not below:
            raise InvalidArgumentError(f"{source}: the folder has no file to score")
        yield from ((source, path) for path in below)
    elif os.path.lexists(source) or not glob.has_magic(source):
        if not os.path.lexists(source):
            raise InvalidArgumentError(f"{source}: there is no such file")
        yield str(Path(source).parent), Path(source).name
    else:
        root, parts = _parted(source)
        if ".." in parts:
            raise InvalidArgumentError(f"{source}: '..' can't stand behind a wildcard")
        partial = None if target is None else f"{os.path.realpath(target)}.partial"
        matches = dict.fromkeys(
            path
            for match in _matched(root, "", parts)
            # a pattern may match folders of a dataset too; those above files that match add nothing
            for path in (_walked(root, match) if Path(root, match).is_dir() else [match])
            if partial is None or Path(partial) not in Path(os.path.realpath(root), path).parents
        )
        matches = {path: None for path in matches if not _is_beside_output(Path(root, path))}
        if not matches:
            raise InvalidArgumentError(f"{source}: no file matches")
        yield from ((root, path) for path in matches)


def _walked(root: str, below: str) -> Iterator[str]:
    """Yield the paths of all files below a folder, from the root."""
    for folder in _folders(root, below):
        for name in _names(Path(root, folder)):
            path = str(Path(folder, name))
            if not _is_hidden(name) and not Path(root, path).is_dir() and not _is_beside_output(Path(root, path)):
                yield path


def _is_beside_output(path: Path) -> bool:
    """Whether this is what a run wrote beside a file that it scored."""
    return any(str(path).endswith(end) and Path(str(path).removesuffix(end)).is_file() for end in _BESIDE_OUTPUTS)


def _folders(root: str, below: str) -> Iterator[str]:
    """Yield a folder and all below it, but for links that lead back up."""
    pending: list[tuple[str, frozenset[tuple[int, int]]]] = [(below, frozenset())]
    while pending:
        folder, above = pending.pop()
        status = Path(root, folder).stat()
        identity = status.st_dev, status.st_ino
        if identity in above:
            continue
        yield folder
        inner = [str(Path(folder, name)) for name in _names(Path(root, folder)) if not _is_hidden(name)]
        pending += [(path, above | {identity}) for path in reversed(inner) if Path(root, path).is_dir()]


def _matched(root: str, below: str, parts: Sequence[str]) -> Iterator[str]:
    """Yield what the parts of a pattern match below a folder, as paths from the root."""
    if not parts:
        yield below
        return
    folder = Path(root, below)
    if not folder.is_dir():
        return
    part, *rest = parts
    if part == "**":
        for inner in _folders(root, below) if rest else [below]:
            yield from _matched(root, inner, rest)
    elif _is_pattern(folder, part):
        for name in _names(folder):
            if fnmatchcase(name, part) and (_is_hidden(part) or not _is_hidden(name)):
                yield from _matched(root, str(Path(below, name)), rest)
    elif os.path.lexists(folder / part):
        yield from _matched(root, str(Path(below, part)), rest)


def _parted(pattern: str) -> tuple[str, list[str]]:
    """Return the folder above the first part of a pattern that is one, and the parts from there."""
    fixed = Path()
    parts = list(Path(pattern).parts)
    while not _is_pattern(fixed, parts[0]):
        fixed /= parts.pop(0)
    return str(fixed), parts


def _is_pattern(folder: Path, part: str) -> bool:
    """Whether a part of a path is a pattern; brackets are not where there is a name with them."""
    return glob.has_magic(part) and ("*" in part or "?" in part or not os.path.lexists(folder / part))


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: can't be listed: {error.strerror or error}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _refuse_unknown(files: Sequence[Input]) -> None:
    unknown = [file.path for file in files if format_of(file.path) is None]
    if unknown:
        named = ", ".join(unknown[:_MAX_NAMED]) + (", ..." if len(unknown) > _MAX_NAMED else "")
        raise InvalidArgumentError(
            f"{named}: the format can't be told by the name; give a pattern such as 'logs/**/*.parquet', or --format"
        )
    wrapped = [file.path for file in files if format_of(file.path) == "parquet" and compression_of(file.path)]
    if wrapped:
        raise InvalidArgumentError(f"{wrapped[0]}: Parquet is compressed inside; decompress the file first")
