"""Graphs that reach for files, memory or code beside them: refused before ONNX Runtime sees them (scorecard 16)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.reference.bert_graph import build, random_tensors
from tests.reference.tiny_models import write_model

import fastroute
from fastroute.artifact import ENCODER, ROUTER, write_artifact
from fastroute.encoders import OnnxEncoder, load_encoder
from fastroute.errors import ArtifactCorruptError, DataError
from fastroute.routers import BertRouter

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

SECRET = b"\x00\x00\x80\x3f" * 4096
OUTSIDE = "refers to data outside of the file"
Change = Callable[[onnx.ModelProto], bytes]


def external(location: str, **more: str) -> TensorProto:
    """A float tensor whose data is elsewhere."""
    tensor = TensorProto(name="stolen", data_type=TensorProto.FLOAT, dims=[1024], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def first(location: str, **more: str) -> Change:
    """The tensor is among the initialisers."""

    def change(model: onnx.ModelProto) -> bytes:
        model.graph.initializer.append(external(location, **more))
        return model.SerializeToString()

    return change


def in_constant(model: onnx.ModelProto) -> bytes:
    model.graph.node.append(helper.make_node("Constant", [], ["c"]))
    model.graph.node[-1].attribute.append(onnx.AttributeProto(name="value", type=4, t=external("secret.bin")))
    return model.SerializeToString()


def in_list_of_tensors(model: onnx.ModelProto) -> bytes:
    model.graph.node[0].attribute.append(onnx.AttributeProto(name="x", type=9, tensors=[external("secret.bin")]))
    return model.SerializeToString()


def in_branch(model: onnx.ModelProto, nesting: int = 1) -> bytes:
    graph = helper.make_graph([], "inner", [], [], [external("secret.bin")])
    for _ in range(nesting - 1):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=graph)], "outer", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=graph))
    return model.SerializeToString()


def in_list_of_graphs(model: onnx.ModelProto) -> bytes:
    graph = helper.make_graph([], "inner", [], [], [external("secret.bin")])
    model.graph.node[0].attribute.append(onnx.AttributeProto(name="x", type=10, graphs=[graph]))
    return model.SerializeToString()


def in_sparse(model: onnx.ModelProto) -> bytes:
    model.graph.sparse_initializer.add(values=external("secret.bin"), indices=external("secret.bin"), dims=[1024])
    return model.SerializeToString()


def in_sparse_attribute(model: onnx.ModelProto) -> bytes:
    sparse = onnx.SparseTensorProto(values=external("secret.bin"), dims=[1024])
    model.graph.node[0].attribute.append(onnx.AttributeProto(name="x", type=11, sparse_tensor=sparse))
    return model.SerializeToString()


def in_function(model: onnx.ModelProto) -> bytes:
    constant = helper.make_node("Constant", [], ["y"])
    constant.attribute.append(onnx.AttributeProto(name="value", type=4, t=external("secret.bin")))
    model.functions.append(helper.make_function("local", "f", [], ["y"], [constant], []))
    return model.SerializeToString()


def in_training(model: onnx.ModelProto) -> bytes:
    model.training_info.add(initialization=helper.make_graph([], "t", [], [], [external("secret.bin")]))
    return model.SerializeToString()


def in_second_graph(model: onnx.ModelProto) -> bytes:
    """Protobuf merges a message that comes twice."""
    other = onnx.ModelProto(graph=helper.make_graph([], "more", [], [], [external("secret.bin")]))
    return model.SerializeToString() + other.SerializeToString()


def without_location(model: onnx.ModelProto) -> bytes:
    """External data with the location of data left at its default."""
    tensor = external("secret.bin")
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)
    return model.SerializeToString()


def location_alone(model: onnx.ModelProto) -> bytes:
    """Said to be elsewhere, with no word of where, beside data of its own."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "here")
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(tensor)
    return model.SerializeToString()


def moved(model: onnx.ModelProto) -> bytes:
    """A real weight, moved to a sidecar as `onnx.save_model` does."""
    weight = next(each for each in model.graph.initializer if each.name == "embeddings.word_embeddings.weight")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="secret.bin")
    return model.SerializeToString()


def segment(model: onnx.ModelProto) -> bytes:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "part")
    tensor.segment.begin, tensor.segment.end = 0, 1 << 40
    model.graph.initializer.append(tensor)
    return model.SerializeToString()


def operator(domain: str, name: str, **attributes: object) -> Change:
    def change(model: onnx.ModelProto) -> bytes:
        model.graph.node.append(helper.make_node(name, [], ["out"], domain=domain, **attributes))
        model.opset_import.append(helper.make_opsetid(domain, 1))
        return model.SerializeToString()

    return change


def ort_format(model: onnx.ModelProto) -> bytes:
    """Protobuf and yet ONNX Runtime's own format, by the mark at byte 4: a producer's name in front."""
    return b"\x12\x08xxORTMyy" + model.SerializeToString()


def session_settings(model: onnx.ModelProto) -> bytes:
    model.metadata_props.add(key="ort_config", value='{"session_options": {"optimized_model_filepath": "stolen"}}')
    return model.SerializeToString()


ATTACKS: dict[str, tuple[Change, str]] = {
    "file beside": (first("secret.bin"), OUTSIDE),
    "file beside, from an offset": (first("secret.bin", offset="16", length="4096"), OUTSIDE),
    "negative offset": (first("secret.bin", offset="-8"), OUTSIDE),
    "file above": (first("../secret.bin"), OUTSIDE),
    "file far above": (first("../" * 30 + "etc/passwd"), OUTSIDE),
    "above from within": (first("here/../../secret.bin"), OUTSIDE),
    "absolute path": (first("/etc/passwd"), OUTSIDE),
    "backslashes": (first("..\\secret.bin"), OUTSIDE),
    "URL": (first("file:///etc/passwd"), OUTSIDE),
    "share": (first("//host/share/secret.bin"), OUTSIDE),
    "device": (first("/dev/zero"), OUTSIDE),
    "memory of the process": (first("/proc/self/mem"), OUTSIDE),
    "address in memory": (first("*/_ORT_MEM_ADDR_/*", offset="4096", length="4096"), OUTSIDE),
    "no name": (first(""), OUTSIDE),
    "name with a NUL": (first("secret.bin\0.txt"), OUTSIDE),
    "without data_location": (without_location, OUTSIDE),
    "data_location alone": (location_alone, OUTSIDE),
    "moved by onnx.save_model": (moved, "tensor 'embeddings.word_embeddings.weight' " + OUTSIDE),
    "in a constant": (in_constant, OUTSIDE),
    "in a list of tensors": (in_list_of_tensors, OUTSIDE),
    "in a branch": (in_branch, OUTSIDE),
    "in a branch of a branch": (lambda model: in_branch(model, 4), OUTSIDE),
    "deeper than anything": (lambda model: in_branch(model, 12), "nested deeper"),
    "in a list of graphs": (in_list_of_graphs, OUTSIDE),
    "in a sparse tensor": (in_sparse, "sparse"),
    "in a sparse attribute": (in_sparse_attribute, "sparse"),
    "in a function": (in_function, "functions of its own"),
    "in a training graph": (in_training, "training graph"),
    "in a second graph": (in_second_graph, "2 graphs|refers to data"),
    "segment": (segment, "segment"),
    "custom operator": (operator("com.evil", "Run"), "operator 'Run' of domain 'com.evil'"),
    "torch fallback": (operator("org.pytorch.aten", "ATen"), "domain 'org.pytorch.aten'"),
    "Python operator": (operator("com.microsoft", "PythonOp"), "operator 'PythonOp'"),
    "compiled context in a file": (
        operator("com.microsoft", "EPContext", embed_mode=0, ep_cache_context="../secret.bin"),
        "operator 'EPContext'",
    ),
    "ONNX Runtime's own format": (ort_format, "own format"),
    "settings of a session": (session_settings, "ort_config"),
}


@pytest.fixture
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime must not get to see the graph."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the graph reached ONNX Runtime")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name: str, tmp_path: Path) -> None:
    change, says = ATTACKS[name]
    folder = write_model(tmp_path / "model", random_tensors(labels=1))
    raw = change(build(random_tensors(labels=1)))
    (folder / "model.onnx").write_bytes(raw)
    for place in (tmp_path, folder):
        (place / "secret.bin").write_bytes(SECRET)
    for make in (BertRouter.from_folder, OnnxEncoder.from_folder):
        with pytest.raises(DataError, match=rf"model\.onnx: .*({says})"):
            make(folder)
    files = {"model.onnx": raw, "tokenizer.json": (folder / "tokenizer.json").read_bytes()}
    router = {"kind": "bert", "name": "x", "strong": "a", "weak": "b", "head": {"kind": "binary"}, "threshold": 0.5}
    write_artifact(tmp_path / "router", format=ROUTER, manifest=router | {"max_tokens": 24}, files=files)
    with pytest.raises(ArtifactCorruptError, match=rf"model\.onnx: .*({says})"):
        fastroute.load(tmp_path / "router")
    encoder = {"kind": "onnx", "name": "x", "pooling": "mean", "normalise": True, "max_tokens": 24}
    write_artifact(tmp_path / "encoder", format=ENCODER, manifest=encoder, files=files)
    with pytest.raises(ArtifactCorruptError, match=rf"model\.onnx: .*({says})"):
        load_encoder(tmp_path / "encoder")


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 25


def test_the_attacked_graph_is_sound_itself(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", random_tensors(labels=1))
    assert 0 <= BertRouter.from_folder(folder).score("why") <= 1


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for name in ("model.onnx", "tokenizer.json") for kind in ("link out", "device", "pipe", "folder")]
    + [("config.json", "link out")],
)
def test_files_that_are_none(name: str, kind: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", random_tensors(labels=1))
    (folder / name).rename(tmp_path / "elsewhere")
    if kind == "link out":
        (folder / name).symlink_to(tmp_path / "elsewhere")
    elif kind == "device":
        (folder / name).symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).mkdir()
    with pytest.raises(DataError, match=rf"{name}"):
        BertRouter.from_folder(folder)


def test_links_into_the_store_of_a_cache(tmp_path: Path) -> None:
    """A Hugging Face cache has links in `snapshots/<revision>` to files in `blobs`."""
    store = tmp_path / "models--org--name"
    folder = write_model(store / "snapshots" / "abc", random_tensors(labels=1))
    (store / "blobs").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(store / "blobs" / str(number))
        path.symlink_to(Path("..") / ".." / "blobs" / str(number))
    assert 0 <= BertRouter.from_folder(folder).score("why") <= 1


def test_links_inside_the_folder(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", random_tensors(labels=1), place="v2.onnx")
    (folder / "model.onnx").symlink_to("v2.onnx")
    assert 0 <= BertRouter.from_folder(folder).score("why") <= 1
