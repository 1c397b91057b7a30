"""CSV and TSV: what is kept, what is added, what is refused."""

from __future__ import annotations

import csv
import io

import pytest

from fastroute.errors import DataError, InvalidArgumentError


def test_every_byte_of_a_record_is_kept(score_bytes):
    records = [
        'id,"prompt",note\r\n',
        '1,hi,"a, ""quoted"" note"\r\n',
        '"2",hi,\r\n',
        '3,"hi"," two\nlines\r\nand one"\r\n',
        "4,hé,✓ plain\u2028text\n",
        '05,"a\nb", 1.10 \n',
    ]
    out, summary = score_bytes("".join(records).encode(), ".csv")
    lines = [record.rstrip("\r\n") for record in records]
    ends = [record[len(line) :] for record, line in zip(records, lines, strict=True)]
    added = ["score,model", *["0.02,small"] * 4, "0.03,small"]
    assert out.decode() == "".join(f"{line},{new}{end}" for line, new, end in zip(lines, added, ends, strict=True))
    assert summary.rows == 5


def test_the_output_reads_back(score_bytes):
    text = io.StringIO()
    rows = [["prompt", "x"], ["a,b", '"'], ["line\nbreak", ""], ["", "'"], ["\t", "0"], ["é" * 70, "1e5"]]
    csv.writer(text).writerows(rows)
    out, _ = score_bytes(text.getvalue().encode(), ".csv")
    scored = list(csv.reader(io.StringIO(out.decode(), newline="")))
    assert [record[:2] for record in scored] == rows
    assert [record[2:] for record in scored[1:]] == [
        ["0.03", "small"],
        ["0.1", "small"],
        ["0.0", "small"],
        ["0.01", "small"],
        ["0.7", "large"],
    ]


def test_tabs(score_bytes):
    out, _ = score_bytes(b'prompt\tid\nhi, you\t1\n"a\tb"\t2\n', ".tsv")
    assert out == b'prompt\tid\tscore\tmodel\nhi, you\t1\t0.07\tsmall\n"a\tb"\t2\t0.03\tsmall\n'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"prompt\n", b"prompt,score,model\n", id="header only"),
        pytest.param(b"prompt", b"prompt,score,model\n", id="header without newline"),
        pytest.param(b"a,prompt\r\n", b"a,prompt,score,model\r\n", id="CRLF header"),
        pytest.param(b"prompt\r\nhi", b"prompt,score,model\r\nhi,0.02,small\r\n", id="last newline as in the header"),
        pytest.param(b"\xef\xbb\xbfprompt\nhi\n", b"\xef\xbb\xbfprompt,score,model\nhi,0.02,small\n", id="BOM"),
        pytest.param(
            b'\xef\xbb\xbf"prompt"\nhi\n',
            b'\xef\xbb\xbf"prompt",score,model\nhi,0.02,small\n',
            id="BOM, quote",
        ),
        pytest.param(b"\nprompt\n\nhi\n\n\n", b"prompt,score,model\nhi,0.02,small\n", id="blank lines"),
        pytest.param(b'prompt\n""\n', b'prompt,score,model\n"",0.0,small\n', id="empty prompt"),
    ],
)
def test_headers_and_line_ends(score_bytes, content, expected):
    assert score_bytes(content, ".csv")[0] == expected


def test_a_field_of_five_megabytes(score_bytes):
    long = b'"' + b"a,\n" * 1_700_000 + b'"'
    out, summary = score_bytes(b"prompt,id\n" + long + b",1\nhi,2\n", ".csv")
    assert out == b"prompt,id,score,model\n" + long + b",1,1.0,large\nhi,2,0.02,small\n"
    assert summary.rows == 2


BAD_ROWS = {
    "too few": (b"hi\n", "expected 2 fields, as in the header, found 1"),
    "too many": (b"hi,2,3\n", "expected 2 fields, as in the header, found 3"),
    "UTF-8": (b"h\xff,2\n", "invalid UTF-8 at byte 2 of line 5"),
    "UTF-8 elsewhere": (b"hi,\xe2\x28\n", "invalid UTF-8 at byte 4 of line 5"),
    "UTF-8 on a later line": (b'"hi\n\xff",2\n', "invalid UTF-8 at byte 1 of line 6"),
    "quote inside": (b'"hi" there,2\n', "broken quoting or line ends: ',' expected after '\"'"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_ends_the_run(score_bytes, tmp_path, bad, reason):
    with pytest.raises(DataError) as error:
        score_bytes(b'prompt,id\n"h\ni",1\n\n' + bad + b"hi,3\n", ".csv")
    assert str(error.value) == f"{tmp_path / 'in.csv'}: row 2 (line 5): {reason}"
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_left_out(score_bytes, bad, reason):
    out, summary = score_bytes(b'prompt,id\n"h\ni",1\n\n' + bad + b"hi,3\n", ".csv", on_error="skip")
    assert out == b'prompt,id,score,model\n"h\ni",1,0.03,small\nhi,3,0.02,small\n'
    assert (summary.rows, summary.skipped) == (2, 1)
    (row,) = summary.first_skipped
    assert (row.row, row.line, row.reason) == (2, 5, reason)


def test_a_quote_that_never_closes_is_a_bad_row(score_bytes):
    out, summary = score_bytes(b'id,prompt\n1,hi\n2,"hi\n3,hi\n', ".csv", on_error="skip")
    assert out == b"id,prompt,score,model\n1,hi,0.02,small\n"
    (row,) = summary.first_skipped
    assert (row.row, row.line) == (2, 3)
    assert "unexpected end of data" in row.reason


def test_a_record_past_the_limit_is_a_bad_row(score_bytes, monkeypatch):
    monkeypatch.setattr("fastroute.batch.formats.delimited.MAX_ROW_BYTES", 1 << 20)
    monkeypatch.setattr("fastroute.batch.formats.lines.MAX_ROW_BYTES", 1 << 20)
    long_line = b"x" * (3 << 20) + b",1\n"
    open_quote = b'"' + b"x" * (1 << 19) + b"\n" + b"y" * (1 << 19) + b"\n"
    out, summary = score_bytes(b"prompt,id\n" + long_line + b"hi,2\n" + open_quote + b"hi,3\n", ".csv", on_error="skip")
    assert out == b"prompt,id,score,model\nhi,2,0.02,small\nhi,3,0.02,small\n"
    assert [(bad.row, bad.line) for bad in summary.first_skipped] == [(1, 2), (3, 4)]
    assert all("longer than" in bad.reason for bad in summary.first_skipped)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty; expected a header row"),
        (b"\n\r\n", "the file is empty; expected a header row"),
        (b"text,id\nhi,1\n", "no column 'prompt'; the header has 'text', 'id'"),
        (b"prompt,prompt\nhi,1\n", "2 columns are named 'prompt'"),
        (b"prompt,\xff\nhi,1\n", r"header \(line 1\): invalid UTF-8 at byte 8"),
        (b'prompt,"id\nhi,1\n', r"header \(line 1\): broken quoting"),
        ("prompt\nhi\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_a_header_that_can_not_serve(score_bytes, tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        score_bytes(content, ".csv", on_error="skip")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_many_columns_are_not_all_named(score_bytes):
    header = ",".join(f"c{number}" for number in range(500))
    with pytest.raises(DataError, match=r"'c19' and 480 more \(choose one with --column\)"):
        score_bytes(header.encode(), ".csv")


@pytest.mark.parametrize(
    ("options", "header", "option"),
    [
        ({}, b"prompt,score", "--score-column"),
        ({}, b"model,prompt", "--model-column"),
        ({"score_column": "prompt"}, b"prompt", "--score-column"),
    ],
)
def test_a_column_of_the_same_name(score_bytes, options, header, option):
    with pytest.raises(InvalidArgumentError, match=f"there is a column .* already.*{option}"):
        score_bytes(header + b"\n", ".csv", **options)


def test_new_names_are_quoted_where_needed(score_bytes, router):
    router.weak = 'the "small", cheap one'
    out, _ = score_bytes(b"q\nhi\n", ".csv", column="q", score_column="a,b")
    assert list(csv.reader(io.StringIO(out.decode()))) == [["q", "a,b", "model"], ["hi", "0.02", router.weak]]
