"""The file that names what was left out: it is there at the end of a run, and only where there is something."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from fastroute.batch.endpoints import STANDARD
from fastroute.batch.outputs import StreamSink, sync_folder
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["check_rejects", "publish_rejects", "rejects_file"]


def check_rejects(path: str, taken: Sequence[str], *, overwrite: bool) -> None:
    """Refuse a file of rejects that can't be written, or that is an input or output.

    Raises
    ------
    InvalidArgumentError
        It is a folder or a device, one of `taken` or in it, exists and `overwrite` is false, or its folder is
        not there.
    """
    whole = Path(os.path.realpath(path))
    for other in taken:
        if other != STANDARD and Path(os.path.realpath(other)) in (whole, *whole.parents):
            raise InvalidArgumentError(f"{path}: the rejects need a file of their own, apart from {other}")
    if not whole.parent.is_dir():
        raise InvalidArgumentError(f"{path}: there is no folder {str(whole.parent)!r} to write the rejects to")
    if whole.exists():
        if not stat.S_ISREG(whole.stat().st_mode):
            raise InvalidArgumentError(f"{path}: expected a file for the rejects, found a folder, pipe or device")
        if not overwrite:
            raise InvalidArgumentError(f"{path}: the file exists; pass --overwrite to replace it, or --rejects")


@contextmanager
def rejects_file(path: str) -> Iterator[StreamSink]:
    """Give a sink for rejects, which get their name when the block ends well; with none, an older file goes."""
    with tempfile.TemporaryFile(prefix="fastroute-") as grown:
        sink = StreamSink(grown)
        yield sink
        if sink.tell():
            _copy(grown, path)
        else:
            Path(path).unlink(missing_ok=True)


def publish_rejects(grown: Path, target: Path) -> None:
    """Give rejects their name, which may be on another file system; OSError where that is refused."""
    try:
        grown.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with grown.open("rb") as file:
            _copy(file, target)
        grown.unlink()


def _copy(grown: BinaryIO, target: str | os.PathLike[str]) -> None:
    from fastroute.artifact import atomic_file

    grown.seek(0)
    with atomic_file(target) as file:
        shutil.copyfileobj(grown, file)
