"""Distilling a sentence encoder into a static token table: text to vector without the encoder.

Each vocabulary id goes through the encoder as ``[CLS] id [SEP]`` and is pooled; the rows are then projected
on their principal axes and rounded to int8 with one scale per row. The vector of a text is the mean over its
tokens of ``embedding[id] * scale[id]``. The idea is that of Model2Vec (Tulkens and van Dongen, 2024).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastroute.encoders.wordpiece import WordPieceVocabulary, read_wordpiece
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.onnx.folder import graph_path, read_pooling
from fastroute.training.bert_forward import BertEncoder, model_type
from fastroute.training.onnx_forward import GraphForward

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastroute.training.progress import Progress

__all__ = ["StaticTable", "distill", "principal_axes", "quantize_rows"]

_BLOCK = 64  # sequences per pass: the activations of a small encoder stay in the cache


@dataclass(frozen=True, slots=True)
class StaticTable:
    """A static token table and the tokenizer it belongs to.

    Attributes
    ----------
    embedding
        (V, d) int8.
    scale
        (V,) float32: row i stands for ``embedding[i] * scale[i]``; 0 for a row of zeros.
    tokens
        The token of each of the V ids.
    tokenizer
        A Hugging Face `tokenizer.json` as a dictionary, without truncation, padding or post-processor.
    max_tokens
        Tokens of a text after the first `max_tokens` are to be left out.
    provenance
        Where the table comes from: files with their SHA-256, pooling, dimensions, explained variance.
    """

    embedding: NDArray[np.int8]
    scale: NDArray[np.float32]
    tokens: tuple[str, ...]
    tokenizer: dict[str, Any]
    max_tokens: int
    provenance: dict[str, Any]

    def tokenizer_json(self) -> bytes:
        """Content of the `tokenizer.json` file."""
        return json.dumps(self.tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


class _Encoder(Protocol):
    @property
    def vocab_size(self) -> int | None: ...

    def hidden_states(self, ids: NDArray[np.int64]) -> NDArray[np.float32]: ...


def distill(
    encoder_folder: str | Path,
    *,
    dims: int | None = 256,
    max_tokens: int = 512,
    progress: Progress | None = None,
) -> StaticTable:
    """Build a static token table from a local sentence encoder.

    Parameters
    ----------
    encoder_folder
        Holds a BERT (`config.json` and `model.safetensors`) or an ONNX graph (`model.onnx` or
        `onnx/model.onnx`), a WordPiece tokenizer (`tokenizer.json` or `vocab.txt`) and, if its pooling is not
        the mean, `1_Pooling/config.json`. Where it holds both a BERT and a graph, the BERT is used.
    dims
        Dimensions to keep, by principal component analysis; None keeps the encoder's.
    max_tokens
        Truncation length, recorded in the result.
    progress
        Called with (ids done, ids in all).

    Returns
    -------
    StaticTable
        The same folder gives the same table; another BLAS may move an entry by one unit of int8.

    Raises
    ------
    DataError
        The folder or one of its files is missing, malformed or of a kind not supported.
    InvalidArgumentError
        `dims` or `max_tokens` is out of range.
    MissingDependencyError
        The folder holds an ONNX graph and ONNX Runtime is not installed.
    """
    folder = Path(encoder_folder)
    if not folder.is_dir():
        raise DataError(f"encoder_folder: {folder} is not a directory; give the folder of a sentence encoder")
    _check_count("max_tokens", max_tokens)
    try:
        return _distill(folder, dims, max_tokens, progress)
    except OSError as error:
        raise DataError(f"encoder_folder: {folder} can't be read: {error}") from error


def _distill(folder: Path, dims: int | None, max_tokens: int, progress: Progress | None) -> StaticTable:
    vocabulary = read_wordpiece(folder)
    pooling = read_pooling(folder)
    encoder, model_file = _open_encoder(folder)
    if encoder.vocab_size is not None and encoder.vocab_size < len(vocabulary.tokens):
        raise DataError(
            f"{vocabulary.source}: {len(vocabulary.tokens)} tokens, but {model_file} has embeddings for "
            f"{encoder.vocab_size}"
        )
    vectors, pooling = _encode_vocabulary(encoder, vocabulary, pooling, progress)
    if not np.isfinite(vectors).all():
        raise DataError(f"{model_file}: the encoder gives NaN or infinity for some token")
    explained = 1.0
    hidden = vectors.shape[1]
    if dims is not None:
        _check_count("dims", dims)
        if dims > hidden:
            raise InvalidArgumentError(f"dims: {dims} is more than the encoder's {hidden} dimensions")
        vectors, explained = principal_axes(vectors, dims)
    embedding, scale = quantize_rows(vectors)
    files = {model_file, Path(vocabulary.source), folder / "config.json", folder / "1_Pooling" / "config.json"}
    provenance = {
        "method": "static table: [CLS] id [SEP] through the encoder, pooled, PCA, int8 rows",
        "encoder": folder.resolve().name,
        "files": {str(path.relative_to(folder)): _digest(path) for path in sorted(files) if path.is_file()},
        "pooling": pooling,
        "hidden_size": hidden,
        "dims": embedding.shape[1],
        "explained_variance": round(explained, 6),
        "vocab_size": len(vocabulary.tokens),
        "max_tokens": max_tokens,
    }
    return StaticTable(embedding, scale, vocabulary.tokens, vocabulary.tokenizer, max_tokens, provenance)


def principal_axes(vectors: NDArray[np.float32], dims: int) -> tuple[NDArray[np.float32], float]:
    """Project rows on their first principal axes.

    Rows are centred first. What all tokens share would otherwise take the first axis, most of the int8 range
    and most of the cosine between any two texts; a router, which looks at differences, gets nothing from it.

    Parameters
    ----------
    vectors
        (n, h) float32.
    dims
        Axes to keep, at most h.

    Returns
    -------
    tuple
        The (n, dims) float32 projections, and the share of the variance that they keep. Each axis has the
        sign that makes its largest component positive, so the result does not depend on the solver.
    """
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred / len(centred)
    variances, axes = np.linalg.eigh(covariance)
    order = np.argsort(variances)[::-1][:dims]
    kept = axes[:, order]
    kept *= np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(dims)])
    total = float(variances.sum())
    explained = float(variances[order].sum()) / total if total > 0 else 1.0
    return (centred @ kept).astype(np.float32), explained


def quantize_rows(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round each row to int8 with the scale ``max|x| / 127``.

    Returns
    -------
    tuple
        (n, d) int8 in -127 .. 127, and (n,) float32 scales, 0 for rows of zeros. Each entry is off by at most
        half a scale.
    """
    scale = (np.abs(vectors).max(axis=1) / 127).astype(np.float32)
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    rounded = np.rint(vectors / divisor[:, None])
    return np.clip(rounded, -127, 127).astype(np.int8), scale


def _open_encoder(folder: Path) -> tuple[_Encoder, Path]:
    weights = folder / "model.safetensors"
    graph = graph_path(folder)
    has_bert = weights.is_file() and (folder / "config.json").is_file()
    if has_bert and not (graph and model_type(folder / "config.json") != "bert"):
        return BertEncoder(folder), weights
    if graph is not None:
        return GraphForward(folder, graph), graph
    raise DataError(
        f"{folder}: no encoder in it; config.json with model.safetensors, or model.onnx, or onnx/model.onnx is needed"
    )


def _encode_vocabulary(
    encoder: _Encoder, vocabulary: WordPieceVocabulary, pooling: str, progress: Progress | None
) -> tuple[NDArray[np.float32], str]:
    """Pooled vector of each id, and the pooling: a graph may do its own."""
    total = len(vocabulary.tokens)
    sequences = np.empty((total, 3), dtype=np.int64)
    sequences[:, 0] = vocabulary.id_of("[CLS]")
    sequences[:, 1] = np.arange(total)
    sequences[:, 2] = vocabulary.id_of("[SEP]")
    blocks = []
    for start in range(0, total, _BLOCK):
        states = encoder.hidden_states(sequences[start : start + _BLOCK])
        if states.ndim == 2:
            pooling = "graph"
        blocks.append(_POOLINGS[pooling](states))
        if progress is not None:
            progress(min(start + _BLOCK, total), total)
    return np.concatenate(blocks), pooling


_POOLINGS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "mean": lambda states: states.mean(axis=1),
    "cls": lambda states: states[:, 0],
    "graph": lambda states: states,
}


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise InvalidTypeError(f"{name}: {type(value).__name__} given; an integer is needed")
    if value < 1:
        raise InvalidArgumentError(f"{name}: {value} given; at least 1 is needed")


def _digest(path: Path) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
