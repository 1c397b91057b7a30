"""The manifest: what a folder holds, sealed by a checksum over the manifest's own bytes.

The value of the top-level key "sha256" is the SHA-256 of the file with those 64 digits replaced by zeros, and
it occurs in the file once. It is the identity of the artifact: it covers the checksum of every other file.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeGuard

from fastroute.artifact import strict_json
from fastroute.errors import (
    ArtifactCorruptError,
    ArtifactError,
    ArtifactVersionError,
    InvalidArgumentError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUTER = "fastroute-router"
ENCODER = "fastroute-encoder"
FORMAT_VERSION = 1
MANIFEST_NAMES: Mapping[str, str] = {ROUTER: "router.json", ENCODER: "encoder.json"}

MAX_FILES = 64
MAX_FILE_BYTES = 2 * 1024**3
MAX_NAME_BYTES = 255
MAX_TITLE = 256

_UNSEALED = b"0" * 64
_HEX_DIGEST = re.compile("[0-9a-f]{64}")
_RESERVED = ("format", "format_version", "files", "sha256")


@dataclass(frozen=True, slots=True)
class ListedFile:
    """Size in bytes and SHA-256 (64 lower-case hex digits) of one file, as its manifest has them."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that has been checked: its values, its seal, the files it lists and its own bytes."""

    values: Mapping[str, Any]
    sha256: str
    listed: Mapping[str, ListedFile]
    document: bytes = field(repr=False)


def manifest_name(format: str) -> str:  # noqa: A002 - the manifest's own word
    """Name of the manifest of a format, `ROUTER` or `ENCODER`."""
    if format not in MANIFEST_NAMES:
        raise InvalidArgumentError(f"format: {format!r} is none of {', '.join(MANIFEST_NAMES)}")
    return MANIFEST_NAMES[format]


def open_manifest(raw: bytes, *, source: str, format: str) -> Manifest:  # noqa: A002
    """Parse a manifest and check its seal.

    Format and version are looked at before the seal and the list of files, so that a later format is always
    named as such, whatever else it has changed.

    Raises
    ------
    ArtifactVersionError
        Written by a newer fastroute.
    ArtifactCorruptError
        Altered, or never well-formed.
    ArtifactError
        A sound manifest of the other format.
    """
    values = strict_json.parse_object(raw, source=source)
    _check_format(values, source, format)
    _check_version(values, source)
    digest = _check_seal(values, raw, source)
    for key in ("kind", "name"):
        _check_title(values, key, source)
    return Manifest(values, digest, _listed_files(values, source, MANIFEST_NAMES[format]), raw)


def seal_manifest(
    values: Mapping[str, Any],
    files: Mapping[str, bytes],
    *,
    format: str,  # noqa: A002
) -> Manifest:
    """Write down a manifest for `files`; deterministic in its arguments.

    Raises
    ------
    InvalidArgumentError
        `values` holds a reserved key, lacks "kind" or "name", is not JSON, or `files` has a name or a size
        that a reader would refuse.
    """
    reserved = [key for key in _RESERVED if key in values]
    if reserved:
        raise InvalidArgumentError(f"manifest: key {reserved[0]!r} is set by the writer; leave it out")
    name = manifest_name(format)
    listing = {
        key: {"size": memoryview(data).nbytes, "sha256": hashlib.sha256(data).hexdigest()}
        for key, data in files.items()
    }
    document = {"format": format, "format_version": FORMAT_VERSION, **values, "files": listing}
    try:
        text = json.dumps({**document, "sha256": _UNSEALED.decode()}, indent=1, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"manifest: can't be written as JSON: {error}") from error
    head, _, tail = f"{text}\n".encode().rpartition(_UNSEALED)
    raw = head + _digest(head, tail).encode() + tail
    try:
        return open_manifest(raw, source=name, format=format)
    except ArtifactError as error:
        raise InvalidArgumentError(f"manifest: {error}") from error


def _digest(head: bytes, tail: bytes) -> str:
    digest = hashlib.sha256(head)
    digest.update(_UNSEALED)
    digest.update(tail)
    return digest.hexdigest()


def _check_format(values: Mapping[str, Any], source: str, expected: str) -> None:
    found = values.get("format")
    if found == expected:
        return
    if isinstance(found, str) and found in MANIFEST_NAMES:
        raise ArtifactError(f"{source}: holds a {found}, expected a {expected}")
    raise ArtifactCorruptError(f"{source}: key 'format' is {_shown(found)}, expected {expected!r}")


def _check_version(values: Mapping[str, Any], source: str) -> None:
    version = values.get("format_version")
    if not _is_count(version) or version < 1:
        raise ArtifactCorruptError(
            f"{source}: key 'format_version' is {_shown(version)}, expected an integer of 1 or more"
        )
    if version > FORMAT_VERSION:
        raise ArtifactVersionError(
            f"{source}: format version {version}, this fastroute reads up to {FORMAT_VERSION}; "
            "upgrade fastroute to load it"
        )


def _check_seal(values: Mapping[str, Any], raw: bytes, source: str) -> str:
    found = _check_digest(values.get("sha256"), f"{source}: key 'sha256'")
    head, seal, tail = raw.partition(found.encode())
    if not seal or seal in tail:
        raise ArtifactCorruptError(f"{source}: the value of key 'sha256' must occur in the file once")
    actual = _digest(head, tail)
    if actual != found:
        raise ArtifactCorruptError(
            f"{source}: SHA-256 is {actual}, its key 'sha256' says {found}; the manifest was altered"
        )
    return found


def _check_title(values: Mapping[str, Any], key: str, source: str) -> None:
    title = values.get(key)
    if not isinstance(title, str) or not 0 < len(title) <= MAX_TITLE or not title.isprintable():
        raise ArtifactCorruptError(
            f"{source}: key {key!r} is {_shown(title)}, expected 1 to {MAX_TITLE} printable characters"
        )


def _listed_files(values: Mapping[str, Any], source: str, own_name: str) -> dict[str, ListedFile]:
    files = values.get("files")
    if not isinstance(files, dict):
        raise ArtifactCorruptError(f"{source}: key 'files' is {_shown(files)}, expected an object")
    if len(files) > MAX_FILES:
        raise ArtifactCorruptError(f"{source}: key 'files' lists {len(files)} files, at most {MAX_FILES}")
    for name in files:
        _check_file_name(name, source, own_name)
    return {name: _listed_file(entry, f"{source}: file {name!r}") for name, entry in files.items()}


def _check_file_name(name: str, source: str, own_name: str) -> None:
    if not name or name.startswith(".") or "/" in name or "\\" in name or not name.isprintable():
        raise ArtifactCorruptError(
            f"{source}: file name {_shown(name)} is not allowed; a plain name without '/' or '\\' that does "
            "not start with '.' is expected"
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ArtifactCorruptError(f"{source}: file name {_shown(name)} is over {MAX_NAME_BYTES} bytes long")
    if name == own_name:
        raise ArtifactCorruptError(f"{source}: lists itself under 'files'")


def _listed_file(entry: Any, source: str) -> ListedFile:
    if not isinstance(entry, dict) or set(entry) != {"size", "sha256"}:
        raise ArtifactCorruptError(f"{source} is {_shown(entry)}, expected the keys 'size' and 'sha256'")
    size = entry["size"]
    if not _is_count(size) or size > MAX_FILE_BYTES:
        raise ArtifactCorruptError(
            f"{source}: 'size' is {_shown(size)}, expected an integer from 0 to {MAX_FILE_BYTES}"
        )
    return ListedFile(size, _check_digest(entry["sha256"], f"{source}: 'sha256'"))


def _check_digest(value: Any, source: str) -> str:
    if not isinstance(value, str) or not _HEX_DIGEST.fullmatch(value):
        raise ArtifactCorruptError(f"{source} is {_shown(value)}, expected 64 lower-case hex digits")
    return value


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(value: Any) -> str:
    if value is None:
        return "missing or null"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
