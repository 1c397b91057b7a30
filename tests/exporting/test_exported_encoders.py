"""Graphs of transformers' encoders: the same numbers as torch, whatever the lengths."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.tiny_transformers import POSITIONS, random_ids, random_model

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.exporting.checks import agreement, check_export, graph_run, padded_batches, torch_run
from fastroute.exporting.encoder import HIDDEN_STATES, LOGITS, export_classifier, export_encoder
from fastroute.exporting.quantisation import halved, quantised
from fastroute.onnx.graph import check_graph

torch = pytest.importorskip("torch", reason="needs the extra [train-bert]")
transformers = pytest.importorskip("transformers", reason="needs the extra [train-bert]")
onnx = pytest.importorskip("onnx", reason="needs the extra [train-bert]")

pytestmark = pytest.mark.torch

KINDS = ("bert", "xlm-roberta", "distilbert")
LENGTHS = [1, 2, 3, POSITIONS, 7, 7, 20, 33, 5, 12]


def pad_of(model: Any) -> int:
    return int(model.config.pad_token_id)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_are_those_of_torch(kind: str) -> None:
    model = random_model(kind)
    run = graph_run(export_encoder(model), HIDDEN_STATES)
    batches = padded_batches(random_ids(LENGTHS), pad_of(model))
    found = check_export(torch_run(model, HIDDEN_STATES), run, batches)
    assert (found.sequences, found.tokens) == (len(LENGTHS), sum(LENGTHS))
    assert found.largest_difference < 1e-5
    ids, mask = batches[0]
    assert run(ids, mask).shape == (*ids.shape, 16)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [1, 2, 3])
def test_logits_are_those_of_torch(kind: str, labels: int) -> None:
    model = random_model(kind, labels=labels)
    run = graph_run(export_classifier(model), LOGITS)
    batches = padded_batches(random_ids(LENGTHS), pad_of(model))
    check_export(torch_run(model, LOGITS), run, batches, tolerance=1e-5)
    logits = run(*batches[0])
    assert logits.shape == (8, labels)
    assert np.ptp(logits[:, 0]) > 0.1  # or else anything would agree
    alone = [run(*batch)[0] for each in random_ids(LENGTHS)[:8] for batch in padded_batches([each], 0)]
    np.testing.assert_allclose(alone, logits, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_holds_its_weights_and_shows_its_vocabulary(kind: str) -> None:
    graph = export_encoder(random_model(kind))
    facts = check_graph(graph, source=kind)
    assert facts.vocabulary == 60
    assert not facts.quantised_by_batch
    model = onnx.load_model_from_string(graph)
    onnx.checker.check_model(model)
    assert [each.name for each in model.graph.input] == ["input_ids", "attention_mask"]
    assert {each.version for each in model.opset_import} == {17}


def test_the_same_model_gives_the_same_bytes(checkout: Path) -> None:
    """In this process, and in one with other hashes of strings."""
    first = export_classifier(random_model("xlm-roberta", labels=3))
    assert export_classifier(random_model("xlm-roberta", labels=3)) == first
    script = (
        "import hashlib; from tests.reference.tiny_transformers import random_model; "
        "from fastroute.exporting.encoder import export_classifier; "
        "from fastroute.exporting.quantisation import quantised; "
        "g = export_classifier(random_model('xlm-roberta', labels=3)); "
        "print(hashlib.sha256(g + quantised(g)).hexdigest())"
    )
    wanted = hashlib.sha256(first + quantised(first)).hexdigest()
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=checkout)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == wanted


def test_the_model_is_left_as_it_was() -> None:
    model = random_model("bert", labels=2).train()
    model.bert.encoder.layer[0].eval()
    modes = [module.training for module in model.modules()]
    attention = model.config._attn_implementation
    before = {name: values.clone() for name, values in model.state_dict().items()}
    graph = export_classifier(model)
    assert [module.training for module in model.modules()] == modes
    assert model.config._attn_implementation == attention
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
    model.eval()  # dropout must not have been exported
    check_export(torch_run(model, LOGITS), graph_run(graph, LOGITS), padded_batches(random_ids(LENGTHS), 0))


def test_models_that_cannot_be_exported() -> None:
    with pytest.raises(InvalidTypeError, match=r"model: found dict, allowed: a torch\.nn\.Module"):
        export_encoder({})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="model: Linear does not take input_ids and attention_mask"):
        export_encoder(torch.nn.Linear(2, 2))
    with pytest.raises(InvalidArgumentError, match="model: BertModel gives no logits"):
        export_classifier(random_model("bert"))
    with pytest.raises(InvalidArgumentError, match="float16; float32 is needed"):
        export_encoder(random_model("bert").half())
    broken = random_model("bert")
    with torch.no_grad():
        broken.encoder.layer[1].output.dense.bias[3] = float("nan")
    with pytest.raises(DataError, match=r"model: encoder\.layer\.1\.output\.dense\.bias has NaN"):
        export_encoder(broken)


@pytest.mark.parametrize("kind", KINDS)
def test_int8_keeps_the_order(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    graph = export_classifier(random_model(kind, labels=1))
    handlers = list(logging.getLogger().handlers)
    small = quantised(graph)
    assert logging.getLogger().handlers == handlers
    assert caplog.records == []
    assert check_graph(small, source="int8").quantised_by_batch
    assert quantised(graph) == small
    model = onnx.load_model_from_string(small)
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    tables = [name for name in kinds if "word_embeddings" in name and name.endswith("quantized")]
    assert [kinds[name] for name in tables] == [onnx.TensorProto.UINT8]  # of tables; products have INT8
    assert onnx.TensorProto.INT8 in kinds.values()
    batches = [batch for each in random_ids(LENGTHS * 3) for batch in padded_batches([each], 0)]
    before, after = (
        np.array([run(*batch)[0, 0] for batch in batches])
        for run in (graph_run(graph, LOGITS), graph_run(small, LOGITS))
    )
    found = agreement(before, after, float(np.median(before)))
    assert found.rank_correlation is not None
    assert found.rank_correlation > 0.95
    assert 0 < found.largest_difference < 0.2


def test_int8_is_a_quarter_tables_included() -> None:
    graph = export_encoder(random_model("bert", vocab_size=8000, hidden_size=128, positions=512))
    assert 0.25 < len(quantised(graph)) / len(graph) < 0.27


def test_float16_is_close_and_gives_float32() -> None:
    graph = export_classifier(random_model("bert", labels=3))
    small = halved(graph)
    table = "bert.embeddings.word_embeddings.weight"
    (kind,) = [each.data_type for each in onnx.load_model_from_string(small).graph.initializer if table in each.name]
    assert kind == onnx.TensorProto.FLOAT16
    assert halved(graph) == small
    batches = padded_batches(random_ids(LENGTHS), 0)
    before, after = (
        np.concatenate([run(*each) for each in batches]) for run in (graph_run(graph, LOGITS), graph_run(small, LOGITS))
    )
    assert after.dtype == np.float32
    assert 0 < np.abs(before - after).max() < 0.02


@pytest.mark.parametrize("smaller", [quantised, halved])
def test_graphs_that_cannot_be_made_smaller(smaller: Any) -> None:
    with pytest.raises(InvalidTypeError, match="graph: found str"):
        smaller("model.onnx")
    with pytest.raises(DataError):
        smaller(b"no graph")
    small = quantised(export_classifier(random_model("bert", labels=1)))
    with pytest.raises(InvalidArgumentError, match="graph: is quantised already"):
        smaller(small)
