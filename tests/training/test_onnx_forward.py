"""Distillation of ONNX graphs: tiny ones, made here and computed again in NumPy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fastroute.errors import DataError
from fastroute.training.distill import distill

TABLE = np.random.default_rng(5).standard_normal((12, 6)).astype(np.float32)
TYPES = np.array([[0.25] * 6, [9.0] * 6], dtype=np.float32)


def _write_graph(path: Path, *, types: bool = False, mask: bool = True, pooled: bool = False, **names: str) -> None:
    """Embeddings times the attention mask, plus token types; `pooled` adds a `sentence_embedding`."""
    ids = names.get("ids", "input_ids")
    given = [ids, *(["attention_mask"] if mask else []), *(["token_type_ids"] if types else [])]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"]) for name in given]
    constants = [numpy_helper.from_array(TABLE, "table")]
    nodes = [helper.make_node("Gather", ["table", ids], ["looked_up"])]
    state = "looked_up"
    if mask:
        constants.append(numpy_helper.from_array(np.array([2], np.int64), "last"))
        nodes.append(helper.make_node("Unsqueeze", ["attention_mask", "last"], ["mask3"]))
        nodes.append(helper.make_node("Cast", ["mask3"], ["maskf"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [state, "maskf"], ["masked"]))
        state = "masked"
    if types:
        constants.append(numpy_helper.from_array(TYPES, "types"))
        nodes.append(helper.make_node("Gather", ["types", "token_type_ids"], ["typed"]))
        nodes.append(helper.make_node("Add", [state, "typed"], ["with_types"]))
        state = "with_types"
    nodes.append(helper.make_node("Tanh", [state], ["last_hidden_state"]))
    outputs = [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["n", "length", 6])]
    if pooled:
        nodes.append(helper.make_node("ReduceMax", ["last_hidden_state"], ["sentence_embedding"], axes=[1], keepdims=0))
        outputs.append(helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["n", 6]))
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


@pytest.fixture
def folder(tmp_path, tiny_bert):
    (tmp_path / "tokenizer.json").write_text(json.dumps(tiny_bert.tokenizer_json()))
    return tmp_path


def _states(*, types: bool) -> np.ndarray:
    sequences = np.array([[2, token, 3] for token in range(12)])
    return np.tanh(TABLE[sequences] + (TYPES[0] if types else 0))


@pytest.mark.parametrize("place", ["model.onnx", "onnx/model.onnx"])
@pytest.mark.parametrize("types", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_hidden_states_are_pooled(folder, place, types, mask):
    _write_graph(folder / place, types=types, mask=mask)
    table = distill(folder, dims=None)
    expected = _states(types=types).mean(axis=1)
    assert (np.abs(table.embedding * table.scale[:, None] - expected) <= table.scale[:, None] / 2 + 1e-6).all()
    assert place in table.provenance["files"]


def test_a_sentence_embedding_is_taken_as_it_is(folder):
    _write_graph(folder / "model.onnx", pooled=True)
    table = distill(folder, dims=None)
    expected = _states(types=False).max(axis=1)
    assert (np.abs(table.embedding * table.scale[:, None] - expected) <= table.scale[:, None] / 2 + 1e-6).all()
    assert table.provenance["pooling"] == "graph"


def test_the_bert_is_used_where_there_are_both(encoder_folder):
    folder = encoder_folder()
    before = distill(folder, dims=4)
    _write_graph(folder / "model.onnx")
    assert distill(folder, dims=4).embedding.tobytes() == before.embedding.tobytes()


def test_the_graph_is_used_where_the_weights_are_no_bert(encoder_folder):
    folder = encoder_folder(config={"model_type": "mpnet"})
    _write_graph(folder / "model.onnx")
    assert distill(folder, dims=None).embedding.shape == (12, 6)


def test_unknown_inputs_are_refused(folder):
    _write_graph(folder / "model.onnx", ids="tokens")
    with pytest.raises(DataError, match="tokens"):
        distill(folder, dims=4)


def test_a_file_that_is_no_graph_is_refused(folder):
    (folder / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(DataError, match=r"model\.onnx: .*no ONNX file"):
        distill(folder, dims=4)


def test_a_graph_that_is_too_small_for_the_vocabulary_is_refused(folder, tiny_bert):
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join([*tiny_bert.TOKENS, "extra"]), encoding="utf-8")
    _write_graph(folder / "model.onnx")
    with pytest.raises(DataError, match=r"vocab\.txt: 13 tokens, but .*model\.onnx has embeddings for 12"):
        distill(folder, dims=4)
