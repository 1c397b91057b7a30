"""From a name, a path or an artifact to an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastroute import builtin
from fastroute.artifact import ENCODER, Artifact, read_artifact
from fastroute.artifact.folder import checked_path
from fastroute.builtin import DEFAULT_ENCODER
from fastroute.encoders.onnx import OnnxEncoder
from fastroute.encoders.openai import OpenAIEncoder
from fastroute.encoders.static import StaticEncoder
from fastroute.errors import ArtifactCorruptError, InvalidTypeError

if TYPE_CHECKING:
    import os

__all__ = ["encoder_from", "load_encoder"]


def load_encoder(encoder: str | os.PathLike[str] = DEFAULT_ENCODER) -> StaticEncoder | OnnxEncoder | OpenAIEncoder:
    """Load an encoder by built-in name or by path.

    Raises
    ------
    ArtifactError
        It is not there, or not sound.
    MissingDependencyError
        It runs on ONNX Runtime, which is not installed.
    InvalidTypeError
        `encoder` is no str or path.
    """
    if not isinstance(encoder, str) and not hasattr(encoder, "__fspath__"):
        raise InvalidTypeError(f"encoder: found {type(encoder).__name__}, allowed: a name or a path")
    found = builtin.find_encoder(encoder) if isinstance(encoder, str) else None
    return encoder_from(read_artifact(found or checked_path(encoder, "encoder"), format=ENCODER))


def encoder_from(artifact: Artifact) -> StaticEncoder | OnnxEncoder | OpenAIEncoder:
    """Make an encoder of a verified artifact, by its kind."""
    kind = artifact.manifest["kind"]
    if kind == "onnx":
        return OnnxEncoder(artifact)
    if kind == "openai":
        return OpenAIEncoder.from_artifact(artifact)
    if kind == "static":
        return StaticEncoder(artifact)
    raise ArtifactCorruptError(f"{artifact.path}: encoder of kind {kind!r}; supported: 'static', 'onnx', 'openai'")
