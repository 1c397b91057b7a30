"""The tensors of a checkpoint of RouteLLM's `MFModel`, read as hostile: safetensors, or a torch file of tensors."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from fastroute.artifact import safetensors
from fastroute.artifact.folder import checked_path
from fastroute.errors import ArtifactCorruptError, DataError, MissingDependencyError
from fastroute.exporting.checkpoint import Sources
from fastroute.onnx.folder import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["FactorizationWeights", "read_weights"]

_CONFIG: Final = "config.json"
_SAFETENSORS: Final = ".safetensors"
_TORCH: Final = (".bin", ".pt", ".pth")
_IN_FOLDER: Final = ("model.safetensors", "pytorch_model.bin", "model.pt")
# Tensors by name; K models, rank r, dimension d of the text's embedding.
_TENSORS: Final = {
    "P.weight": ("K", "r"),
    "text_proj.0.weight": ("r", "d"),
    "classifier.0.weight": ("one", "r"),
}
# What `config.json` calls the axes.
_SIZES: Final = {"num_models": "K", "dim": "r", "text_dim": "d"}


@dataclass(frozen=True, slots=True)
class FactorizationWeights:
    """What `MFModel` is made of.

    Attributes
    ----------
    models
        (K, r) float32: `P.weight`, not scaled.
    projection
        (r, d) float32: `text_proj.0.weight`.
    classifier
        (r,) float32: `classifier.0.weight`.
    sources
        The files that they were read from.
    """

    models: NDArray[np.float32]
    projection: NDArray[np.float32]
    classifier: NDArray[np.float32]
    sources: Sources


def read_weights(path: object) -> FactorizationWeights:
    """Read a folder with `config.json` and weights, or a file of weights.

    Raises
    ------
    DataError
        A file is missing, malformed, holds other tensors than an `MFModel` has, or leads out of the folder; or
        `config.json` contradicts the tensors.
    MissingDependencyError
        A torch file without torch.
    """
    given = checked_path(path, "path")
    sources, name = _found(given)
    source = str(sources.folder / name)
    tensors = _from_torch(sources, name) if name.endswith(_TORCH) else _from_safetensors(sources, name)
    more = sorted(set(tensors) - set(_TENSORS))
    if more:
        raise DataError(
            f"{source}: {len(more)} tensors are not those of a matrix factorization, the first is {more[0]!r:.80}; "
            f"allowed: {', '.join(_TENSORS)}"
        )
    lengths: dict[str, int] = {"one": 1}
    read = [_float32(tensors, tensor, lengths, source) for tensor in _TENSORS]
    if given.is_dir() and sources.has(_CONFIG):
        sources.read(_CONFIG)
        _check_config(sources.folder / _CONFIG, read_settings(sources.folder, _CONFIG), lengths)
    return FactorizationWeights(read[0], read[1], read[2][0], sources)


def _found(path: Path) -> tuple[Sources, str]:
    """Return where the weights are."""
    if path.is_dir():
        sources = Sources(path)
        name = next((name for name in _IN_FOLDER if sources.has(name)), None)
        if name is None:
            raise DataError(f"{path}: holds none of {', '.join(_IN_FOLDER)}; give RouteLLM's checkpoint of mf")
        return sources, name
    if not path.name.endswith((_SAFETENSORS, *_TORCH)):
        raise DataError(
            f"{path}: neither a folder nor a file that ends in {', '.join((_SAFETENSORS, *_TORCH))}; give RouteLLM's "
            f"checkpoint of mf"
        )
    return Sources(path.parent), path.name


def _from_safetensors(sources: Sources, name: str) -> dict[str, NDArray[Any]]:
    raw = sources.read(name, keep=False)
    try:
        return safetensors.decode(raw, source=str(sources.folder / name), bfloat16=True)
    except ArtifactCorruptError as error:
        raise DataError(str(error)) from error


def _from_torch(sources: Sources, name: str) -> dict[str, NDArray[Any]]:
    path = sources.folder / name
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: a torch file is read by torch alone: pip install 'fastroute[train-bert]', or give safetensors"
        ) from error
    raw = sources.read(name, keep=False)
    try:
        found = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
        # NumPy has no bfloat16; all that bfloat16 holds float32 does.
        return {
            str(key): (values.float() if values.dtype == torch.bfloat16 else values).detach().numpy()
            for key, values in found.items()
        }
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(f"{path}: no mapping from names to tensors, and nothing else: {error!s:.300}") from error


def _float32(
    tensors: Mapping[str, NDArray[Any]], name: str, lengths: dict[str, int], source: str
) -> NDArray[np.float32]:
    """Fetch a tensor, and learn the lengths of axes that are not known yet."""
    if name not in tensors:
        raise DataError(f"{source}: tensor {name!r} is missing; found {', '.join(map(repr, tensors)) or 'none'}")
    found, axes = tensors[name], _TENSORS[name]
    fits = found.ndim == len(axes) and all(
        length > 0 and lengths.get(axis, length) == length for axis, length in zip(axes, found.shape, strict=True)
    )
    if found.dtype.kind != "f" or not fits:
        allowed = ", ".join(str(lengths.get(axis, "any")) for axis in axes)
        raise DataError(
            f"{source}: tensor {name!r} is {found.dtype} of shape {found.shape}; floating point of shape ({allowed}) "
            f"is needed"
        )
    lengths.update(zip(axes, found.shape, strict=True))
    with np.errstate(over="ignore"):
        values = np.array(found, np.float32, order="C")
    if not np.isfinite(values).all():
        raise DataError(f"{source}: tensor {name!r} holds NaN, infinity or what float32 does not; finite is needed")
    return values


def _check_config(path: Path, config: Mapping[str, Any], lengths: Mapping[str, int]) -> None:
    expected: dict[str, Any] = {name: lengths[axis] for name, axis in _SIZES.items()}
    expected |= {"num_classes": 1, "use_proj": True}
    for name, value in expected.items():
        found = config.get(name, value)
        if type(found) is not type(value) or found != value:
            raise DataError(f"{path}: {name} is {found!r:.40}; the tensors say {value}")
