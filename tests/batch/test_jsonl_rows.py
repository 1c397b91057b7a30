"""JSON Lines: what is kept, what is added, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError

TAIL_2 = b', "score": 0.02, "model": "small"}'


def test_every_byte_of_a_row_is_kept(score_bytes):
    rows = [
        rb'{"id": 123456789012345678901234567890, "x": 1.10, "prompt": "hi", "y": 1e5, "z":-0.0}',
        rb'  { "prompt" : "\u0068i" , "dup": 1, "dup": 2 }  ',
        '{"prompt":"hé","ключ":"✓ \\u2028","nan":NaN}'.encode(),
        b'{"prompt":"hi","n":' + b"9" * 5000 + b"}",
        b'{"prompt": "no", "prompt": "hi"}',
    ]
    out, summary = score_bytes(b"\n".join(rows) + b"\n", ".jsonl")
    assert summary.rows == 5
    expected = [row.rstrip()[:-1] + TAIL_2 + row[len(row.rstrip()) :] for row in rows]
    assert out.split(b"\n") == [*expected, b""]


def test_the_row_reads_back_with_the_two_members_last(score_bytes):
    out, _ = score_bytes(b'{"prompt": "' + b"x" * 60 + b'", "a": [1, {"b": "}"}]}\n', ".jsonl")
    row = json.loads(out)
    assert list(row) == ["prompt", "a", "score", "model"]
    assert row["a"] == [1, {"b": "}"}]
    assert np.float32(row["score"]) == np.float32(0.6)
    assert row["model"] == "large"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", b"", id="empty file"),
        pytest.param(b"\n \t\r\n\n", b"", id="blank lines only"),
        pytest.param(b'{"prompt":"hi"}', b'{"prompt":"hi"' + TAIL_2 + b"\n", id="no last newline"),
        pytest.param(b'{"prompt":"hi"}\r\n', b'{"prompt":"hi"' + TAIL_2 + b"\r\n", id="CRLF"),
        pytest.param(b'\xef\xbb\xbf{"prompt":"hi"}\n', b'{"prompt":"hi"' + TAIL_2 + b"\n", id="BOM"),
        pytest.param(b'\n\n{"prompt":"hi"}\n\n', b'{"prompt":"hi"' + TAIL_2 + b"\n", id="blank lines"),
    ],
)
def test_line_ends_and_blank_lines(score_bytes, content, expected):
    assert score_bytes(content, ".jsonl")[0] == expected


def test_a_lone_surrogate_is_a_prompt(score_bytes):
    out, summary = score_bytes(rb'{"prompt": "\ud800x"}' + b"\n", ".jsonl")
    assert out == rb'{"prompt": "\ud800x"' + TAIL_2 + b"\n"
    assert summary.skipped == 0


def test_a_prompt_of_five_megabytes(score_bytes, router):
    row = json.dumps({"prompt": "a" * 5_000_000}).encode()
    out, _ = score_bytes(row + b'\n{"prompt":"hi"}\n', ".jsonl")
    assert out.startswith(row[:-1] + b', "score": 1.0, "model": "large"}\n')
    assert router.batch_sizes == [1, 1]


def test_an_empty_prompt_is_scored(score_bytes):
    assert score_bytes(b'{"prompt":""}\n', ".jsonl")[0] == b'{"prompt":"", "score": 0.0, "model": "small"}\n'


BAD_ROWS = {
    "broken": (b'{"prompt": "hi"', "broken JSON at character 16: Expecting ',' delimiter"),
    "trailing text": (b'{"prompt": "hi"} x', "broken JSON at character 18: Extra data"),
    "text": (b"hello", "broken JSON at character 1: Expecting value"),
    "array": (b'["hi"]', "expected a JSON object, found an array"),
    "string": (b'"hi"', "expected a JSON object, found a string"),
    "number": (b"12", "expected a JSON object, found a number"),
    "null": (b"null", "expected a JSON object, found null"),
    "empty object": (b"{}", "column 'prompt' is missing; this row has no columns"),
    "missing": (b'{"text": "hi", "id": 1}', "column 'prompt' is missing; this row has 'text', 'id'"),
    "prompt null": (b'{"prompt": null}', "column 'prompt': expected a string, found null"),
    "prompt integer": (b'{"prompt": 5}', "column 'prompt': expected a string, found a number"),
    "prompt float": (b'{"prompt": 5.5}', "column 'prompt': expected a string, found a number"),
    "prompt boolean": (b'{"prompt": true}', "column 'prompt': expected a string, found a boolean"),
    "prompt array": (b'{"prompt": ["hi"]}', "column 'prompt': expected a string, found an array"),
    "prompt object": (b'{"prompt": {"a": 1}}', "column 'prompt': expected a string, found an object"),
    "UTF-8": (b'{"prompt": "h\xff"}', "invalid UTF-8 at byte 14 of the line"),
    "UTF-8 surrogate": (b'{"prompt": "\xed\xa0\x80"}', "invalid UTF-8 at byte 13 of the line"),
    "UTF-8 elsewhere": (b'{"prompt": "hi", "x": "\xe2\x28"}', "invalid UTF-8 at byte 24 of the line"),
    "deep": (b'{"prompt": ' + b"[" * 200_000, "JSON nested too deeply"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_ends_the_run(score_bytes, tmp_path, bad, reason):
    with pytest.raises(DataError) as error:
        score_bytes(b'{"prompt":"hi"}\n\n' + bad + b"\n", ".jsonl")
    assert str(error.value) == f"{tmp_path / 'in.jsonl'}: row 2 (line 3): {reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_left_out(score_bytes, bad, reason):
    out, summary = score_bytes(b'{"prompt":"hi"}\n' + bad + b'\n{"prompt":"hi","last":1}\n', ".jsonl", on_error="skip")
    assert out == b'{"prompt":"hi"' + TAIL_2 + b'\n{"prompt":"hi","last":1' + TAIL_2 + b"\n"
    assert (summary.rows, summary.skipped) == (2, 1)
    (row,) = summary.first_skipped
    assert (row.row, row.line, row.reason) == (2, 2, reason)


def test_only_bad_rows(score_bytes, router):
    out, summary = score_bytes(b"x\n" * 25, ".jsonl", on_error="skip")
    assert (out, summary.rows, summary.skipped) == (b"", 0, 25)
    assert [bad.row for bad in summary.first_skipped] == list(range(1, 11))
    assert router.batch_sizes == []


def test_a_line_past_the_limit_is_a_bad_row(score_bytes, monkeypatch):
    monkeypatch.setattr("fastroute.batch.formats.lines.MAX_ROW_BYTES", 1 << 20)
    long = b'{"prompt":"' + b"x" * (4 << 20) + b'"}\n'
    out, summary = score_bytes(long + b'{"prompt":"hi"}\n' + long.rstrip(), ".jsonl", on_error="skip")
    assert out == b'{"prompt":"hi"' + TAIL_2 + b"\n"
    assert [(bad.row, bad.line) for bad in summary.first_skipped] == [(1, 1), (3, 3)]
    assert "longer than" in summary.first_skipped[0].reason


@pytest.mark.parametrize(
    ("options", "content", "option"),
    [
        ({}, b'{"prompt":"hi","score":1}\n', "--score-column"),
        ({}, b'{"prompt":"hi","model":"m"}\n', "--model-column"),
        ({"score_column": "s"}, b'{"prompt":"hi","s":1}\n', "--score-column"),
        ({"on_error": "skip"}, b'{"prompt":"hi"}\n{"prompt":"hi","score":1}\n', "--score-column"),
        ({"model_column": "prompt"}, b'{"prompt":"hi"}\n', "--model-column"),
    ],
)
def test_a_column_of_the_same_name(score_bytes, tmp_path, options, content, option):
    with pytest.raises(InvalidArgumentError, match=f"there is a column .* already.*{option}"):
        score_bytes(content, ".jsonl", **options)
    assert not (tmp_path / "out.jsonl").exists()


def test_names_of_columns(score_bytes):
    out, _ = score_bytes(
        b'{"q":"hi","score":1,"model":2}\n',
        ".ndjson",
        column="q",
        score_column='a "b"',
        model_column="ключ",
    )
    assert json.loads(out) == {"q": "hi", "score": 1, "model": 2, 'a "b"': 0.02, "ключ": "small"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('{"prompt":"hi"}\n'.encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PAR1\x15\x04", "Parquet"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_name(score_bytes, content, found):
    with pytest.raises(DataError, match=f"expected UTF-8 text, found .*{found}"):
        score_bytes(content, ".jsonl", on_error="skip")
