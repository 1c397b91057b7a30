"""Properties over any rows: what reads back, and that garbage is a bad row and nothing worse."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import float32, zeros

from fastroute.batch import score_log
from fastroute.errors import DataError

UNHURRIED = settings(deadline=None, max_examples=60)  # each example is a file


class Halves:
    strong, weak, threshold = "S,\"'", "W", 0.5

    def score(self, prompts):
        return zeros(len(prompts), float32) + float32(0.3)


def scored(content: bytes, suffix: str) -> tuple[bytes, int, int]:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / f"in{suffix}", Path(folder) / f"out{suffix}"
        source.write_bytes(content)
        summary = score_log(source, target, Halves(), on_error="skip")
        return target.read_bytes(), summary.rows, summary.skipped


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
objects = st.dictionaries(st.text().filter(lambda key: key not in ("score", "model", "prompt")), json_values)


def written(row: dict[str, object]) -> str:
    plain = json.dumps(row, ensure_ascii=False)
    return plain if plain.encode(errors="ignore").decode() == plain else json.dumps(row)


@UNHURRIED
@given(st.lists(st.tuples(objects, st.text(st.characters())), max_size=5))
def test_json_rows_read_back(rows):
    rows = [{**members, "prompt": prompt} for members, prompt in rows]
    lines = "".join(f"{written(row)}\n" for row in rows)
    out, count, skipped = scored(lines.encode(), ".jsonl")
    assert (count, skipped) == (len(rows), 0)
    back = [json.loads(line) for line in out.decode().split("\n")[:-1]]
    assert back == [{**row, "score": 0.3, "model": "W"} for row in rows]


cells = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@UNHURRIED
@given(st.lists(st.tuples(cells, cells), max_size=5), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_csv_rows_read_back(rows, quoting):
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting)
    writer.writerows([("prompt", "other"), *rows])
    out, count, skipped = scored(text.getvalue().encode(), ".csv")
    assert (count, skipped) == (len(rows), 0)
    back = list(csv.reader(io.StringIO(out.decode(), newline=""), strict=True))
    assert back == [["prompt", "other", "score", "model"], *[[*row, "0.3", "W"] for row in rows]]


bits = st.sampled_from([b'"', b",", b"\n", b"\r", b"\r\n", b"a", b"\xff", "é".encode(), b" ", b'"a"', b"a,b"])


@UNHURRIED
@given(st.lists(bits, max_size=40).map(b"".join))
def test_csv_garbage(content):
    out, count, _ = scored(b"prompt,b\n" + content, ".csv")
    back = [record for record in csv.reader(io.StringIO(out.decode(), newline=""), strict=True) if record]
    assert len(back) == count + 1
    assert all(len(record) == 4 for record in back)
    assert all(record[2:] == ["0.3", "W"] for record in back[1:])


@UNHURRIED
@given(
    st.binary(max_size=200) | st.lists(bits, max_size=20).map(b"".join),
    st.sampled_from([".jsonl", ".csv", ".tsv", *([".parquet"] if find_spec("pyarrow") else [])]),
)
def test_any_bytes_are_rows_or_a_typed_error(content, suffix):
    with suppress(DataError):
        scored(content, suffix)
