"""Graphs that are damaged, lie about sizes, never end or give NaN: a typed error each, and never a crash."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.reference.bert_graph import Shape, build, random_tensors
from tests.reference.tiny_models import write_model

from fastroute.errors import DataError
from fastroute.onnx.graph import check_graph
from fastroute.routers import BertRouter

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

SMALL = Shape(vocab=8, hidden=4, layers=1, inner=4, positions=4)
Change = Callable[[onnx.ModelProto], None]


def tensor(**fields: object) -> Change:
    """Add a tensor as it is, whatever it says."""
    return lambda model: model.graph.initializer.append(TensorProto(name="t", **fields))


def node(name: str, *inputs: str, **attributes: object) -> Change:
    return lambda model: model.graph.node.append(helper.make_node(name, list(inputs), ["out"], **attributes))


def sized(name: str, *inputs: str, values: list[int]) -> Change:
    """An operator that is asked for as many elements as a constant says."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), "size"))
        model.graph.node.append(helper.make_node(name, list(inputs), ["out"]))

    return change


def sized_by_node(model: onnx.ModelProto) -> None:
    value = helper.make_tensor("v", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    model.graph.node.append(helper.make_node("Constant", [], ["size"], value=value))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["out"]))


def declared(*extents: int) -> Change:
    value = helper.make_tensor_value_info("v", TensorProto.FLOAT, list(extents))
    return lambda model: model.graph.value_info.append(value)


def endless(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", [], ["out"], body=body))


F = TensorProto.FLOAT
CRAFTED: dict[str, tuple[Change, str]] = {
    "no data": (tensor(data_type=F, dims=[4]), r"shape \(4,\) needs 128 bits; the file has 0"),
    "less data": (tensor(data_type=F, dims=[4], raw_data=b"1234"), "needs 128 bits; the file has 32"),
    "more data": (tensor(data_type=F, dims=[1], raw_data=b"12345678"), "needs 32 bits; the file has 64"),
    "half of an element": (tensor(data_type=F, dims=[1], raw_data=b"12345"), "needs 32 bits; the file has 40"),
    "terabytes": (tensor(data_type=F, dims=[1 << 20, 1 << 20], raw_data=b"1234"), "bits; the file has 32"),
    "an overflow of 64 bits": (tensor(data_type=F, dims=[1 << 33, 1 << 31], raw_data=b""), "bits; the file has 0"),
    "beyond 40 bits": (tensor(data_type=F, dims=[1 << 41]), "has the shape"),
    "a negative extent": (tensor(data_type=F, dims=[-1], raw_data=b""), r"has the shape \(-1,\)"),
    "two negative extents": (tensor(data_type=F, dims=[-2, -2], raw_data=b"1234" * 4), "has the shape"),
    "many dimensions": (tensor(data_type=F, dims=[1] * 17, raw_data=b"1234"), "more than 16 dimensions"),
    "raw and typed data": (tensor(data_type=F, dims=[1], raw_data=b"1234", float_data=[1.0]), "several pieces"),
    "text": (tensor(data_type=TensorProto.STRING, dims=[1], string_data=[b"a"]), "elements of type 8"),
    "complex numbers": (tensor(data_type=TensorProto.COMPLEX64, dims=[1], raw_data=b"12345678"), "type 14"),
    "no type": (tensor(dims=[1], raw_data=b"1"), "elements of type 0"),
    "a type of the future": (tensor(data_type=999, dims=[1], raw_data=b"1"), "elements of type 999"),
    "too few varints": (tensor(data_type=TensorProto.INT64, dims=[3], int64_data=[1, 2]), "the file has 128"),
    "a loop": (endless, "Loop may run without end"),
    "a scan": (node("Scan", num_scan_inputs=0), "Scan may run without end"),
    "chance": (node("RandomNormal", shape=[1]), "RandomNormal gives another answer every time"),
    "chance like an input": (node("RandomUniformLike", "input_ids"), "gives another answer"),
    "no operator": (node(""), "a node without an operator"),
    "machine learning": (node("TreeEnsemble", domain="ai.onnx.ml"), "of domain 'ai.onnx.ml'"),
    "a constant of terabytes": (sized("ConstantOfShape", "size", values=[1 << 20, 1 << 20]), "is asked for a size"),
    "a constant of one long axis": (sized("ConstantOfShape", "size", values=[1 << 40]), "is asked for a size"),
    "an expansion": (sized("Expand", "input_ids", "size", values=[1 << 30, 1 << 30]), "Expand is asked for a size"),
    "tiles": (sized("Tile", "input_ids", "size", values=[1 << 30, 16]), "Tile is asked for a size"),
    "padding": (sized("Pad", "input_ids", "size", values=[0, 0, 1 << 40, 0]), "Pad is asked for a size"),
    "a range": (sized("Range", "zero", "size", "one", values=[1 << 50]), "Range is asked for a size"),
    "a size of a node": (sized_by_node, "ConstantOfShape is asked for a size"),
    "a declared value": (declared(1 << 20, 1 << 20), "declares a value of shape"),
    "a declared axis": (declared(1 << 50), "declares a value of shape"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_graphs_are_refused(name: str, tmp_path: Path) -> None:
    change, says = CRAFTED[name]
    folder = write_model(tmp_path, random_tensors(labels=1))
    model = onnx.load(folder / "model.onnx")
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(DataError, match=says) as caught:
        BertRouter.from_folder(folder)
    assert str(folder / "model.onnx") in str(caught.value)


NO_GRAPHS = {
    "nothing": b"",
    "text": b"not a graph",
    "JSON": b'{"a": 1}',
    "zeros": b"\x00" * 64,
    "ones": b"\xff" * 64,
    "a pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
    "a zip": b"PK\x03\x04" + b"\x00" * 40,
    "a group": b"\x0b\x0c",
    "field zero": b"\x00\x01",
    "an endless integer": b"\x08" + b"\x80" * 40,
    "an integer of 65 bits": b"\x08" + b"\xff" * 9 + b"\x7f",
    "a padded integer": b"\x08\x80\x80\x00",
    "a length beyond the file": b"\x3a\xff\xff\xff\xff\x0f",
    "a huge length": b"\x3a" + b"\xff" * 9 + b"\x01",
    "an unknown field": b"\xf8\x07\x01",
    "a graph as a number": b"\x38\x01",
    "a version as text": b"\x0a\x01a",
    "two graphs": b"\x3a\x00\x3a\x00",
    "no graph": b"\x08\x08",
    "a name in Latin-1": b"\x3a\x06\x0a\x04\x22\x02\xe9\xe9",
    "a node as a number": b"\x3a\x02\x08\x01",
    "a tensor cut short": b"\x3a\x04\x2a\x02\x08\x80",
}


@pytest.mark.parametrize("name", NO_GRAPHS)
def test_what_is_no_graph(name: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path, random_tensors(labels=1))
    (folder / "model.onnx").write_bytes(NO_GRAPHS[name])
    with pytest.raises(DataError, match=r"model\.onnx: "):
        BertRouter.from_folder(folder)


def test_cut_at_any_length() -> None:
    raw = build(random_tensors(SMALL, labels=1), SMALL).SerializeToString()
    for length in range(len(raw)):
        with pytest.raises(DataError, match=r"^cut: "):
            check_graph(raw[:length], source="cut")
    check_graph(raw, source="whole")


def test_altered_graphs_are_refused_or_read() -> None:
    raw = build(random_tensors(SMALL, labels=1), SMALL).SerializeToString()
    rng = random.Random(7)
    refused = 0
    for _ in range(4000):
        altered = bytearray(raw)
        for _ in range(rng.choice([1, 1, 2, 8])):
            altered[rng.randrange(len(raw))] = rng.randrange(256)
        try:
            check_graph(bytes(altered), source="altered")
        except DataError:
            refused += 1
    assert 500 < refused < 4000


@pytest.mark.parametrize("packed", [False, True])
def test_a_large_graph_is_checked_in_little_memory(packed: bool) -> None:
    """Scorecard 15: at most twice the file and 1 MiB, the file itself included."""
    values = np.arange(1 << 20, dtype=np.int64)
    large = helper.make_tensor("t", TensorProto.INT64, values.shape, values) if packed else None
    graph = helper.make_graph([], "g", [], [], [large or numpy_helper.from_array(values, "t")])
    raw = helper.make_model(graph).SerializeToString()
    tracemalloc.start()
    try:
        check_graph(raw, source="large")
        assert tracemalloc.get_traced_memory()[1] < len(raw) + (1 << 20)
    finally:
        tracemalloc.stop()


def test_deep_nesting_is_no_recursion_without_end() -> None:
    graph = onnx.GraphProto(name="inner")
    for _ in range(20):
        outer = onnx.GraphProto(name="outer")
        outer.node.add(op_type="If").attribute.append(onnx.AttributeProto(name="then_branch", type=5, g=graph))
        graph = outer
    with pytest.raises(DataError, match="nested deeper than 8"):
        check_graph(onnx.ModelProto(graph=graph).SerializeToString(), source="deep")


def rewired(folder: Path, change: Change) -> Path:
    model = onnx.load(folder / "model.onnx")
    change(model)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder


def constant(name: str, value: float) -> Change:
    """Fill a tensor."""

    def change(model: onnx.ModelProto) -> None:
        for each in model.graph.initializer:
            if each.name == name:
                filled = np.full(tuple(each.dims), value, np.float32)
                each.CopyFrom(numpy_helper.from_array(filled, name))

    return change


def input_type(kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for each in model.graph.input:
            each.type.tensor_type.elem_type = kind

    return change


def input_shape(*extents: object) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for each in model.graph.input:
            each.CopyFrom(helper.make_tensor_value_info(each.name, TensorProto.INT64, list(extents)))

    return change


def renamed(model: onnx.ModelProto) -> None:
    for each in model.graph.input:
        each.name = {"input_ids": "tokens"}.get(each.name, each.name)
    for each in model.graph.node:
        each.input[:] = [{"input_ids": "tokens"}.get(name, name) for name in each.input]


def more_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["a", "b"]))


def ids_as_output(model: onnx.ModelProto) -> None:
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["a", "b"]))


def no_output(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def per_token(model: onnx.ModelProto) -> None:
    """Logits of tokens, not of the prompt."""
    states = next(each.input[0] for each in model.graph.node if each.op_type == "Gather" and "layer" in each.input[0])
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(states, TensorProto.FLOAT, None))


UNUSABLE: dict[str, tuple[Change, str]] = {
    "NaN weights": (constant("classifier.weight", np.nan), "gives NaN or infinity for a probe"),
    "infinite weights": (constant("classifier.bias", np.inf), "gives NaN or infinity for a probe"),
    "NaN inside": (constant("embeddings.LayerNorm.weight", np.nan), "gives NaN or infinity"),
    "an overflow": (constant("classifier.weight", 3e38), "gives NaN or infinity"),
    "inputs of floats": (input_type(TensorProto.FLOAT), "can't load it|is tensor.float.; "),
    "a fixed batch": (input_shape(1, "length"), r"input 'input_ids' has the shape \[1, 'length'\]"),
    "a fixed length": (input_shape("batch", 8), r"has the shape \['batch', 8\].*dynamic axes"),
    "one axis": (input_shape("batch"), "can't load it|has the shape"),
    "other names": (renamed, r"inputs are \[.*'tokens'.*\]; input_ids is needed"),
    "an image": (more_inputs, "inputs are .*'pixel_values'"),
    "no output": (no_output, "can't load it|is none"),
    "ids as output": (ids_as_output, "can't load it|of type tensor.int64."),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_graphs_that_are_no_classifier(name: str, tmp_path: Path) -> None:
    change, says = UNUSABLE[name]
    folder = rewired(write_model(tmp_path, random_tensors(labels=1)), change)
    with pytest.raises(DataError, match=says) as caught:
        BertRouter.from_folder(folder)
    assert str(folder / "model.onnx") in str(caught.value)


def test_a_graph_of_hidden_states_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'last_hidden_state' has shape .*; \(n, width\) is needed"):
        BertRouter.from_folder(write_model(tmp_path, random_tensors()))


def test_nan_of_one_prompt_is_an_error_that_names_it(tmp_path: Path) -> None:
    tensors = random_tensors(labels=1)
    tensors["embeddings.word_embeddings.weight"][-2] = np.nan  # of "##ing"
    router = BertRouter.from_folder(write_model(tmp_path, tensors))
    assert 0 <= router.score("prove") <= 1
    with pytest.raises(DataError, match=r"model\.onnx: gives NaN or infinity for prompts\[2\]"):
        router.score(["prove", "why", "proveing", "is"])
    with pytest.raises(DataError, match=r"gives NaN or infinity for the prompt"):
        router.score("proveing")
    with pytest.raises(DataError, match=r"prompts\[2\]"):
        router.route(["prove", "why", "proveing", "is"])
    assert 0 <= router.score("prove") <= 1
