"""``fastroute augment`` as people type it."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, Reply

from fastroute.cli import main

PRICES = ["--judge-price-in", "2", "--judge-price-out", "8"]


@pytest.fixture
def arguments(server, folder):
    """Arguments of a run on answers that the input has."""

    def arguments():
        models = ["--strong", STRONG, "--weak", WEAK, "--judge", server.url, "--judge-model", JUDGE]
        return ["augment", str(folder.prompts), "-o", str(folder.labels), *models]

    return arguments


@pytest.fixture
def run(arguments, capsys):
    def run(*options):
        code = main([*arguments(), *options])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_labels_and_what_is_said_of_them(folder, run):
    folder.write_answered(2)
    code, out, err = run("--yes", *PRICES, "--source", "mine")
    assert (code, out) == (0, "")
    assert err.splitlines()[0].startswith("judge judge: 4 requests, about ")
    assert err.splitlines()[1].startswith("2 prompts: 4 requests, $0.")
    assert "if every answer is as long as allowed and judged again" in err
    assert (
        f"{folder.labels}: 2 prompts judged in both orders; of 4 battles 4 to the strong model, 0 to the weak one, "
        "0 ties\n"
        "the orders agree on 100.0% of the prompts; the answer read first wins 50.0% of the battles that are no tie\n"
        "4 requests, 400 tokens in and 80 out, $0.0014; $0.0014 in all runs\n"
    ) in err
    assert {row["source"] for row in folder.rows("battles")} == {"mine"}
    code, out, err = run("--yes", *PRICES)
    assert (code, out) == (0, "")
    assert "0 requests, 0 tokens in and 0 out, $0.0000; $0.0014 in all runs" in err


def test_models_are_asked(server, folder, run):
    folder.write_prompts(1)
    options = ["--strong-url", server.url, "--weak-url", server.url]
    extra = ["--strong-extra", '{"temperature": 0.7}', "--weak-max-tokens", "77", "--concurrency", "2"]
    code, out, err = run("--yes", "--json", *options, *extra)
    assert code == 0
    assert json.loads(out)["judged"] == 1
    assert "price not known" in err
    assert server.of(STRONG)[0].body["temperature"] == 0.7
    assert server.of(WEAK)[0].body["max_tokens"] == 77


def test_quiet(folder, run):
    folder.write_answered(1)
    assert run("-q", "-y") == (0, "", "")


def test_standard_input_and_columns_of_other_names(server, folder, run, monkeypatch):
    row = {"q": "p", "s": "[large on p]", "w": "[small on p]", "gold": "the truth"}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(row).encode())))
    folder.prompts = "-"
    columns = ["--column", "q", "--strong-column", "s", "--weak-column", "w", "--reference-column", "gold"]
    assert run("-y", "--format", "jsonl", *columns)[0] == 0
    assert [row["prompt"] for row in folder.rows("battles")] == ["p", "p"]
    assert all("the truth" in request.text for request in server.requests)


def test_a_dry_run_shows_the_estimate_alone(server, folder, run):
    folder.write_answered(1)
    code, out, err = run("--dry-run", *PRICES)
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith("1 prompt: 2 requests, $")
    code, out, _ = run("--dry-run", "--json", *PRICES)
    found = json.loads(out)
    assert (found["requests"], found["pairs"], found["roles"]["judge"]["model"]) == (2, 1, JUDGE)
    assert found["dollars"] < found["most_dollars"]
    assert not folder.labels.exists()
    assert server.requests == []
    assert run("-y")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in folder.labels.iterdir()}
    assert run("--dry-run")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in folder.labels.iterdir()} == before


def test_without_a_terminal_it_does_not_go_ahead(server, folder, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    folder.write_answered(1)
    code, out, err = run()
    assert (code, out) == (2, "")
    assert "fastroute: error: --yes: missing; it is needed where there is no terminal to ask on\n" in err
    assert not folder.labels.exists()
    assert server.requests == []


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("YES", 0), ("n", 1), ("", 1), ("yep", 1), ("\x04", 1)])
def test_a_terminal_is_asked(server, folder, arguments, typed, code):
    folder.write_answered(1)
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "fastroute", *arguments()]
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        shown = b""
        while b"[y/N] " not in shown:
            shown += os.read(ours, 1000)
        assert server.requests == []
        os.write(ours, typed.encode() if typed == "\x04" else f"{typed}\n".encode())
        try:
            while more := os.read(ours, 1000):
                shown += more
        except OSError:  # the other end is closed
            pass
        assert process.wait(10) == code
    os.close(ours)
    assert (len(server.requests), folder.labels.exists()) == ((2, True) if code == 0 else (0, False))
    assert ("declined; nothing was sent" in shown.decode()) == (code == 1)


def test_failures_are_told_and_the_exit_code_is_1(server, folder, run):
    server.script = lambda request, seen: Reply(b"too\nlong", status=413)
    folder.write_answered(1)
    code, _, err = run("-y")
    assert code == 1
    complaint = (
        f"fastroute: error: 1 prompt failed, see {folder.labels}/failures.jsonl; the first: status 413: too long"
    )
    assert complaint in err.splitlines()


def test_a_cap_is_told_and_the_next_run_goes_on(server, folder, run):
    folder.write_answered(4)
    prices = ["--judge-price-in", "0", "--judge-price-out", "1e6"]
    code, out, err = run("-y", "--json", *prices, "--judge-max-tokens", "20", "--max-dollars", "100")
    assert code == 1
    assert (json.loads(out)["spent"], json.loads(out)["left"]) == (100, 2)
    assert (
        "fastroute: error: stopped, 2 prompts left: the next request could take the cost past 100 dollars "
        "(max_dollars); run again to go on" in err.splitlines()
    )
    code, out, err = run("-y", "--json", *prices, "--judge-max-tokens", "20", "--max-dollars", "160")
    assert (code, json.loads(out)["judged"]) == (0, 4)
    assert "5 requests answered in earlier runs" in err
    assert "$100.00 spent in earlier runs" in err


def test_a_judge_of_its_own_answers_is_told(folder, run):
    folder.write_answered(1)
    code, out, _ = run("--dry-run", "--strong", JUDGE)
    assert code == 0
    assert "the judge judge judges itself: models favour their own answers" in out


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--judge", "http://example.com/v1", "--judge-key-env", "HOME"], "--judge: http would send the key to"),
        (["--judge", "example.com"], "--judge: found 'example.com'; allowed: the base of an API"),
        (["--strong-url", "example.com"], "--strong-url: found 'example.com'"),
        (["--judge-key-env", "NO_SUCH_KEY"], "--judge-key-env: the environment variable NO_SUCH_KEY is not set"),
        (["--judge-key-env", "sk-Canary"], "--judge-key-env: found something else than the name"),
        (["--judge-price-in", "1"], "--judge-price-in, --judge-price-out: found one of the two"),
        (["--judge-extra", '{"n": 2}'], "--judge-extra: found 'n'"),
        (["--judge-extra", "[]"], "'[]' is no JSON object"),
        (["--judge-max-tokens", "0"], "--judge-max-tokens: found 0"),
        (["--concurrency", "0"], "--concurrency: found 0; allowed: a whole number, 1 or more"),
        (["--requests-per-minute", "-1"], "--requests-per-minute: found -1.0; allowed: a number above 0"),
        (["--max-dollars", "nan"], "--max-dollars: found nan"),
        (["--max-dollars", "1"], "--max-dollars: needs the prices of every model; judge has none"),
        (["--weak", STRONG], "--weak: found 'large'; allowed: another model than strong"),
        (["--output-format", "xml"], "invalid choice: 'xml'"),
    ],
)
def test_wrong_usage(server, folder, run, options, reason):
    folder.write_answered(1)
    code, out, err = run("-y", *options)
    assert (code, out) == (2, "")
    assert reason in err
    assert "Canary" not in err
    assert server.requests == []


def test_a_key_of_the_environment_is_used_and_not_shown(server, folder, run, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-Canary")
    server.script = lambda request, seen: Reply(b"bad key sk-Canary", status=401)
    folder.write_answered(1)
    code, out, err = run("-y", "--json", "--judge-key-env", "MY_KEY")
    assert code == 1
    assert {request.headers["Authorization"] for request in server.requests} == {"Bearer sk-Canary"}
    assert "status 401: bad key [MY_KEY]" in err
    assert "Canary" not in out + err + folder.everything.decode()
