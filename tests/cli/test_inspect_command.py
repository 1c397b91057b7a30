"""``fastroute inspect``: what an artifact says of itself."""

from __future__ import annotations

import json

import pytest

from fastroute.artifact import ENCODER, ROUTER, write_artifact

MANIFEST = {
    "kind": "mf",
    "name": "house router",
    "models": [f"model-{i}" for i in range(64)],
    "pair": {"strong": "model-1", "weak": "model-2"},
    "threshold": 0.123456789,
    "encoder": {"id": "static-v1", "sha256": "e" * 64, "truncate": 512},
    "training": {
        "command": "fastroute train mf",
        "data": [{"name": "preferences", "sha256": "d" * 64, "licence": "CC-BY-4.0"}],
    },
    "calibrated": False,
    "seed": None,
}


@pytest.fixture
def artifact(tmp_path):
    path = tmp_path / "house"
    files = {"weights.safetensors": bytes(1_234), "LICENCES": b"text"}
    write_artifact(path, format=ROUTER, manifest=MANIFEST, files=files)
    return path


def test_text(run, artifact):
    ended = run("inspect", artifact)
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.decode().splitlines()
    assert lines[0] == "house router: mf, fastroute-router 1"
    for line in (
        f"path  {artifact}",
        "models  64 (listed with -v)",
        "  strong  model-1",
        "threshold  0.123457",
        "  truncate  512",
        "  data  (1)",
        "      licence  CC-BY-4.0",
        f"      sha256  {'d' * 64}",
        "  command  fastroute train mf",
        "calibrated  no",
        "seed  -",
        "files (sizes and checksums verified)",
    ):
        assert line in lines
    assert any(line.startswith("  weights.safetensors         1,234 bytes  sha256 ") for line in lines)
    assert "model-63" not in ended.out.decode()


def test_verbose_lists_the_models(run, artifact):
    assert "model-61, model-62, model-63" in run("inspect", "-v", artifact).out.decode()


def test_json(run, artifact):
    shown = json.loads(run("inspect", "--json", artifact).out)
    assert shown["path"] == str(artifact)
    assert shown["verified"] is True
    assert shown["manifest"].items() >= MANIFEST.items()
    assert shown["manifest"]["files"]["LICENCES"]["size"] == 4


def test_an_encoder(run, tmp_path):
    write_artifact(tmp_path / "e", format=ENCODER, manifest={"kind": "static", "name": "e"}, files={"a": b"1"})
    assert run("inspect", tmp_path / "e").out.startswith(b"e: static, fastroute-encoder 1\n")


def test_an_altered_file_is_not_shown_as_sound(run, artifact):
    (artifact / "LICENCES").write_bytes(b"texT")
    ended = run("inspect", artifact)
    assert (ended.code, ended.out) == (1, b"")
    assert "LICENCES: SHA-256 is" in ended.err
    assert ended.err.count("\n") == 1


def test_it_can_not_drive_the_terminal(run, tmp_path):
    evil = {"kind": "mf", "name": "x", "note": "\x1b]0;owned\x07\nfake  line", "\x1b[2J": [1, "\r"]}
    write_artifact(tmp_path / "evil", format=ROUTER, manifest=evil, files={"a": b"1"})
    for args in ([], ["-v"]):
        out = run("inspect", tmp_path / "evil", *args).out
        assert rb"note  \x1b]0;owned\x07\nfake  line" in out
        assert not any(control in out for control in (b"\x1b", b"\x07", b"\r"))


def test_nothing_there(run, tmp_path):
    ended = run("inspect", tmp_path / "nowhere")
    assert (ended.code, ended.out) == (2, b"")
    assert "nowhere" in ended.err


def test_a_folder_without_a_manifest(run, tmp_path):
    ended = run("inspect", tmp_path)
    assert (ended.code, ended.out) == (1, b"")
    assert "router.json" in ended.err
