"""Folders, patterns and several files: which are read, what their outputs are called, what stands in the way."""

from __future__ import annotations

import gzip
import json
import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from fastroute.batch import score_log
from fastroute.errors import DataError, InvalidArgumentError

ROW = b'{"prompt":"hi"}\n'
SCORED = b'{"prompt":"hi", "score": 0.02, "model": "small"}\n'


def fill(folder: Path, names: Iterable[str], content: bytes = ROW) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def files_in(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in found if name != "_manifest.json")


@pytest.fixture
def logs(tmp_path):
    return fill(tmp_path / "logs", ["day=1/hour=2/a.jsonl", "day=1/hour=3/a.jsonl", "day=2/b.jsonl", "c.jsonl"])


class TestNames:
    def test_a_folder_is_mirrored(self, tmp_path, logs, router):
        summary = score_log(logs, tmp_path / "out", router)
        assert files_in(tmp_path / "out") == files_in(logs)
        assert {(tmp_path / "out" / name).read_bytes() for name in files_in(logs)} == {SCORED}
        assert (summary.files, summary.rows, summary.lost) == (4, 4, 0)

    def test_hidden_names_are_passed_over_and_partitions_are_not(self, tmp_path, logs, router):
        fill(logs, ["_SUCCESS", ".a.jsonl.crc", ".git/x.jsonl", "_temporary/0/t.jsonl", "_day=1/p.jsonl"])
        kept = ["_day=1/p.jsonl", "c.jsonl", "day=1/hour=2/a.jsonl", "day=1/hour=3/a.jsonl", "day=2/b.jsonl"]
        score_log(logs, tmp_path / "out", router)
        score_log(f"{logs}/**/*.jsonl", tmp_path / "matched", router)
        assert files_in(tmp_path / "out") == files_in(tmp_path / "matched") == kept

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("**/a.jsonl", ["day=1/hour=2/a.jsonl", "day=1/hour=3/a.jsonl"]),
            ("day=[12]/*.jsonl", ["day=2/b.jsonl"]),
            ("day=?/hour=*", ["day=1/hour=2/a.jsonl", "day=1/hour=3/a.jsonl"]),
            ("**", ["c.jsonl", "day=1/hour=2/a.jsonl", "day=1/hour=3/a.jsonl", "day=2/b.jsonl"]),
            ("day=1/**/a.jsonl", ["hour=2/a.jsonl", "hour=3/a.jsonl"]),
            ("*.jsonl", ["c.jsonl"]),
        ],
    )
    def test_patterns(self, tmp_path, logs, router, pattern, expected):
        score_log(str(logs / pattern), tmp_path / "out", router)
        assert files_in(tmp_path / "out") == expected

    def test_a_hidden_folder_that_is_asked_for(self, tmp_path, logs, router):
        fill(logs, ["_old/x.jsonl"])
        score_log(f"{logs}/_*/*.jsonl", tmp_path / "out", router)
        assert files_in(tmp_path / "out") == ["_old/x.jsonl"]

    def test_several_sources(self, tmp_path, logs, router):
        score_log([logs / "day=1", str(logs / "day=2" / "*"), logs / "c.jsonl"], tmp_path / "out", router)
        assert files_in(tmp_path / "out") == files_in(logs)

    def test_a_name_with_brackets_is_no_pattern(self, tmp_path, router):
        fill(tmp_path, ["a[1].jsonl", "b[2]/x.jsonl"])
        score_log(tmp_path / "a[1].jsonl", tmp_path / "out.jsonl", router)
        assert (tmp_path / "out.jsonl").read_bytes() == SCORED
        score_log([tmp_path / "a[1].jsonl", tmp_path / "b[2]" / "*"], tmp_path / "out", router)
        assert files_in(tmp_path / "out") == ["a[1].jsonl", "b[2]/x.jsonl"]

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems have names in Unicode only")
    def test_names_that_no_one_would_choose(self, tmp_path, router):
        names = [b"caf\xe9.jsonl", b"two\nlines.jsonl", b"*.jsonl", b"\xd0\xba.jsonl"]
        fill(tmp_path / "in", [os.fsdecode(name) for name in names])
        score_log(tmp_path / "in", tmp_path / "out", router)
        assert {os.fsencode(path.name) for path in (tmp_path / "out").iterdir()} == {*names, b"_manifest.json"}
        inputs = json.loads((tmp_path / "out" / "_manifest.json").read_bytes())["inputs"]
        assert {os.fsencode(file["name"]) for file in inputs} == set(names)

    def test_formats_may_be_mixed(self, tmp_path, router):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        folder = fill(tmp_path / "in", ["a.jsonl"])
        fill(folder, ["b.csv"], b"prompt\nhi\n")
        fill(folder, ["c.jsonl.gz"], gzip.compress(ROW))
        pq.write_table(pa.table({"prompt": ["hi"]}), folder / "d.parquet")
        score_log(folder, tmp_path / "out", router)
        assert (tmp_path / "out" / "b.csv").read_bytes() == b"prompt,score,model\nhi,0.02,small\n"
        assert gzip.decompress((tmp_path / "out" / "c.jsonl.gz").read_bytes()) == SCORED
        assert pq.read_table(tmp_path / "out" / "d.parquet")["model"].to_pylist() == ["small"]

    def test_the_name_of_the_output_folder_tells_no_format(self, tmp_path, logs, router):
        score_log(logs / "day=2", tmp_path / "out.parquet", router)
        assert files_in(tmp_path / "out.parquet") == ["b.jsonl"]


class TestLinks:
    def test_to_files_and_folders(self, tmp_path, logs, router):
        fill(tmp_path / "elsewhere", ["x/y.jsonl"])
        (logs / "more").symlink_to(tmp_path / "elsewhere")
        (logs / "z.jsonl").symlink_to(tmp_path / "elsewhere" / "x" / "y.jsonl")
        score_log(logs, tmp_path / "out", router)
        assert {"more/x/y.jsonl", "z.jsonl"} < set(files_in(tmp_path / "out"))
        assert not (tmp_path / "out" / "more").is_symlink()

    @pytest.mark.parametrize("pattern", [None, "**/*.jsonl"])
    def test_that_lead_in_a_circle(self, tmp_path, logs, router, pattern):
        (logs / "day=1" / "again").symlink_to(logs)
        (logs / "day=2" / "back").symlink_to("..")
        summary = score_log(logs if pattern is None else logs / pattern, tmp_path / "out", router)
        assert summary.rows == 4

    def test_that_lead_nowhere(self, tmp_path, logs, router):
        (logs / "gone.jsonl").symlink_to("nowhere")
        with pytest.raises(DataError, match=r"gone.jsonl: can't be read: No such file or directory"):
            score_log(logs, tmp_path / "out", router)
        summary = score_log(logs, tmp_path / "out", router, on_error="skip", overwrite=True)
        assert (summary.rows, summary.lost) == (4, 1)


class TestRefusals:
    @pytest.mark.parametrize(
        ("sources", "message"),
        [
            ([], "source: no input given"),
            ([""], "source: found an empty path"),
            (["logs", "missing"], "missing: there is no such file"),
            (["logs/*.csv"], r"logs/\*.csv: no file matches"),
            (["logs/*/../c.jsonl"], r"'\.\.' can't stand behind a wildcard"),
            (["logs", "logs/c.jsonl"], "logs/c.jsonl: the file is given twice"),
            (["logs/c.jsonl", "./logs/../logs/c.jsonl"], "the file is given twice"),
            (["-", "logs"], "standard input can't be scored together with files"),
            (["empty"], "empty: the folder has no file to score"),
        ],
    )
    def test_sources(self, tmp_path, logs, router, monkeypatch, sources, message):
        monkeypatch.chdir(tmp_path)
        Path("empty").mkdir()
        with pytest.raises(InvalidArgumentError, match=message):
            score_log(sources, "out", router)
        assert not Path("out").exists()

    def test_a_name_that_tells_no_format(self, tmp_path, logs, router):
        fill(logs, ["README"])
        with pytest.raises(InvalidArgumentError, match="README: the format can't be told by the name; give a pattern"):
            score_log(logs, tmp_path / "out", router)
        assert score_log(logs, tmp_path / "out", router, format="jsonl").rows == 5

    @pytest.mark.parametrize("target", ["logs", "logs/out", "logs/day=1/out"])
    def test_an_output_in_the_input(self, logs, router, monkeypatch, target):
        monkeypatch.chdir(logs.parent)
        with pytest.raises(InvalidArgumentError, match="the output lies in the input folder logs"):
            score_log("logs", target, router, overwrite=True)
        assert len(files_in(logs)) == 4

    def test_an_input_in_the_output(self, tmp_path, logs, router):
        score_log(logs, tmp_path / "out", router)
        with pytest.raises(InvalidArgumentError, match="out: the output folder holds an input"):
            score_log(tmp_path / "out" / "day=2", tmp_path / "out", router, overwrite=True, score_column="s")
        assert files_in(tmp_path / "out") == files_in(logs)

    def test_a_pattern_may_stand_around_the_output(self, logs, router):
        score_log(f"{logs}/*.jsonl", logs / "out", router)
        assert files_in(logs / "out") == ["c.jsonl"]

    def test_an_output_that_exists(self, tmp_path, logs, router):
        target = tmp_path / "out"
        target.mkdir()
        score_log(logs, target, router)
        with pytest.raises(InvalidArgumentError, match="the output exists; pass --overwrite"):
            score_log(logs, target, router)
        score_log(logs / "day=2", target, router, overwrite=True)
        assert files_in(target) == ["b.jsonl"]
        (target / "_manifest.json").unlink()
        with pytest.raises(InvalidArgumentError, match="it is no output of fastroute"):
            score_log(logs, target, router, overwrite=True)
        assert files_in(target) == ["b.jsonl"]

    def test_no_folder_for_the_output(self, tmp_path, logs, router):
        with pytest.raises(InvalidArgumentError, match=r"there is no folder '.*nowhere' to write it to"):
            score_log(logs, tmp_path / "nowhere" / "out", router)
        with pytest.raises(InvalidArgumentError, match="the outputs of several files need a folder"):
            score_log(logs, "-", router)

    def test_a_folder_that_can_not_be_listed(self, tmp_path, logs, router, monkeypatch):
        listed = Path.iterdir

        def iterdir(path):
            if path.name == "day=2":
                raise PermissionError(13, "Permission denied")
            return listed(path)

        monkeypatch.setattr(Path, "iterdir", iterdir)
        with pytest.raises(DataError, match="day=2: can't be listed: Permission denied"):
            score_log(logs, tmp_path / "out", router, on_error="skip")


BROKEN = {
    "zero.parquet": b"",
    "zero.csv": b"",
    "cut.parquet": b"PAR1 and no end",
    "cut.jsonl.gz": gzip.compress(ROW)[:-10],
    "zipped.jsonl": gzip.compress(ROW),
    "column.csv": b"text\nhi\n",
}


class TestUnreadable:
    @pytest.mark.parametrize("name", BROKEN)
    def test_files(self, tmp_path, logs, router, name):
        if name.endswith(".parquet"):
            pytest.importorskip("pyarrow")
        fill(logs, [f"day=1/{name}"], BROKEN[name])
        with pytest.raises(DataError, match=f"day=1/{name}: "):
            score_log(logs, tmp_path / "out", router)
        summary = score_log(logs, tmp_path / "out", router, on_error="skip", overwrite=True)
        assert (summary.files, summary.rows, summary.skipped, summary.lost) == (5, 4, 0, 1)
        (reject,) = (json.loads(line) for line in (tmp_path / "out.rejects.jsonl").read_text().splitlines())
        assert (reject["source"], reject["row"], reject["line"]) == (str(logs / "day=1" / name), None, None)

    @pytest.mark.parametrize("suffix", [".jsonl.gz", ".csv.gz"])
    def test_what_comes_before_the_damage_is_kept(self, tmp_path, router, suffix):
        rows = [b'{"prompt":"%d"}\n' % i if suffix == ".jsonl.gz" else b"%d\n" % i for i in range(40_000)]
        content = gzip.compress((b"" if suffix == ".jsonl.gz" else b"prompt\n") + b"".join(rows))
        (tmp_path / f"in{suffix}").write_bytes(content[: len(content) // 2])
        summary = score_log(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", router, on_error="skip")
        written = gzip.decompress((tmp_path / f"out{suffix}").read_bytes()).splitlines()
        assert summary.rows % 4096 > 0  # the last batch is not whole
        assert len(written) == summary.rows + (suffix == ".csv.gz")
        (bad,) = summary.first_skipped
        assert (bad.row, bad.line) == (summary.rows + 1, summary.rows + 1 + (suffix == ".csv.gz"))
        assert "gzip data cut short after" in bad.reason

    def test_a_file_that_goes_away(self, tmp_path, logs, router):
        class Remover(type(router)):  # type: ignore[misc]
            def score(self, prompts):
                (logs / "day=2" / "b.jsonl").unlink(missing_ok=True)
                return super().score(prompts)

        fill(logs, ["a.jsonl"], b'{"x":"%s","prompt":"hi"}\n' % (b"x" * 2_000) * 20_000)  # not all is read ahead
        summary = score_log(logs, tmp_path / "out", Remover(), on_error="skip", memory=32 << 20)
        assert (summary.rows, summary.lost) == (20_003, 1)

    def test_pipes_do_not_block(self, tmp_path, logs, router):
        os.mkfifo(logs / "pipe.jsonl")
        with pytest.raises(DataError, match=r"pipe.jsonl: expected a file, found a pipe"):
            score_log(logs, tmp_path / "out", router)
        summary = score_log(logs, tmp_path / "out", router, on_error="skip", overwrite=True)
        assert (summary.rows, summary.lost) == (4, 1)

    @pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".parquet"])
    def test_a_pipe_alone_is_read_once(self, tmp_path, router, suffix):
        pipe = tmp_path / f"in{suffix}"
        os.mkfifo(pipe)
        content = ROW * 50_000
        if suffix == ".jsonl.gz":
            content = gzip.compress(content)
        elif suffix == ".parquet":
            pa = pytest.importorskip("pyarrow")
            pq = pytest.importorskip("pyarrow.parquet")
            pq.write_table(pa.table({"prompt": ["hi"] * 50_000}), tmp_path / "file.parquet")
            content = (tmp_path / "file.parquet").read_bytes()
        feeder = threading.Thread(target=pipe.write_bytes, args=(content,), daemon=True)
        feeder.start()
        assert score_log(pipe, tmp_path / f"out{suffix}", router).rows == 50_000
        feeder.join(10)


class TestSchemas:
    @pytest.fixture
    def parts(self, tmp_path):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        tables = {
            "a": pa.table({"prompt": ["hi"], "x": [1]}),
            "b": pa.table({"y": ["z"], "prompt": pa.array(["ho"], pa.large_string())}),
            "c": pa.table({"text": ["hi"]}),
            "d": pa.table({"prompt": [1]}),
        }
        (tmp_path / "in").mkdir()
        for name, table in tables.items():
            pq.write_table(table, tmp_path / "in" / f"{name}.parquet")
        return tmp_path / "in"

    def test_may_differ(self, tmp_path, parts, router):
        pq = pytest.importorskip("pyarrow.parquet")
        with pytest.raises(DataError, match=r"c.parquet: no column 'prompt'; the file has 'text'"):
            score_log(parts, tmp_path / "out", router)
        summary = score_log(parts, tmp_path / "out", router, on_error="skip", overwrite=True)
        assert [bad.reason.partition(";")[0] for bad in summary.first_skipped] == [
            "no column 'prompt'",
            "column 'prompt': expected strings, found int64",
        ]
        assert files_in(tmp_path / "out") == ["a.parquet", "b.parquet"]
        assert pq.read_schema(tmp_path / "out" / "b.parquet").names == ["y", "prompt", "score", "model"]

    def test_a_new_column_that_is_there_already(self, tmp_path, router):
        fill(tmp_path / "in", ["a.jsonl"])
        fill(tmp_path / "in", ["b.jsonl"], b'{"prompt":"hi","score":1}\n')
        with pytest.raises(InvalidArgumentError, match=r"b.jsonl: there is a column 'score' already"):
            score_log(tmp_path / "in", tmp_path / "out", router, on_error="skip")

    def test_others_read_the_output_as_a_dataset(self, tmp_path, router):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        dataset = pytest.importorskip("pyarrow.dataset")
        for day in (1, 2):
            (tmp_path / "in" / f"day={day}").mkdir(parents=True)
            table = pa.table({"prompt": ["x" * 60] * day})
            pq.write_table(table, tmp_path / "in" / f"day={day}" / "part-0.parquet")
        score_log(tmp_path / "in", tmp_path / "out", router)
        found = dataset.dataset(tmp_path / "out", partitioning="hive").to_table().to_pylist()
        assert sorted((row["day"], row["model"]) for row in found) == [(1, "large"), (2, "large"), (2, "large")]


def test_more_files_than_the_limit_on_manifests_of_artifacts(tmp_path, router):
    router.artifact = "a1"
    fill(tmp_path / "in", [f"{'x' * 200}-{i}.jsonl" for i in range(320)])
    for options in ({}, {"resume": True}, {"overwrite": True}):
        assert score_log(tmp_path / "in", tmp_path / "out", router, **options).rows == 320
    assert (tmp_path / "out" / "_manifest.json").stat().st_size > 256 << 10
