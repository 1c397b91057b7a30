"""``fastroute score``: options, streams, messages and exit codes."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

import fastroute
from fastroute.cli import main

ROW = b'{"prompt":"hi"}\n'
SCORED = b'{"prompt":"hi", "score": 0.02, "model": "small"}\n'


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(ROW)
    return path


def test_a_file(run, source, tmp_path):
    ended = run("score", source, "-o", tmp_path / "out.jsonl")
    assert (ended.code, ended.out) == (0, b"")
    assert (tmp_path / "out.jsonl").read_bytes() == SCORED
    assert ended.err.startswith("scored 1 row in 0.0 s, 0.0% to large, 100.0% to small, ")
    assert ended.err.endswith(" rows/s\n")


def test_quiet(run, source):
    ended = run("score", source, "-o", "-", "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, SCORED, "")


def test_no_progress_still_has_a_summary(run, source):
    assert run("score", source, "-o", "-", "--no-progress").err.startswith("scored 1 row")


def test_no_rows(run):
    ended = run("score", "-", "-o", "-", "--format", "jsonl")
    assert (ended.code, ended.out) == (0, b"")
    assert ended.err.startswith("scored 0 rows in 0.0 s\n")


def test_all_options(run, tmp_path):
    (tmp_path / "in.log").write_bytes(b"text,score\n" + b"x" * 30 + b",1\n")
    ended = run(
        *("score", tmp_path / "in.log", "--output", "-", "--format", "csv", "--column", "text"),
        *("--score-column", "p", "--model-column", "m", "--threshold", "0.3", "--router", "mf"),
        *("--strong", "medium", "--weak", "small", "-q"),
    )
    # the float32 next to 0.3 lies above it
    assert ended.out == b"text,score,p,m\n" + b"x" * 30 + b",1,0.3,medium\n"


class TestStreams:
    def test_from_stdin_to_stdout(self, run):
        ended = run("score", "-", "-o", "-", "--format", "jsonl", stdin=ROW * 5_000)
        assert (ended.code, ended.out) == (0, SCORED * 5_000)

    def test_the_output_tells_the_format(self, run, tmp_path):
        ended = run("score", "-", "-o", tmp_path / "out.tsv", stdin=b"prompt\tx\nhi\t1\n")
        assert ended.code == 0
        assert (tmp_path / "out.tsv").read_bytes() == b"prompt\tx\tscore\tmodel\nhi\t1\t0.02\tsmall\n"

    def test_the_input_tells_the_format(self, run, source):
        assert run("score", source, "-o", "-").out == SCORED

    def test_the_format_must_be_known(self, run):
        ended = run("score", "-", "-o", "-", stdin=ROW)
        assert (ended.code, ended.out) == (2, b"")
        assert ended.err == (
            "fastroute: error: standard input: the format can't be told; pass --format jsonl|csv|tsv|parquet\n"
        )

    def test_parquet_through_pipes(self, run):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        content = io.BytesIO()
        pq.write_table(pa.table({"prompt": ["hi"] * 9_000}), content)
        ended = run("score", "-", "-o", "-", "--format", "parquet", stdin=content.getvalue())
        assert ended.code == 0
        assert pq.read_table(io.BytesIO(ended.out))["model"].to_pylist() == ["small"] * 9_000

    def test_a_failed_parquet_stream_looks_unfinished(self, run):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        content = io.BytesIO()
        prompts = [*["hi"] * 9_000, None]
        pq.write_table(pa.table({"prompt": prompts}), content, row_group_size=4_000)
        ended = run("score", "-", "-o", "-", "--format", "parquet", stdin=content.getvalue())
        assert ended.code == 1
        assert ended.err == "fastroute: error: stdin: row 9001: column 'prompt': expected a string, found null\n"
        assert len(ended.out) > 4
        with pytest.raises(pa.ArrowInvalid):
            pq.read_table(io.BytesIO(ended.out))


class TestBadRows:
    def test_fail(self, run, tmp_path):
        source = tmp_path / "in.jsonl"
        source.write_bytes(ROW * 16 + b'{"prompt":null}\n')
        ended = run("score", source, "-o", tmp_path / "out.jsonl")
        assert ended.code == 1
        assert ended.err == (
            f"fastroute: error: {source}: row 17 (line 17): column 'prompt': expected a string, found null\n"
        )
        assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]

    def test_skip_names_ten_and_counts_the_rest(self, run):
        ended = run(
            *("score", "-", "-o", "-", "--format", "jsonl", "--on-error", "skip"),
            stdin=b"[]\n" * 1_010 + ROW + b"[]\n",
        )
        assert (ended.code, ended.out) == (1, SCORED)
        lines = ended.err.splitlines()
        assert lines[:10] == [
            f"fastroute: skipped stdin: row {i} (line {i}): expected a JSON object, found an array"
            for i in range(1, 11)
        ]
        assert lines[10] == "fastroute: skipped 1,001 more rows"
        assert lines[11].startswith("scored 1 row in 0.0 s, skipped 1,011, ")

    def test_skip_says_so_even_when_quiet(self, run):
        ended = run("score", "-", "-o", "-", "--format", "jsonl", "--on-error", "skip", "-q", stdin=b"1\n")
        assert ended.code == 1
        assert ended.err == ("fastroute: skipped stdin: row 1 (line 1): expected a JSON object, found a number\n")

    def test_skip_with_nothing_to_skip(self, run, source):
        assert run("score", source, "-o", "-", "--on-error", "skip").code == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "the following arguments are required: -o/--output"),
        (["-o", "-", "--threshold", "1.01"], "argument --threshold: '1.01' is not a number from 0 to 1"),
        (["-o", "-", "--threshold", "nan"], "argument --threshold: 'nan' is not a number from 0 to 1"),
        (["-o", "-", "--threshold", "half"], "argument --threshold: 'half' is not a number from 0 to 1"),
        (["-o", "-", "--on-error", "stop"], "argument --on-error: invalid choice: 'stop'"),
        (["-o", "-", "--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["-o", "-", "--thres", "0.5"], "unrecognized arguments: --thres 0.5"),
        (["-o", "-", "--router", "nope"], "fastroute: error: router: 'nope' is unknown"),
        (["-o", "-", "--weak", "smal"], "fastroute: error: weak: 'smal' is unknown; the nearest is 'small'"),
        (["-o", "-", "--score-column", "model"], "two of the new columns would be named 'model'"),
        (["-o", "-", "--score-column", "prompt"], "there is a column 'prompt' already"),
        (["-o", "out.csv"], "out.csv: the output keeps the input's format, which is jsonl"),
    ],
)
def test_wrong_usage(run, source, monkeypatch, args, message):
    monkeypatch.chdir(source.parent)
    ended = run("score", source.name, *args)
    assert (ended.code, ended.out) == (2, b"")
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_the_output_is_guarded(run, source, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    ended = run("score", source, "-o", target)
    assert ended.code == 2
    assert ended.err == f"fastroute: error: {target}: the output exists; pass --overwrite to replace it\n"
    assert target.read_text() == "old"
    assert run("score", source, "-o", target, "--overwrite").code == 0
    assert target.read_bytes() == SCORED
    assert run("score", source, "-o", source, "--overwrite").code == 2
    assert source.read_bytes() == ROW


def test_a_missing_column_is_named_with_those_found(run, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"question,id\nhi,1\n")
    ended = run("score", tmp_path / "in.csv", "-o", "-")
    assert (ended.code, ended.out) == (1, b"")
    assert ended.err == (
        f"fastroute: error: {tmp_path / 'in.csv'}: no column 'prompt'; "
        "the header has 'question', 'id' (choose one with --column)\n"
    )


def test_scores_and_models_are_those_of_the_router(tmp_path, small_router, capsys):
    prompts = ["", "hi", "Prove it.", "\ud800", "é\u2028\0", "naïve 東京 🙂", *(f"prompt {i}" * i for i in range(300))]
    router = fastroute.load(small_router)
    threshold = float(np.median(router.score(prompts)))
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps({'prompt': text})}\n" for text in prompts))
    args = ["score", tmp_path / "in.jsonl", "-o", "-", "-q", "--router", small_router, "--threshold", threshold]
    assert main([str(arg) for arg in args]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_array_equal([np.float32(row["score"]) for row in rows], router.score(prompts))
    assert [row["model"] for row in rows] == [decision.model for decision in router.route(prompts, threshold)]
    assert {row["model"] for row in rows} == {router.strong, router.weak}
