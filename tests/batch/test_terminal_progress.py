"""The progress bar: where and when it is drawn."""

from __future__ import annotations

import io
import sys

import pytest

from fastroute.batch import TerminalProgress, score_log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["tqdm", "plain"])
def bar_kind(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        pytest.importorskip("tqdm")
    return request.param


def drawn(stream: io.StringIO, seconds: float, total: int | None = 4_000_000, unit: str = "B") -> str:
    clock = Clock()
    progress = TerminalProgress(stream, clock=clock)
    progress.start(total, unit)
    for step in range(1, 41):
        clock.now = 100.0 + seconds * step / 40
        progress.update(100_000 * step, 25 * step)
    shown = stream.getvalue()
    progress.close()
    return shown


def test_it_is_drawn_on_a_terminal(bar_kind):
    stream = Terminal()
    shown = drawn(stream, seconds=10.0)
    assert "100%" in shown
    assert " 50%" in shown
    assert "100 rows/s" in shown
    assert "4.0" in shown
    assert stream.getvalue().endswith("\r")


def test_a_pipe_has_no_share(bar_kind):
    shown = drawn(Terminal(), seconds=10.0, total=None)
    assert "%" not in shown
    assert "4.0" in shown
    assert "100 rows/s" in shown


def test_rows(bar_kind):
    assert "rows" in drawn(Terminal(), seconds=10.0, unit="rows")


def test_nothing_within_the_first_second(bar_kind):
    assert drawn(Terminal(), seconds=0.99) == ""


def test_nothing_where_there_is_no_terminal():
    assert drawn(io.StringIO(), seconds=10.0) == ""


def test_it_is_not_redrawn_at_every_batch():
    stream = Terminal()
    drawn(stream, seconds=2.0)
    assert stream.getvalue().count("rows/s") <= 12


@pytest.mark.parametrize(("suffix", "unit"), [(".jsonl", "B"), (".parquet", "rows")])
def test_it_is_told_of_every_batch_and_closed(tmp_path, router, suffix, unit):
    calls: list[tuple[object, ...]] = []

    class Recorder:
        def start(self, total: int | None, unit: str) -> None:
            calls.append(("start", total, unit))

        def update(self, position: int, rows: int) -> None:
            calls.append((position, rows))

        def close(self) -> None:
            calls.append(("close",))

    source = tmp_path / f"in{suffix}"
    if suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(
            pa.table({"prompt": ["hi"] * 5_000}), source, use_dictionary=False
        )
        positions = [5_000, 4_096, 5_000]
    else:
        source.write_bytes(b'{"prompt":"hi"}\n' * 5_000)
        positions = [80_000, 65_536, 80_000]
    score_log(source, tmp_path / f"out{suffix}", router, progress=Recorder())
    total, *steps = positions
    assert calls == [("start", total, unit), (steps[0], 4_096), (steps[1], 5_000), ("close",)]
