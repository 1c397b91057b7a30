"""The forward pass of a BERT encoder in NumPy float32: enough to distil one without torch.

Follows Devlin et al. (arXiv 1810.04805) with post-layer normalisation, absolute positions and token type 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastroute.artifact import safetensors
from fastroute.errors import ArtifactCorruptError, DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["BertConfig", "BertEncoder", "gelu", "gelu_tanh", "model_type"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BertConfig:
    """The fields of a BERT `config.json` that the forward pass needs."""

    vocab_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int
    type_vocab_size: int
    layer_norm_eps: float
    activation: str

    @classmethod
    def read(cls, path: Path) -> BertConfig:
        """Read a `config.json`, refusing what the forward pass does not implement."""
        raw = _read_object(path)
        _require(path, raw, "model_type", ("bert",), "bert")
        _require(path, raw, "position_embedding_type", ("absolute",), "absolute")
        _require(path, raw, "hidden_act", tuple(_ACTIVATIONS), "gelu")
        config = cls(
            vocab_size=_positive(path, raw, "vocab_size"),
            hidden_size=_positive(path, raw, "hidden_size"),
            layers=_positive(path, raw, "num_hidden_layers"),
            heads=_positive(path, raw, "num_attention_heads"),
            intermediate_size=_positive(path, raw, "intermediate_size"),
            max_positions=_positive(path, raw, "max_position_embeddings"),
            type_vocab_size=_positive(path, raw, "type_vocab_size"),
            layer_norm_eps=_epsilon(path, raw),
            activation=raw.get("hidden_act", "gelu"),
        )
        if config.hidden_size % config.heads:
            raise DataError(
                f"{path}: hidden_size {config.hidden_size} is no multiple of {config.heads} attention heads"
            )
        return config


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv_weight: Float32  # (H, 3H): one product for query, key and value
    qkv_bias: Float32
    attention_weight: Float32
    attention_bias: Float32
    attention_norm: tuple[Float32, Float32]
    up_weight: Float32
    up_bias: Float32
    down_weight: Float32
    down_bias: Float32
    output_norm: tuple[Float32, Float32]


class BertEncoder:
    """A BERT encoder read from `config.json` and `model.safetensors`.

    Tensor names may carry the prefix ``bert.``. Instances are immutable: threads may share one.

    Parameters
    ----------
    folder
        Where the two files are.

    Raises
    ------
    DataError
        A file is missing or malformed, or is not a BERT that this forward pass implements.
    """

    def __init__(self, folder: Path) -> None:
        self.config = BertConfig.read(folder / "config.json")
        path = folder / "model.safetensors"
        tensors = _TensorReader(path, _float_tensors(path))
        config, hidden = self.config, self.config.hidden_size
        self._words = tensors.take("embeddings.word_embeddings.weight", config.vocab_size, hidden)
        self._positions = tensors.take("embeddings.position_embeddings.weight", config.max_positions, hidden)
        types = tensors.take("embeddings.token_type_embeddings.weight", config.type_vocab_size, hidden)
        self._type_zero = types[0]
        self._norm = tensors.norm("embeddings.LayerNorm", hidden)
        self._layers = [_read_layer(tensors, index, config) for index in range(config.layers)]

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return self.config.vocab_size

    @property
    def dimension(self) -> int:
        """Length of a hidden state."""
        return self.config.hidden_size

    def hidden_states(self, ids: NDArray[np.int64]) -> Float32:
        """Last hidden states of token sequences of one length.

        Parameters
        ----------
        ids
            (n, length) token ids. There is no padding: every position is attended to.

        Returns
        -------
        numpy.ndarray
            (n, length, hidden size), float32.
        """
        n, length = ids.shape
        states = self._words[ids] + (self._positions[:length] + self._type_zero)
        # (n * length, hidden) from here on: one matrix product per step instead of n small ones
        states = _layer_norm(states.reshape(n * length, -1), self._norm, self.config.layer_norm_eps)
        for layer in self._layers:
            states = self._apply(layer, states, length)
        return states.reshape(n, length, -1)

    def _apply(self, layer: _Layer, states: Float32, length: int) -> Float32:
        eps = self.config.layer_norm_eps
        mixed = self._attention(layer, states, length) @ layer.attention_weight + layer.attention_bias
        states = _layer_norm(states + mixed, layer.attention_norm, eps)
        inner = _ACTIVATIONS[self.config.activation](states @ layer.up_weight + layer.up_bias)
        return _layer_norm(states + inner @ layer.down_weight + layer.down_bias, layer.output_norm, eps)

    def _attention(self, layer: _Layer, states: Float32, length: int) -> Float32:
        rows, hidden = states.shape
        width = hidden // self.config.heads
        qkv = (states @ layer.qkv_weight + layer.qkv_bias).reshape(-1, length, 3, self.config.heads, width)
        query, key, value = (qkv[:, :, part].transpose(0, 2, 1, 3) for part in range(3))
        weights = query @ key.transpose(0, 1, 3, 2) * np.float32(width**-0.5)
        weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed: Float32 = (weights @ value).transpose(0, 2, 1, 3).reshape(rows, hidden)
        return mixed


def _float_tensors(path: Path) -> dict[str, Float32]:
    try:
        tensors = safetensors.decode(path.read_bytes(), source=str(path), bfloat16=True)
    except ArtifactCorruptError as error:
        raise DataError(str(error)) from error
    return {name: x.astype(np.float32, copy=False) for name, x in tensors.items() if x.dtype.kind == "f"}


class _TensorReader:
    """Tensors by name, with or without the `bert.` prefix, shapes checked."""

    def __init__(self, path: Path, tensors: Mapping[str, Float32]) -> None:
        self._path = path
        self._tensors = tensors
        self._prefix = "bert." if any(name.startswith("bert.embeddings.") for name in tensors) else ""

    def take(self, name: str, *shape: int) -> Float32:
        full = self._prefix + name
        tensor = self._tensors.get(full)
        if tensor is None:
            raise DataError(f"{self._path}: no float tensor {full!r}; a BERT encoder has one")
        if tensor.shape != shape:
            raise DataError(f"{self._path}: tensor {full!r} has shape {tensor.shape}; config.json asks for {shape}")
        return tensor

    def dense(self, name: str, inputs: int, outputs: int) -> tuple[Float32, Float32]:
        """Weight as (inputs, outputs), ready for `x @ weight`, and bias."""
        weight = self.take(f"{name}.weight", outputs, inputs)
        return np.ascontiguousarray(weight.T), self.take(f"{name}.bias", outputs)

    def norm(self, name: str, size: int) -> tuple[Float32, Float32]:
        return self.take(f"{name}.weight", size), self.take(f"{name}.bias", size)


def _read_layer(tensors: _TensorReader, index: int, config: BertConfig) -> _Layer:
    at, hidden, inner = f"encoder.layer.{index}", config.hidden_size, config.intermediate_size
    parts = [tensors.dense(f"{at}.attention.self.{part}", hidden, hidden) for part in ("query", "key", "value")]
    attention_weight, attention_bias = tensors.dense(f"{at}.attention.output.dense", hidden, hidden)
    up_weight, up_bias = tensors.dense(f"{at}.intermediate.dense", hidden, inner)
    down_weight, down_bias = tensors.dense(f"{at}.output.dense", inner, hidden)
    return _Layer(
        qkv_weight=np.concatenate([weight for weight, _ in parts], axis=1),
        qkv_bias=np.concatenate([bias for _, bias in parts]),
        attention_weight=attention_weight,
        attention_bias=attention_bias,
        attention_norm=tensors.norm(f"{at}.attention.output.LayerNorm", hidden),
        up_weight=up_weight,
        up_bias=up_bias,
        down_weight=down_weight,
        down_bias=down_bias,
        output_norm=tensors.norm(f"{at}.output.LayerNorm", hidden),
    )


def _layer_norm(states: Float32, norm: tuple[Float32, Float32], eps: float) -> Float32:
    centred: Float32 = states - states.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    centred /= np.sqrt(variance + np.float32(eps))
    centred *= norm[0]
    centred += norm[1]
    return centred


def gelu(x: Float32) -> Float32:
    """`x * Phi(x)` with erf from Abramowitz and Stegun 7.1.26 (absolute error of erf at most 1.5e-7)."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    polynomial = t * np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial += np.float32(coefficient)
        polynomial *= t
    np.square(z, out=z)
    np.negative(z, out=z)
    np.exp(z, out=z)
    tail = z
    tail *= polynomial
    tail *= np.float32(0.5)  # Phi(-|x|)
    tail *= np.abs(x)
    result: Float32 = np.maximum(x, 0) - tail
    return result


def gelu_tanh(x: Float32) -> Float32:
    """Return GELU in its tanh form (Hendrycks and Gimpel, arXiv 1606.08415)."""
    inner = np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x)
    result: Float32 = np.float32(0.5) * x * (1 + np.tanh(inner))
    return result


def _relu(x: Float32) -> Float32:
    return np.maximum(x, 0)


_ACTIVATIONS: dict[str, Callable[[Float32], Float32]] = {
    "gelu": gelu,
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "relu": _relu,
}


def model_type(path: Path) -> object:
    """Read the `model_type` of a `config.json`; "bert" where it names none."""
    return _read_object(path).get("model_type", "bert")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not a JSON file: {error}") from error
    if not isinstance(raw, dict):
        raise DataError(f"{path}: holds {type(raw).__name__}; a JSON object is needed")
    return raw


def _require(path: Path, raw: dict[str, Any], key: str, allowed: tuple[str, ...], default: str) -> None:
    value = raw.get(key, default)
    if value not in allowed:
        raise DataError(f"{path}: {key} is {value!r}; this forward pass implements {', '.join(allowed)}")


def _positive(path: Path, raw: dict[str, Any], key: str) -> int:
    value = raw.get(key)
    if type(value) is not int or value < 1:
        raise DataError(f"{path}: {key} is {value!r}; a positive integer is needed")
    return value


def _epsilon(path: Path, raw: dict[str, Any]) -> float:
    value = raw.get("layer_norm_eps", 1e-12)
    if not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise DataError(f"{path}: layer_norm_eps is {value!r}; a number in [0, 1) is needed")
    return float(value)
