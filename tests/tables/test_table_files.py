"""Files of every format as tables."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastroute.errors import DataError, InvalidArgumentError, MissingDependencyError
from fastroute.tables import SUFFIXES, read_table

ROWS = [
    {"prompt": 'a "b",\nc', "model": "x", "score": 0.5, "more": 1},
    {"prompt": "\u2028é\t", "model": "y", "score": 1, "more": 2},
]


def write(path: Path, rows) -> Path:
    if path.suffix in (".parquet", ".pq"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_columns(suffix, tmp_path):
    table = read_table(write(tmp_path / f"t{suffix}", ROWS), ["score", "prompt", "absent"])
    assert sorted(table.columns) == ["prompt", "score"]
    assert table.names == ("prompt", "model", "score", "more")
    assert table.rows == 2
    assert table.labels("prompt").values == tuple(row["prompt"] for row in ROWS)
    np.testing.assert_array_equal(table.scores("score"), [0.5, 1.0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_predicate_chooses_columns(suffix, tmp_path):
    table = read_table(str(write(tmp_path / f"t{suffix}", ROWS)), lambda name: name.startswith("mo"))
    assert list(table.columns) == ["model", "more"]


def test_suffixes_have_no_case(tmp_path):
    assert read_table(write(tmp_path / "t.csv", ROWS).rename(tmp_path / "t.CSV"), ["model"]).rows == 2


@pytest.mark.parametrize(
    ("suffix", "place"), [(".jsonl", "line 3"), (".csv", "line 4"), (".tsv", "line 4"), (".parquet", "row 1")]
)
def test_a_cell_is_named_by_its_line(suffix, place, tmp_path):
    """A record of CSV may have several lines; blank ones count too."""
    path = write(tmp_path / f"t{suffix}", ROWS)
    with pytest.raises(DataError, match=rf"t\{suffix}: column 'model', {place}: 'y' found; x is needed"):
        raise read_table(path, ["model"]).error("model", 1, "y", "x is needed")


def test_blank_lines_of_csv(tmp_path):
    (tmp_path / "t.csv").write_text("\na,b\n\n1,2\n\n\n3,4\n")
    table = read_table(tmp_path / "t.csv", ["a"])
    assert (table.columns, table.lines) == ({"a": ["1", "3"]}, (4, 7))


def test_a_long_field(tmp_path):
    text = "word " * 50_000
    table = read_table(write(tmp_path / "t.csv", [{"prompt": text}]), ["prompt"])
    assert table.labels("prompt").values == (text,)


def test_objects_need_not_have_the_same_keys(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"a": "x", "overlap": "mmlu"}\n{"a": "y", "b": null}\n')
    table = read_table(tmp_path / "t.jsonl", ["a", "b", "overlap"])
    assert table.columns == {"a": ["x", "y"], "overlap": ["mmlu", None], "b": [None, None]}
    labels = table.labels("overlap", null="")
    assert [labels.values[code] for code in labels.codes] == ["mmlu", ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.jsonl", b'{"a": 1}\n{]\n', "line 2: broken JSON"),
        ("t.jsonl", b"[1]", "line 1: expected a JSON object, found list"),
        ("t.jsonl", b"[" * 100_000, "line 1: broken JSON"),
        ("t.jsonl", b'{"a": ' + b"1" * 5000 + b"}", "line 1: broken JSON"),
        ("t.csv", b"", "the file is empty; expected a header row"),
        ("t.csv", b"\n\n", "the file is empty; expected a header row"),
        ("t.csv", b"a,b\n\n1,2\n3\n", "line 4: expected 2 fields, found 1"),
        ("t.csv", b'a,b\n"1"x,2\n', "line 2: broken quoting"),
        ("t.csv", b'a,b\n1,"2\n', "broken quoting or line ends: unexpected end of data"),
        ("t.csv", b"a,b,a\n", "its header names a column twice: 'a'"),
        ("t.tsv", b"a\tb\n\xff\t1\n", "expected UTF-8 text, found an invalid byte at 5"),
        ("t.parquet", b"PAR1 and nothing else", "can't be read as Parquet"),
        ("none.csv", None, "can't be read: No such file"),
        ("none.jsonl", None, "can't be read: No such file"),
        ("none.parquet", None, "no such file; a Parquet file is needed"),
    ],
)
def test_files_that_are_refused(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name, ["a"])
    assert str(caught.value).startswith(str(tmp_path / name))
    assert message in str(caught.value)


def test_a_name_that_tells_no_format(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"t\.txt: the format can't be told by its name; allowed: \.jsonl, "):
        read_table(tmp_path / "t.txt", ["a"])


def test_pyarrow_is_asked_for_by_parquet_alone(monkeypatch, tmp_path):
    for module in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pyarrow.*fastroute\[batch\]"):
        read_table(tmp_path / "any.parquet", ["x"])
    assert read_table(write(tmp_path / "t.csv", ROWS), ["model"]).rows == 2
