"""The manifest of a run: what it reads, with which routers, and what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.artifact.folder import write_all
from fastroute.batch.endpoints import refuse_irregular
from fastroute.batch.outputs import sync_folder
from fastroute.errors import ArtifactError, DataError, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastroute.batch.inputs import Input
    from fastroute.batch.scoring import Scorer

__all__ = [
    "FORMAT",
    "MAX_BYTES",
    "check_same",
    "check_shape",
    "check_unchanged",
    "describe",
    "identified",
    "read_manifest",
    "write_manifest",
]

FORMAT = "fastroute.scored/1"
MAX_BYTES = 16 << 20  # that are read; of some 10,000 files
_EDGE_BYTES = 64 << 10
_ROUTER_TEXTS = ("label", "kind", "artifact", "strong", "weak")


def describe(
    inputs: Sequence[Input], routers: Mapping[str, Scorer], thresholds: Sequence[float], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest of a run that begins; JSON values.

    Raises
    ------
    DataError
        An input can't be read.
    """
    from fastroute import __version__

    return {
        "format": FORMAT,
        "id": secrets.token_hex(8),
        "fastroute": __version__,
        "inputs": [
            {"path": str(Path(file.path).absolute()), "name": file.name, **_state_of(file.path)} for file in inputs
        ],
        "routers": [
            {"label": label, **identified(router), "threshold": float(threshold)}
            for (label, router), threshold in zip(routers.items(), thresholds, strict=True)
        ],
        "options": dict(options),
    }


def identified(router: Scorer) -> dict[str, str]:
    """Return what tells one router from another: its kind, the hash of its artifact, its models."""
    return {
        "kind": str(getattr(router, "kind", type(router).__name__)),
        "artifact": str(getattr(router, "artifact", "")),
        "strong": router.strong,
        "weak": router.weak,
    }


def check_same(begun: Mapping[str, Any], now: Mapping[str, Any], place: str) -> None:
    """Refuse to go on with a run that was another one.

    Raises
    ------
    InvalidArgumentError
        Options differ, or a router is not known by a hash.
    DataError
        An input has changed, or a router's artifact.
    """
    for key in ("format", "fastroute"):
        if begun.get(key) != now[key]:
            raise InvalidArgumentError(f"{place}: begun with {key} {begun.get(key)}, this is {now[key]}")
    check_shape(begun, place)
    for name in sorted({*begun["options"], *now["options"]}):
        before, after = begun["options"].get(name), now["options"].get(name)
        if before != after:
            raise InvalidArgumentError(
                f"{place}: begun with {name} {before!r}, found {after!r}; --overwrite begins anew"
            )
    _check_inputs(begun["inputs"], now["inputs"], place)
    _check_routers(begun["routers"], now["routers"], place)


def check_shape(values: Mapping[str, Any], place: str, *, complete: bool = False) -> None:
    """Raise DataError if JSON is not a manifest, of a run that is complete where asked for."""
    inputs, routers = _mappings(values.get("inputs")), _mappings(values.get("routers"))
    sound = (
        isinstance(values.get("id"), str)
        and isinstance(values.get("options"), dict)
        and all(isinstance(file.get(key), str) for file in inputs or () for key in ("path", "name"))
        and all(isinstance(router.get(key), str) for router in routers or () for key in _ROUTER_TEXTS)
        and inputs is not None
        and routers is not None
    )
    if sound and complete:
        outputs = _mappings(values.get("outputs"))
        sound = (
            all(is_count(values.get(key)) for key in ("rows", "skipped", "lost"))
            and all(is_counts(values.get(key), len(routers or ())) for key in ("strong_rows", "fallbacks"))
            and [file.get("name") for file in outputs or ()] == [file["name"] for file in inputs or ()]
            and all(file.get("bytes") is None or is_count(file.get("bytes")) for file in outputs or ())
        )
    if not sound:
        raise DataError(f"{place}: the manifest is damaged; --overwrite begins anew")


def is_count(value: object) -> bool:
    """Whether a value is an integer of 0 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_counts(value: object, length: int | None = None) -> bool:
    """Whether a value is a list of counts, of that length."""
    return isinstance(value, list) and all(map(is_count, value)) and length in (None, len(value))


def write_manifest(path: Path, values: Mapping[str, Any], *, new: Path) -> None:
    """Write a manifest that appears under its name complete and on disk; a run that is killed leaves but `new`.

    Raises
    ------
    OSError
        The operating system refused.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(new, flags, 0o666)
    try:
        # Names of files need not be Unicode.
        write_all(descriptor, json.dumps(values, indent=2, ensure_ascii=True).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.replace(path)
    sync_folder(path.parent)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest.

    Raises
    ------
    ArtifactError
        It can't be read.
    DataError
        It is damaged.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error}; --overwrite begins anew") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(values).__name__}; --overwrite begins anew")
    return values


def check_unchanged(path: str, described: Mapping[str, Any]) -> None:
    """Raise DataError if a file is not what it was when the run began."""
    if described["bytes"] is None:  # it could not be read
        return
    try:
        status = Path(path).stat()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    if (status.st_size, status.st_mtime_ns) != (described["bytes"], described["modified_ns"]):
        raise DataError(f"{path}: the file has changed while it was read")


def _check_inputs(begun: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], place: str) -> None:
    before = {file["path"]: file for file in begun}
    after = {file["path"]: file for file in now}
    for path in sorted({*before, *after}):
        if path not in after:
            raise DataError(f"{path}: is no input any more, and was one when the run in {place} began")
        if path not in before:
            raise DataError(f"{path}: was no input when the run in {place} began; score it by itself")
        if before[path] != after[path]:
            changed = [key for key in after[path] if before[path].get(key) != after[path][key]]
            raise DataError(
                f"{path}: the file has changed since the run in {place} began ({', '.join(changed)}); "
                "--overwrite begins anew"
            )


def _check_routers(begun: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], place: str) -> None:
    labels = [router["label"] for router in begun], [router["label"] for router in now]
    if labels[0] != labels[1]:
        raise InvalidArgumentError(f"{place}: begun with routers {labels[0]}, found {labels[1]}")
    for before, after in zip(begun, now, strict=True):
        label = after["label"]
        if not after["artifact"]:
            raise InvalidArgumentError(
                f"router {label}: it was never saved, so that nothing tells whether it is the one that the run in "
                f"{place} began with"
            )
        if before["artifact"] != after["artifact"]:
            raise DataError(
                f"router {label}: the artifact has changed since the run in {place} began: "
                f"{before['artifact'][:16]} then, {after['artifact'][:16]} now; --overwrite begins anew"
            )
        for key in ("kind", "strong", "weak", "threshold"):
            if before.get(key) != after[key]:
                raise InvalidArgumentError(
                    f"router {label}: {place} was begun with {key} {before.get(key)}, found {after[key]}"
                )


def _mappings(value: object) -> list[dict[str, Any]] | None:
    return value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else None


def _state_of(path: str) -> dict[str, Any]:
    """Return size, time and the hash of both ends of a file: a Parquet file's footer, and what is appended to a log."""
    try:
        refuse_irregular(path)
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            digest = hashlib.sha256(file.read(_EDGE_BYTES))
            file.seek(max(0, status.st_size - _EDGE_BYTES))
            digest.update(file.read(_EDGE_BYTES))
    except (OSError, DataError) as error:
        reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{path}: ")
        return {"bytes": None, "modified_ns": None, "edges_sha256": None, "unreadable": reason}
    return {"bytes": status.st_size, "modified_ns": status.st_mtime_ns, "edges_sha256": digest.hexdigest()}
