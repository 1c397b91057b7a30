"""What users may get wrong: a typed error that names the argument each time (scorecard 22)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.bert_graph import TINY, random_tensors
from tests.reference.tiny_models import model_tokenizer, write_model

from fastroute.encoders import OnnxEncoder, load_encoder
from fastroute.errors import ArtifactError, DataError, FastrouteError, InvalidArgumentError, InvalidTypeError
from fastroute.routers import BertRouter, Head

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")

TYPE, VALUE = InvalidTypeError, InvalidArgumentError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"), random_tensors(labels=1))


@pytest.fixture(scope="module")
def router(folder: Path) -> BertRouter:
    return BertRouter.from_folder(folder)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OnnxEncoder:
    return OnnxEncoder.from_folder(write_model(tmp_path_factory.mktemp("text")))


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        *[("strong", bad, TYPE) for bad in (None, 5, b"large", ["large"])],
        ("strong", "mixtral-8x7b-instruct-v0.1", VALUE),
        *[("weak", bad, TYPE) for bad in (None, 1.5, {"a": 1})],
        *[("threshold", bad, TYPE) for bad in (None, "0.5", [0.5])],
        *[("threshold", bad, VALUE) for bad in (-0.1, 1.1, float("nan"), float("inf"))],
        *[("max_tokens", bad, TYPE) for bad in ("24", 24.0, True, [24], np.float32(3))],
        *[("max_tokens", bad, VALUE) for bad in (0, -1, 1, 2, 41, 1 << 21, 1 << 80, -(1 << 80))],
        *[("head", bad, TYPE) for bad in (5, b"binary", {"kind": "binary"}, ["binary"])],
        *[("head", bad, VALUE) for bad in ("", "Binary", "softmax", "three_class", Head("three_class"))],
        *[("device", bad, TYPE) for bad in (None, 0, b"cpu")],
        *[("device", bad, VALUE) for bad in ("", "gpu", "cpu:0")],
    ],
)
def test_of_a_router(argument: str, value: Any, error: type[Exception], folder: Path) -> None:
    with pytest.raises(error, match=rf"{argument}"):
        BertRouter.from_folder(folder, **{argument: value})


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        *[("pooling", bad, VALUE) for bad in ("max", "", "Mean", "graph", 5, b"cls", ["mean"])],
        *[("normalise", bad, TYPE) for bad in (None, 1, "yes", np.bool_(True))],
        *[("max_tokens", bad, TYPE) for bad in ("24", 24.0, False)],
        *[("max_tokens", bad, VALUE) for bad in (0, 2, TINY.positions + 1, 1 << 30)],
        *[("device", bad, TYPE) for bad in (None, 0)],
        *[("device", bad, VALUE) for bad in ("gpu", "CPU")],
    ],
)
def test_of_an_encoder(argument: str, value: Any, error: type[Exception], tmp_path: Path) -> None:
    with pytest.raises(error, match=rf"{argument}"):
        OnnxEncoder.from_folder(write_model(tmp_path), **{argument: value})


@pytest.mark.parametrize("bad", [None, 5, b"model", [], object(), "", "a\0b"])
def test_paths(bad: Any) -> None:
    for make in (BertRouter.from_folder, OnnxEncoder.from_folder):
        with pytest.raises((TYPE, VALUE), match=r"^path: "):
            make(bad)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    for make in (BertRouter.from_folder, OnnxEncoder.from_folder):
        with pytest.raises(DataError, match=r"nowhere is not a folder"):
            make(tmp_path / "nowhere")
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=r"neither model\.onnx nor onnx/model\.onnx is there"):
            make(tmp_path / "empty")
        folder = write_model(tmp_path / "half", random_tensors(labels=1))
        (folder / "tokenizer.json").unlink()
        with pytest.raises(DataError, match=r"tokenizer\.json: not found"):
            make(folder)


@pytest.mark.parametrize("name", ["config.json", "sentence_bert_config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'"a"', b"\xff", b"[" * 100_000], ids=len)
def test_settings_that_are_no_objects(name: str, content: bytes, tmp_path: Path) -> None:
    folder = write_model(tmp_path, random_tensors(labels=1))
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: "):
        BertRouter.from_folder(folder)


@pytest.mark.parametrize("content", ["{}", '{"pooling_mode_max_tokens": true}', "[]", '{"pooling_mode_cls_token": 1}'])
def test_poolings_that_are_not_supported(content: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(content)
    with pytest.raises(DataError, match=r"1_Pooling/config\.json: "):
        OnnxEncoder.from_folder(folder)
    assert OnnxEncoder.from_folder(folder, pooling="cls").dim == 16


NO_PROMPTS = [None, 5, 1.5, b"a", {"a": 1}, {"a"}, frozenset("a"), [5], ["a", None], ["a", b"b"], [["a"]], object()]


@pytest.mark.parametrize("bad", NO_PROMPTS, ids=repr)
def test_what_is_no_prompt(bad: Any, router: BertRouter, encoder: OnnxEncoder) -> None:
    for call in (router.score, router.route, encoder.embed):
        with pytest.raises(TYPE, match=r"^prompts(\[\d\])?: found \w+, allowed: "):
            call(bad)


def test_a_single_prompt_is_no_batch_of_an_encoder(encoder: OnnxEncoder) -> None:
    with pytest.raises(TYPE, match=r"^prompts: found str"):
        encoder.embed("why")


@pytest.mark.parametrize("bad", [None, 5, b"a", ["a"]])
def test_texts_to_tokenize(bad: Any, router: BertRouter, encoder: OnnxEncoder) -> None:
    for each in (router, encoder):
        with pytest.raises(TYPE, match=r"^prompt: found "):
            each.tokenize(bad)


@pytest.mark.parametrize("bad", [None, 5, b"a", 1.5])
def test_encoders_to_load(bad: Any) -> None:
    with pytest.raises(TYPE, match=r"^encoder: found "):
        load_encoder(bad)


def test_places_to_save(router: BertRouter, encoder: OnnxEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for each in (router, encoder):
        for bad in (None, 5, ""):
            with pytest.raises(FastrouteError):
                each.save(bad)  # type: ignore[arg-type]
        with pytest.raises(ArtifactError, match=r"is not a folder"):
            each.save(tmp_path / "file")


def test_a_head_says_what_it_may_be() -> None:
    for bad in (2, -1, 1 << 70):
        with pytest.raises(VALUE, match=r"^head\.strong_class: found .*, allowed: 0 or 1"):
            Head("binary", strong_class=bad)
    for worse in ("1", 1.0, None, True):
        with pytest.raises(TYPE, match=r"^head\.strong_class: found "):
            Head("binary", strong_class=worse)  # type: ignore[arg-type]


def test_more_added_tokens_than_room(tmp_path: Path) -> None:
    folder = write_model(tmp_path, random_tensors(labels=1), tokenizer=model_tokenizer(post_processor=None))
    assert BertRouter.from_folder(folder, max_tokens=1).max_tokens == 1
    with pytest.raises(VALUE, match=r"^max_tokens: found 0"):
        BertRouter.from_folder(folder, max_tokens=0)
