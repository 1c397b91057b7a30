"""A Llama-like decoder: as an ONNX graph with random weights, built without torch, and in NumPy and float64."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tests.reference.tiny_artifacts import TOKENS
from tests.reference.tiny_models import model_tokenizer

from fastroute.artifact import safetensors

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Shape:
    vocab: int = 60
    hidden: int = 16
    layers: int = 2
    heads: int = 2
    inner: int = 24
    eps: float = 1e-5
    theta: float = 100.0


TINY = Shape()
MAX_TOKENS = 24
BEFORE, AFTER = "prove that", "? is the sum"
LABELS = ("why", "what")  # the first says that the strong model is needed


def random_decoder(shape: Shape = TINY, *, seed: int = 0) -> Tensors:
    generator = np.random.default_rng(seed)
    hidden, inner = shape.hidden, shape.inner

    def normal(*extents: int) -> np.ndarray:
        return (1.5 / math.sqrt(extents[-1]) * generator.standard_normal(extents)).astype(np.float32)

    tensors = {"embed": generator.standard_normal((shape.vocab, hidden)).astype(np.float32)}
    for layer in range(shape.layers):
        tensors |= {f"{layer}.{part}": normal(hidden, hidden) for part in ("q", "k", "v", "o")}
        tensors |= {f"{layer}.gate": normal(inner, hidden), f"{layer}.up": normal(inner, hidden)}
        tensors |= {f"{layer}.down": normal(hidden, inner)}
        tensors |= {f"{layer}.{norm}": (1 + 0.3 * normal(hidden)).astype(np.float32) for norm in ("norm1", "norm2")}
    tensors["norm"] = (1 + 0.3 * normal(hidden)).astype(np.float32)
    return tensors


def last_state(tensors: Tensors, ids: Sequence[int], shape: Shape = TINY) -> np.ndarray:
    """Hidden state at the last token, (hidden,) float64: loops over tokens and heads, each seeing those before it."""
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    width, half = shape.hidden // shape.heads, shape.hidden // shape.heads // 2

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x**2).mean() + shape.eps) * weights[name]

    def turned(x: np.ndarray, place: int) -> np.ndarray:
        parts = []
        for head in x.reshape(shape.heads, width):
            angles = place / shape.theta ** (np.arange(half) * 2 / width)
            a, b = head[:half], head[half:]
            parts.append(
                np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)])
            )
        return np.array(parts)

    states = [weights["embed"][token] for token in ids]
    for layer in range(shape.layers):
        seen = [norm(x, f"{layer}.norm1") for x in states]
        keys = [turned(weights[f"{layer}.k"] @ x, place) for place, x in enumerate(seen)]
        values = [(weights[f"{layer}.v"] @ x).reshape(shape.heads, width) for x in seen]
        for place, x in enumerate(seen):
            query, mixed = turned(weights[f"{layer}.q"] @ x, place), []
            for head in range(shape.heads):
                scores = np.array([query[head] @ keys[other][head] for other in range(place + 1)]) / math.sqrt(width)
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                mixed.append(sum(share * values[other][head] for other, share in enumerate(shares)))
            states[place] = states[place] + weights[f"{layer}.o"] @ np.concatenate(mixed)
        for place, x in enumerate(states):
            inner = norm(x, f"{layer}.norm2")
            gate = weights[f"{layer}.gate"] @ inner
            inner = gate / (1 + np.exp(-gate)) * (weights[f"{layer}.up"] @ inner)
            states[place] = x + weights[f"{layer}.down"] @ inner
    return norm(states[-1], "norm")


def build_decoder(tensors: Tensors, shape: Shape = TINY) -> onnx.ModelProto:
    """A graph from `input_ids` and `attention_mask`, padding on the right, to `hidden`."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, onnx.TensorProto] = {}
    width = shape.hidden // shape.heads

    def constant(name: str, value: Any, kind: Any = np.float32) -> str:
        constants.setdefault(name, numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(op: str, *inputs: str, name: str = "", **attributes: object) -> str:
        output = name or f"{op.lower()}_{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [output], name=f"node_{len(nodes)}", **attributes))
        return output

    def matrix(x: str, name: str) -> str:
        return add("MatMul", x, constant(name, np.ascontiguousarray(tensors[name].T)))

    def norm(x: str, name: str) -> str:
        mean = add("ReduceMean", add("Mul", x, x), axes=[-1], keepdims=1)
        root = add("Sqrt", add("Add", mean, constant("eps", shape.eps)))
        return add("Mul", add("Div", x, root), constant(name, tensors[name]))

    zero, one = constant("zero", 0, np.int64), constant("one", 1, np.int64)
    length = add("Squeeze", add("Shape", "input_ids", start=1, end=2), constant("axis0", [0], np.int64))
    places = add("Range", zero, length, one)
    column = add("Unsqueeze", places, constant("axis1", [1], np.int64))
    later = add("Greater", add("Unsqueeze", places, "axis0"), column)
    causal = add("Mul", add("Cast", later, to=TensorProto.FLOAT), constant("lowest", -1e9))
    speeds = constant("speeds", shape.theta ** -(np.arange(width // 2) * 2 / width))
    angles = add("Mul", add("Cast", column, to=TensorProto.FLOAT), speeds)
    angles = add("Concat", angles, angles, axis=1)
    cos, sin = add("Cos", angles), add("Sin", angles)
    split = constant("split", [0, 0, shape.heads, width], np.int64)
    joined = constant("joined", [0, 0, shape.hidden], np.int64)

    def heads(x: str, name: str) -> str:
        return add("Transpose", add("Reshape", matrix(x, name), split), perm=[0, 2, 1, 3])

    def turned(x: str) -> str:
        halves = constant("halves", [width // 2, width // 2], np.int64)
        nodes.append(helper.make_node("Split", [x, halves], [f"{x}_a", f"{x}_b"], name=f"split_{x}", axis=3))
        swapped = add("Concat", add("Neg", f"{x}_b"), f"{x}_a", axis=3)
        return add("Add", add("Mul", x, cos), add("Mul", swapped, sin))

    states = add("Gather", constant("embed", tensors["embed"]), "input_ids")
    for layer in range(shape.layers):
        seen = norm(states, f"{layer}.norm1")
        query, key = turned(heads(seen, f"{layer}.q")), turned(heads(seen, f"{layer}.k"))
        scores = add("MatMul", query, add("Transpose", key, perm=[0, 1, 3, 2]))
        scores = add("Add", add("Div", scores, constant("root", math.sqrt(width))), causal)
        mixed = add("MatMul", add("Softmax", scores, axis=-1), heads(seen, f"{layer}.v"))
        mixed = add("Reshape", add("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        states = add("Add", states, matrix(mixed, f"{layer}.o"))
        inner = norm(states, f"{layer}.norm2")
        gate = matrix(inner, f"{layer}.gate")
        inner = add("Mul", add("Mul", gate, add("Sigmoid", gate)), matrix(inner, f"{layer}.up"))
        states = add("Add", states, matrix(inner, f"{layer}.down"))
    states = norm(states, "norm")
    last = add("Sub", add("ReduceSum", "attention_mask", constant("axis1", [1], np.int64), keepdims=1), one)
    add("GatherND", states, last, name="hidden", batch_dims=1)
    graph = helper.make_graph(
        nodes,
        "decoder",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, ["batch", shape.hidden])],
        list(constants.values()),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def write_decoder(folder: Path, tensors: Tensors | None = None, *, labels: Sequence[str] = LABELS) -> Path:
    """A folder as `fastroute.exporting.decoder.export_decoder` writes it; labels have their rows of the embeddings."""
    made = random_decoder() if tensors is None else tensors
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(build_decoder(made), folder / "model.onnx")
    (folder / "tokenizer.json").write_text(json.dumps(model_tokenizer()), encoding="utf-8")
    settings = {"model_type": "llama", "max_position_embeddings": MAX_TOKENS, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "labels.safetensors").write_bytes(label_file(made, labels))
    return folder


def label_file(tensors: Tensors, labels: Sequence[str] = LABELS) -> bytes:
    rows = tensors["embed"][[TOKENS.index(label) for label in labels]]
    return safetensors.encode(
        {"weight": rows, "bias": np.zeros(len(rows), np.float32)}, {"labels": json.dumps(list(labels))}
    )
