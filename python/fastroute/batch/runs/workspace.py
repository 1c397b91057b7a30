"""The folder OUTPUT.partial, in which a run's output grows until it is complete and takes the name OUTPUT."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.artifact import atomic_file
from fastroute.artifact.atomic import opened_parent, replace_folder, reported
from fastroute.batch.rejects import publish_rejects
from fastroute.batch.runs.journal import Journal, Reached
from fastroute.batch.runs.manifest import FORMAT, check_same
from fastroute.errors import ArtifactError, DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Places", "Workspace", "finished_run"]

_RUN, _JOURNAL, _OUTPUT, _REJECTS = "run.json", "journal", "output", "rejects.jsonl"
_OWN = {_RUN, _JOURNAL, _OUTPUT, _REJECTS}
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
        self.rejects = beside if rejects is None else Path(rejects)
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
            if not self.target.is_dir():
                raise InvalidArgumentError(f"{self.target}: expected a folder to write, found a file")
            if any(self.target.iterdir()):
                if not overwrite:
                    raise InvalidArgumentError(f"{self.target}: the output exists; pass --overwrite to replace it")
                if not self.manifest.is_file():
                    raise InvalidArgumentError(
                        f"{self.target}: has no {FOLDER_MANIFEST}, so it is no output of fastroute; it is not replaced"
                    )
        if self.rejects.exists() and not overwrite:
            raise InvalidArgumentError(f"{self.rejects}: the file exists; pass --overwrite to replace it, or --rejects")


class Workspace:
    """A run's folder, locked while this process has it.

    Use `opened`; then `close`, or `publish` and `close`.
    """

    def __init__(self, places: Places, manifest: dict[str, Any], journal: int, reached: Reached) -> None:
        self.places = places
        self.manifest = manifest
        self.reached = reached
        self._descriptor = journal
        self.journal = Journal(journal, str(places.partial / _JOURNAL))

    @classmethod
    def opened(cls, places: Places, manifest: dict[str, Any], *, resume: bool, overwrite: bool) -> Workspace:
        """Begin a run, or go on with one that was begun.

        Raises
        ------
        InvalidArgumentError
            An unfinished run is there and neither `resume` nor `overwrite` was given, another process has it, or it
            was begun with other options.
        DataError
            An input or artifact has changed since it began.
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
        strangers = sorted(path.name for path in places.partial.iterdir() if path.name not in _OWN)
        if strangers:
            raise InvalidArgumentError(f"{place}: has {strangers[0]!r}, so it is no run of fastroute; move it away")
        run = places.partial / _RUN
        reached = Reached()
        if run.exists() and not overwrite:
            reached = Journal(descriptor, str(places.partial / _JOURNAL)).replay()
        if reached.begun and not resume:
            raise InvalidArgumentError(
                f"{place}: an unfinished run is there; pass --resume to go on with it, --overwrite to begin anew"
            )
        if reached.begun:
            begun = _read_json(run)
            check_same(begun, manifest, place)
            return cls(places, begun, descriptor, reached)
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        _emptied(places.partial)
        _write_json(run, manifest)
        return cls(places, manifest, descriptor, Reached())

    @property
    def rejects(self) -> Path:
        """The file of rows left out so far."""
        return self.places.partial / _REJECTS

    def output(self, name: str) -> Path:
        """Return the path of an output that grows, whose folder is made."""
        if not self.places.many:
            return self.places.partial / _OUTPUT
        path = self.places.partial / _OUTPUT / name
        path.parent.mkdir(parents=True, exist_ok=True)
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
            if self.rejects.exists() and self.rejects.stat().st_size:
                publish_rejects(self.rejects, places.rejects)
            elif not self.reached.rejected:
                places.rejects.unlink(missing_ok=True)  # of the run whose output is replaced
            if places.many:
                self._publish_folder(manifest)
            elif (places.partial / _OUTPUT).exists():
                self._publish_file(manifest)

    def discard(self) -> None:
        """Remove the folder, the output in it included."""
        with suppress(OSError):
            _emptied(self.places.partial)
            (self.places.partial / _RUN).unlink(missing_ok=True)
            (self.places.partial / _JOURNAL).unlink(missing_ok=True)
            self.places.partial.rmdir()

    def close(self) -> None:
        """Let go of the folder, which stays."""
        os.close(self._descriptor)

    def _publish_file(self, manifest: Mapping[str, Any]) -> None:
        places = self.places
        _write_json(places.manifest, manifest)
        grown = places.partial / _OUTPUT
        if places.target.exists():
            grown.chmod(places.target.stat().st_mode & 0o777)
        with opened_parent(places.target) as parent:
            grown.replace(places.target)
            os.fsync(parent)

    def _publish_folder(self, manifest: Mapping[str, Any]) -> None:
        places = self.places
        if places.manifest.exists() and _read_json(places.manifest).get("id") == manifest["id"]:
            return
        grown = places.partial / _OUTPUT
        grown.mkdir(exist_ok=True)
        _write_json(grown / FOLDER_MANIFEST, manifest)
        with opened_parent(places.target) as parent:
            inner = f"{places.partial.name}/{_OUTPUT}"
            replace_folder(parent, inner, places.target.name, exists=places.target.exists())


def finished_run(places: Places, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of the output that is there, if this run would make the same.

    Raises
    ------
    InvalidArgumentError, DataError
        It would not.
    """
    if not places.manifest.is_file() or not places.target.exists() or places.partial.exists():
        return None
    found = _read_json(places.manifest)
    if found.get("format") != FORMAT or not found.get("complete"):
        return None
    check_same(found, manifest, str(places.target))
    return found


def _locked(partial: Path) -> int:
    """Make the folder and lock its journal; a folder that was removed meanwhile is made again."""
    import fcntl

    while True:
        partial.mkdir(exist_ok=True)
        try:
            descriptor = os.open(partial / _JOURNAL, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:
            continue
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


def _emptied(partial: Path) -> None:
    """Remove the outputs of a run."""
    output = partial / _OUTPUT
    if output.is_dir() and not output.is_symlink():
        shutil.rmtree(output)
    else:
        output.unlink(missing_ok=True)
    (partial / _REJECTS).unlink(missing_ok=True)


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_file(path) as file:
        file.write(json.dumps(values, indent=2).encode() + b"\n")  # in ASCII, as paths need not be UTF-8


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}; --overwrite begins anew") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a JSON object; --overwrite begins anew")
    return values
