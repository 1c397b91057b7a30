"""Checkpoints of RouteLLM's matrix factorization as mf routers, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.importing.routellm_files import PAIR, config_of, expected_scores, random_weights, write_checkpoint

import fastroute
from fastroute.artifact import safetensors
from fastroute.cli import main
from fastroute.encoders import OpenAIEncoder
from fastroute.errors import (
    EncoderMismatchError,
    FastrouteError,
    InvalidArgumentError,
    InvalidTypeError,
    UnknownModelError,
)
from fastroute.importing import import_matrix_factorization
from fastroute.importing.models import ROUTELLM_MODELS

DIM = 48
STRONG, WEAK = (ROUTELLM_MODELS.index(model) for model in PAIR)


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    return random_weights(rank=8, dim=DIM)


@pytest.fixture
def folder(tmp_path: Path, tensors: Any) -> Path:
    return write_checkpoint(tmp_path / "mf_small", tensors)


QUERIES = np.random.default_rng(9).standard_normal((200, DIM), np.float32)


def test_there_are_64_models() -> None:
    assert len(set(ROUTELLM_MODELS)) == 64
    assert (STRONG, WEAK) == (24, 36)


def test_scores_are_those_of_the_formulas(folder: Path, tensors: Any, tmp_path: Path) -> None:
    router = import_matrix_factorization(folder, encoder=None, threshold=0.3)
    wanted = expected_scores(tensors, STRONG, WEAK, QUERIES)
    assert np.ptp(wanted) > 0.3
    np.testing.assert_allclose(router.score_embeddings(QUERIES), wanted, rtol=0, atol=1e-6)
    router.save(tmp_path / "out")
    loaded = fastroute.load(tmp_path / "out")
    assert (loaded.strong, loaded.weak, loaded.threshold, loaded.models) == (*PAIR, 0.3, ROUTELLM_MODELS)
    np.testing.assert_array_equal(loaded.score_embeddings(QUERIES), router.score_embeddings(QUERIES))
    other = loaded.with_models("zephyr-7b-beta", "alpaca-13b")
    np.testing.assert_allclose(other.score_embeddings(QUERIES), expected_scores(tensors, 63, 1, QUERIES), atol=1e-6)


def test_the_artifact_says_what_it_was_made_of(folder: Path, tmp_path: Path) -> None:
    import hashlib

    assert main(["import-routellm", str(folder), "-o", str(tmp_path / "out"), "--encoder", "none"]) == 0
    text = (tmp_path / "out" / "router.json").read_text()
    said = json.loads(text)["training"]
    files = {each["file"]: each["sha256"] for each in said["data"]}
    wanted = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    assert files == wanted
    assert set(files) == {"config.json", "model.safetensors"}
    assert said["licence"] == "apache-2.0"
    assert said["command"] == "fastroute import-routellm mf_small -o out --threshold 0.5 --encoder none"
    assert str(tmp_path) not in text


def test_a_licence_that_is_given_stands(folder: Path) -> None:
    router = import_matrix_factorization(folder, encoder=None, licence="MIT")
    assert router._manifest["training"]["licence"] == "MIT"
    (folder / "README.md").unlink()
    assert "licence" not in import_matrix_factorization(folder, encoder=None)._manifest["training"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats(tmp_path: Path, tensors: Any, dtype: type) -> None:
    other = {name: values.astype(dtype) for name, values in tensors.items()}
    router = import_matrix_factorization(write_checkpoint(tmp_path / "other", other), encoder=None)
    wanted = expected_scores(other, STRONG, WEAK, QUERIES)
    np.testing.assert_allclose(router.score_embeddings(QUERIES), wanted, rtol=0, atol=1e-6)


def test_a_file_alone_and_names_of_other_models(tmp_path: Path) -> None:
    tensors = random_weights(models=3, rank=4, dim=DIM)
    (tmp_path / "own.safetensors").write_bytes(safetensors.encode(tensors))
    names = tmp_path / "names.txt"
    names.write_text("large\n\nmedium\nsmall\n")
    pair = ["--strong", "large", "--weak", "small", "--encoder", "none"]
    command = ["import-routellm", str(tmp_path / "own.safetensors"), "-o", str(tmp_path / "out"), *pair]
    assert main(command) == 1
    assert main([*command, "--models", str(names)]) == 0
    router = fastroute.load(tmp_path / "out")
    np.testing.assert_allclose(
        router.score_embeddings(QUERIES), expected_scores(tensors, 0, 2, QUERIES), rtol=0, atol=1e-6
    )


def test_a_model_without_length_stays_at_zero(tmp_path: Path, tensors: Any) -> None:
    """`torch.nn.functional.normalize` divides by 1e-12 there."""
    tensors["P.weight"][STRONG] = 0
    router = import_matrix_factorization(write_checkpoint(tmp_path / "zero", tensors), encoder=None)
    wanted = expected_scores(tensors, STRONG, WEAK, QUERIES)
    np.testing.assert_allclose(router.score_embeddings(QUERIES), wanted, rtol=0, atol=1e-6)


def test_prompts_are_read_by_openai(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The encoder's settings are in the artifact; nothing is sent, and the host must be named first."""
    folder = write_checkpoint(tmp_path / "mf", random_weights(rank=8))
    assert main(["import-routellm", str(folder), "-o", str(tmp_path / "out"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["encoder"] == "text-embedding-3-small"
    assert "FASTROUTE_ENDPOINT_HOSTS lists api.openai.com" in err
    router = fastroute.load(tmp_path / "out")
    encoder = router.encoder
    assert isinstance(encoder, OpenAIEncoder)
    assert (encoder.name, encoder.dim, encoder.base_url) == (
        "text-embedding-3-small",
        1536,
        "https://api.openai.com/v1",
    )
    with pytest.raises(InvalidArgumentError, match="FASTROUTE_ENDPOINT_HOSTS"):
        router.score("What is 2 + 2?")


def test_another_api_gets_no_key_that_nobody_named(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mf", random_weights(rank=8))
    url = ["--base-url", "http://localhost:9/v1"]
    assert main(["import-routellm", str(folder), "-o", str(tmp_path / "out"), *url]) == 0
    said = json.loads((tmp_path / "out" / "encoder.json").read_text())
    assert (said["base_url"], said["key_env"]) == ("http://localhost:9/v1", None)


def test_an_encoder_must_fit(folder: Path) -> None:
    with pytest.raises(EncoderMismatchError, match="1536 dimensions, the router has 48"):
        import_matrix_factorization(folder)


def changed(**tensors: Any) -> Callable[[Path], None]:
    """Put tensors in the place of others, or take them away."""

    def damage(folder: Path) -> None:
        state = {name: np.array(each) for name, each in random_weights(rank=8, dim=DIM).items()}
        for name, change in tensors.items():
            key = {"P": "P.weight", "proj": "text_proj.0.weight", "head": "classifier.0.weight"}.get(name, name)
            if change is None:
                del state[key]
            else:
                state[key] = change(state.get(key))
        (folder / "model.safetensors").write_bytes(safetensors.encode(state))

    return damage


def settings(**members: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(said | members))

    return damage


def written(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(content(path.read_bytes() if path.exists() else b""))

    return damage


def not_a_number(folder: Path) -> None:
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-4:] = np.float32(np.nan).tobytes()
    (folder / "model.safetensors").write_bytes(bytes(raw))


def linked(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "elsewhere")
    (folder / "model.safetensors").symlink_to(folder.parent / "elsewhere")


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no projection": (changed(proj=None), "tensor 'text_proj.0.weight' is missing"),
    "no head": (changed(head=None), "tensor 'classifier.0.weight' is missing"),
    "extra": (changed(more=lambda _: np.zeros(3, np.float32)), "1 tensors are not those of a matrix factorization"),
    "63 models": (changed(P=lambda p: p[:63]), "num_models is 64; the tensors say 63"),
    "rank of the projection": (changed(proj=lambda w: w[:7]), r"shape \(7, 48\); floating point of shape \(8, any\)"),
    "two classes": (changed(head=lambda c: np.repeat(c, 2, 0)), r"floating point of shape \(1, 8\)"),
    "a vector": (changed(P=lambda p: p[0]), "'P.weight' is float32 of shape"),
    "no model": (changed(P=lambda p: p[:0]), "'P.weight' is float32 of shape"),
    "whole numbers": (changed(P=lambda p: p.astype(np.int32)), "'P.weight' is int32"),
    "beyond float32": (changed(P=lambda p: p.astype(np.float64) * 1e60), "what float32 does not"),
    "NaN": (not_a_number, "NaN"),
    "cut short": (written("model.safetensors", lambda raw: raw[:-9]), "model.safetensors"),
    "empty": (written("model.safetensors", lambda _: b""), "too short"),
    "a pickle": (written("model.safetensors", lambda _: pickle.dumps({"P.weight": Evil()})), "model.safetensors"),
    "another rank by config": (settings(dim=16), "dim is 16; the tensors say 8"),
    "another length by config": (settings(text_dim=1536), "text_dim is 1536; the tensors say 48"),
    "classes by config": (settings(num_classes=2), "num_classes is 2; the tensors say 1"),
    "no projection by config": (settings(use_proj=False), "use_proj is False; the tensors say True"),
    "a text in config": (settings(dim="8"), "dim is '8'"),
    "config is no JSON": (written("config.json", lambda _: b"{"), "not a JSON file"),
    "config is a list": (written("config.json", lambda _: b"[]"), "a JSON object is needed"),
    "a link": (linked, "leads out of the folder"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds none of model.safetensors"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_said_and_nothing_is_written(
    name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    damage, message = DAMAGES[name]
    damage(folder)
    with pytest.raises(FastrouteError, match=message):
        import_matrix_factorization(folder, encoder=None)
    before = sorted(each.name for each in tmp_path.iterdir())
    assert main(["import-routellm", str(folder), "-o", str(tmp_path / "out"), "--encoder", "none"]) == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == before
    assert not (tmp_path / "executed").exists()
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_64_models_are_expected(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "own", random_weights(models=63, rank=8, dim=DIM))
    with pytest.raises(FastrouteError, match="has 63 models, RouteLLM has 64; give the names"):
        import_matrix_factorization(folder, encoder=None)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strong": "gpt-4-1106"}, UnknownModelError, "gpt-4-1106-preview"),
        ({"strong": PAIR[1]}, InvalidArgumentError, "for both"),
        ({"threshold": 1.5}, InvalidArgumentError, "threshold"),
        ({"threshold": "half"}, InvalidTypeError, "threshold"),
        ({"models": "abc"}, InvalidTypeError, "models"),
        ({"models": ["a", "a"]}, InvalidArgumentError, "all different"),
        ({"models": ["a", "b"]}, FastrouteError, "64 models, models= names 2"),
        ({"licence": 3}, InvalidTypeError, "licence"),
        ({"licence": "a\nb"}, InvalidArgumentError, "printable"),
        ({"training": [1]}, InvalidTypeError, "training"),
    ],
)
def test_arguments(folder: Path, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        import_matrix_factorization(folder, **{"encoder": None, **arguments})


@pytest.mark.parametrize("path", ["nowhere", "file.txt", "none.safetensors"])
def test_nothing_there(tmp_path: Path, path: str) -> None:
    with pytest.raises(FastrouteError, match=path):
        import_matrix_factorization(tmp_path / path)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["mf", "--battles", "a", "--embeddings", "b"],
        ["--battles", "a"],
        ["mf", "--tiers", "3"],
        ["mf", "--keep", "none"],
        ["--battles", "a", "--embeddings", "b", "--models", "names"],
        ["mf", "--encoder", "none", "--base-url", "http://localhost/v1"],
        ["mf", "--threshold", "2"],
    ],
)
def test_options_that_contradict(tmp_path: Path, options: list[str]) -> None:
    assert main(["import-routellm", *options, "-o", str(tmp_path / "out")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_what_lies_there_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter").write_text("dear")
    assert main(["import-routellm", str(folder), "-o", str(tmp_path / "out"), "--encoder", "none"]) == 1
    assert (tmp_path / "out" / "letter").read_text() == "dear"


class TestTorchFiles:
    @pytest.fixture
    def torch(self) -> Any:
        return pytest.importorskip("torch", reason="needs torch")

    @pytest.mark.torch
    @pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
    def test_tensors(self, torch: Any, tmp_path: Path, tensors: Any, name: str) -> None:
        state = {key: torch.nn.Parameter(torch.from_numpy(values)) for key, values in tensors.items()}
        torch.save(state, tmp_path / name)
        (tmp_path / "config.json").write_text(json.dumps(config_of(tensors)))
        wanted = expected_scores(tensors, STRONG, WEAK, QUERIES)
        for path in (tmp_path, tmp_path / name):
            router = import_matrix_factorization(path, encoder=None)
            np.testing.assert_allclose(router.score_embeddings(QUERIES), wanted, rtol=0, atol=1e-6)

    @pytest.mark.torch
    def test_bfloat16(self, torch: Any, tmp_path: Path, tensors: Any) -> None:
        state = {key: torch.from_numpy(values).bfloat16() for key, values in tensors.items()}
        torch.save(state, tmp_path / "mf.pth")
        wanted = expected_scores({k: v.float().numpy() for k, v in state.items()}, STRONG, WEAK, QUERIES)
        router = import_matrix_factorization(tmp_path / "mf.pth", encoder=None)
        np.testing.assert_allclose(router.score_embeddings(QUERIES), wanted, rtol=0, atol=1e-6)

    @pytest.mark.torch
    @pytest.mark.parametrize("kind", ["a pickle", "a list", "an object", "a module", "nonsense", "a number"])
    def test_nothing_is_run(
        self, torch: Any, tmp_path: Path, tensors: Any, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "mf.pt"
        if kind in ("a pickle", "nonsense"):
            path.write_bytes(pickle.dumps(Evil()) if kind == "a pickle" else b"\x80\x02 nonsense")
        else:
            state = {key: torch.from_numpy(values) for key, values in tensors.items()}
            made = {"a list": list(state.values()), "an object": state | {"more": Evil()}}
            torch.save(made.get(kind, state | {"P.weight": 3} if kind == "a number" else torch.nn.Linear(2, 2)), path)
        with pytest.raises(FastrouteError, match=r"mf\.pt"):
            import_matrix_factorization(path, encoder=None)
        assert not (tmp_path / "executed").exists()

    def test_without_torch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import sys

        monkeypatch.setitem(sys.modules, "torch", None)
        (tmp_path / "mf.pt").write_bytes(pickle.dumps(Evil()))
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FastrouteError, match="pip install 'fastroute"):
            import_matrix_factorization(tmp_path / "mf.pt")
        assert not (tmp_path / "executed").exists()
