"""A log of several files: folders, patterns, paths; formats and schemas that differ; compressed; both readings."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.reporting import report


@pytest.fixture
def folder(tmp_path, written):
    """A folder of logs in every format, one file of the same rows, and the teams of these."""
    random = np.random.default_rng(3)
    scores, teams = random.random(600), random.choice(["a", "b", "c"], 600).tolist()
    models = np.where(scores >= 0.5, "large", "small").tolist()
    root = tmp_path / "scored"
    names = ("log.jsonl", "day=1/log.csv", "day=2/log.tsv", "day=2/deep/er.parquet", "_x=1/z.jsonl.gz", "z.csv.bz2")
    for part, name in enumerate(names):
        rows = slice(100 * part, 100 * part + 100)
        other = {f"other {part}": [part] * 100}  # schemas differ in what is not read
        plain = written(
            name.replace("/", " ").removesuffix(".gz").removesuffix(".bz2"),
            scores[rows],
            **other,
            team=teams[rows],
            model=models[rows],
        )
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        packed = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
        path.write_bytes(packed(plain.read_bytes()))
        plain.unlink()
    for name in ("_manifest.json", ".hidden.csv", "_logs/x.csv", "day=1/_SUCCESS", "day=1/.x.csv.crc"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("nothing of the log")
    whole = written("whole.jsonl", scores, team=teams, model=models)
    return root, whole


def figures(found):
    """All figures of a report, but the order of sums."""
    record = found.record()
    for key in ("source", "files", "mean"):
        del record[key]
    for group in record["grouping"]["groups"]:
        group["mean"] = pytest.approx(group["mean"], abs=1e-12)
    return record


def test_a_folder_is_one_log(folder):
    root, whole = folder
    found = report(root, by="team", strong_fraction=0.3)
    assert (found.files, found.rows, found.source) == (6, 600, str(root))
    assert figures(found) == figures(report(whole, by="team", strong_fraction=0.3))


def test_patterns_and_several_paths(folder):
    root, _ = folder
    assert report(root / "day=*" / "**" / "*.[ctp]*").rows == 300
    assert report([root / "day=2", root / "log.jsonl", str(root / "z*")]).rows == 400
    with pytest.raises(InvalidArgumentError, match="given twice"):
        report([root / "day=2", root / "day=2" / "log.tsv"])
    with pytest.raises(InvalidArgumentError, match="no file matches"):
        report(root / "day=3*")
    (root / "notes.txt").write_text("x")
    with pytest.raises(InvalidArgumentError, match=r"notes\.txt: the format can't be told by the name"):
        report(root)


def test_what_a_run_wrote_beside_its_output_is_passed_over(tmp_path, written):
    log = written("log.jsonl", [0.5])
    (tmp_path / "log.jsonl.manifest.json").write_text("{}")
    (tmp_path / "log.jsonl.rejects.jsonl").write_text('{"source": "x"}\n')
    assert report(tmp_path).files == 1
    assert report(tmp_path / "log*").files == 1
    log.unlink()
    with pytest.raises(InvalidArgumentError, match="the format can't be told by the name"):
        report(tmp_path)


def test_the_calibration_set_too(folder):
    root, whole = folder
    found = report(whole, against=root)
    assert (found.calibration.files, found.calibration.source) == (6, str(root))
    assert (found.calibration.rows, found.calibration.drift.psi) == (600, 0)
    found = report(root, against=[root / "day=1", root / "day=2"])
    assert (found.calibration.files, found.calibration.rows) == (3, 300)


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".bz2", ".xz"])
def test_compressed_files(written, tmp_path, suffix):
    log = written("log.csv", [0.25, 0.5, 0.75], team=list("aab"))
    path = tmp_path / f"log.csv{suffix}"
    if suffix == ".zst":
        pa = pytest.importorskip("pyarrow")
        with pa.OSFile(str(path), "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
            stream.write(log.read_bytes())
    else:
        path.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[suffix].compress(log.read_bytes()))
    found = report(path, by="team")
    assert [(group.value, group.rows) for group in found.grouping.groups] == [("a", 2), ("b", 1)]
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=rf"log\.csv{suffix}: .* data (cut short|damaged)"):
        report(path)


def test_compressed_parquet_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="Parquet is compressed inside"):
        report(tmp_path / "log.parquet.gz")


class TestBadFiles:
    @pytest.fixture
    def dirty(self, tmp_path, written):
        written("a.csv", [0.1, 0.2], team=["x", "y"])
        (tmp_path / "b.jsonl").write_text('{"score": 0.5, "team": "x"}\n{"score": 7, "team": "x"}\n')
        (tmp_path / "c.csv").write_text("prompt\nhi\n")
        (tmp_path / "d.csv.gz").write_bytes(gzip.compress(b"score,team\n" + b"0.5,y\n" * 50_000)[:-300])
        return tmp_path

    def test_the_first_ends_the_run(self, dirty):
        with pytest.raises(DataError, match=r"b\.jsonl: row 2 \(line 2\): column 'score'.*, found 7"):
            report(dirty)
        (dirty / "b.jsonl").unlink()
        with pytest.raises(DataError, match=r"c\.csv: no column 'score'; the file has 'prompt'"):
            report(dirty)
        (dirty / "c.csv").unlink()
        with pytest.raises(DataError, match=r"d\.csv\.gz: gzip data cut short"):
            report(dirty)

    def test_or_is_left_out_in_both_readings(self, dirty):
        found = report(dirty, by="team", on_error="skip", against=dirty)
        assert (found.files, found.skipped, found.lost) == (4, 1, 2)
        assert (found.calibration.skipped, found.calibration.lost) == (1, 2)
        assert sum(group.rows for group in found.grouping.groups) == found.rows > 3
        bad, headless, cut = (str(row) for row in found.first_skipped[:3])
        assert bad.startswith(f"{dirty / 'b.jsonl'}: row 2 (line 2): column 'score'")
        assert headless.startswith(f"{dirty / 'c.csv'}: no column 'score'")
        assert cut.startswith(f"{dirty / 'd.csv.gz'}: row {found.rows - 2}: gzip data cut short")

    def test_nothing_is_left(self, tmp_path):
        for name in ("a.csv", "b.csv"):
            (tmp_path / name).write_text("x\n1\n")
        with pytest.raises(
            DataError, match=r"no rows with a score.*; 2 of 2 files can't be read, first .*a\.csv: no col"
        ):
            report(tmp_path, on_error="skip")

    def test_a_group_is_wanted_of_every_file(self, tmp_path, written):
        written("a.csv", [0.5], team=["x"])
        (tmp_path / "b.jsonl").write_text('{"score": 0.5}\n')
        with pytest.raises(DataError, match=r"b\.jsonl: no row has the column 'team'"):
            report(tmp_path, by="team")


class Recorded:
    """Keeps what a progress display is told."""

    def __init__(self) -> None:
        self.starts: list[tuple[int | None, str]] = []
        self.positions: list[list[int]] = []
        self.rows: list[int] = []
        self.closed = 0
        self.on_close = lambda: None

    def start(self, total, unit):
        self.starts.append((total, unit))
        self.positions.append([])

    def update(self, position, rows):
        self.positions[-1].append(position)
        self.rows.append(rows)

    def close(self):
        self.closed += 1
        self.on_close()


def test_progress_is_in_bytes_of_all_files(folder):
    root, _ = folder
    files = [path for path in root.rglob("*.*") if path.is_file() and "_logs" not in path.parts]
    total = sum(path.stat().st_size for path in files if not path.name.startswith(("_", ".")))
    seen = Recorded()
    report(root, by="team", progress=seen)
    assert seen.starts == [(total, "B")] * 2
    assert seen.closed == 2
    for positions in seen.positions:
        assert positions == sorted(positions)
        assert positions[-1] == total
    assert seen.rows[-1] == 600


def test_progress_of_one_compressed_file_is_in_its_own_bytes(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"score\n" + b"0.5\n" * 30_000))
    seen = Recorded()
    report(path, progress=seen)
    assert seen.starts == [(path.stat().st_size, "B")]
    assert seen.positions[0][-1] == path.stat().st_size


def test_a_file_that_is_replaced_between_the_readings(folder):
    root, _ = folder
    path = root / "day=1" / "log.csv"
    seen = Recorded()

    def swap():
        (root / "new").write_bytes(path.read_bytes())  # the same rows
        (root / "new").replace(path)

    seen.on_close = swap
    with pytest.raises(DataError, match=r"day=1/log\.csv: the file has changed while it was read"):
        report(root, by="team", progress=seen)


def test_a_pipe_among_files_is_read_twice(tmp_path, written):
    written("a.jsonl", [0.25], team=["x"])
    pipe = tmp_path / "b.jsonl"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=(b'{"score": 0.5, "team": "y"}\n' * 3,))
    thread.start()
    found = report([tmp_path / "a.jsonl", pipe], by="team")
    thread.join()
    assert [(group.value, group.rows) for group in found.grouping.groups] == [("y", 3), ("x", 1)]


def test_few_files_are_open_at_once(tmp_path):
    for number in range(60):
        (tmp_path / f"{number}.jsonl").write_text('{"score": 0.5, "t": 1}\n')
    here = Path("/proc/self/fd")
    if not here.is_dir():
        pytest.skip("open files are counted in /proc")
    seen, most = Recorded(), []
    seen.update = lambda *_: most.append(len(list(here.iterdir())))
    before = len(list(here.iterdir()))
    report(tmp_path, by="t", progress=seen)
    assert len(most) == 120
    assert max(most) - before < 8
