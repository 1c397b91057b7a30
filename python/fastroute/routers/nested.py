"""Routers inside a router's artifact: whole artifacts whose files bear a prefix."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.artifact import ROUTER, Artifact, bundled, read_artifact
from fastroute.encoders import Encoder, load_encoder
from fastroute.errors import ArtifactCorruptError, ArtifactError, EncoderMismatchError, FastrouteError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from fastroute.routers.protocol import Router

__all__ = ["encoders_of", "open_parts", "seen_by", "written"]


def written(router: Router) -> Artifact:
    """Return what a router saves, read back; the router keeps the identity that it has.

    Raises
    ------
    ArtifactError
        It can't be saved, or there is no room for it among the system's temporary files.
    """
    try:
        saved = copy.copy(router)
    except TypeError:  # a third party's that can't be copied
        saved = router
    try:
        with tempfile.TemporaryDirectory(prefix="fastroute-") as folder:
            saved.save(Path(folder) / "router")
            return read_artifact(Path(folder) / "router", format=ROUTER)
    except OSError as error:
        if isinstance(error, FastrouteError):
            raise
        raise ArtifactError(f"a temporary folder can't be used: {error.strerror or error}") from error


def encoders_of(manifest: Mapping[str, Any]) -> set[str]:
    """SHA-256 of the encoders that a router and those inside it read with, as its manifest says."""
    reference, inside = manifest.get("encoder"), manifest.get("encoders")
    found = [reference.get("sha256")] if isinstance(reference, dict) else []
    found += inside if isinstance(inside, list) else []
    return {sha256 for sha256 in found if isinstance(sha256, str)}


def seen_by(manifests: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Put together what the routers were trained on, where `fastroute eval` looks for it."""
    seen: dict[str, list[Any]] = {"data": [], "gold": []}
    for manifest in manifests:
        training = manifest.get("training")
        for member, entries in seen.items():
            given = training.get(member) if isinstance(training, dict) else None
            listed = [given] if isinstance(given, str) else given if isinstance(given, (list, dict)) else []
            entries.extend(entry for entry in listed if entry not in entries)
    return seen


def open_parts(
    artifact: Artifact,
    roles: Sequence[str],
    *,
    strong: str | None,
    weak: str | None,
    encoder: Encoder | str | os.PathLike[str] | None,
) -> list[Router]:
    """Load the routers that an artifact holds under the names `roles`, after comparing their SHA-256 with its own.

    The files of each lie beside the others under names that begin with its role, so a router inside a router inside it
    has a longer name yet: names and their number are bounded, and with them the depth.

    Raises
    ------
    ArtifactError
        One is missing, altered or not sound, or none of them reads with `encoder`.
    """
    from fastroute.loading import open_router

    inner = [_part(artifact, role) for role in roles]
    given = encoder if encoder is None or isinstance(encoder, Encoder) else load_encoder(encoder)
    takes = [given is not None and given.sha256 in encoders_of(part.manifest) for part in inner]
    if given is not None and not any(takes):
        raise EncoderMismatchError(
            f"{artifact.path}: none of its routers was trained with encoder {given.name!r} (sha256 {given.sha256})"
        )
    return [
        open_router(part, strong=strong, weak=weak, encoder=given if taken else None)
        for part, taken in zip(inner, takes, strict=True)
    ]


def _part(artifact: Artifact, role: str) -> Artifact:
    reference = artifact.manifest.get(role)
    sha256 = reference.get("sha256") if isinstance(reference, dict) else None
    if not isinstance(sha256, str):
        raise ArtifactCorruptError(f"{artifact.path}: {role} is {repr(reference)[:80]}; its kind and sha256 are needed")
    part = bundled(artifact, format=ROUTER, prefix=f"{role}.")
    if part.sha256 != sha256:
        raise ArtifactCorruptError(f"{part.path}: sha256 is {part.sha256}, the manifest says {sha256[:80]}")
    return part
