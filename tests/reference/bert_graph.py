"""BERT as an ONNX graph with random weights, built node by node: what an exporter gives, without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    """How large a BERT is."""

    vocab: int = 60
    hidden: int = 16
    layers: int = 2
    heads: int = 2
    inner: int = 32
    positions: int = 40
    eps: float = 1e-12


TINY = Shape()


def random_tensors(
    shape: Shape = TINY, *, labels: int = 0, seed: int = 0, spread: float | None = None, pooler: bool = False
) -> Tensors:
    """Float32 weights under the names of a Hugging Face checkpoint; with a classifier on [CLS] if it has labels.

    `pooler` puts the dense layer of BertForSequenceClassification before the classifier.
    """
    generator = np.random.default_rng(seed)
    hidden, inner = shape.hidden, shape.inner

    def normal(*extents: int) -> np.ndarray:
        scale = spread if spread is not None else 1 / math.sqrt(extents[-1])
        return (scale * generator.standard_normal(extents)).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": normal(shape.vocab, hidden),
        "embeddings.position_embeddings.weight": normal(shape.positions, hidden),
        "embeddings.token_type_embeddings.weight": normal(2, hidden),
    }
    norms, dense = ["embeddings.LayerNorm"], {}
    for layer in range(shape.layers):
        at = f"encoder.layer.{layer}"
        dense |= {f"{at}.attention.self.{part}": (hidden, hidden) for part in ("query", "key", "value")}
        dense[f"{at}.attention.output.dense"] = (hidden, hidden)
        dense[f"{at}.intermediate.dense"] = (inner, hidden)
        dense[f"{at}.output.dense"] = (hidden, inner)
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    if pooler:
        dense["pooler.dense"] = (hidden, hidden)
    if labels:
        dense["classifier"] = (labels, hidden)
    for name, extents in dense.items():
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = normal(*extents), 0.3 * normal(extents[0])
    for name in norms:
        tensors[f"{name}.weight"] = (1 + 0.3 * generator.standard_normal(hidden)).astype(np.float32)
        tensors[f"{name}.bias"] = (0.3 * generator.standard_normal(hidden)).astype(np.float32)
    return tensors


class _Builder:
    """Nodes and initialisers of a graph, named as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def add(self, op: str, *inputs: str, name: str = "", **attributes: object) -> str:
        output = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output


def build(
    tensors: Tensors,
    shape: Shape = TINY,
    *,
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids"),
    pooled: bool = False,
    kind: int = TensorProto.INT64,
) -> onnx.ModelProto:
    """A graph with the output `logits` where there is a classifier, else `last_hidden_state`.

    `pooled` adds the mean over attended tokens as `sentence_embedding`; `kind` is the type of the inputs.
    """
    b = _Builder()
    for name, tensor in tensors.items():
        # a dense layer is x @ W.T; exporters store the transpose
        linear = tensor.ndim == 2 and "embeddings" not in name
        b.constant(name, np.ascontiguousarray(tensor.T) if linear else tensor)
    ids = "input_ids"
    length = b.add("Shape", ids, start=1, end=2)
    zero, one = b.constant("zero", np.array(0, np.int64)), b.constant("one", np.array(1, np.int64))
    axis0 = b.constant("axis0", np.array([0], np.int64))
    places = b.add("Range", zero, b.add("Squeeze", length, axis0), one)
    states = b.add("Gather", "embeddings.word_embeddings.weight", ids)
    states = b.add("Add", states, b.add("Gather", "embeddings.position_embeddings.weight", places))
    types = "token_type_ids" if "token_type_ids" in inputs else b.add("Mul", b.add("Cast", ids, to=7), zero)
    states = b.add("Add", states, b.add("Gather", "embeddings.token_type_embeddings.weight", types))
    states = _norm(b, states, "embeddings.LayerNorm", shape)
    mask = None
    if "attention_mask" in inputs:
        axes = b.constant("axes12", np.array([1, 2], np.int64))
        floats = b.add("Cast", b.add("Unsqueeze", "attention_mask", axes), to=TensorProto.FLOAT)
        off = b.add("Sub", b.constant("float_one", np.array(1, np.float32)), floats)
        mask = b.add("Mul", off, b.constant("lowest", np.array(-1e9, np.float32)))
    for layer in range(shape.layers):
        states = _layer(b, states, mask, f"encoder.layer.{layer}", shape)
    outputs = []
    if "classifier.weight" in tensors:
        first = b.add("Gather", states, zero, axis=1)
        if "pooler.dense.weight" in tensors:
            first = b.add("Tanh", _dense(b, first, "pooler.dense"))
        b.add("Add", b.add("MatMul", first, "classifier.weight"), "classifier.bias", name="logits")
        outputs.append(("logits", ["batch", int(tensors["classifier.bias"].shape[0])]))
    else:
        b.add("Identity", states, name="last_hidden_state")
        outputs.append(("last_hidden_state", ["batch", "sequence", shape.hidden]))
    if pooled:
        axis2, axis1 = b.constant("axis2", np.array([2], np.int64)), b.constant("axis1", np.array([1], np.int64))
        weights = b.add("Cast", b.add("Unsqueeze", "attention_mask", axis2), to=TensorProto.FLOAT)
        total = b.add("ReduceSum", b.add("Mul", states, weights), axis1, keepdims=0)
        b.add("Div", total, b.add("ReduceSum", weights, axis1, keepdims=0), name="sentence_embedding")
        outputs.append(("sentence_embedding", ["batch", shape.hidden]))
    graph = helper.make_graph(
        b.nodes,
        "bert",
        [helper.make_tensor_value_info(name, kind, ["batch", "sequence"]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, extents) for name, extents in outputs],
        list(b.constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _layer(b: _Builder, states: str, mask: str | None, at: str, shape: Shape) -> str:
    width = shape.hidden // shape.heads
    split = b.constant("split", np.array([0, 0, shape.heads, width], np.int64))
    joined = b.constant("joined", np.array([0, 0, shape.hidden], np.int64))

    def part(name: str, order: list[int]) -> str:
        reshaped = b.add("Reshape", _dense(b, states, f"{at}.attention.self.{name}"), split)
        return b.add("Transpose", reshaped, perm=order)

    scores = b.add("MatMul", part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]))
    scores = b.add("Div", scores, b.constant("root", np.array(math.sqrt(width), np.float32)))
    if mask is not None:
        scores = b.add("Add", scores, mask)
    mixed = b.add("MatMul", b.add("Softmax", scores, axis=-1), part("value", [0, 2, 1, 3]))
    mixed = b.add("Reshape", b.add("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
    attended = _dense(b, mixed, f"{at}.attention.output.dense")
    middle = _norm(b, b.add("Add", states, attended), f"{at}.attention.output.LayerNorm", shape)
    inner = _gelu(b, _dense(b, middle, f"{at}.intermediate.dense"))
    return _norm(b, b.add("Add", middle, _dense(b, inner, f"{at}.output.dense")), f"{at}.output.LayerNorm", shape)


def _dense(b: _Builder, x: str, name: str) -> str:
    return b.add("Add", b.add("MatMul", x, f"{name}.weight"), f"{name}.bias")


def _norm(b: _Builder, x: str, name: str, shape: Shape) -> str:
    return b.add("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=shape.eps)


def _gelu(b: _Builder, x: str) -> str:
    root = b.constant("root_of_two", np.array(math.sqrt(2), np.float32))
    error = b.add("Erf", b.add("Div", x, root))
    one, half = b.constant("float_one", np.array(1, np.float32)), b.constant("half", np.array(0.5, np.float32))
    return b.add("Mul", b.add("Mul", x, b.add("Add", error, one)), half)
