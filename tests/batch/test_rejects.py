"""The file of what was left out: what it says, and where it may be."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fastroute.batch import score_log
from fastroute.errors import DataError, InvalidArgumentError

ROW = b'{"prompt":"hi"}\n'


def rejects_of(target: Path) -> list[tuple[int | None, int | None, str]]:
    lines = target.with_name(f"{target.name}.rejects.jsonl").read_text().splitlines()
    rejects = [json.loads(line) for line in lines]
    assert all(list(reject) == ["source", "row", "line", "reason"] for reject in rejects)
    return [(reject["row"], reject["line"], reject["reason"]) for reject in rejects]


JSONL = {
    b"[1]": "expected a JSON object, found an array",
    b"{": "broken JSON at character 2: Expecting property name enclosed in double quotes",
    b'{"prompt":null}': "column 'prompt': expected a string, found null",
    b'{"prompt":["a"]}': "column 'prompt': expected a string, found an array",
    b'{"text":"a"}': "column 'prompt' is missing; this row has 'text'",
    b'{"prompt":"\xff"}': "invalid UTF-8 at byte 12 of the line",
    b"[" * 100_000: "JSON nested too deeply",
}


def test_jsonl(tmp_path, router):
    content = b"".join(b"\n" + ROW + bad + b"\n" for bad in JSONL)
    (tmp_path / "in.jsonl").write_bytes(content)
    summary = score_log(tmp_path / "in.jsonl", tmp_path / "out.jsonl", router, on_error="skip")
    found = rejects_of(tmp_path / "out.jsonl")
    assert found == [(2 * i, 3 * i, reason) for i, reason in enumerate(JSONL.values(), 1)]
    assert [(bad.row, bad.line, bad.reason) for bad in summary.first_skipped] == found
    assert (summary.rows, summary.skipped, summary.lost) == (7, 7, 0)
    assert summary.rejects == str(tmp_path / "out.jsonl.rejects.jsonl")


def test_csv(tmp_path, router):
    (tmp_path / "in.csv").write_bytes(b'prompt,n\n"two\nlines",1\nhi\n\nhi,1,2\nh\xff,1\n"a" b,1\nhi,1\n')
    summary = score_log(tmp_path / "in.csv", tmp_path / "out.csv", router, on_error="skip")
    assert rejects_of(tmp_path / "out.csv") == [
        (2, 4, "expected 2 fields, as in the header, found 1"),
        (3, 6, "expected 2 fields, as in the header, found 3"),
        (4, 7, "invalid UTF-8 at byte 2 of line 7"),
        (5, 8, "broken quoting or line ends: ',' expected after '\"'"),
    ]
    assert (summary.rows, summary.skipped) == (2, 4)


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_parquet(tmp_path, router, kind):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    values = ["hi", None] * 3_000
    column = pa.array(values)
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(getattr(pa, kind)())
    pq.write_table(pa.table({"prompt": column, "id": range(6_000)}), tmp_path / "in.parquet", row_group_size=500)
    summary = score_log(tmp_path / "in.parquet", tmp_path / "out.parquet", router, on_error="skip")
    reason = "column 'prompt': expected a string, found null"
    assert rejects_of(tmp_path / "out.parquet") == [(row, None, reason) for row in range(2, 6_001, 2)]
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == list(range(0, 6_000, 2))
    assert (summary.rows, summary.skipped, len(summary.first_skipped)) == (3_000, 3_000, 10)


@pytest.fixture
def source(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(ROW * 3 + b"bad\n")
    return tmp_path / "in.jsonl"


class TestPlaces:
    def test_none_where_there_are_none(self, tmp_path, source, router):
        source.write_bytes(ROW)
        summary = score_log(source, tmp_path / "out.jsonl", router, on_error="skip", rejects=tmp_path / "r.jsonl")
        assert summary.rejects is None
        assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl", "out.jsonl.manifest.json"}

    def test_those_of_an_older_output_go_with_it(self, tmp_path, source, router):
        score_log(source, tmp_path / "out.jsonl", router, on_error="skip")
        assert (tmp_path / "out.jsonl.rejects.jsonl").exists()
        source.write_bytes(ROW)
        score_log(source, tmp_path / "out.jsonl", router, on_error="skip", overwrite=True)
        assert not (tmp_path / "out.jsonl.rejects.jsonl").exists()

    def test_one_that_exists(self, tmp_path, source, router):
        rejects = tmp_path / "r.jsonl"
        rejects.write_text("old")
        for target in (tmp_path / "out.jsonl", "-"):
            with pytest.raises(InvalidArgumentError, match=r"r.jsonl: the file exists; pass --overwrite"):
                score_log(source, target, router, on_error="skip", rejects=rejects)
        assert rejects.read_text() == "old"
        score_log(source, tmp_path / "out.jsonl", router, on_error="skip", rejects=rejects, overwrite=True)
        assert json.loads(rejects.read_text())["row"] == 4

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("-", "rejects: expected a file, found '-'"),
            ("in.jsonl", "in.jsonl: the rejects need a file of their own, apart from .*in.jsonl"),
            ("./link.jsonl", "the rejects need a file of their own"),
            ("out.jsonl", "the rejects need a file of their own"),
            ("out.jsonl.partial/x", "the rejects need a file of their own"),
            ("out.jsonl.manifest.json", "the rejects need a file of their own"),
            ("nowhere/r.jsonl", "there is no folder '.*nowhere' to write the rejects to"),
            (".", "expected a file for the rejects, found a folder, pipe or device"),
            ("pipe", "expected a file for the rejects, found a folder, pipe or device"),
        ],
    )
    def test_that_can_not_be(self, tmp_path, source, router, monkeypatch, name, message):
        monkeypatch.chdir(tmp_path)
        Path("link.jsonl").symlink_to(source)
        os.mkfifo("pipe")
        before = source.read_bytes()
        with pytest.raises(InvalidArgumentError, match=message):
            score_log("in.jsonl", "out.jsonl", router, on_error="skip", rejects=name, overwrite=True)
        assert source.read_bytes() == before
        assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "link.jsonl", "pipe"}

    def test_in_the_output_folder(self, tmp_path, source, router):
        with pytest.raises(InvalidArgumentError, match="the rejects need a file of their own"):
            score_log([str(tmp_path / "*.jsonl")], tmp_path / "out", router, rejects=tmp_path / "out" / "r")

    def test_on_another_file_system(self, tmp_path, source, router):
        shared = Path("/dev/shm")
        if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("needs a second file system")
        rejects = shared / f"fastroute-test-{os.getpid()}"
        try:
            score_log(source, tmp_path / "out.jsonl", router, on_error="skip", rejects=rejects)
            assert json.loads(rejects.read_text())["row"] == 4
        finally:
            rejects.unlink(missing_ok=True)

    def test_beside_standard_output(self, tmp_path, source, router, capfdbinary):
        summary = score_log(source, "-", router, on_error="skip", rejects=tmp_path / "r.jsonl")
        assert summary.rejects == str(tmp_path / "r.jsonl")
        assert json.loads((tmp_path / "r.jsonl").read_text())["row"] == 4
        source.write_bytes(ROW)
        summary = score_log(source, "-", router, on_error="skip", rejects=tmp_path / "r.jsonl", overwrite=True)
        assert summary.rejects is None
        assert not (tmp_path / "r.jsonl").exists()
        assert capfdbinary.readouterr().out.count(b"\n") == 4

    def test_not_where_the_run_fails(self, tmp_path, source, router, capfdbinary):
        for target in (tmp_path / "out.jsonl", "-"):
            with pytest.raises(DataError, match="row 4"):
                score_log(source, target, router, rejects=tmp_path / "r.jsonl")
        assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
        capfdbinary.readouterr()
