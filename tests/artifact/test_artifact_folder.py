"""Writing and reading artifact folders through the package's own door."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastroute.artifact import (
    ENCODER,
    FORMAT_VERSION,
    ROUTER,
    bundled,
    read_artifact,
    read_manifest,
    write_artifact,
)
from fastroute.errors import (
    ArtifactCorruptError,
    ArtifactError,
    ArtifactNotFoundError,
    ArtifactVersionError,
    InvalidArgumentError,
    InvalidTypeError,
)

Save = Callable[..., str]
MINIMAL = {"kind": "mf", "name": "small"}


def sealed(values: dict[str, Any]) -> bytes:
    """A manifest sealed by the rule in the documentation, not by the writer under test."""
    zeros = "0" * 64
    text = json.dumps({**values, "sha256": zeros})
    return text.replace(zeros, hashlib.sha256(text.encode()).hexdigest()).encode()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(tmp_path: Path, weights: bytes) -> None:
    manifest = {**MINIMAL, "models": ["strong", "weak"], "calibration": {"threshold": 0.25, "n": 3}}
    files = {"weights.safetensors": weights, "empty": b"", "größe.txt": b"\x00\xff"}
    seal = write_artifact(tmp_path / "r", format=ROUTER, manifest=manifest, files=files)
    artifact = read_artifact(tmp_path / "r", format=ROUTER)
    assert dict(artifact.files) == files
    assert {key: artifact.manifest[key] for key in manifest} == manifest
    assert artifact.manifest["format"] == "fastroute-router"
    assert artifact.manifest["format_version"] == FORMAT_VERSION
    assert artifact.sha256 == seal == artifact.manifest["sha256"]
    assert artifact.document == (tmp_path / "r" / "router.json").read_bytes()


def test_the_manifest_is_sealed_by_the_documented_rule(router_folder: Path) -> None:
    text = (router_folder / "router.json").read_text()
    values = json.loads(text)
    unsealed = text.replace(values["sha256"], "0" * 64)
    assert values["sha256"] == hashlib.sha256(unsealed.encode()).hexdigest()
    data = (router_folder / "weights.safetensors").read_bytes()
    expected = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert values["files"]["weights.safetensors"] == expected


def test_a_manifest_sealed_by_another_program_is_read(tmp_path: Path) -> None:
    entry = {"size": 2, "sha256": hashlib.sha256(b"hi").hexdigest()}
    values = {"format": ROUTER, "format_version": 1, **MINIMAL, "files": {"a": entry}}
    (tmp_path / "router.json").write_bytes(sealed(values))
    (tmp_path / "a").write_bytes(b"hi")
    assert read_artifact(str(tmp_path), format=ROUTER).files == {"a": b"hi"}


def test_equal_content_gives_equal_bytes(tmp_path: Path, save: Save) -> None:
    assert save(tmp_path / "a") == save(tmp_path / "b")
    assert (tmp_path / "a/router.json").read_bytes() == (tmp_path / "b/router.json").read_bytes()
    assert save(tmp_path / "c", "new") != save(tmp_path / "d", "old")


def test_reading_the_manifest_alone_needs_no_payload(router_folder: Path) -> None:
    whole = read_artifact(router_folder, format=ROUTER)
    (router_folder / "weights.safetensors").unlink()
    alone = read_manifest(router_folder, format=ROUTER)
    assert (alone.manifest, alone.sha256, alone.files) == (whole.manifest, whole.sha256, {})


def test_payload_stays_out_of_the_repr(router_folder: Path) -> None:
    assert "oldold" not in repr(read_artifact(router_folder, format=ROUTER))


def test_unlisted_files_are_not_read(router_folder: Path) -> None:
    (router_folder / "README.md").write_text("mine")
    assert "README.md" not in read_artifact(router_folder, format=ROUTER).files


def test_the_folder_may_be_reached_through_a_link(router_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(router_folder)
    assert read_artifact(tmp_path / "current", format=ROUTER).manifest["note"] == "old"


class TestReplacing:
    def test_an_older_artifact_is_replaced_and_nothing_is_left(self, router_folder: Path, save: Save) -> None:
        (router_folder / "note.txt").chmod(0o400)
        save(router_folder, "new")
        assert read_artifact(router_folder, format=ROUTER).manifest["note"] == "new"
        assert names(router_folder.parent) == ["router"]

    def test_files_that_the_new_one_lacks_are_gone(self, router_folder: Path) -> None:
        write_artifact(router_folder, format=ROUTER, manifest=MINIMAL, files={"only": b"x"})
        assert names(router_folder) == ["only", "router.json"]

    def test_an_empty_folder_is_filled(self, tmp_path: Path, save: Save) -> None:
        (tmp_path / "r").mkdir()
        save(tmp_path / "r")
        assert read_artifact(tmp_path / "r", format=ROUTER).manifest["note"] == "old"
        assert names(tmp_path) == ["r"]

    def test_the_mode_of_the_older_folder_is_kept(self, router_folder: Path, save: Save) -> None:
        router_folder.chmod(0o750)
        save(router_folder, "new")
        assert stat.S_IMODE(router_folder.stat().st_mode) == 0o750

    def test_a_link_stays_and_its_folder_is_replaced(self, router_folder: Path, tmp_path: Path, save: Save) -> None:
        link = tmp_path / "current"
        link.symlink_to(router_folder)
        save(link, "new")
        assert link.is_symlink()
        assert read_artifact(router_folder, format=ROUTER).manifest["note"] == "new"

    def test_a_name_of_255_bytes_works(self, tmp_path: Path, save: Save) -> None:
        target = tmp_path / ("ß" * 127)
        save(target)
        save(target, "new")
        assert read_artifact(target, format=ROUTER).manifest["note"] == "new"

    def test_where_names_cannot_be_exchanged_renames_do(
        self, router_folder: Path, save: Save, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fastroute.artifact.atomic.exchange_names", lambda *_: False)
        save(router_folder, "new")
        assert read_artifact(router_folder, format=ROUTER).manifest["note"] == "new"
        assert names(router_folder.parent) == ["router"]

    def test_an_older_folder_that_stays_is_reported(
        self, router_folder: Path, save: Save, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "unlink", refuse)
        with pytest.warns(RuntimeWarning, match="written, but the older artifact is still at"):
            save(router_folder, "new")
        assert read_artifact(router_folder, format=ROUTER).manifest["note"] == "new"


class TestRefusingToReplace:
    def refused(self, target: Path, save: Save, fragment: str) -> None:
        before = snapshot(target.parent)
        with pytest.raises(ArtifactError, match=fragment):
            save(target, "new")
        assert snapshot(target.parent) == before

    def test_a_folder_of_other_things(self, tmp_path: Path, save: Save) -> None:
        (tmp_path / "thesis").mkdir()
        (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
        self.refused(tmp_path / "thesis", save, r"thesis: exists and is no fastroute-router .*not found")

    def test_an_artifact_with_other_things_in_it(self, router_folder: Path, save: Save) -> None:
        (router_folder / "mine.txt").write_text("mine")
        self.refused(router_folder, save, r"holds 'mine\.txt', which is no part of the artifact")

    def test_an_artifact_that_was_altered(self, router_folder: Path, save: Save) -> None:
        manifest = router_folder / "router.json"
        manifest.write_text(manifest.read_text().replace("small", "smell"))
        self.refused(router_folder, save, "the manifest was altered")

    def test_an_encoder(self, tmp_path: Path, save: Save) -> None:
        write_artifact(tmp_path / "e", format=ENCODER, manifest=MINIMAL, files={})
        self.refused(tmp_path / "e", save, "exists and is no fastroute-router")

    def test_a_file(self, tmp_path: Path, save: Save) -> None:
        (tmp_path / "f").write_text("mine")
        self.refused(tmp_path / "f", save, "exists and is not a folder")

    def test_a_missing_parent(self, tmp_path: Path, save: Save) -> None:
        with pytest.raises(ArtifactError, match=r"nowhere does not exist; create it first"):
            save(tmp_path / "nowhere" / "r")


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path under a folder with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


class TestReadingWhatIsNotThere:
    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactNotFoundError, match="nothing: not found"):
            read_artifact(tmp_path / "nothing", format=ROUTER)

    def test_no_manifest(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactNotFoundError, match=r"router\.json: not found"):
            read_artifact(tmp_path, format=ROUTER)

    def test_a_listed_file_is_missing(self, router_folder: Path) -> None:
        (router_folder / "note.txt").unlink()
        with pytest.raises(ArtifactNotFoundError, match=r"note\.txt: not found"):
            read_artifact(router_folder, format=ROUTER)

    def test_a_file_in_place_of_the_folder(self, router_folder: Path) -> None:
        with pytest.raises(ArtifactError, match=r"router\.json: is not a folder"):
            read_artifact(router_folder / "router.json", format=ROUTER)

    def test_the_other_format(self, router_folder: Path) -> None:
        (router_folder / "encoder.json").write_bytes((router_folder / "router.json").read_bytes())
        with pytest.raises(ArtifactError, match="holds a fastroute-router, expected a fastroute-encoder"):
            read_artifact(router_folder, format=ENCODER)

    def test_not_found_is_also_a_file_not_found_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read_artifact(tmp_path / "nothing", format=ROUTER)


class TestLaterVersions:
    # A later format may change everything but the words "format" and "format_version".
    @pytest.mark.parametrize("version", [2, 3, 2**63])
    @pytest.mark.parametrize("rest", [{}, {"files": [1]}, {"sha256": 5}, {"kind": None, "seal": "blake3"}])
    def test_they_are_named_whatever_else_changed(self, tmp_path: Path, version: int, rest: dict[str, Any]) -> None:
        values = {"format": ROUTER, "format_version": version, **rest}
        (tmp_path / "router.json").write_text(json.dumps(values))
        with pytest.raises(ArtifactVersionError, match=rf"version {version}, .* up to 1; upgrade fastroute"):
            read_artifact(tmp_path, format=ROUTER)


class TestBundling:
    @pytest.fixture
    def encoder_files(self, tmp_path: Path, weights: bytes) -> dict[str, bytes]:
        files = {"encoder.safetensors": weights, "tokenizer.json": b"{}"}
        write_artifact(tmp_path / "e", format=ENCODER, manifest={"kind": "static", "name": "e"}, files=files)
        return read_artifact(tmp_path / "e", format=ENCODER).all_files()

    def router(self, folder: Path, files: dict[str, bytes]) -> Any:
        write_artifact(folder, format=ROUTER, manifest=MINIMAL, files=files)
        return read_artifact(folder, format=ROUTER)

    def test_an_encoder_inside_a_router_is_the_same_encoder(
        self, tmp_path: Path, encoder_files: dict[str, bytes]
    ) -> None:
        assert list(encoder_files) == ["encoder.json", "encoder.safetensors", "tokenizer.json"]
        router = self.router(tmp_path / "r", {"weights.safetensors": b"w", **encoder_files})
        inner = bundled(router, format=ENCODER)
        alone = read_artifact(tmp_path / "e", format=ENCODER)
        assert (inner.sha256, inner.manifest, inner.files) == (alone.sha256, alone.manifest, alone.files)

    def test_no_encoder(self, router_folder: Path) -> None:
        with pytest.raises(ArtifactNotFoundError, match=r"encoder\.json: not among the files"):
            bundled(read_artifact(router_folder, format=ROUTER), format=ENCODER)

    @pytest.mark.parametrize(
        ("other", "fragment"),
        [
            ({"tokenizer.json": None}, "bundled file 'tokenizer.json' is missing"),
            ({"tokenizer.json": b"[]"}, "bundled file 'tokenizer.json': SHA-256 is"),
            ({"tokenizer.json": b"{ }"}, "bundled file 'tokenizer.json': 3 bytes, its manifest says 2"),
            ({"encoder.json": b"{}"}, "key 'format' is missing"),
        ],
    )
    def test_another_file_than_the_encoder_was_made_of(
        self, tmp_path: Path, encoder_files: dict[str, bytes], other: dict[str, Any], fragment: str
    ) -> None:
        files = {key: data for key, data in {**encoder_files, **other}.items() if data is not None}
        router = self.router(tmp_path / "r", files)
        with pytest.raises(ArtifactCorruptError, match=fragment):
            bundled(router, format=ENCODER)


class TestBadArguments:
    @pytest.mark.parametrize(
        ("manifest", "fragment"),
        [
            ({"name": "n"}, "key 'kind' is missing"),
            ({"kind": "mf", "name": ""}, "key 'name' is ''"),
            ({**MINIMAL, "files": {}}, "key 'files' is set by the writer"),
            ({**MINIMAL, "sha256": "x"}, "key 'sha256' is set by the writer"),
            ({**MINIMAL, "x": float("nan")}, "can't be written as JSON"),
            ({**MINIMAL, "x": object()}, "can't be written as JSON"),
            ({**MINIMAL, "x": {1: "a", "1": "b"}}, "key '1' occurs twice"),
            ({**MINIMAL, "x": 2**64}, "does not fit 64 bits"),
            ({**MINIMAL, "x": [0.5] * 20_000}, "too many JSON values"),
            ({**MINIMAL, "x": "\ud800"}, "half of a surrogate pair"),
        ],
    )
    def test_a_manifest_that_no_reader_would_accept(
        self, tmp_path: Path, manifest: dict[str, Any], fragment: str
    ) -> None:
        with pytest.raises(InvalidArgumentError, match=f"^manifest: .*{fragment}"):
            write_artifact(tmp_path / "r", format=ROUTER, manifest=manifest, files={})
        assert not names(tmp_path)

    @pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\\b", "a\0b", "a\nb"])
    def test_a_file_name_that_no_reader_would_accept(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match=r"file name .* is not allowed"):
            write_artifact(tmp_path / "r", format=ROUTER, manifest=MINIMAL, files={name: b""})
        assert not names(tmp_path)

    def test_wrong_types(self, tmp_path: Path) -> None:
        target: Any = tmp_path / "r"
        bad: Any
        for bad in (None, [], "x"):
            with pytest.raises(InvalidTypeError, match=r"^manifest: "):
                write_artifact(target, format=ROUTER, manifest=bad, files={})
            with pytest.raises(InvalidTypeError, match=r"^files: "):
                write_artifact(target, format=ROUTER, manifest=MINIMAL, files=bad)
        bad = {"a": "text"}
        with pytest.raises(InvalidTypeError, match=r"^files\['a'\]: str"):
            write_artifact(target, format=ROUTER, manifest=MINIMAL, files=bad)

    @pytest.mark.parametrize("path", [None, 3, b"bytes", ["a"]])
    def test_a_path_of_another_type(self, path: Any) -> None:
        with pytest.raises(InvalidTypeError, match=r"^path: .* is not a path"):
            read_artifact(path, format=ROUTER)

    @pytest.mark.parametrize("path", ["", "a\0b", "\ud800"])
    def test_a_path_that_cannot_be(self, path: str) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^path: "):
            read_artifact(path, format=ROUTER)

    def test_an_unknown_format(self, router_folder: Path) -> None:
        with pytest.raises(InvalidArgumentError, match=r"^format: 'mf' is none of fastroute-router"):
            read_artifact(router_folder, format="mf")
