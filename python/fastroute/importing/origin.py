"""What the imports have in common: the encoder, what an artifact says of its files, and the router made of both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastroute.artifact import Artifact
from fastroute.encoders import Encoder, OpenAIEncoder, load_encoder
from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.policies import Threshold
from fastroute.routers.base import encoder_reference

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from fastroute.exporting.checkpoint import Sources

__all__ = ["EMBEDDINGS", "in_memory", "origin", "reading_encoder", "settings_of"]

EMBEDDINGS: Final = "text-embedding-3-small"
"""The model of OpenAI whose embeddings RouteLLM's routers were trained on."""
_KEY: Final = "OPENAI_API_KEY"


def reading_encoder(encoder: Encoder | str | os.PathLike[str] | None) -> Encoder | None:
    """Make the encoder that reads prompts; `EMBEDDINGS` is OpenAI's, which is not asked for anything yet."""
    if encoder == EMBEDDINGS:
        return OpenAIEncoder(EMBEDDINGS, key_env=_KEY)
    if encoder is None or isinstance(encoder, Encoder):
        return encoder
    return load_encoder(encoder)


def settings_of(threshold: float, licence: str | None, training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check what every import is told, and return what a manifest has of it."""
    if licence is not None and not isinstance(licence, str):
        raise InvalidTypeError(f"licence: found {type(licence).__name__}, allowed: a name, or None")
    if licence is not None and not (0 < len(licence) <= 256 and licence.isprintable()):
        raise InvalidArgumentError(f"licence: found {licence!r:.60}, allowed: 1 to 256 printable characters")
    if training is not None and not isinstance(training, Mapping):
        raise InvalidTypeError(f"training: found {type(training).__name__}, allowed: a mapping")
    return {"threshold": Threshold(threshold).value}


def origin(method: str, sources: Iterable[Sources], licence: str | None) -> dict[str, Any]:
    """Describe the files for the artifact, never where they lay, and their licence: as given or as the folders say."""
    import fastroute

    read = list(sources)
    found = [each.licence for each in read] if licence is None else [licence]
    licences = sorted({each for each in found if each})
    return {
        "method": method,
        "data": [described for each in read for described in each.described()],
        **({"licence": ", ".join(licences)} if licences else {}),
        "versions": {"fastroute": fastroute.__version__},
    }


def in_memory(
    path: object, manifest: Mapping[str, Any], files: Mapping[str, bytes], encoder: Encoder | None
) -> Artifact:
    """Lay an artifact out that is not on disk, for a router's `from_artifact`, which checks it as any other."""
    reference, bundled = encoder_reference(encoder)
    return Artifact(Path(str(path)), {**manifest, "encoder": reference}, "", {**bundled, **files}, b"")
