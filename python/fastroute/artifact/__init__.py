"""Routers and encoders on disk: a folder with a sealed manifest and flat files, no pickle anywhere.

Everything read here is treated as hostile. Bytes are parsed in memory-safe Python; the native core is only
ever given arrays whose dtype, shape and finiteness have been checked.
"""

from __future__ import annotations

from fastroute.artifact.atomic import atomic_file
from fastroute.artifact.manifest import ENCODER, FORMAT_VERSION, MANIFEST_NAMES, ROUTER
from fastroute.artifact.reading import Artifact, bundled, read_artifact, read_manifest
from fastroute.artifact.writing import check_writable, write_artifact

__all__ = [
    "ENCODER",
    "FORMAT_VERSION",
    "MANIFEST_NAMES",
    "ROUTER",
    "Artifact",
    "atomic_file",
    "bundled",
    "check_writable",
    "read_artifact",
    "read_manifest",
    "write_artifact",
]
