"""Scored logs and arguments that can't serve: typed errors that say where and what."""

from __future__ import annotations

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.reporting import report

ALLOWED = "expected a number from 0 to 1"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "the file is empty; expected a header row"),
        ("a.csv", "score\n", "no rows with a score, at least one is needed"),
        ("a.csv", "prompt\nhi\n", r"no column 'score'; the file has 'prompt' \(choose one with --score-column\)"),
        ("a.csv", "score,score\n1,1\n", "2 columns are named 'score'"),
        ("a.csv", "score\n0.5\nnan\n", rf"a\.csv: row 2 \(line 3\): column 'score': {ALLOWED}, found nan"),
        ("a.csv", "score\n1.0000001\n", rf"row 1 \(line 2\): .*{ALLOWED}, found 1.0000001"),
        ("a.csv", "score\n-0.1\n", rf"{ALLOWED}, found -0.1"),
        ("a.csv", "score\n0_1\n", rf"{ALLOWED}, found '0_1'"),
        ("a.csv", 'score,x\n"",1\n', rf"{ALLOWED}, found an empty cell"),
        ("a.csv", "score,x\n0.5\n", r"row 1 \(line 2\): expected 2 fields, as in the header, found 1"),
        ("a.csv", 'x,score\n"a\n\nb",0.5\n"c"d,0.5\n', r"row 2 \(line 5\): broken quoting"),
        ("a.tsv", "x\tscore\n\xff\t0.5\n", r"row 1 \(line 2\): invalid UTF-8 at byte 1 of line 2"),
        ("a.jsonl", "", "no rows with a score"),
        ("a.jsonl", "\n\n{}\n", r"row 1 \(line 3\): column 'score' is missing; this row has no columns"),
        ("a.jsonl", '{"score": "0.5"}\n', rf"{ALLOWED}, found a string"),
        ("a.jsonl", '{"score": null}\n', rf"{ALLOWED}, found null"),
        ("a.jsonl", '{"score": true}\n', rf"{ALLOWED}, found a boolean"),
        ("a.jsonl", '{"score": [1]}\n', rf"{ALLOWED}, found an array"),
        ("a.jsonl", '{"score": NaN}\n', rf"{ALLOWED}, found nan"),
        ("a.jsonl", '{"score": ' + "9" * 5000 + "}\n", rf"{ALLOWED}, found inf"),
        ("a.jsonl", '{"score": 0.5}\n{"score"\n', r"row 2 \(line 2\): broken JSON at character"),
        ("a.jsonl", "[]\n", "expected a JSON object, found an array"),
        ("a.jsonl", "[" * 100_000 + "\n", "JSON nested too deeply"),
        ("a.jsonl", "PAR1\n", "found a Parquet file"),
    ],
)
def test_rows(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        report(tmp_path / name)


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    for table, message in (
        ({"score": ["0.5"]}, "column 'score': expected numbers, found string"),
        ({"score": [[0.5]]}, "expected numbers, found list"),
        ({"p": [0.5]}, "no column 'score'; the file has 'p'"),
        ({"score": pa.array([], pa.float32())}, "no rows with a score"),
        ({"score": [0.5] * 70_000 + [None]}, f"row 70001: column 'score': {ALLOWED}, found null"),
        ({"score": [0.5, np.nan]}, f"row 2: column 'score': {ALLOWED}, found nan"),
        ({"score": [0.5, np.inf]}, f"row 2: column 'score': {ALLOWED}, found inf"),
        ({"score": [2]}, f"row 1: column 'score': {ALLOWED}, found 2"),
        ({"score": [0.5], "model": [{"a": 1}]}, "column 'model': expected strings, numbers or times, found struct"),
    ):
        pq.write_table(pa.table(table), path)
        with pytest.raises(DataError, match=message):
            report(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        report(path)


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "log.parquet"])
def test_days(written, name):
    log = written(name, [0.5, 0.5], time=["2026-11-02", "yesterday"])
    with pytest.raises(DataError, match=r"row 2.*: column 'time': expected an ISO 8601 date .*, found 'yesterday'"):
        report(log, by_day="time")
    found = report(log, by_day="time", on_error="skip")
    assert (found.rows, found.skipped) == (1, 1)
    assert "yesterday" in str(found.first_skipped[0])


@pytest.mark.parametrize(
    "text", ["2026-02-30", "2026-11-02T25:00", "12e3", "-5", "", "9" * 21, "0001-01-01T00:00+23:00"]
)
def test_days_that_are_none(written, text):
    with pytest.raises(DataError, match="column 'time': expected an ISO 8601 date"):
        report(written("log.csv", [0.5], time=[text]), by_day="time")


@pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "log.parquet"])
def test_an_unknown_group(written, name):
    with pytest.raises(DataError, match="column 'team'"):
        report(written(name, [0.5], model=["a"]), by="team")


def test_skipped_rows(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("score,team\n" + "x,a\n" * 12 + "0.5,a\n0.25,b\n7,a\n")
    found = report(path, by="team", on_error="skip")
    assert (found.rows, found.skipped, len(found.first_skipped)) == (2, 13, 10)
    assert [(group.value, group.rows) for group in found.grouping.groups] == [("a", 1), ("b", 1)]
    assert str(found.first_skipped[0]) == f"{path}: row 1 (line 2): column 'score': {ALLOWED}, found 'x'"
    path.write_text("score\nx\n")
    with pytest.raises(DataError, match="no rows with a score, at least one is needed; 1 were left out"):
        report(path, on_error="skip")


def test_the_calibration_set_is_named(written, tmp_path):
    (tmp_path / "b.csv").write_text("score\n3\n")
    with pytest.raises(DataError, match=r"b\.csv: row 1 \(line 2\)"):
        report(written("log.csv", [0.5]), against=tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"threshold": 1.5}, "threshold: found 1.5, allowed: 0 to 1"),
        ({"strong_fraction": -0.1}, "strong_fraction: found -0.1"),
        ({"budget": -1.0}, "budget: found -1, allowed: a number, 0 or more"),
        ({"budget": float("nan")}, "budget: found nan"),
        ({"by": "a", "by_day": "b"}, "by_day: not with by"),
        ({"top": 0}, "top: found 0, allowed: 1 to 100"),
        ({"top": 101}, "top: found 101"),
        ({"resamples": 0}, "resamples: found 0"),
        ({"format": "xml"}, "format: found 'xml', allowed: jsonl, csv, tsv, parquet"),
        ({"on_error": "ask"}, "on_error: found 'ask', allowed: 'fail' or 'skip'"),
    ],
)
def test_arguments(written, arguments, message):
    with pytest.raises(InvalidArgumentError, match=message):
        report(written("log.csv", [0.5]), **arguments)


def test_types(written):
    with pytest.raises(InvalidTypeError, match="budget: found str"):
        report(written("log.csv", [0.5]), budget="1")  # type: ignore[arg-type]


def test_paths(tmp_path):
    with pytest.raises(InvalidArgumentError, match="the format can't be told; pass --format"):
        report("-")
    with pytest.raises(DataError, match=r"a\.csv\.gz: can't be read: No such file"):
        report(tmp_path / "a.csv.gz")
    with pytest.raises(DataError, match="can't be read: No such file"):
        report(tmp_path / "a.csv")
    with pytest.raises(InvalidArgumentError, match="the folder has no file"):
        report(tmp_path, format="csv")
    with pytest.raises(InvalidArgumentError, match="standard input can't be read together with files"):
        report(["-", tmp_path / "a.csv"], format="csv")
    with pytest.raises(InvalidArgumentError, match="against: standard input can't be the log and"):
        report("-", against="-", format="csv")
