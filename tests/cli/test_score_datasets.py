"""``fastroute score`` over folders, several routers, chats and rejects: what it takes and what it says."""

from __future__ import annotations

import gzip
import json
import re
import time

import pytest
from tests.cli.conftest import LengthRouter

ROW = b'{"prompt":"hi"}\n'


@pytest.fixture
def logs(tmp_path, monkeypatch):
    (tmp_path / "logs" / "day=1").mkdir(parents=True)
    (tmp_path / "logs" / "a.jsonl").write_bytes(ROW * 2)
    (tmp_path / "logs" / "day=1" / "b.jsonl.gz").write_bytes(gzip.compress(ROW))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "logs"


def test_a_folder(run, logs):
    ended = run("score", "logs", "-o", "out/")
    assert ended.code == 0
    assert ended.err.startswith("scored 3 rows of 2 files in 0.0 s, 0.0% to large, 100.0% to small, ")
    scored = (logs.parent / "out" / "day=1" / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(scored) == b'{"prompt":"hi", "score": 0.02, "model": "small"}\n'
    ended = run("score", "logs", "-o", "out")
    assert (ended.code, ended.err) == (
        2,
        f"fastroute: error: {logs.parent / 'out'}: the output exists; pass --overwrite to replace it\n",
    )
    assert run("score", "logs/*.jsonl", "logs/day=1", "-o", "out", "--overwrite").code == 0


def test_a_run_that_fails_says_how_to_go_on(run, logs, monkeypatch):
    journal = logs.parent / "out.partial" / "journal"
    score = LengthRouter.score

    def score_once_something_is_kept(self, prompts):
        until = time.monotonic() + 10
        while prompts == ["wait"] and not journal.stat().st_size and time.monotonic() < until:
            time.sleep(0.01)
        return score(self, prompts)

    monkeypatch.setattr(LengthRouter, "score", score_once_something_is_kept)
    (logs / "y.jsonl").write_bytes(b'{"prompt":"wait"}\n')
    (logs / "z.jsonl").write_bytes(b"bad\n")
    ended = run("score", "logs", "-o", "out/")
    assert ended.code == 1
    assert ended.err == (
        f"fastroute: what was done is kept in {logs.parent / 'out'}.partial; --resume goes on with it\n"
        "fastroute: error: logs/z.jsonl: row 1 (line 1): broken JSON at character 1: Expecting value\n"
    )


def test_files_that_can_not_be_read(run, logs):
    (logs / "day=1" / "c.csv").write_bytes(b"text\nhi\n")
    ended = run("score", "logs", "-o", "out", "--on-error", "skip")
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert lines[0].startswith("fastroute: skipped logs/day=1/c.csv: no column 'prompt'; the header has 'text'")
    assert lines[1] == f"fastroute: all that was left out is in {logs.parent / 'out.rejects.jsonl'}"
    assert lines[2].startswith("scored 3 rows of 3 files in 0.0 s, 1 file not read to the end, 0.0% to large")


def test_rejects(run, logs):
    (logs / "a.jsonl").write_bytes(ROW + b"bad\n")
    ended = run("score", "logs/a.jsonl", "-o", "-", "--on-error", "skip", "--rejects", "r.jsonl")
    assert ended.code == 1
    assert ended.out.count(b"\n") == 1
    assert json.loads((logs.parent / "r.jsonl").read_bytes()) == {
        "source": "logs/a.jsonl",
        "row": 2,
        "line": 2,
        "reason": "broken JSON at character 1: Expecting value",
    }
    assert "all that was left out is in r.jsonl" in ended.err


class TestRouters:
    def test_several(self, run, logs):
        ended = run("score", "logs/a.jsonl", "-o", "-", "--router", "experts", "--router", "other=mf")
        assert ended.code == 0
        assert list(json.loads(ended.out.splitlines()[0])) == [
            *("prompt", "score_experts", "model_experts", "score_other", "model_other")
        ]
        assert re.fullmatch(
            r"scored 2 rows in 0\.0 s, [\d,]+ rows/s\n"
            r"  experts: 0\.0% to large, 100\.0% to small\n"
            r"  other: 0\.0% to large, 100\.0% to small\n",
            ended.err,
        )

    def test_a_label_for_one_changes_nothing(self, run, logs):
        ended = run("score", "logs/a.jsonl", "-o", "-", "--router", "a=mf")
        assert list(json.loads(ended.out.splitlines()[0])) == ["prompt", "score", "model"]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--router", "mf", "--router", "mf"], "two are called 'mf'; name them: --router LABEL=mf"),
            (["--router", "x=mf", "--router", "x=experts"], "two are called 'x'; name them: --router LABEL=experts"),
            (["--router", "=mf"], "found '=mf', expected a label before the sign: LABEL=mf"),
            (["--router", "mf", "--router", "experts", "--threshold", "0.5"], "threshold: is of one router"),
        ],
    )
    def test_refusals(self, run, logs, options, message):
        ended = run("score", "logs", "-o", "out", *options)
        assert ended.code == 2
        assert message in ended.err

    def test_a_path_with_the_sign(self, run, logs, small_router, monkeypatch):
        import fastroute

        seen = []
        load = fastroute.load
        monkeypatch.setattr(fastroute, "load", lambda name, **pair: seen.append(name) or load("mf", **pair))
        (logs.parent / "a=b").mkdir()
        run("score", "logs/a.jsonl", "-o", "-", "--router", "a=b", "--router", "c=a=b")
        assert seen == ["a=b", "a=b"]


class TestChats:
    def test_turns(self, run, logs):
        chat = [{"role": "user", "content": "a" * 10}, {"role": "user", "content": "b" * 30}]
        (logs / "chats.jsonl").write_text(json.dumps({"messages": chat}) + "\n")
        for options, score in ([], 0.3), (["--turn", "first-user"], 0.1), (["--turn", "users"], 0.42):
            ended = run("score", "logs/chats.jsonl", "-o", "-", "-q", "--messages", *options)
            assert (ended.code, json.loads(ended.out)["score"]) == (0, score)

    def test_a_turn_needs_messages(self, run, logs):
        ended = run("score", "logs", "-o", "out", "--turn", "all")
        assert (ended.code, ended.err) == (
            2,
            "fastroute: error: --turn: chooses a turn of a chat; it goes with --messages\n",
        )


@pytest.mark.parametrize("size", ["32MiB", "33554432", "1GB", "40000kB", "1T"])
def test_sizes(run, logs, size):
    assert run("score", "logs", "-o", "out", "--memory", size, "--checkpoint", size).code == 0


@pytest.mark.parametrize("option", ["--memory", "--checkpoint"])
@pytest.mark.parametrize("size", ["0", "-1", "1.5GiB", "lots", "", "MiB", "1e9", "64m", "1 GB", "٣MiB"])
def test_sizes_that_are_none(run, logs, option, size):
    ended = run("score", "logs", "-o", "out", f"{option}={size}")
    assert ended.code == 2
    assert f"argument {option}: {size!r} is not a size such as 64MiB or 1GB" in ended.err
    assert not (logs.parent / "out").exists()


def test_too_little_memory(run, logs):
    ended = run("score", "logs", "-o", "out", "--memory", "31MiB")
    assert (ended.code, ended.err) == (
        2,
        "fastroute: error: memory: found 32,505,856 bytes, allowed: 33,554,432 or more\n",
    )
