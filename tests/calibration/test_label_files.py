"""Labelled prompts from files of every layout and format."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from fastroute.calibration import read_labels
from fastroute.errors import DataError, InvalidArgumentError

WIDE = [
    {"prompt": "a", "strong": 1, "weak": 0.25},
    {"prompt": "b, c", "strong": 0, "weak": 1},
]
NAMED = [{"prompt": r["prompt"], "Big": bool(r["strong"]), "org/small": r["weak"]} for r in WIDE]
LONG = [
    {"prompt": r["prompt"], "model": m, "score": r[role]}
    for r in WIDE
    for m, role in (("org/big", "strong"), ("small", "weak"))
]
LONG.append({"prompt": "a", "model": "third", "score": 0.5})
LAYOUTS = {"wide": WIDE, "named": NAMED, "long": LONG}


def write(path, rows) -> str:
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return str(path)


def read(path, **kwargs):
    return read_labels(path, strong="big", weak="small", **kwargs)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_formats(tmp_path, layout, suffix):
    labels = read(write(tmp_path / f"labels{suffix}", LAYOUTS[layout]))
    assert labels.prompts == ("a", "b, c")
    np.testing.assert_array_equal(labels.strong, [1, 0])
    np.testing.assert_array_equal(labels.weak, [0.25, 1])
    assert (labels.dropped, labels.repeated) == (0, 0)


def test_prompts_without_both_scores_are_counted(tmp_path):
    labels = read(write(tmp_path / "l.jsonl", [*LONG, {"prompt": "lone", "model": "big", "score": 1}]))
    assert (labels.prompts, labels.dropped) == (("a", "b, c"), 1)


def test_repeated_prompts_are_one(tmp_path):
    labels = read(write(tmp_path / "l.csv", [*WIDE, {"prompt": "a", "strong": 0, "weak": 0.75}]))
    assert labels.prompts == ("a", "b, c")
    np.testing.assert_array_equal(labels.strong, [0.5, 0])
    np.testing.assert_array_equal(labels.weak, [0.5, 1])
    assert labels.repeated == 1


def test_another_column(tmp_path):
    path = write(tmp_path / "l.csv", [{"question": "a", "strong": "True", "weak": "false"}])
    assert read(path, column="question").prompts == ("a",)
    with pytest.raises(DataError, match=r"l\.csv: no column 'prompt'; the file has 'question', 'strong', 'weak'"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "l.jsonl",
            '{"prompt": "a", "strong": 1, "weak": NaN}',
            "column 'weak', line 1: nan found; a number",
        ),
        ("l.jsonl", '{"prompt": "a", "strong": 1}\n', "found 'prompt', 'strong'; needed beside 'prompt'"),
        ("l.jsonl", '{"prompt": 3, "strong": 1, "weak": 0}', "column 'prompt', line 1: 3 found; text is needed"),
        ("l.jsonl", '{"prompt": "a", "strong": null, "weak": 0}', "column 'strong', line 1: None found"),
        ("l.jsonl", "\n{]\n", "line 2: broken JSON"),
        ("l.jsonl", "[1]", "line 1: expected a JSON object, found list"),
        ("l.jsonl", "", "no column 'prompt'; the file has no columns"),
        ("l.csv", "", "the file is empty"),
        ("l.csv", "prompt,strong,weak\n", "no prompt has a score of both 'big' and 'small'"),
        ("l.csv", "prompt,strong,weak\na,1\n", "line 2: expected 3 fields, found 2"),
        ("l.csv", "prompt,strong,weak\na,1,nan\n", "column 'weak', line 2: 'nan' found"),
        ("l.csv", "prompt,strong,weak\na,1,yes\n", "column 'weak', line 2: 'yes' found"),
        ("l.csv", "prompt,strong,weak\na,1,7\n", "column 'weak', line 2: '7' found"),
        ("l.csv", "prompt,strong,strong\na,1,7\n", "names a column twice"),
        ("l.csv", 'prompt,strong,weak\n"a,1,0\n', "unexpected end of data"),
        ("l.csv", "prompt,model,score\na,third,1\n", "no prompt has a score of both"),
        ("l.csv", b"prompt,strong,weak\n\xff,1,0\n", "expected UTF-8 text, found an invalid byte at 20"),
        ("l.parquet", "no", "can't be read as Parquet"),
    ],
)
def test_files_that_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        read(path)


@pytest.mark.parametrize("name", ["missing.csv", "missing.jsonl", "missing.parquet"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(DataError, match=name):
        read(tmp_path / name)


def test_an_unknown_format(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"l\.txt: the format can't be told"):
        read(tmp_path / "l.txt")
