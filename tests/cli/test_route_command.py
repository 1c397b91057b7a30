"""``fastroute route``: one prompt in, one model out."""

from __future__ import annotations

import json

import pytest


def test_the_model_comes_first(run):
    ended = run("route", "hello")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.decode().splitlines() == [
        "small",
        "score 0.05 < threshold 0.5  (router length: large or small)",
    ]


def test_the_strong_model(run):
    lines = run("route", "x" * 50).out.decode().splitlines()
    assert lines == ["large", "score 0.5 >= threshold 0.5  (router length: large or small)"]


def test_json(run):
    ended = run("route", "x" * 30, "--json", "--threshold", "0.1")
    assert json.loads(ended.out) == {
        "model": "large",
        "score": 0.3,
        "threshold": 0.1,
        "router": "length",
        "artifact": "a1b2",
    }


def test_the_pair(run):
    assert run("route", "x" * 90, "--strong", "medium").out.startswith(b"medium\n")


@pytest.mark.parametrize(("stdin", "score"), [(b"hello\n", "0.05"), ("hé\nlà".encode(), "0.05"), (b"", "0.0")])
def test_stdin(run, stdin, score):
    assert f"score {score} " in run("route", "-", stdin=stdin).out.decode()


def test_stdin_that_is_no_text(run):
    ended = run("route", "-", stdin=b"ab\xff")
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err == "fastroute: error: stdin: expected UTF-8 text, found an invalid byte at 3\n"


def test_unusual_prompts(run):
    assert run("route", "").code == 0
    assert run("route", "a\udcffb").code == 0
    assert run("route", "--", "--json").out.startswith(b"small\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required: PROMPT"),
        (["a", "b"], "unrecognized arguments: b"),
        (["a", "--threshold", "-1"], "--threshold"),
        (["a", "--router", "nope"], "fastroute: error: router: 'nope' is unknown"),
        (["a", "--strong", "larg"], "fastroute: error: strong: 'larg' is unknown"),
    ],
)
def test_wrong_usage(run, args, message):
    ended = run("route", *args)
    assert (ended.code, ended.out) == (2, b"")
    assert message in ended.err
