"""Artifacts of bert routers and onnx encoders that are sealed and wrong: each is refused with the member named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper
from tests.reference.bert_graph import Shape, random_tensors
from tests.reference.tiny_artifacts import TOKENS
from tests.reference.tiny_models import model_tokenizer, write_model

import fastroute
from fastroute.artifact import ENCODER, ROUTER, write_artifact
from fastroute.encoders import load_encoder
from fastroute.errors import (
    ArtifactCorruptError,
    DataError,
    EncoderMismatchError,
    InvalidArgumentError,
    UnknownModelError,
)
from fastroute.routers import BertRouter

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

ROUTER_MEMBERS: dict[str, Any] = {
    "kind": "bert",
    "name": "tiny",
    "strong": "large",
    "weak": "small",
    "head": {"kind": "binary", "strong_class": 1, "sigmoid": False},
    "max_tokens": 24,
    "pad": 0,
    "threshold": 0.5,
}
ENCODER_MEMBERS: dict[str, Any] = {
    "kind": "onnx",
    "name": "tiny",
    "pooling": "mean",
    "normalise": True,
    "max_tokens": 24,
    "pad": 0,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, bytes]]:
    """Files of models, by how many labels they have."""
    found = {}
    for labels in (0, 1, 2, 3, 4):
        folder = write_model(tmp_path_factory.mktemp("model"), random_tensors(labels=labels))
        found[labels] = {name: (folder / name).read_bytes() for name in ("model.onnx", "tokenizer.json")}
    return found


def test_the_members_are_sound_themselves(tmp_path: Path, files: dict[int, dict[str, bytes]]) -> None:
    write_artifact(tmp_path / "router", format=ROUTER, manifest=ROUTER_MEMBERS, files=files[1])
    assert 0 <= fastroute.load(tmp_path / "router").score("why") <= 1
    write_artifact(tmp_path / "encoder", format=ENCODER, manifest=ENCODER_MEMBERS, files=files[0])
    assert load_encoder(tmp_path / "encoder").embed(["why"]).shape == (1, 16)


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("head", None, "head: found None"),
        ("head", "binary", "head: found 'binary', allowed: an object"),
        ("head", {}, "head: found {}"),
        ("head", {"kind": "binary", "more": 1}, "allowed: an object with kind"),
        ("head", {"kind": "softmax"}, "head: found 'softmax', allowed: binary, three_class, regression"),
        ("head", {"kind": ["binary"]}, "head: found list"),
        ("head", {"kind": "binary", "strong_class": 2}, "strong_class: found 2"),
        ("head", {"kind": "binary", "strong_class": True}, "strong_class: found bool"),
        ("head", {"kind": "binary", "sigmoid": 1}, "sigmoid: found int"),
        ("head", {"kind": "three_class"}, "three_class, which has 3 logits; the graph has 1"),
        ("max_tokens", None, "max_tokens: found NoneType"),
        ("max_tokens", 0, "max_tokens: found 0"),
        ("max_tokens", -3, "max_tokens: found -3"),
        ("max_tokens", 2, "max_tokens: found 2, allowed: more than the 2"),
        ("max_tokens", 24.0, "max_tokens: found float"),
        ("max_tokens", True, "max_tokens: found bool"),
        ("max_tokens", 1 << 40, "max_tokens: found 1099511627776"),
        ("pad", "0", "pad is '0'"),
        ("pad", 1.5, "pad is 1.5"),
        ("pad", -1, "id of padding is -1"),
        ("pad", 60, "id of padding is 60; its ids are 0 to 59"),
        ("strong", None, "strong is None"),
        ("strong", "small", "strong, weak: found 'small' for both"),
        ("weak", 5, "weak is 5"),
        ("threshold", 2, "threshold: found 2"),
        ("threshold", None, "threshold: found"),
    ],
)
def test_members_of_a_router(
    member: str, value: object, says: str, tmp_path: Path, files: dict[int, dict[str, bytes]]
) -> None:
    write_artifact(tmp_path / "it", format=ROUTER, manifest={**ROUTER_MEMBERS, member: value}, files=files[1])
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        fastroute.load(tmp_path / "it")
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize(
    ("member", "value", "says"),
    [
        ("kind", "remote", "encoder of kind 'remote'; supported: 'static', 'onnx', 'openai'"),
        ("kind", "static", "lists no encoder.safetensors"),
        ("pooling", None, "pooling is None"),
        ("pooling", "max", "pooling is 'max'; one of mean, cls, graph"),
        ("pooling", ["mean"], "pooling is"),
        ("pooling", "graph", r"\(n, width\) is needed"),
        ("normalise", None, "normalise is None"),
        ("normalise", 1, "normalise is 1"),
        ("max_tokens", None, "max_tokens is None"),
        ("max_tokens", 0, "max_tokens is 0"),
        ("max_tokens", True, "max_tokens is True"),
        ("max_tokens", "24", "max_tokens is '24'"),
        ("max_tokens", 1 << 30, "max_tokens is"),
        ("pad", False, "pad is False"),
        ("pad", 77, "id of padding is 77"),
    ],
)
def test_members_of_an_encoder(
    member: str, value: object, says: str, tmp_path: Path, files: dict[int, dict[str, bytes]]
) -> None:
    write_artifact(tmp_path / "it", format=ENCODER, manifest={**ENCODER_MEMBERS, member: value}, files=files[0])
    with pytest.raises(ArtifactCorruptError, match=says) as caught:
        load_encoder(tmp_path / "it")
    assert str(tmp_path / "it") in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_files_that_are_not_there(name: str, tmp_path: Path, files: dict[int, dict[str, bytes]]) -> None:
    fewer = {key: data for key, data in files[1].items() if key != name}
    write_artifact(tmp_path / "router", format=ROUTER, manifest=ROUTER_MEMBERS, files=fewer)
    with pytest.raises(ArtifactCorruptError, match=f"lists no {name}"):
        fastroute.load(tmp_path / "router")
    write_artifact(tmp_path / "encoder", format=ENCODER, manifest=ENCODER_MEMBERS, files=fewer)
    with pytest.raises(ArtifactCorruptError, match=f"lists no {name}"):
        load_encoder(tmp_path / "encoder")


@pytest.mark.parametrize(
    ("labels", "head", "fits"),
    [(labels, head, labels in fit) for labels in (1, 2, 3, 4) for head, fit in
     {"binary": (1, 2), "three_class": (3,), "regression": (1,)}.items()],
)  # fmt: skip
def test_heads_and_logits(
    labels: int, head: str, fits: bool, tmp_path: Path, files: dict[int, dict[str, bytes]]
) -> None:
    write_artifact(
        tmp_path / "it", format=ROUTER, manifest={**ROUTER_MEMBERS, "head": {"kind": head}}, files=files[labels]
    )
    if fits:
        assert 0 <= fastroute.load(tmp_path / "it").score("why") <= 1
        return
    with pytest.raises(ArtifactCorruptError, match=f"found {head}, which has .* logits; the graph has {labels}"):
        fastroute.load(tmp_path / "it")
    folder = write_model(tmp_path / "model", random_tensors(labels=labels))
    with pytest.raises(InvalidArgumentError, match=f"head: found {head}"):
        BertRouter.from_folder(folder, head=head)


def vocabulary(count: int) -> dict[str, Any]:
    """A tokenizer with so many tokens."""
    made = model_tokenizer()
    names = [*TOKENS[:count], *(f"w{i}" for i in range(count - len(TOKENS)))]
    made["model"]["vocab"] = {token: i for i, token in enumerate(names)}
    return made


TOKENIZERS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no tokenizer that"),
    "text": (b"a tokenizer", "no tokenizer that"),
    "a list": (b"[]", "no tokenizer that"),
    "an empty object": (b"{}", "no tokenizer that"),
    "UTF-16": ("{}".encode("utf-16"), "no tokenizer that"),
    "deep": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "no tokenizer that"),
    "an unknown model": (json.dumps({**model_tokenizer(), "model": {"type": "Magic"}}).encode(), "no tokenizer that"),
    "one id more": (json.dumps(vocabulary(61)).encode(), "ids 0 to 60, and model.onnx has embeddings for 60"),
    "another model's": (json.dumps(vocabulary(3000)).encode(), "it is the tokenizer of another model"),
    "padding elsewhere": (
        json.dumps({**model_tokenizer(), "padding": {**model_tokenizer()["padding"], "pad_id": 99}}).encode(),
        "id of padding is 99; its ids are 0 to 59",
    ),
}


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_that_do_not_match(name: str, tmp_path: Path, files: dict[int, dict[str, bytes]]) -> None:
    raw, says = TOKENIZERS[name]
    both = {**files[1], "tokenizer.json": raw}
    write_artifact(tmp_path / "it", format=ROUTER, manifest={**ROUTER_MEMBERS, "pad": None}, files=both)
    with pytest.raises(ArtifactCorruptError, match=rf"tokenizer\.json: .*{says}"):
        fastroute.load(tmp_path / "it")
    folder = write_model(tmp_path / "model", random_tensors(labels=1), config={})
    (folder / "tokenizer.json").write_bytes(raw)
    with pytest.raises(DataError, match=rf"tokenizer\.json: .*{says}"):
        BertRouter.from_folder(folder)


def test_a_much_smaller_vocabulary_is_another_models(tmp_path: Path) -> None:
    shape = Shape(vocab=60 + 127)
    assert BertRouter.from_folder(write_model(tmp_path / "a", random_tensors(shape, labels=1), shape=shape))
    shape = Shape(vocab=60 + 128)
    with pytest.raises(DataError, match=r"has ids 0 to 59, and model\.onnx has embeddings for 188"):
        BertRouter.from_folder(write_model(tmp_path / "b", random_tensors(shape, labels=1), shape=shape))


def test_where_the_graph_hides_its_table_the_configuration_counts(tmp_path: Path) -> None:
    folder = write_model(tmp_path, random_tensors(labels=1), config={"vocab_size": 5000, "max_position_embeddings": 24})
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        if list(node.input) == ["embeddings.word_embeddings.weight", "input_ids"]:
            node.input[1] = "hidden_ids"
            break
    model.graph.node.insert(0, helper.make_node("Add", ["input_ids", "zero"], ["hidden_ids"]))
    onnx.save(model, folder / "model.onnx")
    with pytest.raises(DataError, match=r"ids 0 to 59, and config\.json has embeddings for 5000"):
        BertRouter.from_folder(folder)
    (folder / "config.json").write_text('{"vocab_size": 64, "max_position_embeddings": 24}')
    assert 0 <= BertRouter.from_folder(folder).score("why") <= 1


def test_what_the_caller_asks_for_is_the_callers_mistake(tmp_path: Path, files: dict[int, dict[str, bytes]]) -> None:
    write_artifact(tmp_path / "it", format=ROUTER, manifest=ROUTER_MEMBERS, files=files[1])
    with pytest.raises(InvalidArgumentError, match="strong, weak: found 'large' for both") as caught:
        fastroute.load(tmp_path / "it", weak="large")
    assert not isinstance(caught.value, UnknownModelError)
    with pytest.raises(EncoderMismatchError, match="encoder= is not allowed"):
        fastroute.load(tmp_path / "it", encoder="static-minilm-l6")
    assert fastroute.load(tmp_path / "it", strong="any", weak="other").strong == "any"
