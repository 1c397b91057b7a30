"""Sequence classifiers of transformers as bert routers: the same scores, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.tiny_checkpoints import (
    POSITIONS,
    WORDS,
    change_json,
    unigram,
    write_bert,
    write_xlm_roberta,
)

import fastroute
from fastroute.cli import main
from fastroute.errors import DataError, FastrouteError, InvalidArgumentError
from fastroute.exporting.bert import export_bert
from fastroute.exporting.checkpoint import read_checkpoint
from fastroute.exporting.checks import Agreement
from fastroute.routers import BertRouter, Head

torch = pytest.importorskip("torch", reason="needs the extra [train-bert]")
transformers = pytest.importorskip("transformers", reason="needs the extra [train-bert]")
pytest.importorskip("onnx", reason="needs the extra [train-bert]")

pytestmark = pytest.mark.torch

PROMPTS = ["", "why", "prove that the sum of two odd numbers is even", "write code ? 2", "what is \u4e2d", "zzz " * 200]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints by name; tests change copies."""
    folder = tmp_path_factory.mktemp("checkpoints")
    write_bert(folder / "one", labels=1)
    write_bert(folder / "two", labels=2, fast=False)
    write_xlm_roberta(folder / "three")
    return {name: folder / name for name in ("one", "two", "three")}


@pytest.fixture
def copy(saved: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: Path(shutil.copytree(saved[name], tmp_path / "checkpoint"))


def probabilities(folder: Path, prompts: list[str]) -> np.ndarray:
    """Softmax of transformers' own logits, or the sigmoid of one, prompt by prompt as RouteLLM does it."""
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = []
    for prompt in prompts:
        given = tokenizer(prompt, return_tensors="pt", padding=True, truncation=True, max_length=POSITIONS)
        with torch.inference_mode():
            logits = model(**{name: given[name] for name in ("input_ids", "attention_mask")}).logits.double()
        rows.append((torch.softmax(logits, 1) if logits.shape[1] > 1 else torch.sigmoid(logits)).numpy()[0])
    return np.array(rows)


@pytest.mark.parametrize(
    ("name", "score"),
    [("one", lambda p: p[:, 0]), ("two", lambda p: p[:, 1]), ("three", lambda p: 1 - p[:, -2:].sum(axis=1))],
)
def test_scores_are_those_of_transformers(name: str, score: Any, saved: dict[str, Path], tmp_path: Path) -> None:
    wanted = score(probabilities(saved[name], PROMPTS))
    router = export_bert(saved[name], "large", "small", precision="fp32", threshold=0.4)
    np.testing.assert_allclose(router.score(PROMPTS), wanted, atol=1e-5)
    assert np.ptp(wanted) > 0.02
    assert router.metrics["export"]["largest_difference"] < 1e-4
    assert router.truncated == 1
    router.save(tmp_path / "router")
    loaded = fastroute.load(tmp_path / "router")
    assert isinstance(loaded, BertRouter)
    assert (loaded.strong, loaded.weak, loaded.threshold, loaded.max_tokens) == ("large", "small", 0.4, POSITIONS)
    np.testing.assert_array_equal(loaded.score(PROMPTS), router.score(PROMPTS))
    assert loaded.metrics == router.metrics


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_int8_is_close_and_measured(name: str, saved: dict[str, Path]) -> None:
    full, small = (export_bert(saved[name], precision=precision) for precision in ("fp32", "int8"))
    from fastroute.exporting.sample_prompts import SAMPLE_PROMPTS

    before, after = full.score(SAMPLE_PROMPTS), small.score(SAMPLE_PROMPTS)
    found = small.metrics["quantisation"]
    assert found["prompts"] == len(SAMPLE_PROMPTS)
    assert found["correlation"] == pytest.approx(np.corrcoef(before, after)[0, 1])
    assert found["correlation"] > 0.99
    assert 0 < found["largest_difference"] < 0.05
    assert "quantisation" not in full.metrics


def test_float16_and_given_prompts(saved: dict[str, Path]) -> None:
    router = export_bert(saved["two"], precision="fp16", prompts=PROMPTS, head=Head("binary", strong_class=0))
    assert router.metrics["export"]["sequences"] == len(PROMPTS)
    np.testing.assert_allclose(router.score(PROMPTS), probabilities(saved["two"], PROMPTS)[:, 0], atol=5e-3)


def test_a_vocabulary_alone_becomes_the_same_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("google.protobuf", reason="needs protobuf")
    sentencepiece = pytest.importorskip("sentencepiece", reason="needs sentencepiece")
    write_xlm_roberta(tmp_path, fast=False)
    router = export_bert(tmp_path, precision="fp32")
    words = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "sentencepiece.bpe.model"))
    for prompt in ("prove that the sum", "why even numbers is odd", "write code"):
        assert router.tokenize(prompt) == [each + 1 for each in words.encode(prompt)]  # <pad> comes in between
    np.testing.assert_allclose(router.score(PROMPTS), 1 - probabilities(tmp_path, PROMPTS)[:, -2:].sum(1), atol=1e-5)


def test_weights_of_plain_tensors_in_a_pickle(copy: Any) -> None:
    folder = copy("one")
    wanted = export_bert(folder, precision="fp32").score(PROMPTS)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    np.testing.assert_array_equal(export_bert(folder, precision="fp32").score(PROMPTS), wanted)


def test_half_precision_weights_and_old_names(copy: Any) -> None:
    folder = copy("one")
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): values.half()
        for name, values in state.items()
    }
    old["bert.embeddings.position_ids"] = torch.arange(POSITIONS)[None]
    save_file(old, folder / "model.safetensors")
    wanted = export_bert(copy_of(folder, state), precision="fp32").score(PROMPTS)
    np.testing.assert_allclose(export_bert(folder, precision="fp32").score(PROMPTS), wanted, atol=2e-3)


def copy_of(folder: Path, state: Any) -> Path:
    from safetensors.torch import save_file

    other = Path(shutil.copytree(folder, folder.with_name("other")))
    save_file(state, other / "model.safetensors")
    return other


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def pickled(folder: Path, path: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"bert.pooler.dense.bias": Evil()}))


def with_weight(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], None]:
    def damage(folder: Path, path: Path) -> None:
        from safetensors.torch import load_file, save_file

        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return damage


def linked(name: str) -> Callable[[Path, Path], None]:
    def damage(folder: Path, path: Path) -> None:
        (folder / name).rename(path / "elsewhere")
        (folder / name).symlink_to(path / "elsewhere")

    return damage


def settings(**changes: Any) -> Callable[[Path, Path], None]:
    return lambda folder, path: change_json(folder / "config.json", **changes)


def removed(name: str) -> Callable[[Path, Path], None]:
    return lambda folder, path: (folder / name).unlink()


def tokenizer(**changes: Any) -> Callable[[Path, Path], None]:
    return lambda folder, path: change_json(folder / "tokenizer.json", **changes)


NORMALIZER = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None}


def larger(folder: Path, path: Path) -> None:
    found = unigram()
    found["model"]["vocab"].append(("\u2581another", -3.0))
    change_json(folder / "tokenizer.json", model=found["model"])


REFUSED: dict[str, tuple[str, Callable[[Path, Path], None], str]] = {
    "no config": ("three", removed("config.json"), r"config\.json: not found"),
    "no weights": ("three", removed("model.safetensors"), r"neither model\.safetensors nor pytorch_model\.bin"),
    "no tokenizer": ("three", removed("tokenizer.json"), "has no tokenizer; one of tokenizer.json, vocab.txt"),
    "config is no object": (
        "three",
        lambda folder, path: (folder / "config.json").write_text("[]"),
        "holds list; a JSON object is needed",
    ),
    "no classifier": ("three", settings(architectures=["XLMRobertaForMaskedLM"]), "ends in ForSequenceClassification"),
    "no architecture": ("three", settings(architectures=None), "architectures is None"),
    "four labels": (
        "three",
        settings(id2label={str(i): f"L{i}" for i in range(4)}, label2id={f"L{i}": i for i in range(4)}),
        "has 4 labels; a router has 1, 2 or 3",
    ),
    "two labels in the config": ("three", settings(id2label={"0": "a", "1": "b"}), "weights are not those of config"),
    "several labels at once": ("two", settings(problem_type="multi_label_classification"), "exclude each other"),
    "an unknown model": ("three", settings(model_type="of-my-own"), "'of-my-own', which the installed transformers"),
    "its own code": ("three", settings(auto_map={"AutoModel": "code.Model"}), "auto_map asks for code"),
    "a tokenizer's own code": (
        "three",
        lambda folder, path: change_json(
            folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.T", None]}
        ),
        r"tokenizer_config\.json: auto_map asks for code",
    ),
    "quantised weights": ("three", settings(quantization_config={"load_in_8bit": True}), "weights are quantised"),
    "a larger vocabulary": ("three", larger, "it is the tokenizer of another model"),
    "another tokenizer": (
        "one",
        tokenizer(normalizer={**NORMALIZER, "lowercase": False}),  # tokenizer_config.json says that it lowers
        r"tokenizer\.json: gives other ids than the \w+ of transformers for prompts\[\d+\]",
    ),
    "a damaged tokenizer": ("three", tokenizer(model={"type": "Unigram"}), "reads no tokenizer|no tokenizer that"),
    "a linked config": ("three", linked("config.json"), r"config\.json: is a link that leads out"),
    "linked weights": ("three", linked("model.safetensors"), r"model\.safetensors: is a link that leads out"),
    "a linked tokenizer": ("three", linked("tokenizer.json"), r"tokenizer\.json: is a link that leads out"),
    "a linked vocabulary": ("two", linked("vocab.txt"), r"vocab\.txt: is a link that leads out"),
    "a pickle": ("one", pickled, r"pytorch_model\.bin: no file of tensors alone"),
    "weights that are cut": (
        "three",
        lambda folder, path: os.truncate(folder / "model.safetensors", 5000),
        r"model\.safetensors: no file of tensors alone",
    ),
    "a weight less": (
        "three",
        with_weight(lambda state: state.pop("classifier.out_proj.bias")),
        r"lack 1 tensors of the model, the first is 'classifier\.out_proj\.bias'",
    ),
    "a weight more": (
        "three",
        with_weight(lambda state: state.update(another=torch.zeros(1))),
        "1 tensors of the weights are not the model's, the first is 'another'",
    ),
    "NaN": (
        "three",
        with_weight(lambda state: state["classifier.dense.weight"].fill_(float("nan"))),
        r"classifier\.dense\.weight has NaN",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(
    case: str, copy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    name, damage, message = REFUSED[case]
    monkeypatch.chdir(tmp_path)
    folder = copy(name)
    damage(folder, tmp_path)
    with pytest.raises(DataError, match=message):
        export_bert(folder)
    assert not Path("executed").exists()
    if case in ("no config", "a pickle", "NaN"):
        assert main(["export-bert", str(folder), "-o", "written"]) == 1
        assert not Path("written").exists()
        assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"head": "binary"}, "head: found binary, which has 1 or 2 logits; the graph has 3"),
        ({"head": "other"}, "head: found 'other'"),
        ({"threshold": 1.5}, "threshold"),
        ({"precision": "int4"}, "precision: found 'int4', allowed: int8, fp32, fp16"),
        ({"max_tokens": POSITIONS + 1}, f"max_tokens: found {POSITIONS + 1}, allowed: as many as the graph has"),
        ({"max_tokens": 2}, "max_tokens: found 2, allowed: more than the 2"),
        ({"prompts": []}, "prompts: found none"),
        ({"strong": "a", "weak": "a"}, "strong, weak: found 'a' for both"),
    ],
)
def test_bad_arguments(given: dict[str, Any], message: str, saved: dict[str, Path]) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        export_bert(saved["three"], **given)


def test_other_types_and_no_folder(saved: dict[str, Path], tmp_path: Path) -> None:
    for given in ({"prompts": "one"}, {"prompts": [1]}, {"training": ["a"]}, {"max_tokens": "8"}, {"head": 3}):
        with pytest.raises(FastrouteError):
            export_bert(saved["three"], **given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="is not a folder"):
        export_bert(tmp_path / "none")


def test_a_regression_must_be_named(copy: Any) -> None:
    folder = copy("one")
    change_json(folder / "config.json", problem_type="regression")
    with pytest.raises(InvalidArgumentError, match=r"config\.json says regression"):
        export_bert(folder)
    scores = export_bert(folder, head=Head("regression", sigmoid=True), precision="fp32").score(PROMPTS)
    np.testing.assert_allclose(scores, probabilities(folder, PROMPTS)[:, 0], atol=1e-5)


def test_no_connection_is_made(saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*args: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert 0 <= export_bert(saved["two"], prompts=WORDS).score("why") <= 1


def test_the_command(copy: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, out = copy("three"), tmp_path / "router"
    change_json(folder / "config.json", _name_or_path="/home/somebody/secret")
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Model\n", encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("why\n\nprove that\nwrite code\n", encoding="utf-8")
    arguments = ["--strong", "large", "--weak", "small", "--threshold", "0.25", "--max-tokens", "32", "--json"]
    code = main(["export-bert", f"{folder}/", "-o", str(out), *arguments, "--prompts", str(tmp_path / "prompts.txt")])
    said = capfd.readouterr()
    assert code == 0, said.err
    written = json.loads(said.out)
    assert written["metrics"]["export"]["sequences"] == 3
    assert (written["precision"], written["max_tokens"]) == ("int8", 32)
    assert "same decision at 0.25" in said.err
    manifest = json.loads((out / "router.json").read_text(encoding="utf-8"))
    assert written["sha256"] == manifest["sha256"]
    training = manifest["training"]
    assert training["command"] == (
        "fastroute export-bert checkpoint -o router --strong large --weak small --threshold 0.25 --max-tokens 32 "
        "--precision int8 --prompts prompts.txt"
    )
    assert {each["file"] for each in training["data"]} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert training["licence"] == "apache-2.0"
    text = (out / "router.json").read_text(encoding="utf-8") + said.out.replace(str(out), "")
    assert "secret" not in text
    assert str(tmp_path) not in text
    assert str(tmp_path).encode() not in (out / "model.onnx").read_bytes()
    assert main(["route", "--router", str(out), "why"]) == 0


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\nlicense: gpl-9\n", "mit"),
        ("---\nlanguage: en\n---\nlicense: gpl-9\n", None),
        ("---\n---\nlicense: gpl-9\n---\n", None),
        ("---\nlicense: gpl-9\n", None),  # never ends: no front matter
        ("---\r\nlicense: mit \r\n---", "mit"),
        ("# Model\nlicense: gpl-9\n---\n", None),
    ],
)
def test_the_licence_is_that_of_the_front_matter(text: str, licence: str | None, copy: Any) -> None:
    folder = copy("one")
    (folder / "README.md").write_bytes(text.encode())
    assert read_checkpoint(folder).licence == licence


def test_equal_scores_are_not_changed_by_int8(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_bert(tmp_path / "it", labels=1)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.fill_(0.1)
    model.save_pretrained(tmp_path / "it")
    command = ["export-bert", str(tmp_path / "it"), "-o", str(tmp_path / "router")]
    assert main(command) == 0
    said = capfd.readouterr().err
    assert "correlation undefined (all scores are equal)" in said
    assert "differ by 0.0000 at most" in said
    assert "changes the scores" not in said
    # another constant is a change
    monkeypatch.setattr("fastroute.exporting.bert.agreement", _agreement_of_other_constants)
    assert main(command) == 0
    assert "note: int8 changes the scores" in capfd.readouterr().err


def _agreement_of_other_constants(*_: object) -> Agreement:
    return Agreement(
        prompts=3,
        correlation=None,
        rank_correlation=None,
        equal_decisions=1.0,
        largest_difference=0.1,
        threshold=0.5,
    )


def test_the_command_is_deterministic(saved: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert main(["export-bert", str(saved["two"]), "-o", str(tmp_path / name)]) == 0
    graphs, tokenizers = (
        [(tmp_path / name / file).read_bytes() for name in ("a", "b")] for file in ("model.onnx", "tokenizer.json")
    )
    assert graphs[0] == graphs[1]
    assert tokenizers[0] == tokenizers[1]


@pytest.mark.parametrize("content", [None, b"\n \n", b"\xff\xfe"])
def test_prompts_that_are_none(content: bytes | None, saved: dict[str, Path], tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    assert main(["export-bert", str(saved["two"]), "-o", str(tmp_path / "out"), "--prompts", str(path)]) == 1
    assert "--prompts" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
