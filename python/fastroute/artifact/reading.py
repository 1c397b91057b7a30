"""Reading artifacts that may be hostile: everything is checked before it is trusted, then owned."""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastroute.artifact import strict_json
from fastroute.artifact.folder import checked_path, opened_file, opened_folder, read_exactly, unreadable
from fastroute.artifact.manifest import ListedFile, Manifest, manifest_name, open_manifest
from fastroute.errors import ArtifactCorruptError, ArtifactError, ArtifactNotFoundError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ATTEMPTS = 32


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact read into memory that nothing else can reach.

    Attributes
    ----------
    path
        The folder, as it was given.
    manifest
        The parsed manifest. Treat it as read-only.
    sha256
        The manifest's seal: the identity of the artifact, since it covers the checksum of every file.
    files
        Contents by file name; without the manifest.
    document
        The manifest's own bytes, needed to bundle this artifact into another.
    """

    path: Path
    manifest: Mapping[str, Any]
    sha256: str
    files: Mapping[str, bytes] = field(repr=False)
    document: bytes = field(repr=False)

    def all_files(self) -> dict[str, bytes]:
        """Every file, the manifest included: what `write_artifact` takes to bundle this into another."""
        return {manifest_name(self.manifest["format"]): self.document, **self.files}


def read_artifact(path: str | os.PathLike[str], *, format: str) -> Artifact:  # noqa: A002
    """Read and verify a whole artifact.

    Sizes are compared before anything is allocated; memory peaks below twice the artifact's size plus 1 MiB.
    When a writer replaces the folder meanwhile, the new one is read: never a mixture. Any thread may call.

    Parameters
    ----------
    path
        The folder; it may be reached through symbolic links, its files may not be links.
    format
        `ROUTER` or `ENCODER`.

    Raises
    ------
    ArtifactNotFoundError
        No folder, no manifest in it, or a listed file is missing.
    ArtifactCorruptError
        Altered, cut short or never well-formed.
    ArtifactVersionError
        Written by a newer fastroute.
    ArtifactError
        Of the other format, or the operating system refused to read it.
    """
    return _read(checked_path(path), format, payload=True)


def read_manifest(path: str | os.PathLike[str], *, format: str) -> Artifact:  # noqa: A002
    """Read and verify the manifest alone; `files` is empty. Raises as `read_artifact` does."""
    return _read(checked_path(path), format, payload=False)


def bundled(artifact: Artifact, *, format: str, prefix: str = "") -> Artifact:  # noqa: A002
    """Open an artifact whose files lie in another's folder, such as the encoder inside a router.

    Parameters
    ----------
    artifact
        The outer one.
    format
        `ROUTER` or `ENCODER`.
    prefix
        What the names of the inner one's files begin with there, where its own names could be taken.

    Raises
    ------
    ArtifactNotFoundError
        `artifact` does not carry its manifest.
    ArtifactCorruptError
        The inner manifest is not sound, or lists a file that `artifact` lacks or has with another content.
    """
    name = f"{prefix}{manifest_name(format)}"
    source = f"{artifact.path / name}"
    if name not in artifact.files:
        raise ArtifactNotFoundError(f"{source}: not among the files that the artifact lists")
    inner = open_manifest(artifact.files[name], source=source, format=format)
    for key, listed in inner.listed.items():
        _verify(artifact.files.get(f"{prefix}{key}"), listed, source=f"{source}: bundled file {key!r}")
    files = {key: artifact.files[f"{prefix}{key}"] for key in inner.listed}
    # For messages alone: nothing is read from there.
    path = artifact.path / prefix.rstrip(".") if prefix else artifact.path
    return Artifact(path, inner.values, inner.sha256, files, inner.document)


def _read(path: Path, form: str, *, payload: bool) -> Artifact:
    for _ in range(_ATTEMPTS - 1):
        with ExitStack() as stack:
            folder = _enter_folder(stack, path, form)
            try:
                return _read_folder(folder, path, form, payload=payload)
            except ArtifactError:
                # A writer may have swapped in a new folder and deleted the files of the one at hand.
                if not _was_replaced(folder, path):
                    raise
    with ExitStack() as stack:
        return _read_folder(_enter_folder(stack, path, form), path, form, payload=payload)


def _enter_folder(stack: ExitStack, path: Path, form: str) -> int:
    manifest_name(form)
    try:
        return stack.enter_context(opened_folder(path))
    except NotADirectoryError as error:
        raise ArtifactError(f"{path}: is not a folder; an artifact is one") from error
    except OSError as error:
        raise unreadable(error, str(path)) from error


def _was_replaced(folder: int, path: Path) -> bool:
    try:
        return not os.path.samestat(os.fstat(folder), path.stat())
    except OSError:
        return False


def _read_folder(folder: int, path: Path, form: str, *, payload: bool) -> Artifact:
    manifest = _read_manifest(folder, path, form)
    files = _read_listed(folder, path, manifest) if payload else {}
    return Artifact(path, manifest.values, manifest.sha256, files, manifest.document)


def _read_manifest(folder: int, path: Path, form: str) -> Manifest:
    source = str(path / manifest_name(form))
    with opened_file(folder, manifest_name(form), source=source) as (descriptor, size):
        if size > strict_json.MAX_BYTES:
            raise ArtifactCorruptError(f"{source}: {size} bytes; a manifest has at most {strict_json.MAX_BYTES}")
        raw = read_exactly(descriptor, size, source=source)
    return open_manifest(raw, source=source, format=form)


def _read_listed(folder: int, path: Path, manifest: Manifest) -> dict[str, bytes]:
    sources = {name: str(path / name) for name in manifest.listed}
    with ExitStack() as stack:
        # All are opened first: a file that is deleted afterwards stays readable.
        descriptors = {}
        for name, listed in manifest.listed.items():
            opened = opened_file(folder, name, source=sources[name])
            descriptors[name], size = stack.enter_context(opened)
            _check_size(size, listed, sources[name])
        files = {}
        for name, listed in manifest.listed.items():
            data = read_exactly(descriptors[name], listed.size, source=sources[name])
            _verify(data, listed, source=sources[name])
            files[name] = data
    return files


def _check_size(size: int, listed: ListedFile, source: str) -> None:
    if size != listed.size:
        raise ArtifactCorruptError(f"{source}: {size} bytes, its manifest says {listed.size}")


def _verify(data: bytes | None, listed: ListedFile, *, source: str) -> None:
    if data is None:
        raise ArtifactCorruptError(f"{source} is missing")
    _check_size(len(data), listed, source)
    digest = hashlib.sha256(data).hexdigest()
    if digest != listed.sha256:
        raise ArtifactCorruptError(f"{source}: SHA-256 is {digest}, its manifest says {listed.sha256}")
