"""CausalLlmEndpointRouter: what is asked, and what an answer's first token makes of a score."""

from __future__ import annotations

import json
import logging
import math
import sys
import time

import numpy as np
import pytest
from tests.endpoints.scripted_server import Reply
from tests.endpoints.text_models import as_chat, as_completion, chat, expected

import fastroute
from fastroute.artifact import ROUTER, read_artifact, write_artifact
from fastroute.cli import main
from fastroute.errors import (
    ArtifactCorruptError,
    EncoderMismatchError,
    EndpointError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
)
from fastroute.routers import CascadeRouter, CausalLlmEndpointRouter, RandomRouter
from fastroute.routers.label_question import DEFAULT_TEMPLATE

PROMPTS = [f"prompt {number}" for number in range(40)]
MESSAGES = [{"role": "system", "content": "Grade {}."}, {"role": "user", "content": "<{prompt}>"}]


def asked(prompt: str) -> str:
    return DEFAULT_TEMPLATE[0]["content"].replace("{prompt}", prompt)


def test_a_chat(server, router_of):
    router = router_of()
    scores = router.score(PROMPTS)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, [expected(asked(prompt)) for prompt in PROMPTS], atol=1e-7)
    assert router.score(PROMPTS[3]) == scores[3]
    assert type(router.score(PROMPTS[3])) is float
    assert server.requests[0].path == "/v1/chat/completions"
    body = dict(server.requests[0].body)
    assert [message["role"] for message in body.pop("messages")] == ["user"]
    assert body == {"model": "judge", "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20}


def test_a_chat_with_other_messages(server, router_of):
    score = router_of(template=MESSAGES).score("{prompt} {0} \\")
    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "Grade {}."},
        {"role": "user", "content": "<{prompt} {0} \\>"},
    ]
    assert score == pytest.approx(expected("Grade {}.\n<{prompt} {0} \\>"))


def test_a_completion(server, router_of):
    router = router_of(template="Q: {prompt}\nGrade:", top=5)
    np.testing.assert_allclose(router.score(["a", "b"]), [expected(f"Q: {x}\nGrade:") for x in "ab"], atol=1e-7)
    assert server.requests[0].path == "/v1/completions"
    body = dict(server.requests[0].body)
    assert body.pop("prompt") in ("Q: a\nGrade:", "Q: b\nGrade:")
    assert body == {"model": "judge", "max_tokens": 1, "temperature": 0, "logprobs": 5}


FORMS = {"chat": None, "completion": "{prompt}"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("found", "score"),
    [
        ({"1": 0.5, "5": 0.5}, 0.5),
        ({" 1": 0.25, "1": 0.25, "5": 0.25}, 2 / 3),
        ({"\u21811": 0.2, "\u01201": 0.2, "\n1": 0.2, "5": 0.4}, 0.5),  # of a letter that only looks like a space
        ({"\u25811": 0.2, "\u01201": 0.2, "\n1": 0.2, "5": 0.4}, 0.6),
        ({"3": 0.6, "The": 0.4}, 1.0),
        ({"4": 0.6, "11": 0.1, "1.": 0.1}, 0.0),
    ],
)
def test_tokens_that_are_labels(server, router_of, form, found, score):
    answer = as_chat if form == "chat" else as_completion
    server.script = lambda request, seen: answer(found)
    assert router_of(template=FORMS[form]).score("why") == pytest.approx(score)


def test_completions_in_the_form_of_chats(server, router_of):
    """As llama.cpp answers them."""
    server.script = lambda request, seen: as_chat({"2": 0.3, "4": 0.6})
    assert router_of(template="{prompt}").score("why") == pytest.approx(1 / 3)


def test_own_labels(server, router_of):
    server.script = lambda request, seen: as_chat({"yes": 0.25, "no": 0.5, "maybe": 0.25})
    router = router_of(labels={"yes": 1, "maybe": 0.5, "no": 0.0})
    assert router.score("why") == pytest.approx(0.375)
    assert router.labels == {"yes": 1.0, "maybe": 0.5, "no": 0.0}


def test_values_that_servers_give_for_no_probability(server, router_of):
    top = [("1", -9999.0), ("2", -3.4028234663852886e38), ("3", -0.0), ("4", -745.2)]
    server.script = lambda request, seen: chat([{"token": t, "logprob": p} for t, p in top])
    assert router_of().score("why") == 1.0


def test_too_little_probability_on_labels_is_no_answer(server, router_of, caplog):
    server.script = lambda request, seen: as_chat({"1": 0.2, "4": 0.29, "The": 0.5})
    router = router_of(fallback=0.75)
    assert router.score("why") == 0.75
    assert (router.fallbacks, len(server.requests)) == (1, 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the labels have a probability of 0.49, under min_mass 0.5" in caplog.text
    with pytest.raises(EndpointError, match=r"probability of 0.49"):
        router_of(fallback=None).score("why")
    assert router_of(min_mass=0.4).score("why") == pytest.approx(0.2 / 0.49)
    server.script = lambda request, seen: as_chat({"The": 1.0})
    assert router_of(min_mass=0).score("why") == 1.0  # of nothing there is no mean


MALFORMED = {
    "no JSON": b"<html>",
    "no choices": b'{"choices": []}',
    "an error": b'{"error": {"message": "overloaded"}}',
    "no probabilities": b'{"choices": [{"message": {"content": "3"}}]}',
    "null": b'{"choices": [{"logprobs": null}]}',
    "no tokens": b'{"choices": [{"logprobs": {"content": []}}]}',
    "no top": b'{"choices": [{"logprobs": {"content": [{"token": "3", "logprob": -0.1}]}}]}',
    "a completion without any": b'{"choices": [{"logprobs": {"top_logprobs": []}}]}',
    "NaN": chat([{"token": "3", "logprob": math.nan}]).body,
    "a string": chat([{"token": "3", "logprob": "-0.1"}]).body,
    "true": chat([{"token": "3", "logprob": False}]).body,
    "more than one": chat([{"token": "3", "logprob": 0.5}]).body,
    "more than one together": chat([{"token": "3", "logprob": -0.1}, {"token": "4", "logprob": -0.1}]).body,
    "tokens that are none": chat([{"token": 3, "logprob": -0.1}]).body,
}


def test_an_infinite_log_probability_is_none(server, router_of):
    body = chat([{"token": "3", "logprob": "X"}, {"token": "5", "logprob": -0.1}]).body.replace(b'"X"', b"-1e999")
    server.script = lambda request, seen: Reply(body)
    assert router_of().score("why") == 0.0


@pytest.mark.parametrize("body", MALFORMED)
def test_malformed_answers_are_asked_for_again(server, router_of, body):
    server.script = lambda request, seen: Reply(MALFORMED[body]) if seen == 0 else as_chat({"1": 1.0})
    router = router_of()
    assert router.score("why") == 1.0
    assert (len(server.requests), router.fallbacks) == (2, 0)
    server.script = lambda request, seen: Reply(MALFORMED[body])
    with pytest.raises(EndpointError, match=r"not what was asked for: .* \(tried 3 times\)"):
        router_of(fallback=None).score("how")
    assert len(server.requests) == 5


def test_failures_cost_their_own_prompts_alone(server, router_of, caplog):
    server.script = lambda request, seen: Reply(b"secret", status=400) if "prompt 1" in request.text else None
    router = router_of(fallback=0.0)
    scores = router.score([*PROMPTS, "prompt 1"])
    failed = [index for index, prompt in enumerate([*PROMPTS, "prompt 1"]) if "prompt 1" in prompt]
    assert np.flatnonzero(scores == 0).tolist() == failed
    assert router.fallbacks == len(failed) == 12
    assert [record.getMessage() for record in caplog.records] == [
        "12 of 41 prompts have no answer and got the score 0; the first one: status 400"
    ]


def test_without_a_fallback_the_first_failure_ends_it(server, router_of):
    server.script = lambda request, seen: Reply(b'{"error": {"message": "no such model"}}', status=404)
    with pytest.raises(EndpointError, match=r"^http.*/chat/completions: status 404: no such model$"):
        router_of(fallback=None, concurrency=2).score(PROMPTS)
    assert len(server.requests) <= 3


def test_in_doubt_the_strong_model(server, router_of):
    server.script = lambda request, seen: Reply(b"", status=500)
    router = router_of(tries=2)
    decision = router.route("why")
    assert (decision.model, decision.score) == ("large", 1.0)
    assert len(server.requests) == 2
    assert router.with_threshold(0.2).fallbacks == 1


def test_what_shares_a_count_of_fallbacks(server, router_of):
    server.script = lambda request, seen: Reply(b"", status=500)
    router = router_of(tries=1)
    router.score(["a", "b"])
    cascade = CascadeRouter(router, router.with_threshold(0.2))
    assert cascade.fallbacks == 2  # one count for both
    assert CascadeRouter(cascade, router.with_record(training={"x": 1})).fallbacks == 2
    moved = router.with_endpoint(server.url)
    assert moved.fallbacks == 0
    moved.score("a")
    assert (moved.fallbacks, router.fallbacks) == (1, 2)
    assert CascadeRouter(router, moved).fallbacks == 3
    assert CascadeRouter(RandomRouter("large", "small"), moved).fallbacks == 1


def test_equal_prompts_are_asked_once(server, router_of):
    scores = router_of().score(["a", "b", "a"])
    assert len(server.requests) == 2
    assert scores[0] == scores[2] != scores[1]


def test_long_prompts_keep_their_beginning(server, router_of):
    router = router_of(template="{prompt}", max_characters=4)
    scores = router.score(["abcdef", "abcd", "abc"])
    assert sorted(request.body["prompt"] for request in server.requests) == ["abc", "abcd"]
    assert (scores[0], router.truncated) == (scores[1], 1)


def test_lone_surrogates_and_nothing(server, router_of):
    router_of(template="{prompt}").score(["a\ud800", ""])
    assert sorted(request.body["prompt"] for request in server.requests) == ["", "a\ufffd"]


def test_further_members(server, router_of):
    extra = {"chat_template_kwargs": {"enable_thinking": False}, "max_completion_tokens": 1, "temperature": None}
    router_of(extra=extra).score("a")
    body = server.requests[0].body
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["max_completion_tokens"] == 1
    assert not {"temperature", "max_tokens"} & set(body)


def test_progress(router_of):
    seen: list[tuple[int, int]] = []
    router_of().score([*PROMPTS, PROMPTS[0]], progress=lambda done, total: seen.append((done, total)))
    assert len(seen) == 40
    assert seen[-1] == (41, 41)


def test_an_error_in_progress_ends_it(server, router_of):
    def fail(done, total):
        raise RuntimeError("enough")

    server.script = lambda request, seen: time.sleep(0.02)
    with pytest.raises(RuntimeError, match="enough"):
        router_of(concurrency=1).score(PROMPTS, progress=fail)
    time.sleep(0.3)  # what would be sent, had it gone on
    assert len(server.requests) <= 5
    assert len(router_of().score(PROMPTS)) == 40


class TestArtifacts:
    def test_loading_sends_nothing_and_changes_nothing(self, server, router_of, tmp_path):
        router = router_of(
            labels={"1": 1, "5": 0}, top=7, min_mass=0.1, fallback=None, max_characters=100, extra={"seed": 1},
            threshold=0.3, timeout=3, template=MESSAGES,
        )  # fmt: skip
        sha256 = router.save(tmp_path / "it")
        again = fastroute.load(tmp_path / "it")
        assert isinstance(again, CausalLlmEndpointRouter)
        assert server.requests == []
        assert (again.strong, again.weak, again.threshold) == ("large", "small", 0.3)
        assert (again.base_url, again.model, again.labels) == (server.url, "judge", {"1": 1, "5": 0})
        np.testing.assert_array_equal(again.score(PROMPTS), router.score(PROMPTS))
        assert again.save(tmp_path / "again") == sha256
        assert fastroute.load(tmp_path / "it", strong="a", weak="b").route("x").model in ("a", "b")
        with pytest.raises(EncoderMismatchError, match="encoder= is not allowed"):
            fastroute.load(tmp_path / "it", encoder="static-minilm-l6")

    def test_a_host_that_an_artifact_names_must_be_allowed(self, server, tmp_path, monkeypatch):
        monkeypatch.delenv("FASTROUTE_ENDPOINT_HOSTS", raising=False)
        made = CausalLlmEndpointRouter("https://api.invalid/v1", "m", key_env="SOME_KEY", tries=1)
        made.save(tmp_path / "it")
        loaded = fastroute.load(tmp_path / "it")
        monkeypatch.setenv("SOME_KEY", "sk-canary")
        with pytest.raises(InvalidArgumentError, match=r"lists 'api.invalid', or use with_endpoint") as caught:
            loaded.score("a")
        assert "canary" not in str(caught.value)
        moved = loaded.with_endpoint(server.url)
        assert (moved.base_url, moved.model, moved.artifact) == (server.url, "m", "")
        assert 0 <= moved.score("a") <= 1
        assert "Authorization" not in server.requests[0].headers
        monkeypatch.setenv("FASTROUTE_ENDPOINT_HOSTS", "api.invalid")
        assert loaded.score("a") == 1.0
        assert loaded.fallbacks == 1

    @pytest.mark.parametrize(
        ("part", "change", "says"),
        [
            ("endpoint", None, "endpoint is None"),
            ("endpoint", [], "endpoint is "),
            ("endpoint", {"more": 1}, "endpoint is "),
            ("endpoint", {"base_url": "ftp://localhost/v1"}, "base_url: found 'ftp:"),
            ("endpoint", {"base_url": "file:///etc/passwd"}, "base_url: found"),
            ("endpoint", {"base_url": "http://localhost/v1?key=x"}, "not shown"),
            ("endpoint", {"base_url": ["http://localhost/v1"]}, "base_url: found list"),
            ("endpoint", {"base_url": "http://example.com", "key_env": "HOME"}, "in the clear"),
            ("endpoint", {"key_env": "A B"}, "not shown"),
            ("endpoint", {"model": ""}, "model: found ''"),
            ("endpoint", {"model": 5}, "model: found int"),
            ("endpoint", {"fallback": 2}, "fallback: found 2"),
            ("endpoint", {"fallback": "1"}, "fallback: found str"),
            ("endpoint", {"patience": {}}, "patience: found"),
            ("question", None, "question: found None"),
            ("question", {"more": 1}, "question: found"),
            ("question", {"template": "no place"}, "template: found {prompt} 0 times"),
            ("question", {"template": "{prompt}{prompt}"}, "template: found {prompt} 2 times"),
            ("question", {"template": []}, "template: found {prompt} 0 times"),
            ("question", {"template": 5}, "template: found int"),
            ("question", {"template": [{"role": "user"}]}, "template: found the message"),
            ("question", {"template": [{"role": "user", "content": ["{prompt}"]}]}, "template: found the message"),
            ("question", {"template": ["{prompt}"]}, "template: found the message"),
            ("question", {"labels": {"1": 1.5, "2": 0}}, "labels['1']: found 1.5"),
            ("question", {"labels": {"1": -0.1, "2": 0}}, "labels['1']: found -0.1"),
            ("question", {"labels": {"1": True, "2": 0}}, "labels['1']: found bool"),
            ("question", {"labels": {"1": None, "2": 0}}, "labels['1']: found NoneType"),
            ("question", {"labels": {"1": 1}}, "labels: found 1, allowed: 2 to 64"),
            ("question", {"labels": {str(n): 0 for n in range(65)}}, "labels: found 65"),
            ("question", {"labels": {" 1": 1, "1": 0}}, "labels: found ' 1'"),
            ("question", {"labels": {"": 1, "1": 0}}, "labels: found ''"),
            ("question", {"labels": ["1", "2"]}, "labels: found list"),
            ("question", {"top": 0}, "top: found 0"),
            ("question", {"top": 2.0}, "top: found float"),
            ("question", {"min_mass": 1.1}, "min_mass: found 1.1"),
            ("question", {"max_characters": 0}, "max_characters: found 0"),
            ("question", {"extra": {"model": "other"}}, "extra: found 'model'"),
            ("question", {"extra": None}, "extra: found NoneType"),
        ],
    )
    def test_crafted_manifests(self, router_of, tmp_path, part, change, says):
        router_of().save(tmp_path / "good")
        good = read_artifact(tmp_path / "good", format=ROUTER).manifest
        own = {k: v for k, v in good.items() if k not in ("format", "format_version", "files", "sha256")}
        changed = own[part] | change if isinstance(change, dict) else change
        write_artifact(tmp_path / "bad", format=ROUTER, manifest=own | {part: changed}, files={})
        with pytest.raises(ArtifactCorruptError) as caught:
            fastroute.load(tmp_path / "bad")
        assert says in str(caught.value)
        cut = {k: v for k, v in own.items() if k != part}
        write_artifact(tmp_path / "cut", format=ROUTER, manifest=cut, files={})
        with pytest.raises(ArtifactCorruptError, match=part):
            fastroute.load(tmp_path / "cut")

    def test_files_of_its_own(self, router_of, tmp_path):
        router_of().save(tmp_path / "good")
        good = read_artifact(tmp_path / "good", format=ROUTER).manifest
        own = {k: v for k, v in good.items() if k not in ("format", "format_version", "files", "sha256")}
        write_artifact(tmp_path / "bad", format=ROUTER, manifest=own, files={"x.bin": b"x"})
        with pytest.raises(ArtifactCorruptError, match=r"lists 'x.bin'; this router has no files"):
            fastroute.load(tmp_path / "bad")


class TestCommands:
    def test_route(self, server, router_of, tmp_path, capsys):
        router = router_of()
        router.save(tmp_path / "it")
        assert main(["route", "--router", str(tmp_path / "it"), "--json", "why"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["score"] == pytest.approx(router.score("why"))
        assert found["router"] == "causal_llm_endpoint"
        assert main(["inspect", str(tmp_path / "it")]) == 0
        assert server.url in capsys.readouterr().out

    def test_score(self, router_of, tmp_path, capsys):
        router = router_of()
        router.save(tmp_path / "it")
        rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        rows.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
        assert main(["score", str(rows), "-o", str(out), "--router", str(tmp_path / "it"), "-q"]) == 0
        scored = [json.loads(line) for line in out.read_text().splitlines()]
        np.testing.assert_allclose([row["score"] for row in scored], router.score(PROMPTS), atol=1e-6)

    @pytest.fixture
    def half_down(self, server, router_of, tmp_path):
        """A saved router without an answer for prompts with an odd number; prompts of both kinds in a file."""
        answered = server.script

        def script(request, seen):
            return Reply(b"", status=500) if "odd " in request.text else answered(request, seen)

        server.script = script
        router_of(tries=1).save(tmp_path / "it")
        rows = tmp_path / "rows.jsonl"
        rows.write_text("".join(json.dumps({"prompt": f"{'odd' if n % 2 else 'even'} {n}."}) + "\n" for n in range(40)))
        return tmp_path / "it", rows

    def test_calibration_takes_no_fallback_for_a_score(self, half_down, tmp_path, capsys):
        router, rows = half_down
        saved = tmp_path / "saved"
        command = ["calibrate", "--router", str(router), "--save", str(saved)]
        assert main([*command, str(rows), "--strong-fraction", "0.5"]) == 1
        said = capsys.readouterr()
        assert "20 of 40 prompts have no answer and got the fallback score" in said.err
        assert said.out == ""
        labels = tmp_path / "labels.jsonl"
        labels.write_text(
            "".join(json.dumps({"prompt": f"odd {n}.", "large": 1, "small": n % 2}) + "\n" for n in range(30))
        )
        assert main([*command, "--quality", "0.5", "--labels", str(labels)]) == 1
        assert "30 of 30 prompts have no answer" in capsys.readouterr().err
        assert not saved.exists()

    def test_evaluation_takes_no_fallback_for_a_score(self, half_down, tmp_path, capsys):
        pytest.importorskip("numba", reason="needs the extra [eval]")
        pytest.importorskip("pyarrow", reason="needs the extra [eval]")
        data = tmp_path / "scores.jsonl"
        rows = [
            {"prompt": f"{'odd' if n % 2 else 'even'} {n}.", "model": model, "score": n % 3 / 2}
            for n in range(30)
            for model in ("large", "small")
        ]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = ["eval", "--benchmark", "outcomes", "--data", str(data), "--strong", "large", "--weak", "small"]
        assert main([*command, "--routers", str(half_down[0]), "--resamples", "10"]) == 1
        said = capsys.readouterr()
        assert "15 of 30 prompts have no answer and got the fallback score" in said.err
        assert said.out == ""

    def test_a_cascade_takes_no_fallback_for_a_score(self, half_down, tmp_path, capsys):
        RandomRouter("large", "small").save(tmp_path / "random")
        command = ["cascade", str(tmp_path / "random"), str(half_down[0]), "--prompts", str(half_down[1])]
        assert main([*command, "-o", str(tmp_path / "cascade")]) == 1
        assert "second: 20 of 40 prompts have no answer" in capsys.readouterr().err
        assert not (tmp_path / "cascade").exists()

    def test_scoring_says_how_many_have_no_answer(self, half_down, tmp_path, capsys):
        router, rows = half_down
        command = ["score", "--router", str(router), "--no-progress"]
        assert main([*command, str(rows), "-o", str(tmp_path / "scored.jsonl")]) == 0
        assert "20 without an answer got the fallback score" in capsys.readouterr().err
        down = tmp_path / "down.jsonl"
        down.write_text(json.dumps({"prompt": "odd one"}) + "\n")
        assert main([*command, str(down), "-o", str(tmp_path / "down-scored.jsonl"), "-q"]) == 1
        assert "no prompt has an answer of the endpoint" in capsys.readouterr().err
        assert json.loads((tmp_path / "down-scored.jsonl").read_text())["score"] == 1.0
        assert main(["route", "--router", str(router), "odd one"]) == 0

    def test_a_failure_is_one_line(self, server, router_of, tmp_path, capsys):
        router_of(fallback=None, tries=1).save(tmp_path / "it")
        server.script = lambda request, seen: Reply(b"busy", status=503)
        rows, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        rows.write_text('{"prompt": "a"}\n')
        assert main(["score", str(rows), "-o", str(out), "--router", str(tmp_path / "it")]) == 1
        shown = capsys.readouterr().err.splitlines()
        assert shown == [f"fastroute: error: {server.url}/chat/completions: status 503: busy"]
        assert not out.exists()


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"base_url": "localhost:8000"}, InvalidArgumentError, "^base_url: found"),
        ({"strong": "x", "weak": "x"}, InvalidArgumentError, "^strong, weak: found"),
        ({"threshold": 2}, InvalidArgumentError, "^threshold: "),
        ({"template": "x"}, InvalidArgumentError, "^template: found"),
        ({"labels": {"a": 0, "b": float("nan")}}, InvalidArgumentError, "^labels.*: found nan"),
        ({"fallback": float("nan")}, InvalidArgumentError, "^fallback: found nan"),
        ({"extra": {"stop": {1}}}, InvalidArgumentError, "^extra: can't be written as JSON"),
        ({"extra": {"logprobs": 5}}, InvalidArgumentError, "^extra: found 'logprobs'"),
        ({"longest_wait": -1}, InvalidArgumentError, "^longest_wait: found -1"),
        ({"key_env": "sk-abc"}, InvalidArgumentError, "^key_env: .*not shown"),
    ],
)
def test_settings_that_are_refused(settings, error, says):
    with pytest.raises(error, match=says):
        CausalLlmEndpointRouter(**({"base_url": "http://localhost:1/v1", "model": "m"} | settings))
    with pytest.raises(InvalidTypeError, match=r"^model: found NoneType"):
        CausalLlmEndpointRouter("http://localhost:1/v1", None)


def test_the_extra_is_named(router_of, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'fastroute\[endpoint\]'"):
        router_of().score("a")
    assert caplog.records == []


def test_no_prompt_is_logged(server, router_of, caplog):
    caplog.set_level(logging.DEBUG)
    server.script = lambda request, seen: Reply(json.dumps({"echo": request.text}).encode(), status=500)
    router_of(tries=2).score(["a very secret prompt"])
    assert "secret" not in caplog.text
