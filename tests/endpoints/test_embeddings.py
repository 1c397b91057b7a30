"""OpenAIEncoder: what is sent, what comes back, and what is kept."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.endpoints.scripted_server import Reply
from tests.endpoints.text_models import DIM, SMALL, TextModels, embedding, embeddings

import fastroute
from fastroute.artifact import ENCODER, read_artifact, write_artifact
from fastroute.encoders import Encoder, OpenAIEncoder, load_encoder
from fastroute.errors import (
    ArtifactCorruptError,
    EncoderMismatchError,
    EndpointError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
)
from fastroute.routers import KnnRouter, MatrixFactorizationRouter, SimilarityWeightedRouter

PROMPTS = [f"prompt {number}" for number in range(40)]


def rows_of(texts, dim=DIM):
    return np.array([embedding(text, dim) for text in texts], np.float32)


def test_embeddings_are_in_the_order_of_the_prompts(server, encoder_of):
    encoder = encoder_of(batch_texts=7)
    embedded = encoder.embed(PROMPTS)
    np.testing.assert_array_equal(embedded, rows_of(PROMPTS))
    assert embedded.dtype == np.float32
    assert embedded.flags.c_contiguous
    assert sorted(map(len, server.inputs)) == [5, 7, 7, 7, 7, 7]
    assert {request.path for request in server.requests} == {"/v1/embeddings"}
    assert all(set(request.body) == {"model", "input"} for request in server.requests)
    assert all("Authorization" not in request.headers for request in server.requests)


def test_requests_are_bounded_by_tokens(server, encoder_of):
    texts = ["a" * 299, "b" * 299, "c" * 299, "d" * 3000, "中" * 100, "e"]
    np.testing.assert_array_equal(encoder_of(batch_tokens=200).embed(texts), rows_of(texts))
    assert sorted(server.inputs) == sorted([texts[:2], texts[2:3], texts[3:4], texts[4:]])


def test_each_text_is_sent_once(server, encoder_of):
    encoder = encoder_of()
    np.testing.assert_array_equal(encoder.embed(["a", "b", "a", "a"]), rows_of(["a", "b", "a", "a"]))
    assert server.inputs == [["a", "b"]]
    np.testing.assert_array_equal(encoder.embed(["c", "b"]), rows_of(["c", "b"]))
    assert server.inputs[1:] == [["c"]]


def test_without_a_cache_each_call_asks(server, encoder_of):
    encoder = encoder_of(cache_entries=0)
    for _ in range(3):
        encoder.embed(["a"])
    assert server.inputs == [["a"]] * 3


def test_what_was_not_used_for_the_longest_time_goes_first(server, encoder_of):
    encoder = encoder_of(cache_entries=2)
    for text in ("a", "b", "a", "c", "a", "b"):
        encoder.embed([text])
    assert server.inputs == [["a"], ["b"], ["c"], ["b"]]


def test_cached_rows_are_the_callers_own(encoder_of):
    encoder = encoder_of()
    encoder.embed(["a"])[:] = 9
    encoder.embed(["a"])[:] = 9
    np.testing.assert_array_equal(encoder.embed(["a"]), rows_of(["a"]))


def test_the_dimension_is_known_or_found_out(server, encoder_of):
    assert OpenAIEncoder("text-embedding-3-small").dim == 1536
    assert OpenAIEncoder("text-embedding-3-large", dimensions=256).dim == 256
    assert encoder_of(dim=None, dimensions=4).embed(["a"]).shape == (1, 4)
    assert server.requests[0].body["dimensions"] == 4
    encoder = encoder_of(dim=None)
    assert encoder.dim == DIM
    assert encoder.embed([]).shape == (0, DIM)
    assert len(server.requests) == 2
    assert isinstance(encoder, Encoder)


def test_empty_and_broken_texts(server, encoder_of):
    encoder = encoder_of()
    np.testing.assert_array_equal(encoder.embed(["", " ", "a\ud800b"]), rows_of([" ", " ", "a\ufffdb"]))
    assert server.inputs == [[" ", "a\ufffdb"]]


def test_long_texts_are_cut_and_counted(server, encoder_of):
    encoder = encoder_of(max_characters=5)
    np.testing.assert_array_equal(encoder.embed(["abcdefgh", "abcde"]), rows_of(["abcde"] * 2))
    assert server.inputs == [["abcde"]]
    assert encoder.truncated == 1


def test_progress_ends_with_all(encoder_of):
    encoder, seen = encoder_of(batch_texts=10), []
    encoder.embed(PROMPTS[:5])
    encoder.embed(PROMPTS + PROMPTS, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (10, 80)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (80, 80)
    assert len(seen) == 5


@pytest.mark.parametrize("bad", ["text", None, 5, {"a": 1}, ["a", 5], ["a", None]])
def test_what_is_no_prompt(server, encoder_of, bad):
    with pytest.raises(InvalidTypeError, match=r"^prompts(\[1\])?: found "):
        encoder_of().embed(bad)
    assert server.requests == []


def answers(server, reply):
    server.script = lambda request, seen: reply(request)


def one_row(row):
    return lambda request: Reply(json.dumps({"data": [{"index": 0, "embedding": row}]}).encode())


MALFORMED = {
    "no JSON": lambda request: Reply(b"<html>"),
    "cut short": lambda request: Reply(embeddings(request).body[:-5]),
    "an error with status 200": lambda request: Reply(b'{"error": {"message": "no such model"}}'),
    "not a number": one_row([float("nan")] * DIM),
    "infinity": one_row([float("inf")] * DIM),
    "too large for float32": one_row([1e39] * DIM),
    "too large for float64": one_row([10**400] * DIM),
    "strings": one_row(["1.0"] * DIM),
    "truth values": one_row([True] * DIM),
    "nothing": one_row([]),
    "base64": one_row("AAAA"),
    "null": one_row(None),
    "a list too deep": one_row([[1.0]] * DIM),
    "no rows": lambda request: Reply(b'{"data": []}'),
    "index 1 alone": lambda request: Reply(embeddings(request).body.replace(b'"index": 0', b'"index": 1')),
    "an index in quotes": lambda request: Reply(embeddings(request).body.replace(b'"index": 0', b'"index": "0"')),
    "an index that is false": lambda request: Reply(embeddings(request).body.replace(b'"index": 0', b'"index": false')),
    "no index": lambda request: Reply(embeddings(request).body.replace(b'"index"', b'"place"')),
    "an index twice": lambda request: Reply(
        json.dumps({"data": [{"index": 0, "embedding": embedding("a")}] * 2}).encode()
    ),
    "rows": lambda request: Reply(json.dumps([embedding("a")]).encode()),
}


@pytest.mark.parametrize("reply", MALFORMED)
def test_malformed_answers_are_asked_for_again(server, encoder_of, reply):
    server.script = lambda request, seen: MALFORMED[reply](request) if seen == 0 else None
    np.testing.assert_array_equal(encoder_of().embed(["a"]), rows_of(["a"]))
    assert len(server.requests) == 2
    answers(server, MALFORMED[reply])
    with pytest.raises(EndpointError, match=r"/v1/embeddings: .*\(tried 3 times\)"):
        encoder_of(tries=3).embed(["a"])
    assert len(server.requests) == 5


def test_rows_of_several_lengths(server, encoder_of):
    data = [{"index": 0, "embedding": [1.0, 2.0]}, {"index": 1, "embedding": [1.0]}]
    answers(server, lambda request: Reply(json.dumps({"data": data}).encode()))
    encoder = encoder_of(dim=None, tries=1)
    with pytest.raises(EndpointError, match="not what was asked for"):
        encoder.embed(["a", "b"])
    server.script = lambda request, seen: None
    assert encoder.dim == DIM


def test_another_dimension_ends_it(server, encoder_of):
    answers(server, lambda request: embeddings(request, dim=5))
    with pytest.raises(EndpointError, match="embeddings of 5 dimensions; this encoder has 8"):
        encoder_of().embed(["a"])
    assert len(server.requests) == 1


def test_an_answer_that_is_too_long(server, encoder_of):
    answers(server, lambda request: Reply(b" " * (2 << 20)))
    with pytest.raises(EndpointError, match="the answer is longer than 1 MiB"):
        encoder_of().embed(["a"])
    assert len(server.requests) == 1


def test_what_was_answered_before_a_failure_is_kept(server, encoder_of):
    server.script = lambda request, seen: Reply(b"no", status=400) if "prompt 9" in request.body["input"] else None
    encoder = encoder_of(batch_texts=1, concurrency=1)
    with pytest.raises(EndpointError, match=f"^{server.url}/embeddings: status 400: no$"):
        encoder.embed(PROMPTS)
    assert server.inputs == [[text] for text in PROMPTS[:10]]
    server.script = lambda request, seen: None
    np.testing.assert_array_equal(encoder.embed(PROMPTS), rows_of(PROMPTS))
    assert server.inputs[10:] == [[text] for text in PROMPTS[9:]]


class TestOnDisk:
    def test_another_process_finds_it(self, server, encoder_of, tmp_path):
        encoder_of(cache_folder=tmp_path / "cache").embed(PROMPTS)
        code = f"""
import sys
from fastroute.encoders import OpenAIEncoder
encoder = OpenAIEncoder({SMALL!r}, base_url={server.url!r}, cache_folder={os.fspath(tmp_path / "cache")!r})
sys.stdout.buffer.write(encoder.embed({PROMPTS!r}).tobytes())
"""
        found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, check=True)
        assert found.stderr == b""
        np.testing.assert_array_equal(np.frombuffer(found.stdout, np.float32).reshape(-1, DIM), rows_of(PROMPTS))
        assert len(server.requests) == 1

    @pytest.mark.parametrize("damage", ["emptied", "cut", "altered", "another's", "a folder", "longer"])
    def test_damaged_files_are_made_again(self, server, encoder_of, tmp_path, damage):
        encoder_of(cache_folder=tmp_path).embed(PROMPTS[:2])
        file, other = sorted(tmp_path.rglob("*.f32"))
        content = file.read_bytes()
        if damage == "a folder":
            file.unlink()
            file.mkdir()
        else:
            file.write_bytes(
                {
                    "emptied": b"",
                    "cut": content[:-4],
                    "altered": content[:-1] + bytes([content[-1] ^ 1]),
                    "another's": other.read_bytes(),
                    "longer": content + content,
                }[damage]
            )
        encoder = encoder_of(cache_folder=tmp_path)
        np.testing.assert_array_equal(encoder.embed(PROMPTS[:2]), rows_of(PROMPTS[:2]))
        assert [len(texts) for texts in server.inputs] == [2, 1]
        if damage != "a folder":
            assert file.read_bytes() == content

    def test_other_settings_have_other_entries(self, server, encoder_of, tmp_path):
        encoder_of(cache_folder=tmp_path).embed(["a"])
        assert encoder_of(cache_folder=tmp_path, dim=None, dimensions=4).embed(["a"]).shape == (1, 4)
        assert len(server.requests) == 2

    def test_entries_of_another_dimension_are_not_used(self, server, encoder_of, tmp_path):
        encoder_of(cache_folder=tmp_path).embed(["a"])
        server.script = lambda request, seen: embeddings(request, dim=5)
        assert encoder_of(cache_folder=tmp_path, dim=5).embed(["a"]).shape == (1, 5)

    def test_no_text_is_in_it(self, encoder_of, tmp_path):
        encoder_of(cache_folder=tmp_path).embed(["a very secret prompt"])
        for path in tmp_path.rglob("*"):
            assert "secret" not in path.name
            assert path.is_dir() or b"secret" not in path.read_bytes()

    def test_a_folder_that_cannot_be_made(self, encoder_of, tmp_path):
        (tmp_path / "file").write_text("")
        for bad in (tmp_path / "file", tmp_path / "file" / "cache", tmp_path / "no" / "cache"):
            with pytest.raises(InvalidArgumentError, match=r"^cache_folder: "):
                encoder_of(cache_folder=bad)

    def test_a_disk_that_cannot_be_written_costs_the_cache_alone(self, server, encoder_of, tmp_path, caplog):
        encoder = encoder_of(cache_folder=tmp_path / "cache", batch_texts=5)
        (tmp_path / "cache").rmdir()
        (tmp_path / "cache").write_text("in the way")
        with caplog.at_level(logging.WARNING):
            np.testing.assert_array_equal(encoder.embed(PROMPTS), rows_of(PROMPTS))
        assert [record.message.split(":")[0] for record in caplog.records] == ["the cache folder can't be written"]


class TestArtifacts:
    def test_loading_sends_nothing(self, server, encoder_of, tmp_path):
        encoder = encoder_of(batch_texts=3, timeout=7.0, key_env=None)
        assert encoder.save(tmp_path / "it") == encoder.sha256
        again = load_encoder(tmp_path / "it")
        assert isinstance(again, OpenAIEncoder)
        assert server.requests == []
        assert (again.name, again.sha256, again.dim, again.base_url) == (SMALL, encoder.sha256, DIM, server.url)
        np.testing.assert_array_equal(again.embed(PROMPTS), rows_of(PROMPTS))
        assert max(map(len, server.inputs)) == 3
        again.save(tmp_path / "again")
        assert (tmp_path / "again" / "encoder.json").read_bytes() == (tmp_path / "it" / "encoder.json").read_bytes()

    def test_an_unknown_length_is_found_out_before_it_is_saved(self, server, encoder_of, tmp_path):
        encoder_of(dim=None).save(tmp_path / "it")
        assert server.inputs == [[" "]]
        assert load_encoder(tmp_path / "it").dim == DIM
        assert server.inputs == [[" "]]
        server.script = lambda request, seen: Reply(b"", status=400)
        with pytest.raises(EndpointError, match="status 400"):
            encoder_of(dim=None).save(tmp_path / "other")
        assert not (tmp_path / "other").exists()

    def test_identity_is_the_model_and_what_is_asked_of_it(self):
        usual = OpenAIEncoder("m", dim=8)
        for same in ({"base_url": "https://proxy.example/v1"}, {"key_env": "K"}, {"timeout": 3}, {"dim": None}):
            assert OpenAIEncoder("m", **({"dim": 8} | same)).sha256 == usual.sha256
        others = [OpenAIEncoder("n"), OpenAIEncoder("m", dimensions=8), OpenAIEncoder("m", max_characters=10)]
        assert len({usual.sha256, *(other.sha256 for other in others)}) == 4
        # Routers that were saved hold it: it may never change.
        known = OpenAIEncoder("text-embedding-3-small")
        assert known.sha256 == "c381688b7a15b97650afca3797e2d680a7b0447cb7a5a3112ee6e9749e990152"

    @pytest.mark.parametrize("kind", ["mf", "knn", "sw_ranking"])
    def test_routers_carry_it(self, server, encoder_of, tmp_path, kind):
        battles = {
            "prompt": PROMPTS,
            "model_a": ["large"] * 40,
            "model_b": ["small"] * 40,
            "winner": ["model_a", "model_b"] * 20,
        }
        outcomes = {"prompt": PROMPTS * 2, "model": ["large"] * 40 + ["small"] * 40, "score": [1.0, 0.0] * 40}
        encoder = encoder_of()
        if kind == "mf":
            pytest.importorskip("numba", reason="training needs the extra [train]")
            router = MatrixFactorizationRouter("large", "small", encoder=encoder, rank=2, epochs=2).fit(battles)
        elif kind == "knn":
            pytest.importorskip("sklearn", reason="training needs the extra [train]")
            router = KnnRouter("large", "small", encoder=encoder, neighbours=5).fit(outcomes)
        else:
            router = SimilarityWeightedRouter("large", "small", encoder=encoder).fit(battles)
        scores = router.score(["new", *PROMPTS])
        router.save(tmp_path / "router")
        before = len(server.requests)
        again = fastroute.load(tmp_path / "router")
        assert len(server.requests) == before
        np.testing.assert_array_equal(again.score(["new", *PROMPTS]), scores)
        other = TextModels()
        try:
            stands_in = OpenAIEncoder(SMALL, base_url=other.url)  # its length is the artifact's
            moved = fastroute.load(tmp_path / "router", encoder=stands_in)
            assert other.requests == []
            np.testing.assert_array_equal(moved.score(["new"]), scores[:1])
            assert len(other.requests) == 1
        finally:
            other.close()
        with pytest.raises(EncoderMismatchError, match="was trained with encoder"):
            fastroute.load(tmp_path / "router", encoder=OpenAIEncoder("another", base_url=server.url))

    def test_a_host_that_an_artifact_names_must_be_allowed(self, server, tmp_path, monkeypatch):
        monkeypatch.delenv("FASTROUTE_ENDPOINT_HOSTS", raising=False)
        OpenAIEncoder("m", base_url="https://api.invalid/v1", dim=3, tries=1).save(tmp_path / "it")
        loaded = load_encoder(tmp_path / "it")
        with pytest.raises(InvalidArgumentError, match=r"lists 'api.invalid', or pass an OpenAIEncoder"):
            loaded.embed(["a"])
        monkeypatch.setenv("FASTROUTE_ENDPOINT_HOSTS", "other.example, API.invalid")
        with pytest.raises(EndpointError, match="no connection"):
            loaded.embed(["a"])

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"model": None}, "name is 'm'"),
            ({"model": "other"}, "name is 'm'"),
            ({"base_url": "file:///etc/passwd"}, "base_url: found 'file:"),
            ({"base_url": "http://example.com/v1", "key_env": "K"}, "in the clear"),
            ({"base_url": "https://a:b@example.com/v1"}, "not shown"),
            ({"base_url": 5}, "base_url: found int"),
            ({"key_env": "sk-abc def"}, "not shown"),
            ({"key_env": 5}, "not shown"),
            ({"dim": None}, "dim is null"),
            ({"dim": 0}, "dim: found 0"),
            ({"dim": "8"}, "dim: found str"),
            ({"dim": True}, "dim: found bool"),
            ({"dim": 1 << 40}, "dim: found 1099511627776"),
            ({"dimensions": 7}, "dim: found 8, allowed: 7"),
            ({"batch_texts": 0}, "batch_texts: found 0"),
            ({"batch_tokens": 1.5}, "batch_tokens: found float"),
            ({"max_characters": -1}, "max_characters: found -1"),
            ({"patience": None}, "patience: found None"),
            ({"patience": {"timeout": 1}}, "patience: found"),
            ({"more": 1}, "'more' is unknown"),
        ],
    )
    def test_crafted_manifests(self, tmp_path, change, says):
        OpenAIEncoder("m", base_url="http://localhost:1/v1", dim=8).save(tmp_path / "good")
        good = read_artifact(tmp_path / "good", format=ENCODER).manifest
        own = {k: v for k, v in good.items() if k not in ("format", "format_version", "files", "sha256")}
        write_artifact(tmp_path / "bad", format=ENCODER, manifest=own | change, files={})
        with pytest.raises(ArtifactCorruptError, match=says):
            load_encoder(tmp_path / "bad")

    def test_missing_members_and_files_of_its_own(self, tmp_path):
        OpenAIEncoder("m", dim=8).save(tmp_path / "good")
        good = read_artifact(tmp_path / "good", format=ENCODER).manifest
        own = {k: v for k, v in good.items() if k not in ("format", "format_version", "files", "sha256")}
        write_artifact(tmp_path / "file", format=ENCODER, manifest=own, files={"more.bin": b"x"})
        with pytest.raises(ArtifactCorruptError, match=r"'more.bin' is unknown"):
            load_encoder(tmp_path / "file")
        for member in ("model", "dimensions", "base_url", "key_env", "patience", "dim"):
            cut = {k: v for k, v in own.items() if k != member}
            write_artifact(tmp_path / member, format=ENCODER, manifest=cut, files={})
            with pytest.raises(ArtifactCorruptError, match=f"'{member}' is missing"):
                load_encoder(tmp_path / member)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"base_url": "https://host/v1/embeddings"}, InvalidArgumentError, "/embeddings is appended"),
        ({"dim": 3, "dimensions": 4}, InvalidArgumentError, "^dim: found 3, allowed: 4"),
        ({"timeout": 0}, InvalidArgumentError, "^timeout: found 0"),
        ({"timeout": float("nan")}, InvalidArgumentError, "^timeout: found nan"),
        ({"timeout": "5"}, InvalidTypeError, "^timeout: found str"),
        ({"tries": 0}, InvalidArgumentError, "^tries: found 0"),
        ({"tries": 1.0}, InvalidTypeError, "^tries: found float"),
        ({"concurrency": 10**6}, InvalidArgumentError, "^concurrency: found"),
        ({"cache_entries": -1}, InvalidArgumentError, "^cache_entries: found -1"),
        ({"cache_folder": 5}, InvalidTypeError, "^cache_folder: "),
        ({"model": ""}, InvalidArgumentError, "^model: found"),
        ({"model": b"m"}, InvalidTypeError, "^model: found bytes"),
    ],
)
def test_settings_that_are_refused(settings, error, says):
    with pytest.raises(error, match=says):
        OpenAIEncoder(**({"model": "m"} | settings))


def test_the_extra_is_named(encoder_of, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fastroute\[endpoint\]'"):
        encoder_of().embed(["a"])


def test_nothing_is_imported_before_it_is_needed(tmp_path: Path):
    OpenAIEncoder("m", dim=8).save(tmp_path / "it")
    code = f"""
import sys
from fastroute.encoders import load_encoder
load_encoder({os.fspath(tmp_path / "it")!r})
print([name for name in ("aiohttp", "asyncio", "ssl") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
