"""The folder OUTPUT.partial, in which a run's output grows until it is complete and takes the name OUTPUT."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fastroute.artifact.atomic import opened_parent, replace_folder, reported
from fastroute.batch.outputs import sync_folder
from fastroute.batch.rejects import publish_rejects
from fastroute.batch.runs.journal import Journal, Reached
from fastroute.batch.runs.manifest import FORMAT, check_same, check_shape, read_manifest, write_manifest
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fastroute.batch.runs.places import Places

__all__ = ["Workspace", "finished_run"]

_RUN, _JOURNAL, _OUTPUT, _REJECTS, _NEW = "run.json", "journal", "output", "rejects.jsonl", "new.json"
_OWN = {_RUN, _JOURNAL, _OUTPUT, _REJECTS, _NEW}
# What is there before the manifest is, and after it is gone.
_WITHOUT_RUN = {_JOURNAL, _NEW}


class Workspace:
    """A run's folder, locked while this process has it.

    Use `opened`; then `close`, or `publish` and `close`.
    """

    def __init__(self, places: Places, manifest: dict[str, Any], journal: int, reached: Reached) -> None:
        self.places = places
        self.manifest = manifest
        self.reached = reached
        self._descriptor = journal
        self.journal = Journal(journal, str(places.partial / _JOURNAL), places.target)

    @classmethod
    def opened(cls, places: Places, manifest: dict[str, Any], *, resume: bool, overwrite: bool) -> Workspace:
        """Begin a run, or go on with one that was begun.

        Raises
        ------
        InvalidArgumentError
            An unfinished run is there and neither `resume` nor `overwrite` was given (with both it is gone on with),
            another process has it, it was begun with other options, or the folder is none of fastroute's.
        DataError
            An input or artifact has changed since it began, or what it left is damaged.
        ArtifactError
            The operating system refused.
        """
        with reported(places.target):
            descriptor = _locked(places.partial)
            try:
                return cls._entered(places, manifest, descriptor, resume=resume, overwrite=overwrite)
            except BaseException:
                os.close(descriptor)
                raise

    @classmethod
    def _entered(
        cls, places: Places, manifest: dict[str, Any], descriptor: int, *, resume: bool, overwrite: bool
    ) -> Workspace:
        place = str(places.partial)
        _refuse_strangers(places.partial)
        run = places.partial / _RUN
        begun: dict[str, Any] = {}
        reached = Reached()
        if run.exists() and (resume or not overwrite):
            begun = read_manifest(run)
            journal = Journal(descriptor, str(places.partial / _JOURNAL), places.target)
            reached = journal.replay(len(manifest["inputs"]))
        if reached.begun and not resume:
            raise InvalidArgumentError(
                f"{place}: an unfinished run is there; pass --resume to go on with it, --overwrite to begin anew"
            )
        if not reached.complete:  # what is there may be its own output
            places.check(overwrite=overwrite or begun.get("overwrites") is True)
        if reached.begun:
            check_same(begun, manifest, place)
            workspace = cls(places, begun, descriptor, reached)
            workspace._check_done()
            return workspace
        try:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            _emptied(places.partial)
            overwrites = overwrite or begun.get("overwrites") is True
            write_manifest(run, manifest | {"overwrites": overwrites}, new=places.partial / _NEW)
            sync_folder(places.partial.parent)
        except BaseException:
            _removed(places.partial)
            raise
        return cls(places, manifest | {"overwrites": overwrites}, descriptor, Reached())

    @property
    def rejects(self) -> Path:
        """The file of rows left out so far."""
        return self.places.partial / _REJECTS

    @property
    def published_rejects(self) -> Path | None:
        """Where the rows left out by a run that is complete are named; None where there are none."""
        if not self.reached.rejected:
            return None
        return self.rejects if self.rejects.exists() else self.places.rejects

    def output(self, name: str) -> Path:
        """Return the path of an output that grows, whose folder is made."""
        if not self.places.many:
            return self.places.partial / _OUTPUT
        path = self.places.partial / _OUTPUT / name
        with reported(self.shown(name)):
            missing = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in missing:
                sync_folder(folder.parent)
        return path

    def shown(self, name: str) -> Path:
        """Return what messages call an output."""
        return self.places.target / name if self.places.many else self.places.target

    def publish(self, manifest: Mapping[str, Any]) -> None:
        """Give the output its name. Killed half-way, the next run goes on with this.

        Raises
        ------
        ArtifactError
            The operating system refused.
        """
        places = self.places
        with reported(places.target):
            if not self.reached.complete:
                self.journal.complete()
                self.reached.complete = True
            self._publish_rejects()
            if places.many:
                self._publish_folder(manifest)
            else:
                self._publish_file(manifest)

    def discard(self) -> None:
        """Remove the folder, the output in it included."""
        _removed(self.places.partial)

    def close(self) -> None:
        """Let go of the folder, which stays."""
        os.close(self._descriptor)

    def _check_done(self) -> None:
        """Raise DataError if an output that is done is not what the journal says."""
        if self.reached.complete and self._is_published():
            return
        files = zip(self.manifest["inputs"], self.reached.done, strict=False)
        for name, size in ((file["name"], done.bytes) for file, done in files if done.bytes is not None):
            path = self.places.partial / _OUTPUT
            path = path / name if self.places.many else path
            found = _size_of(path)
            if found != size:
                raise DataError(
                    f"{path}: expected {size} bytes, as the journal says, found {'no file' if found is None else found}"
                    "; --overwrite begins anew"
                )

    def _is_published(self) -> bool:
        """Whether the output has its name already."""
        places = self.places
        if not places.many and (places.partial / _OUTPUT).exists():
            return False
        return places.manifest.is_file() and read_manifest(places.manifest).get("id") == self.manifest["id"]

    def _publish_rejects(self) -> None:
        places = self.places
        if not self.reached.rejected:
            if places.rejects.is_file():  # of the output that is replaced
                places.rejects.unlink()
        elif self.rejects.exists():
            publish_rejects(self.rejects, places.rejects)

    def _publish_file(self, manifest: Mapping[str, Any]) -> None:
        places = self.places
        grown = places.partial / _OUTPUT
        with opened_parent(places.target) as parent:
            if grown.exists():
                write_manifest(places.manifest, manifest, new=places.partial / _NEW)
                if places.target.exists():
                    grown.chmod(places.target.stat().st_mode & 0o777)
                grown.replace(places.target)
            os.fsync(parent)

    def _publish_folder(self, manifest: Mapping[str, Any]) -> None:
        places = self.places
        if self._is_published():
            return
        grown = places.partial / _OUTPUT
        grown.mkdir(exist_ok=True)
        write_manifest(grown / places.manifest.name, manifest, new=places.partial / _NEW)
        with opened_parent(places.target) as parent:
            inner = f"{places.partial.name}/{_OUTPUT}"
            replace_folder(parent, inner, places.target.name, exists=places.target.exists())


def finished_run(places: Places, manifest: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Return the manifest of the output that is there, if this run would make the same.

    What a run that was killed as it cleaned up has left is removed.

    Raises
    ------
    InvalidArgumentError, DataError
        It would not, or the output is not as long as its manifest says, and `overwrite` is false.
    """
    left = os.path.lexists(places.partial)
    if left and (places.partial / _RUN).exists():
        return None
    if not places.manifest.is_file() or not places.target.exists():
        return None
    try:
        found = _finished(places, manifest)
    except (InvalidArgumentError, DataError):
        if left or overwrite:  # a run that replaces the output was killed as it began, or is to begin
            return None
        raise
    if left and found is not None:
        with reported(places.target):
            descriptor = _locked(places.partial)
            try:
                _refuse_strangers(places.partial)
                _removed(places.partial)
            finally:
                os.close(descriptor)
    return found


def _finished(places: Places, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    found = read_manifest(places.manifest)
    if found.get("format") != FORMAT or not found.get("complete"):
        return None
    check_same(found, manifest, str(places.target))
    check_shape(found, str(places.manifest), complete=True)
    for output in found["outputs"]:
        path = places.target / output["name"] if places.many else places.target
        if output["bytes"] is not None and _size_of(path) != output["bytes"]:
            raise DataError(
                f"{path}: expected {output['bytes']} bytes, as {places.manifest.name} says, found "
                f"{'no file' if (size := _size_of(path)) is None else size}; --overwrite makes it anew"
            )
    return found


def _locked(partial: Path) -> int:
    """Make the folder and lock its journal; a folder that was removed meanwhile is made again."""
    import fcntl

    while True:
        try:
            partial.mkdir()
        except FileExistsError:
            if partial.is_symlink() or not partial.is_dir():
                raise InvalidArgumentError(
                    f"{partial}: expected the folder of an unfinished run, found something else; move it away"
                ) from None
            # Before anything is written into it.
            _refuse_strangers(partial)
        try:
            descriptor = os.open(partial / _JOURNAL, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue
        except BaseException:
            with suppress(OSError):
                partial.rmdir()
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), (partial / _JOURNAL).stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise InvalidArgumentError(f"{partial}: another process is at work there") from None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _refuse_strangers(partial: Path) -> None:
    """Raise InvalidArgumentError if a folder is none that `Workspace` has made."""
    try:
        names = {path.name for path in partial.iterdir()}
    except FileNotFoundError:
        return
    strangers = sorted(names - (_OWN if _RUN in names else _WITHOUT_RUN))
    if not strangers and _RUN in names:
        try:
            if not str(read_manifest(partial / _RUN).get("format")).startswith(FORMAT.partition("/")[0]):
                strangers = [_RUN]
        except DataError:  # damaged: for --overwrite, if the rest is there
            strangers = [] if _JOURNAL in names else [_RUN]
    if strangers:
        raise InvalidArgumentError(f"{partial}: has {strangers[0]!r}, so it is no run of fastroute; move it away")


def _emptied(partial: Path) -> None:
    """Remove the outputs of a run."""
    output = partial / _OUTPUT
    if output.is_dir() and not output.is_symlink():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)
    (partial / _REJECTS).unlink(missing_ok=True)


def _removed(partial: Path) -> None:
    """Remove the folder of a run as far as the system lets it be: the manifest late, and the lock's file last."""
    with suppress(OSError):
        _emptied(partial)
        for name in (_NEW, _RUN, _JOURNAL):
            (partial / name).unlink(missing_ok=True)
        partial.rmdir()


def _size_of(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
