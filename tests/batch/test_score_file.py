"""What scoring a file promises whatever its format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fastroute.batch import score_log
from fastroute.errors import DataError, FastrouteError, InvalidArgumentError

ROW = b'{"prompt":"hi"}\n'


# A limit on the size of files fails a write half-way through, as a full disk does.
SMALL_DISK = """
import resource, sys
import numpy as np
from fastroute.batch import score_log
from fastroute.errors import FastrouteError

class Halves:
    strong, weak, threshold = "S", "W", 0.5
    def score(self, prompts):
        return np.full(len(prompts), 0.25, np.float32)

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    score_log(sys.argv[1], sys.argv[2], Halves())
except FastrouteError as error:
    print(type(error).__name__, error)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(ROW)
    return path


def test_batches_are_bounded_in_rows_and_bytes(tmp_path, router):
    source = tmp_path / "in.jsonl"
    source.write_bytes(ROW * 10_000 + b'{"prompt":"' + b"x" * (1 << 20) + b'"}\n' * 1)
    score_log(source, tmp_path / "out.jsonl", router)
    assert router.batch_sizes == [4096, 4096, 1809]
    router.batch_sizes.clear()
    source.write_bytes((b'{"prompt":"' + b"x" * (1 << 20) + b'"}\n') * 10)
    score_log(source, tmp_path / "out.jsonl", router, overwrite=True)
    assert router.batch_sizes == [4, 4, 2]


def test_summary(tmp_path, source, router):
    source.write_bytes(b'{"prompt":"' + b"x" * 70 + b'"}\n' + ROW * 2 + b"bad\n")
    summary = score_log(source, tmp_path / "out.jsonl", router, on_error="skip")
    assert (summary.rows, summary.skipped, summary.routers[0].strong_rows) == (3, 1, 1)
    assert (summary.routers[0].strong, summary.routers[0].weak, summary.routers[0].threshold) == ("large", "small", 0.5)
    assert summary.seconds > 0


def test_threshold(tmp_path, source, router):
    summary = score_log(source, tmp_path / "out.jsonl", router, threshold=0.0)
    assert (summary.routers[0].strong_rows, summary.routers[0].threshold) == (1, 0.0)


def test_a_score_at_the_threshold_goes_to_the_strong_model(tmp_path, source, router):
    below = np.nextafter(np.float32(0.5), np.float32(0))
    router.score = lambda prompts: np.array([0.25, 0.5, below, 1.0], np.float32)
    source.write_bytes(ROW * 4)
    score_log(source, tmp_path / "out.jsonl", router)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["model"] for row in rows] == ["small", "large", "small", "large"]
    assert np.float32(rows[2]["score"]) == below


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "threshold: found 1.5, allowed: 0 to 1"),
        ({"threshold": float("nan")}, "threshold: found nan"),
        ({"on_error": "ignore"}, "on_error: found 'ignore', allowed: 'fail' or 'skip'"),
        ({"format": "xml"}, "format: found 'xml', allowed: jsonl, csv, tsv, parquet"),
        ({"score_column": "a", "model_column": "a"}, "two of the new columns would be named 'a'"),
    ],
)
def test_bad_arguments(tmp_path, source, router, options, message):
    with pytest.raises(InvalidArgumentError, match=message):
        score_log(source, tmp_path / "out.jsonl", router, **options)
    assert names_in(tmp_path) == ["in.jsonl"]


@pytest.mark.parametrize(
    "scores",
    [
        np.zeros(2, np.float32),
        np.zeros((1, 1), np.float32),
        np.array([np.nan]),
        np.array([np.inf], np.float32),
    ],
)
def test_a_router_that_gives_nonsense(tmp_path, source, router, scores):
    router.score = lambda prompts: scores
    with pytest.raises(FastrouteError, match="LengthRouter: expected 1 finite scores, found"):
        score_log(source, tmp_path / "out.jsonl", router)
    assert names_in(tmp_path) == ["in.jsonl"]


class TestOutput:
    def test_it_is_not_replaced_unasked(self, tmp_path, source, router):
        target = tmp_path / "out.jsonl"
        target.write_text("old")
        with pytest.raises(InvalidArgumentError, match=r"out.jsonl: the output exists; pass --overwrite"):
            score_log(source, target, router)
        assert target.read_text() == "old"
        score_log(source, target, router, overwrite=True)
        assert target.read_bytes().startswith(b'{"prompt":"hi", "score"')

    def test_the_old_one_survives_a_failed_run(self, tmp_path, source, router):
        target = tmp_path / "out.jsonl"
        target.write_text("old")
        source.write_bytes(ROW * 5_000 + b"bad\n")
        with pytest.raises(DataError):
            score_log(source, target, router, overwrite=True)
        assert target.read_text() == "old"
        assert names_in(tmp_path) == ["in.jsonl", "out.jsonl"]

    def test_it_is_not_there_before_the_run_ends(self, tmp_path, source, router):
        target = tmp_path / "out.jsonl"
        source.write_bytes(ROW * 10_000)
        scored = router.score

        def score(prompts):
            assert not target.exists()
            return scored(prompts)

        router.score = score
        score_log(source, target, router)
        assert target.read_bytes().count(b"\n") == 10_000

    @pytest.mark.parametrize("make", [os.link, os.symlink], ids=["hard link", "symlink"])
    def test_it_is_never_the_input(self, tmp_path, source, router, make):
        link = tmp_path / "link.jsonl"
        make(source, link)
        for target in (source, link, tmp_path / "." / "in.jsonl"):
            with pytest.raises(InvalidArgumentError, match="the output is the input"):
                score_log(source, target, router, overwrite=True)
        assert source.read_bytes() == ROW

    def test_a_folder(self, tmp_path, source, router):
        with pytest.raises(InvalidArgumentError, match="expected a file to write, found a folder"):
            score_log(source, tmp_path, router, overwrite=True)

    def test_no_such_folder(self, tmp_path, source, router):
        with pytest.raises(InvalidArgumentError, match=r"out.jsonl: there is no folder '.*nowhere'"):
            score_log(source, tmp_path / "nowhere" / "out.jsonl", router)

    @pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
    def test_a_read_only_folder(self, source, router):
        with pytest.raises(FastrouteError, match=r"/proc/out.jsonl: can't be written"):
            score_log(source, "/proc/out.jsonl", router)

    def test_a_disk_that_fills_up(self, tmp_path, source):
        source.write_bytes(ROW * 200_000)
        command = [sys.executable, "-c", SMALL_DISK, source, tmp_path / "out.jsonl"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        assert run.stdout.startswith(f"ArtifactError {tmp_path / 'out.jsonl'}: can't be written: ")
        assert names_in(tmp_path) == ["in.jsonl"]

    # A FIFO of our own stands for every device: a mistake here must not replace the machine's /dev/null.
    def test_a_pipe_is_written_to_and_not_replaced(self, tmp_path, source, router):
        target = tmp_path / "out.jsonl"
        os.mkfifo(target)
        with ThreadPoolExecutor(1) as pool:
            received = pool.submit(target.read_bytes)
            assert score_log(source, target, router).rows == 1
            assert received.result(10).startswith(b'{"prompt":"hi", "score"')
        assert target.is_fifo()


class TestInput:
    def test_not_there(self, tmp_path, router):
        with pytest.raises(InvalidArgumentError, match=r"missing.jsonl: there is no such file"):
            score_log(tmp_path / "missing.jsonl", tmp_path / "out.jsonl", router)

    def test_a_folder(self, tmp_path, router):
        (tmp_path / "logs").mkdir()
        with pytest.raises(InvalidArgumentError, match="logs: the folder has no file to score"):
            score_log(tmp_path / "logs", tmp_path / "out.jsonl", router)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
    def test_unreadable(self, tmp_path, source, router):
        source.chmod(0)
        with pytest.raises(DataError, match=r"in.jsonl: can't be read: Permission denied"):
            score_log(source, tmp_path / "out.jsonl", router)

    @pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that fails when it is read")
    def test_an_error_while_reading(self, tmp_path, router):
        with pytest.raises(DataError, match=r"/proc/self/mem: can't be read: Input/output error"):
            score_log("/proc/self/mem", tmp_path / "out.jsonl", router, format="jsonl")
        assert names_in(tmp_path) == []


class TestFormat:
    @pytest.mark.parametrize("name", ["in.JSONL", "in.ndjson"])
    def test_by_extension(self, tmp_path, router, name):
        (tmp_path / name).write_bytes(ROW)
        assert score_log(tmp_path / name, tmp_path / "out.jsonl", router).rows == 1

    def test_the_option_has_the_last_word(self, tmp_path, router):
        (tmp_path / "in.csv").write_bytes(ROW)
        assert score_log(tmp_path / "in.csv", tmp_path / "out", router, format="jsonl").rows == 1

    def test_an_output_of_no_kind_takes_the_inputs(self, tmp_path, source, router):
        score_log(source, tmp_path / "out.txt", router)
        assert (tmp_path / "out.txt").read_bytes().startswith(b'{"prompt":"hi", ')

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("in.log", "out.jsonl"), "in.log: the format can't be told; pass --format"),
            (("in.jsonl", "out.csv"), "out.csv: the output keeps the input's format, which is jsonl; .* csv"),
            (("in.csv", "out.tsv"), "out.tsv: the output keeps the input's format, which is csv; .* tsv"),
            (("in.parquet.gz", "out.parquet"), "in.parquet.gz: Parquet is compressed inside"),
        ],
    )
    def test_it_must_be_known_and_one(self, tmp_path, router, names, message):
        (tmp_path / names[0]).write_bytes(ROW)
        with pytest.raises(InvalidArgumentError, match=message):
            score_log(tmp_path / names[0], tmp_path / names[1], router)
        assert names_in(tmp_path) == [names[0]]


def test_pyarrow_is_asked_for_by_name(tmp_path, router, monkeypatch):
    (tmp_path / "in.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FastrouteError, match=r"pip install 'fastroute\[batch\]'"):
        score_log(tmp_path / "in.parquet", tmp_path / "out.parquet", router)
