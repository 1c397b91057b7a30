"""A local folder with an exported model, as Hugging Face lays it out."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastroute.artifact.folder import checked_path, read_exactly
from fastroute.errors import ArtifactError, DataError
from fastroute.onnx import GRAPH_FILE, TOKENIZER_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ModelFolder", "graph_path", "longest_sequence", "positions_of", "read_file", "read_folder", "read_pooling"]
__all__ += ["read_settings"]

_MAX_BYTES = 2 * 1024**3  # what protobuf and a manifest allow
_MAX_SETTINGS = 1024**2
_USUAL_TOKENS: Final = 512


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """Files of an exported model, in memory.

    Attributes
    ----------
    path
        The folder.
    graph, tokenizer
        Bytes of `model.onnx` or `onnx/model.onnx`, and of `tokenizer.json`.
    config
        What `config.json` says; empty where there is none.
    max_tokens
        The longest sequence that the folder says the model is for, at most 512 where only positions tell.
    pad
        Id of padding by `config.json`; None where it has none.
    """

    path: Path
    graph: bytes
    tokenizer: bytes
    config: Mapping[str, Any]
    max_tokens: int
    pad: int | None

    @property
    def name(self) -> str:
        """Name of the folder, printable."""
        name = "".join(c for c in self.path.resolve().name if c.isprintable())[:256]
        return name or "onnx"


def read_folder(path: object, argument: str = "path") -> ModelFolder:
    """Read a folder with an exported model.

    Raises
    ------
    DataError
        It, or one of its files, is missing, malformed, or leads outside of the folder.
    InvalidTypeError, InvalidArgumentError
        `path` is no path.
    """
    folder = checked_path(path, argument)
    if not folder.is_dir():
        raise DataError(f"{argument}: {folder} is not a folder; give that of an exported model")
    graph = graph_path(folder)
    if graph is None:
        raise DataError(f"{folder}: neither {GRAPH_FILE} nor onnx/{GRAPH_FILE} is there; export the model to ONNX")
    config = read_settings(folder, "config.json")
    pad = config.get("pad_token_id")
    return ModelFolder(
        folder,
        read_file(folder, graph),
        read_file(folder, folder / TOKENIZER_FILE),
        config,
        longest_sequence(folder, config),
        pad if type(pad) is int else None,
    )


def graph_path(folder: Path) -> Path | None:
    """Where the graph of a folder is."""
    places = (folder / GRAPH_FILE, folder / "onnx" / GRAPH_FILE)
    return next((place for place in places if place.is_file()), None)


def read_file(folder: Path, path: Path, *, most: int = _MAX_BYTES) -> bytes:
    """Read a file of a folder.

    A link that leads out of the folder is refused, but for one into the store of a Hugging Face cache that the folder
    is a snapshot of.
    """
    try:
        real, roots = Path(os.path.realpath(path)), [Path(os.path.realpath(folder))]
        if roots[0].parent.name == "snapshots":
            roots.append(roots[0].parent.parent / "blobs")
        if not any(real.is_relative_to(root) for root in roots):
            raise DataError(f"{path}: is a link that leads out of the folder; put the file itself there")
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                raise DataError(f"{path}: is no regular file of at most {most} bytes")
            return read_exactly(descriptor, status.st_size, source=str(path))
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise DataError(f"{path}: not found; the folder of an exported model has it") from error
    except (OSError, ArtifactError) as error:
        raise DataError(f"{path}: can't be read: {error}") from error


def read_pooling(folder: Path) -> str:
    """Pooling by `1_Pooling/config.json`, "mean" or "cls"; "mean" where there is none."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    raw = _object(path, read_file(folder, path, most=_MAX_SETTINGS))
    modes = sorted(key for key, on in raw.items() if key.startswith("pooling_mode_") and on is True)
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(modes) != 1 or modes[0] not in known:
        raise DataError(f"{path}: the pooling modes that are on are {modes}; one of {sorted(known)} is supported")
    return known[modes[0]]


def longest_sequence(folder: Path, config: Mapping[str, Any]) -> int:
    """Tokens of the longest sequence that a folder says its model is for, at most 512 where only positions tell."""
    stated = read_settings(folder, "sentence_bert_config.json").get("max_seq_length")
    if type(stated) is int and stated > 0:
        return stated
    stated = read_settings(folder, "tokenizer_config.json").get("model_max_length")
    return min([_USUAL_TOKENS, *(each for each in (positions_of(config), stated) if type(each) is int and each > 0)])


def positions_of(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model has positions for, by its `config.json`; None where that says nothing."""
    positions = config.get("max_position_embeddings")
    if type(positions) is not int:
        return None
    # RoBERTa counts its positions from the id of padding on.
    return positions - 2 if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet") else positions


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object of a folder; empty where there is no such file.

    Raises
    ------
    DataError
        It is something else, or leads outside of the folder.
    """
    path = folder / name
    return _object(path, read_file(folder, path, most=_MAX_SETTINGS)) if path.is_file() else {}


def _object(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error!s:.200}") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {type(found).__name__}; a JSON object is needed")
    return found
