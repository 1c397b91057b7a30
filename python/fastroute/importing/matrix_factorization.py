"""RouteLLM's matrix factorization as an `mf` router."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.artifact import safetensors
from fastroute.builtin import STRONG, WEAK
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.importing.models import ROUTELLM_MODELS
from fastroute.importing.origin import EMBEDDINGS, in_memory, origin, reading_encoder, settings_of
from fastroute.importing.weights import read_weights
from fastroute.routers import MatrixFactorizationRouter

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from fastroute.encoders import Encoder

__all__ = ["import_matrix_factorization"]

_SHORTEST = 1e-12  # what torch.nn.functional.normalize divides by at least


def import_matrix_factorization(
    path: str | os.PathLike[str],
    strong: str = STRONG,
    weak: str = WEAK,
    *,
    encoder: Encoder | str | os.PathLike[str] | None = EMBEDDINGS,
    threshold: float = 0.5,
    models: Iterable[str] | None = None,
    licence: str | None = None,
    training: Mapping[str, Any] | None = None,
) -> MatrixFactorizationRouter:
    """Make a router of a checkpoint of RouteLLM's matrix factorization; its scores are RouteLLM's within 1e-6.

    Nothing is sent or downloaded. RouteLLM scales a model's vector to length 1 in every call; here it is done once.

    Parameters
    ----------
    path
        A folder with model.safetensors or pytorch_model.bin, and config.json; or a file of the weights, .safetensors,
        .bin, .pt or .pth. A torch file needs torch, and may hold tensors alone.
    strong, weak
        The models to route between.
    encoder
        Reads prompts: an encoder, its name or its path. "text-embedding-3-small" is an `OpenAIEncoder` with the key in
        OPENAI_API_KEY. None for a router of embeddings alone.
    threshold
        Used by `route` when none is given.
    models
        Names of the rows of `P.weight`, in order; RouteLLM's 64 where None.
    licence
        Of the checkpoint; what the front matter of its README.md says where None.
    training
        What the artifact says of how it was made, beside the files that were read: JSON values.

    Raises
    ------
    DataError
        A file is missing or not sound, its tensors are others, or there are not as many names as models.
    UnknownModelError
        `strong` or `weak` is none of the models.
    EncoderMismatchError
        The encoder's embeddings have another length than the checkpoint's.
    InvalidTypeError, InvalidArgumentError
        An argument has a type or value that is not allowed.
    MissingDependencyError
        A torch file without torch.
    """
    said = settings_of(threshold, licence, training)
    names = ROUTELLM_MODELS if models is None else _names(models)
    weights = read_weights(path)
    count, rank = weights.models.shape
    if len(names) != count:
        more = "" if models is not None else "; give the names of another one's models"
        raise DataError(
            f"{path}: P.weight has {count} models, "
            f"{'RouteLLM has' if models is None else 'models= names'} {len(names)}{more}"
        )
    lengths = np.linalg.norm(weights.models.astype(np.float64), axis=1, keepdims=True)
    tensors = {
        "model_embedding": (weights.models / np.maximum(lengths, _SHORTEST)).astype(np.float32),
        "projection": weights.projection,
        "classifier": weights.classifier,
        "model_bias": np.zeros(count, np.float32),
    }
    made = {
        **(training or {}),
        **origin("RouteLLM's matrix factorization", [weights.sources], licence),
        "sizes": {"models": count, "rank": rank, "dim": weights.projection.shape[1]},
        "embeddings": EMBEDDINGS,
    }
    manifest = {"models": list(names), "strong": strong, "weak": weak, **said, "training": made}
    reader = reading_encoder(encoder)
    artifact = in_memory(path, manifest, {"weights.safetensors": safetensors.encode(tensors)}, reader)
    return MatrixFactorizationRouter.from_artifact(artifact, strong=strong, weak=weak, encoder=reader)


def _names(models: Iterable[str]) -> tuple[str, ...]:
    if isinstance(models, (str, bytes)) or not hasattr(models, "__iter__"):
        raise InvalidTypeError(f"models: found {type(models).__name__}, allowed: names of models")
    names = tuple(models)
    if not all(isinstance(name, str) for name in names):
        raise InvalidTypeError("models: found something else than a str, allowed: names of models")
    if len(set(names)) != len(names) or len(names) < 2 or not all(names):
        raise InvalidArgumentError(f"models: found {len(names)} names, allowed: two or more, all different")
    return names
