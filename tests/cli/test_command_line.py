"""The program as a whole: help, version, exit codes, signals, pipes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import fastroute
from fastroute.cli import COMMANDS, main, train
from fastroute.cli.parsing import Parser

PROGRAM = [sys.executable, "-m", "fastroute"]
ROW = b'{"prompt":"hi"}\n'
# The last flush matters, so stdout must be buffered as it usually is.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def wait_until(happened, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2].replace("_", "-")
        assert re.search(rf"\n    {name}\s", text)  # a long name has its help on the next line
        assert main([name, "--help"]) == 0
        shown = capsys.readouterr().out
        assert "examples:\n  fastroute " in shown
        assert "exit codes:\n  0  done" in shown
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastroute {fastroute.__version__}\n"


@pytest.mark.parametrize("args", [[], ["nope"], ["--nope"]])
def test_wrong_usage_shows_the_usage_on_stderr(capsys, args):
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: fastroute")


def test_arguments_come_from_the_command_line():
    run = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, f"fastroute {fastroute.__version__}\n")


@pytest.mark.parametrize("shown", ["format_help", "format_usage"])
def test_a_command_that_is_filled_when_used_is_shown_whole(shown):
    commands = Parser(prog="fastroute").add_subparsers(dest="command")
    train.add_parser(commands)
    parser = commands.choices["train"]
    text = getattr(parser, shown)()
    assert "ROUTER" in text
    assert getattr(parser, shown)() == text
    if shown == "format_help":
        assert all(re.search(rf"\n    {kind}\s", text) for kind in train.KINDS)
    assert parser.parse_args(["mf", "--preferences", "p", "--outcomes", "o", "-o", "x"]).kind == "mf"


def test_help_imports_nothing_heavy():
    script = (
        "import sys; import fastroute; before = set(sys.modules); from fastroute.cli import main; "
        "main(['score', '--help']); print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = run.stderr.split()
    assert "fastroute.cli.score" in imported
    for heavy in ("pyarrow", "tqdm", "numba", "onnxruntime", "fastroute.batch", "fastroute.training", "json"):
        assert heavy not in imported


@pytest.mark.parametrize(
    ("signum", "code", "message"),
    [
        (signal.SIGINT, 130, "fastroute: error: interrupted\n"),
        (signal.SIGTERM, 143, "fastroute: error: ended by SIGTERM\n"),
        (signal.SIGHUP, 129, "fastroute: error: ended by SIGHUP\n"),
    ],
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_signal_leaves_no_half_written_file(tmp_path, signum, code, message, old, small_router):
    target = tmp_path / "out.jsonl"
    if old is not None:
        target.write_bytes(old)
    args = [*PROGRAM, "score", "-", "-o", target, "--overwrite", "--router", small_router]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(ROW * 100_000)
        process.stdin.flush()
        wait_until(lambda: any(path.name != target.name and path.stat().st_size for path in tmp_path.iterdir()))
        sent = time.monotonic()
        process.send_signal(signum)
        assert process.wait(10) == code
        assert time.monotonic() - sent < 5
        assert process.stderr.read().decode() == message
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if old is None else [old])


def test_an_ignored_hangup_stays_ignored(tmp_path, small_router):
    args = ["nohup", *PROGRAM, "score", "-", "-o", tmp_path / "out.jsonl", "-q", "--router", small_router]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(ROW * 100_000)
        process.stdin.flush()
        wait_until(lambda: any(path.stat().st_size for path in tmp_path.iterdir()))
        process.send_signal(signal.SIGHUP)
        process.stdin.close()
        assert process.wait(10) == 0
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 100_000


def test_nobody_reads_the_output(tmp_path, small_router):
    (tmp_path / "in.jsonl").write_bytes(ROW * 100_000)
    args = [*PROGRAM, "score", tmp_path / "in.jsonl", "-o", "-", "--router", small_router]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"prompt":"hi", "score": ')
        process.stdout.close()
        assert process.wait(10) == 141
        assert process.stderr.read() == b""


@pytest.mark.parametrize("args", [["route", "hi"], ["score", "-", "-o", "-", "--format", "jsonl"]])
def test_nobody_ever_read_the_output(args, small_router):
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run(
        [*PROGRAM, *args, "--router", small_router],
        input=ROW,
        stdout=writing,
        stderr=subprocess.PIPE,
        env=BUFFERED,
        check=False,
    )
    os.close(writing)
    assert (run.returncode, run.stderr) == (141, b"")


def test_parquet_through_real_pipes(tmp_path, small_router):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"prompt": ["hi"] * 9_000}), tmp_path / "in.parquet")
    run = subprocess.run(
        [*PROGRAM, "score", "-", "-o", "-", "--format", "parquet", "-q", "--router", small_router],
        input=(tmp_path / "in.parquet").read_bytes(),
        capture_output=True,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, b"")
    assert pq.read_table(pa.BufferReader(run.stdout)).column_names == ["prompt", "score", "model"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", [["route", "hi"], ["score", "-", "-o", "-", "--format", "jsonl"]])
def test_a_full_disk_behind_stdout(args, small_router):
    with Path("/dev/full").open("wb") as full:
        run = subprocess.run(
            [*PROGRAM, *args, "--router", small_router],
            input=ROW,
            stdout=full,
            stderr=subprocess.PIPE,
            env=BUFFERED,
            check=False,
        )
    assert run.returncode == 1
    assert run.stderr.startswith(b"fastroute: error: stdout: ")
    assert run.stderr.count(b"\n") == 1


def test_the_output_is_never_the_input_even_through_redirection(tmp_path, small_router):
    path = tmp_path / "log.jsonl"
    path.write_bytes(ROW)
    with path.open("ab") as appended:
        run = subprocess.run(
            [*PROGRAM, "score", path, "-o", "-", "--router", small_router],
            stdout=appended,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert run.returncode == 2
    assert b"the output is the input" in run.stderr
    with path.open("rb") as opened:
        run = subprocess.run(
            [*PROGRAM, "score", "-", "-o", path, "--overwrite", "--router", small_router],
            stdin=opened,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert run.returncode == 2
    assert path.read_bytes() == ROW


def test_errors_stay_on_one_line(length_router, capsys):
    assert main(["score", "no\nsuch.csv", "-o", "-"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bar_is_drawn_on_a_terminal_alone(tmp_path, small_router):
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    args = [*PROGRAM, "score", "-", "-o", tmp_path / "out.jsonl", "--router", small_router]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdin is not None
        process.stdin.write(ROW * 100_000)
        process.stdin.flush()
        wait_until(lambda: any(path.stat().st_size for path in tmp_path.iterdir()))
        time.sleep(1.1)
        process.stdin.write(ROW * 10_000)
        process.stdin.close()
        assert process.wait(10) == 0
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert "rows/s" in shown.partition("scored 110,000 rows")[0]
    assert "\x1b[3" not in shown  # no colours
