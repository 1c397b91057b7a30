"""Several routers in one pass: their columns, and that each gives what it gives alone."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from fastroute.batch import score_log
from fastroute.errors import InvalidArgumentError

TEXTS = [f"{i} {'word ' * (i % 30)}".strip() for i in range(5_000)]


class VowelRouter:
    """Scores a prompt by its share of vowels."""

    strong = "opus"
    weak = "haiku"
    threshold = 0.15

    def score(self, prompts):
        return np.array([sum(map(text.count, "aeiou")) / len(text) for text in prompts], np.float32)


@pytest.fixture
def routers(router):
    return {"length": router, "vowels": VowelRouter()}


def write_texts(path):
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        pq.write_table(pa.table({"id": range(len(TEXTS)), "prompt": TEXTS}), path, row_group_size=1_500)
    elif path.suffix == ".csv":
        path.write_text("id,prompt\n" + "".join(f"{i},{text}\n" for i, text in enumerate(TEXTS)))
    else:
        path.write_text("".join(json.dumps({"id": i, "prompt": text}) + "\n" for i, text in enumerate(TEXTS)))
    return path


def read_rows(path):
    if path.suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_each_gives_what_it_gives_alone(tmp_path, routers, suffix):
    source = write_texts(tmp_path / f"in{suffix}")
    summary = score_log(source, tmp_path / f"both{suffix}", routers)
    both = read_rows(tmp_path / f"both{suffix}")
    names = ["id", "prompt", "score_length", "model_length", "score_vowels", "model_vowels"]
    assert list(both[0]) == names
    for said, (label, one) in zip(summary.routers, routers.items(), strict=True):
        alone = score_log(source, tmp_path / f"{label}{suffix}", one)
        rows = read_rows(tmp_path / f"{label}{suffix}")
        assert [(row["score"], row["model"]) for row in rows] == [
            (row[f"score_{label}"], row[f"model_{label}"]) for row in both
        ]
        assert (said.label, said.strong, said.threshold) == (label, one.strong, one.threshold)
        assert said.strong_rows == alone.routers[0].strong_rows > 0
        assert alone.routers[0].label == ""


def test_names_of_columns(tmp_path, routers):
    source = write_texts(tmp_path / "in.csv")
    score_log(source, tmp_path / "out.csv", routers, score_column="p", model_column="to")
    assert list(read_rows(tmp_path / "out.csv")[0]) == [
        "id",
        "prompt",
        "p_length",
        "to_length",
        "p_vowels",
        "to_vowels",
    ]


def test_a_mapping_of_one_labels_its_columns_too(tmp_path, router):
    source = write_texts(tmp_path / "in.csv")
    summary = score_log(source, tmp_path / "out.csv", {"a": router}, threshold=0.1)
    assert list(read_rows(tmp_path / "out.csv")[0]) == ["id", "prompt", "score_a", "model_a"]
    assert summary.routers[0].threshold == 0.1


def test_refusals(tmp_path, router, routers):
    (tmp_path / "in.jsonl").write_text('{"prompt":"hi","score_vowels":1}\n')
    for given, options, message in [
        ({}, {}, "router: found an empty mapping"),
        (routers, {"threshold": 0.5}, "threshold: is of one router; with several each has its own"),
        (routers, {"score_column": "x", "model_column": "x"}, "two of the new columns would be named 'x_length'"),
        ({"b": router, "a_b": router}, {"score_column": "s", "model_column": "s_a"}, "would be named 's_a_b'"),
        (routers, {}, "in.jsonl: there is a column 'score_vowels' already"),
    ]:
        with pytest.raises(InvalidArgumentError, match=message):
            score_log(tmp_path / "in.jsonl", tmp_path / "out.jsonl", given, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_rejected_rows_are_so_for_all(tmp_path, routers):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    texts = [None if 1_000 <= i < 1_003 else text for i, text in enumerate(TEXTS)]
    pq.write_table(pa.table({"prompt": texts}), tmp_path / "in.parquet", row_group_size=500)
    summary = score_log(tmp_path / "in.parquet", tmp_path / "out.parquet", routers, on_error="skip")
    rows = read_rows(tmp_path / "out.parquet")
    good = [text for text in texts if text is not None]
    assert [row["prompt"] for row in rows] == good
    for label, one in routers.items():
        np.testing.assert_array_equal(np.array([row[f"score_{label}"] for row in rows], np.float32), one.score(good))
    assert (summary.rows, summary.skipped) == (len(good), 3)
