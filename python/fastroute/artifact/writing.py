"""Writing an artifact: the whole folder appears, or nothing changes."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastroute.artifact.atomic import opened_parent, replace_folder, reported, temporary_name
from fastroute.artifact.folder import (
    checked_path,
    opened_subfolder,
    remove_flat_folder,
    write_new_file,
)
from fastroute.artifact.manifest import manifest_name, seal_manifest
from fastroute.artifact.reading import read_manifest
from fastroute.errors import ArtifactError, InvalidTypeError


def write_artifact(
    path: str | os.PathLike[str],
    *,
    format: str,  # noqa: A002 - the manifest's own word
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
) -> str:
    """Write an artifact folder atomically and durably.

    Everything goes to a hidden sibling, reaches the disk, and then takes the place of `path` in one step
    (where the file system can't exchange two names, in three). An older artifact of the same format is
    replaced; any other folder that is not empty is left alone. When the call raises, or is interrupted, what
    was there before is still there and nothing is left behind.

    Parameters
    ----------
    path
        The folder; its parent must exist. A symbolic link is followed.
    format
        `ROUTER` or `ENCODER`.
    manifest
        JSON values; "kind" and "name" are required. "format", "format_version", "files" and "sha256" are set
        by the writer.
    files
        Contents by plain file name.

    Returns
    -------
    str
        The manifest's seal: the identity of the artifact.

    Raises
    ------
    InvalidArgumentError, InvalidTypeError
        The manifest or a file is nothing that a reader would accept.
    ArtifactError
        `path` holds something else than such an artifact, or the operating system refused.
    """
    target = Path(os.path.realpath(checked_path(path)))
    _check_types(manifest, files)
    sealed = seal_manifest(manifest, files, format=format)
    with reported(target), opened_parent(target) as parent:
        mode = _replaceable_mode(target, format)
        staging = temporary_name(target.name)
        try:
            _write_folder(parent, staging, {**files, manifest_name(format): sealed.document}, mode)
            replace_folder(parent, staging, target.name, exists=mode is not None)
            _remove_replaced(parent, staging, target)
        except BaseException:
            with suppress(OSError):
                remove_flat_folder(parent, staging)
            raise
    return sealed.sha256


def check_writable(path: str | os.PathLike[str], *, format: str) -> None:  # noqa: A002
    """See that `write_artifact` would not refuse a path, before the work whose result is to go there.

    Raises
    ------
    ArtifactError
        `path` holds something else than an artifact of that format, or its parent is not there.
    """
    target = Path(os.path.realpath(checked_path(path)))
    with reported(target), opened_parent(target):
        _replaceable_mode(target, format)


def _check_types(manifest: Any, files: Any) -> None:
    if not isinstance(manifest, Mapping):
        raise InvalidTypeError(f"manifest: {type(manifest).__name__} is not a mapping")
    if not isinstance(files, Mapping):
        raise InvalidTypeError(f"files: {type(files).__name__} is not a mapping of names to bytes")
    for name, data in files.items():
        if not isinstance(name, str) or not isinstance(data, bytes):
            raise InvalidTypeError(f"files[{name!r}]: {type(data).__name__}; names are str, contents bytes")


def _replaceable_mode(target: Path, form: str) -> int | None:
    """Mode of the folder to replace, None where there is none; an error where it may not be replaced."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(mode):
        raise ArtifactError(f"{target}: exists and is not a folder; choose another path")
    present = {entry.name for entry in target.iterdir()}
    if present:
        foreign = present - _own_names(target, form)
        if foreign:
            raise ArtifactError(
                f"{target}: holds {min(foreign)!r}, which is no part of the artifact there; "
                "choose another path, or move it away"
            )
    return mode


def _own_names(target: Path, form: str) -> set[str]:
    try:
        old = read_manifest(target, format=form)
    except ArtifactError as error:
        raise ArtifactError(
            f"{target}: exists and is no {form} that could be replaced ({error}); choose another path"
        ) from error
    return {manifest_name(form), *old.manifest["files"]}


def _write_folder(parent: int, name: str, files: Mapping[str, bytes], mode: int | None) -> None:
    os.mkdir(name, dir_fd=parent)
    with opened_subfolder(parent, name) as folder:
        for key, data in files.items():
            write_new_file(folder, key, data)
        if mode is not None:
            os.fchmod(folder, stat.S_IMODE(mode))
        os.fsync(folder)


def _remove_replaced(parent: int, staging: str, target: Path) -> None:
    try:
        remove_flat_folder(parent, staging)
    except OSError as error:
        warnings.warn(
            f"{target}: written, but the older artifact is still at {target.parent / staging}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )
