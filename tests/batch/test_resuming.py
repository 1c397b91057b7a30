"""What going on with a run refuses, what it forgives, and what may change."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.batch import interrupted_runs
from tests.batch.interrupted_runs import SCENARIOS, SavedRouter, contents, jsonl, parquet, told

import fastroute
from fastroute.batch import ScoreSummary, rows, score_log
from fastroute.errors import DataError, InvalidArgumentError

FIRST_DONE = b'"ends_file":true'


class Interrupted(Exception):
    """What stops a run here."""


class StoppedRouter(SavedRouter):
    """Fails after so many batches, once the run's journal has some text."""

    def __init__(self, journal: Path, after: int = 2, until: bytes = b"") -> None:
        self.journal, self.left, self.until = journal, after, until or b"\n"

    def score(self, prompts: list[str]) -> Any:
        self.left -= 1
        if self.left < 0:
            deadline = time.monotonic() + 30
            while self.until not in self.journal.read_bytes() and time.monotonic() < deadline:
                time.sleep(0.001)
            raise Interrupted
        return super().score(prompts)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rows, "MAX_BATCH_ROWS", interrupted_runs.BATCH_ROWS)
    return


class Log:
    """A log that is being scored, in a folder of its own."""

    def __init__(self, folder: Path, many: bool = False) -> None:
        self.folder = folder
        self.source = folder / "log"
        if many:
            self.source.mkdir()
            for name in ("a", "b"):
                (self.source / f"{name}.jsonl").write_bytes(jsonl(110))
        else:
            self.source = folder / "in.jsonl"
            self.source.write_bytes(jsonl(110))
        self.target = folder / ("out" if many else "out.jsonl")
        self.partial = folder / f"{self.target.name}.partial"

    def score(self, router: Any = None, **options: Any) -> ScoreSummary:
        given = {"on_error": "skip", "checkpoint": 1} | options
        return score_log(self.source, self.target, router or SavedRouter(), **given)

    def interrupted(self, after: int = 2, until: bytes = b"") -> None:
        with pytest.raises(Interrupted):
            self.score(StoppedRouter(self.partial / "journal", after, until))
        assert (self.partial / "journal").stat().st_size

    def refused(self, error: type[Exception], message: str, router: Any = None, **options: Any) -> None:
        before = everything(self.folder)
        with pytest.raises(error, match=message):
            self.score(router, **({"resume": True} | options))
        assert everything(self.folder) == before


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture
def many(tmp_path: Path) -> Log:
    return Log(tmp_path, many=True)


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def rewrite(path: Path) -> None:
    """Other content, but the same size and time."""
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b"prompt", b"prompT", 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"\n")


class TestInputs:
    @pytest.mark.parametrize(
        ("change", "what"), [(touch, "modified_ns"), (rewrite, "edges_sha256"), (grow, "bytes"), (Path.unlink, "")]
    )
    def test_a_changed_one(self, many: Log, change: Callable[[Path], None], what: str) -> None:
        many.interrupted(after=5)
        change(many.source / "b.jsonl")
        message = rf"b.jsonl: the file has changed since the run in .*out.partial began \(.*{what}.*; --overwrite"
        many.refused(DataError, message if what else "b.jsonl: is no input any more")
        assert many.score(overwrite=True).resumed_rows == 0

    def test_one_more(self, many: Log) -> None:
        many.interrupted()
        shutil.copy(many.source / "a.jsonl", many.source / "c.jsonl")
        many.refused(DataError, "c.jsonl: was no input when the run in .* began; score it by itself")

    def test_one_that_changes_while_it_is_read(self, log: Log) -> None:
        router = SavedRouter()

        def score(prompts: list[str]) -> Any:
            touch(log.source)
            return SavedRouter.score(router, prompts)

        router.score = score  # type: ignore[method-assign]
        with pytest.raises(DataError, match=r"in.jsonl: the file has changed while it was read"):
            log.score(router)
        assert not log.target.exists()

    def test_standard_input(self, log: Log) -> None:
        with pytest.raises(InvalidArgumentError, match="'-': a run over a stream can't be gone on with"):
            score_log("-", log.target, SavedRouter(), format="jsonl", resume=True)

    def test_a_pipe_with_a_name_is_read_to_its_end_and_never_resumed(self, log: Log) -> None:
        pipe = log.folder / "pipe.jsonl"
        os.mkfifo(pipe)
        child = os.fork()
        if not child:
            pipe.write_bytes(log.source.read_bytes())
            os._exit(0)
        summary = score_log(pipe, log.target, SavedRouter(), on_error="skip")
        os.waitpid(child, 0)
        assert summary.rows + summary.skipped == 110
        with pytest.raises(InvalidArgumentError, match=r"pipe.jsonl': a run over a stream can't be gone on with"):
            score_log(pipe, log.target, SavedRouter(), resume=True, overwrite=True)

    def test_the_output_may_not_be_in_the_input(self, many: Log) -> None:
        many.target = many.source / "scored"
        with pytest.raises(InvalidArgumentError, match="the output lies in the input folder"):
            many.score()


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"threshold": 0.25}, "was begun with threshold 0.5, found 0.25"),
            ({"column": "row"}, "begun with column 'prompt', found 'row'"),
            ({"turn": "users", "column": "prompt"}, "begun with turn None, found 'users'"),
            ({"format": "jsonl"}, "begun with format None, found 'jsonl'"),
            ({"score_column": "p"}, "begun with columns .*'score'.* found .*'p'"),
        ],
    )
    def test_other_ones(self, log: Log, options: dict[str, Any], message: str) -> None:
        log.interrupted()
        log.refused(InvalidArgumentError, message, **options)

    def test_other_routers(self, log: Log) -> None:
        log.interrupted()
        other, unsaved = SavedRouter(), SavedRouter()
        other.artifact, unsaved.artifact = "6" * 64, ""
        log.refused(DataError, f"the artifact has changed since .* {'5' * 16} then, {'6' * 16} now", other)
        log.refused(InvalidArgumentError, "it was never saved", unsaved)
        log.refused(InvalidArgumentError, "begun with columns|begun with routers", {"a": SavedRouter()})

    def test_another_version(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        log.interrupted()
        monkeypatch.setattr(fastroute, "__version__", "99.0")
        log.refused(InvalidArgumentError, r"out.jsonl.partial: begun with fastroute .*, this is 99.0")

    def test_what_may_change(self, log: Log) -> None:
        expected, whole = log.score(), log.target.read_bytes()
        with pytest.raises(Interrupted):
            log.score(StoppedRouter(log.partial / "journal"), overwrite=True)
        summary = log.score(resume=True, memory=64 << 20, checkpoint=1 << 20)
        assert told(summary) == told(expected)
        assert log.target.read_bytes() == whole
        assert summary.resumed_rows >= interrupted_runs.BATCH_ROWS

    def test_a_run_that_met_a_bad_row_may_leave_it_out(self, log: Log) -> None:
        log.source.write_bytes(b'{"prompt": "hi"}\n' * 90 + b"bad\n" + b'{"prompt": "hi"}\n' * 90)
        with pytest.raises(DataError, match="row 91"):
            log.score(StoppedRouter(log.partial / "journal", 99), on_error="fail")
        summary = log.score(resume=True)
        assert (summary.rows, summary.skipped) == (180, 1)
        assert len(log.target.read_bytes().splitlines()) == 180

    @pytest.mark.parametrize("bad", [180, 1000], ids=["a row is bad", "no row is bad"])
    def test_columns_that_were_copied_go_on_being_copied(self, log: Log, bad: int) -> None:
        """Arrow would name what is in lists otherwise: rows can't be left out of half a file."""
        pq = pytest.importorskip("pyarrow.parquet", reason="Parquet needs pyarrow")
        log.source = parquet(log.folder / "in.parquet", 200, 4, decoded=True, bad=bad)
        log.target, log.partial = log.folder / "out.parquet", log.folder / "out.parquet.partial"
        with pytest.raises((Interrupted, DataError)):
            log.score(StoppedRouter(log.partial / "journal"), on_error="fail")
        if bad == 1000:
            assert log.score(resume=True).rows == 200
            table = pq.read_table(log.target)
            assert table.drop(["score", "model"]).equals(pq.read_table(log.source))
        else:
            log_refused = pytest.raises(DataError, match="rows can't be left out of a file that was begun without")
            with log_refused:
                log.score(resume=True)
            assert not log.target.exists()


class TestWhatWasLeft:
    def test_nothing(self, log: Log) -> None:
        assert log.score(resume=True).resumed_rows == 0

    def test_a_complete_run(self, log: Log) -> None:
        first = log.score()
        before = everything(log.folder)
        again = log.score(StoppedRouter(log.partial, 0), resume=True)
        assert told(again) == told(first)
        assert again.resumed_rows == 110
        assert again.rejects == first.rejects
        assert everything(log.folder) == before

    def test_a_complete_run_whose_output_was_cut(self, log: Log) -> None:
        log.score()
        log.target.write_bytes(log.target.read_bytes()[:-1])
        log.refused(DataError, r"out.jsonl: expected \d+ bytes, as out.jsonl.manifest.json says, found \d+")

    def test_an_unfinished_run_is_neither_replaced_nor_gone_on_with_unasked(self, log: Log) -> None:
        log.interrupted()
        log.refused(InvalidArgumentError, "an unfinished run is there; pass --resume .*, --overwrite", resume=False)

    def test_an_output_that_came_meanwhile(self, log: Log) -> None:
        log.interrupted()
        log.target.write_text("mine")
        log.refused(InvalidArgumentError, "the output exists; pass --overwrite")

    def test_two_at_once(self, log: Log) -> None:
        log.interrupted()
        with (log.partial / "journal").open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_EX)
            log.refused(InvalidArgumentError, r"out.jsonl.partial: another process is at work there")

    @pytest.mark.parametrize("cut", [1, 5, 10_000])
    def test_a_journal_that_lost_its_end(self, log: Log, cut: int) -> None:
        log.interrupted()
        journal = log.partial / "journal"
        journal.write_bytes(journal.read_bytes()[:-cut])
        summary = log.score(resume=True)
        assert summary.rows + summary.skipped == 110
        assert not log.partial.exists()

    @pytest.mark.parametrize("damage", [b"x", b"\0" * 60, b"00000000 {}\n", b"\n"])
    def test_a_journal_with_something_half_written_at_its_end(self, log: Log, damage: bytes) -> None:
        log.interrupted()
        with (log.partial / "journal").open("ab") as journal:
            journal.write(damage)
        assert log.score(resume=True).resumed_rows >= interrupted_runs.BATCH_ROWS

    def test_a_journal_that_is_damaged_further_up(self, many: Log) -> None:
        many.interrupted(after=6, until=FIRST_DONE)
        journal = many.partial / "journal"
        lines = journal.read_bytes().splitlines(keepends=True)
        assert len(lines) > 1
        journal.write_bytes(lines[0].replace(b"1", b"2") + b"".join(lines[1:]))
        many.refused(DataError, "journal: line 1 is damaged; --overwrite begins anew")
        assert many.score(overwrite=True).resumed_rows == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"file": 1},
            {"file": 10**9},
            {"file": -1},
            {"written": -5},
            {"written": "9"},
            {"mark": {"rows": 3}},
            {"mark": {"rows": None, "lines": 3, "offset": 3}},
            {"mark": 5},
            {"counts": {}},
            {"carried": 7},
            {"carried": [7]},
            {"ends_file": "no"},
            {"unknown": 1},
        ],
    )
    def test_a_journal_of_somebody_else(self, log: Log, change: dict[str, Any]) -> None:
        log.interrupted()
        journal = log.partial / "journal"
        values = json.loads(journal.read_bytes().splitlines()[0].partition(b" ")[2])
        text = json.dumps(values | change)
        journal.write_text(f"{zlib.crc32(text.encode()):08x} {text}\n")
        log.refused(DataError, "journal: line 1 is not what fastroute writes")

    @pytest.mark.parametrize("size", [0, 10, None])
    def test_an_output_that_is_shorter_than_the_journal_says(self, log: Log, size: int | None) -> None:
        log.interrupted()
        output = log.partial / "output"
        if size is None:
            output.unlink()
        else:
            os.truncate(output, size)
        with pytest.raises(DataError, match=r"output: expected at least \d+ bytes, as the journal says, found \d+"):
            log.score(resume=True)
        assert not log.target.exists()

    @pytest.mark.parametrize("gone", [True, False])
    def test_an_output_that_was_done_and_is_not_any_more(self, many: Log, gone: bool) -> None:
        many.interrupted(after=6, until=FIRST_DONE)
        output = many.partial / "output" / "a.jsonl"
        if gone:
            output.unlink()
        else:
            output.write_bytes(b"")
        many.refused(DataError, r"output/a.jsonl: expected \d+ bytes, as the journal says, found (no file|0)")

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "[" * 100_000, '{"format": "fastroute.scored/1"}', '{"format": "fastroute.scored/9"}']
    )
    def test_a_manifest_that_is_damaged(self, log: Log, text: str) -> None:
        log.interrupted()
        (log.partial / "run.json").write_text(text)
        log.refused((DataError, InvalidArgumentError), r"run.json|out.jsonl.partial: ")  # type: ignore[arg-type]
        assert log.score(overwrite=True).resumed_rows == 0

    @pytest.mark.parametrize("key", ["inputs", "routers", "options", "id"])
    @pytest.mark.parametrize("value", [None, 5, [5], [{}], {"a": 1}])
    def test_a_manifest_with_something_else_in_it(self, log: Log, key: str, value: object) -> None:
        log.interrupted()
        run = log.partial / "run.json"
        run.write_text(json.dumps(json.loads(run.read_text()) | {key: value}))
        log.refused((DataError, InvalidArgumentError), r"out.jsonl.partial: |in.jsonl: ")  # type: ignore[arg-type]

    def test_many_inputs_and_names_that_are_no_unicode(self, many: Log) -> None:
        for number in range(1200):
            (many.source / f"{number:04}-{'x' * 150}.jsonl").write_bytes(b'{"prompt": "hi"}\n')
        Path(os.fsdecode(os.fsencode(many.source) + b"/\xff.jsonl")).write_bytes(b'{"prompt": "hi"}\n')
        many.interrupted(after=20)
        assert many.score(resume=True).rows > 1400
        assert many.score(StoppedRouter(many.partial, 0), resume=True).files == 1203


class TestFolderOfWork:
    @pytest.mark.parametrize("names", [["notes.txt"], ["output"], ["journal", "output"], ["run.json"]])
    @pytest.mark.parametrize("options", [{}, {"resume": True}, {"overwrite": True}])
    def test_one_of_somebody_else(self, log: Log, names: list[str], options: dict[str, Any]) -> None:
        log.partial.mkdir()
        for name in names:
            (log.partial / name).write_text("mine")
        log.refused(InvalidArgumentError, r"out.jsonl.partial: has '.*', so it is no run of fastroute", **options)

    @pytest.mark.parametrize("options", [{"resume": False}, {"resume": True}, {"overwrite": True}])
    def test_a_link_or_a_file(self, log: Log, options: dict[str, Any]) -> None:
        elsewhere = log.folder / "elsewhere"
        elsewhere.mkdir()
        log.partial.symlink_to(elsewhere)
        log.refused(InvalidArgumentError, r"out.jsonl.partial: expected the folder of an unfinished run", **options)
        assert not any(elsewhere.iterdir())
        log.partial.unlink()
        log.partial.write_text("mine")
        log.refused(InvalidArgumentError, r"out.jsonl.partial: expected the folder of an unfinished run", **options)


class TestRejects:
    def test_on_another_file_system(self, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
        shared = Path("/dev/shm")
        if not shared.is_dir() or shared.stat().st_dev == log.folder.stat().st_dev:
            pytest.skip("there is no other file system")
        rejects = shared / f"fastroute-{os.getpid()}.jsonl"
        try:
            assert log.score(rejects=rejects).skipped == len(rejects.read_bytes().splitlines()) == 4
        finally:
            rejects.unlink(missing_ok=True)

    def test_those_of_an_older_output_do_not_outlive_it(self, log: Log) -> None:
        log.score()
        assert log.folder.joinpath("out.jsonl.rejects.jsonl").exists()
        log.source.write_bytes(b'{"prompt": "hi"}\n')
        assert log.score(overwrite=True).rejects is None
        assert not log.folder.joinpath("out.jsonl.rejects.jsonl").exists()

    @pytest.mark.parametrize("name", ["in.jsonl", "out.jsonl", "out.jsonl.partial/x", "", "no/folder/x"])
    def test_where_they_can_not_be(self, log: Log, name: str) -> None:
        log.refused(InvalidArgumentError, "rejects|there is no folder", rejects=log.folder / name, overwrite=True)

    def test_a_device_is_refused_and_not_replaced(self, log: Log) -> None:
        pipe = log.folder / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(InvalidArgumentError, match="expected a file for the rejects, found a folder, pipe or"):
            log.score(rejects=pipe, overwrite=True)
        assert pipe.is_fifo()


def test_gzip_gone_on_with_after_its_last_row_has_no_empty_member(log: Log) -> None:
    """Killed between the last checkpoint and the end of the file."""
    folder = log.folder / "gzip"
    for name in ("whole", "again"):
        (folder / name).mkdir(parents=True)
    scenario = SCENARIOS["jsonl.gz"]
    source = scenario.make(folder)
    scenario.run(source, folder / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastroute.batch.writing.check_unchanged", lambda *_: sys.exit(1))
        with pytest.raises(SystemExit):
            scenario.run(source, folder / "again")
    scenario.run(source, folder / "again", resume=True)
    assert contents(folder / "again") == contents(folder / "whole")


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="asks which file is meant")
@pytest.mark.parametrize("several", [False, True])
def test_the_journal_speaks_of_nothing_that_is_not_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    log = Log(tmp_path, several)
    if several:
        shutil.rmtree(log.source)
        (log.source / "day=1").mkdir(parents=True)
        (log.source / "day=1" / "a.jsonl").write_bytes(jsonl(110))
    calls: list[tuple[str, str]] = []

    def recorded(name: str) -> None:
        call = getattr(os, name)

        def run(first: Any, *arguments: Any, **keywords: Any) -> Any:
            path = (
                str(Path(f"/proc/self/fd/{first}").readlink()) if isinstance(first, int) else f"{first} {arguments[0]}"
            )
            if calls[-1:] != [(name, short := path.replace(str(tmp_path), ""))]:
                calls.append((name, short))
            return call(first, *arguments, **keywords)

        monkeypatch.setattr(os, name, run)

    for name in ("write", "fsync", "replace", "rename"):
        recorded(name)
    log.score()
    partial = f"/{log.partial.name}"
    output = f"{partial}/output/day=1/a.jsonl" if several else f"{partial}/output"
    folders = [f"{partial}/output/day=1", f"{partial}/output", partial] if several else [partial]
    first = calls.index(("write", f"{partial}/journal"))
    assert {("fsync", folder) for folder in ["", *folders]} <= set(calls[:first])
    lines = [at for at, call in enumerate(calls) if call == ("write", f"{partial}/journal")]
    assert len(lines) > 4
    for before, line in zip([0, *lines], lines[:-1], strict=False):  # the last says that all is done
        between = calls[before:line]
        for file in (output, f"{partial}/rejects.jsonl"):
            writes = [at for at, call in enumerate(between) if call == ("write", file)]
            assert not writes or ("fsync", file) in between[writes[-1] :]
        assert calls[line + 1] == ("fsync", f"{partial}/journal")
    named = max(at for at, (name, path) in enumerate(calls) if name in ("replace", "rename"))
    assert lines[-1] < named
    assert calls[-1] == ("fsync", "")
