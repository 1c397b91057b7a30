"""Which files a run reads: one, those of a folder and its subfolders, or those that a pattern matches."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.batch.compression import compression_of
from fastroute.batch.endpoints import STANDARD
from fastroute.batch.formats import format_of
from fastroute.errors import InvalidArgumentError

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


def find_inputs(sources: Sequence[str], format: str | None = None) -> Inputs:  # noqa: A002
    """Find the files that paths, folders and patterns mean.

    In folders, names that begin with a dot or an underscore are passed over, as Spark and Arrow do; partitions
    (``_day=1``) are not. So is, there and where a pattern matches it, what a run wrote beside a file that it scored.

    Parameters
    ----------
    sources : sequence of str
    format : str, optional
        Format of all files, whatever their names.

    Raises
    ------
    InvalidArgumentError
        Nothing there, a file twice, or one in a folder whose format its name does not tell.
    """
    if not sources:
        raise InvalidArgumentError("source: no input given")
    if len(sources) == 1 and not _is_many(sources[0]):
        return Inputs((Input(sources[0], Path(sources[0]).name),), many=False)
    if STANDARD in sources:
        raise InvalidArgumentError("'-': standard input can't be scored together with files")
    found = [(root, path) for source in sources for root, path in _expanded(source)]
    root = os.path.commonpath([os.path.realpath(root) for root, _ in found])
    files = sorted(
        (Input(path, Path(os.path.relpath(_resolved(path), root)).as_posix()) for _, path in found),
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


def _expanded(source: str) -> Iterator[tuple[str, str]]:
    """Yield each file of a source with the folder that its name is below."""
    if Path(source).is_dir():
        paths = list(_walked(source))
        if not paths:
            raise InvalidArgumentError(f"{source}: the folder has no file to score")
        yield from ((source, path) for path in paths)
    elif os.path.lexists(source) or not glob.has_magic(source):
        if not os.path.lexists(source):
            raise InvalidArgumentError(f"{source}: there is no such file")
        yield str(Path(source).parent), source
    else:
        matches = glob.glob(source, recursive=True)  # noqa: PTH207 - the pattern may be absolute
        files = [match for match in matches if Path(match).is_file() and not _is_beside_output(match)]
        # a pattern may match folders of a dataset too; those above files that match add nothing
        files += [path for match in matches if Path(match).is_dir() for path in _walked(match)]
        if not files:
            raise InvalidArgumentError(f"{source}: no file matches")
        root = _fixed_part(source)
        yield from ((root, path) for path in dict.fromkeys(map(os.path.normpath, files)))


def _walked(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        kept = (name for name in sorted(files) if not _is_hidden(name))
        yield from (path for path in (str(Path(parent, name)) for name in kept) if not _is_beside_output(path))


def _is_beside_output(path: str) -> bool:
    return any(path.endswith(suffix) and Path(path.removesuffix(suffix)).is_file() for suffix in _BESIDE_OUTPUTS)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def _fixed_part(pattern: str) -> str:
    """Return the folder above the first part of a pattern that is one."""
    fixed = Path()
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return str(fixed)


def _resolved(path: str) -> str:
    """Resolve the folder only: a link to a file keeps its name."""
    whole = Path(path)
    return str(Path(os.path.realpath(whole.parent)) / whole.name)


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
