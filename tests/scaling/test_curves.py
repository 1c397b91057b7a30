"""Curves against limits (benchmarks/curves): ratios, the result file, what one measured time is. Nothing of speed."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.curves.battles import TIERS, heaped_rows, random_cells, reference_rate
from benchmarks.curves.measuring import Clock, Reader, document, threads
from benchmarks.curves.native_floors import Parts, parts_of, written_vocabulary
from benchmarks.curves.plots import Curve, CurvesError, Plot, Point, at_least, plots_of, table_of, time_of
from benchmarks.curves.prompt_length import prompt_of
from benchmarks.floors import Floors, floors_of, layers_of, table_of_floors
from benchmarks.scaling_plots import label_of

import fastroute
from fastroute import _core, builtin
from fastroute.artifact import ENCODER, read_artifact
from fastroute.encoders.wordpiece import parse_tokenizer

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "benchmarks" / "scaling.py"
CURVE = Curve(
    "scan",
    (Point(10, 3e-6, 2e-6, 4e-6, 21, 2e-6), Point(100, 9e-6, 8e-6, 9.5e-6, 21, 3e-6)),
    "reading",
    ("a note",),
)
PLOT = Plot("battles", "Title", "battles", "seconds a query", (CURVE, Curve("free", CURVE.points[:1])), {"rate": 1e9})


def written(**changes: Any) -> Any:
    plain = json.loads(json.dumps(document([PLOT], command="c", load=(0.5, 0.25, 0.0), quick=True)))
    return plain | changes


def test_a_point_is_so_many_times_its_limit() -> None:
    assert [point.ratio for point in CURVE.points] == [1.5, pytest.approx(3.0)]
    assert CURVE.ratios == (1.5, pytest.approx(3.0))
    without = replace(CURVE, points=tuple(replace(point, limit=None) for point in CURVE.points))
    assert without.ratios is None
    assert without.points[0].ratio is None
    assert at_least(read=1e-6, work=2e-6) == 2e-6


def test_labels_name_the_ratios() -> None:
    assert label_of(CURVE) == "scan (1.50 to 3.00 times its limit)"
    assert label_of(replace(CURVE, points=CURVE.points[:1])) == "scan (1.50 times its limit)"
    assert label_of(replace(CURVE, points=(replace(CURVE.points[0], limit=1e-7),))) == "scan (30 times its limit)"
    assert label_of(Curve("free", (replace(CURVE.points[0], limit=None),))) == "free"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.0, "2 s"), (1e-3, "1 ms"), (0.02, "20 ms"), (1e-5, "10 us"), (5e-8, "50 ns"), (1e-10, "0.1 ns")],
)
def test_times_have_units(seconds: float, text: str) -> None:
    assert time_of(seconds) == text


def test_a_table_has_the_ends_of_each_curve() -> None:
    assert table_of(PLOT).splitlines()[2:] == [
        "| scan | 3 us at 10 (1.50) | 9 us at 100 (3.00) | reading |",
        "| free | 3 us at 10 (1.50) | 3 us at 10 (1.50) | none |",
    ]


def test_the_docs_have_the_tables_of_the_results() -> None:
    text = (CHECKOUT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    results = CHECKOUT / "benchmarks" / "results"
    curves = json.loads((results / "scaling.json").read_text(encoding="utf-8"))
    assert curves["quick"] is False
    plots = plots_of(curves, "scaling.json")
    assert [plot.key for plot in plots] == ["battles", "models", "prompts", "threads"]
    for plot in plots:
        assert table_of(plot) in text
        assert f"(plots/scaling-{plot.key}.png)" in text
        assert (CHECKOUT / "docs" / "plots" / f"scaling-{plot.key}.png").stat().st_size <= 150_000
    floors = json.loads((results / "floors.json").read_text(encoding="utf-8"))["floors"]
    assert len(floors) == 12
    assert table_of_floors([Floors.read(each) for each in floors]) in text


def test_a_result_file_says_what_was_measured_and_where() -> None:
    plain = written()
    assert plain["plots"][0]["curves"][0]["points"][0]["ratio"] == 1.5
    assert plain["plots"][0]["measured"] == {"rate": 1e9}
    assert plain["machine"]["cores"] >= 1
    assert plain["machine"]["simd"] == fastroute.info().simd
    assert plain["versions"]["fastroute"] == fastroute.__version__
    assert plots_of(plain, "file") == [PLOT]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ([], "found format 'list', allowed: 1"),
        (written(format=2), "found format 2, allowed: 1"),
        (written(plots=[{"key": "battles"}]), "a member missing"),
        (written(plots=[3]), "a member missing or of another type"),
    ],
)
def test_refuses_other_files(broken: object, message: str) -> None:
    with pytest.raises(CurvesError, match=message):
        plots_of(broken, "file")


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("seconds", 0.0, "finite numbers above 0"),
        ("limit", -1.0, "finite numbers above 0"),
        ("low", float("nan"), "finite numbers above 0"),
        ("x", 1000, "ascending"),
        ("x", "10", "finite numbers above 0"),
    ],
)
def test_refuses_points_that_can_not_be_drawn(member: str, value: object, message: str) -> None:
    plain = written()
    plain["plots"][0]["curves"][0]["points"][0][member] = value
    with pytest.raises(CurvesError, match=f"file: battles, scan: .*{message}"):
        plots_of(plain, "file")


def test_refuses_a_curve_without_points() -> None:
    plain = written()
    plain["plots"][0]["curves"][0]["points"] = []
    with pytest.raises(CurvesError, match="found no points"):
        plots_of(plain, "file")


def test_a_clock_gives_the_share_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = itertools.count()
    # Every look at the clock is 1 ms after the one before: a call takes 1 ms, whatever it does.
    monkeypatch.setattr("benchmarks.curves.measuring.perf_counter", lambda: next(ticks) * 1e-3)
    calls = []
    point = Clock(quick=True).time(lambda: calls.append(1), 7, share=4, limit=1e-4)
    assert point == Point(7, pytest.approx(2.5e-4), pytest.approx(2.5e-4), pytest.approx(2.5e-4), 5, 1e-4)
    assert point.ratio == pytest.approx(2.5)
    assert len(calls) == 7  # one to warm up, one to see how long it takes


def test_reading_small_and_large_goes_by_proportion() -> None:
    reader = Reader(Clock(quick=True))
    assert reader.seconds(1 << 10) == pytest.approx(reader.seconds(1 << 15) / 32)
    assert reader.rate(1 << 15) == pytest.approx((1 << 15) / reader.seconds(1 << 15))
    assert reader.seconds(1 << 22) > reader.seconds(1 << 15) > 0


def test_threads_are_given_back() -> None:
    before = fastroute.info().threads
    with threads(3):
        assert fastroute.info().threads == 3
    assert fastroute.info().threads == before


def test_rows_and_cells_are_what_the_reference_reads() -> None:
    rows, cells = heaped_rows(3_000), random_cells(3_000)
    np.testing.assert_allclose(np.linalg.norm(rows.units(np.arange(3_000)), axis=1), 1, atol=1e-6)
    winners, losers = cells // (TIERS + 1), cells % (TIERS + 1)
    assert (winners != losers).all()
    assert max(winners.max(), losers.max()) < TIERS
    assert (np.diff(cells.astype(np.int64)) >= 0).all()
    own = (rows.units(np.arange(3_000)) * rows.centroids[rows.lists]).sum(axis=1)
    others = (rows.units(np.arange(3_000)) * rows.centroids[np.roll(rows.lists, 1)]).sum(axis=1)
    assert own.mean() > others.mean() + 0.2
    index = _core.SimilarityIndex(rows.codes, rows.scales)
    counts = _core.BattleCounts(TIERS, np.arange(3_001), cells, np.ones(3_000, np.float32))
    scorer = _core.SimilarityWeighted(index, counts, None, strong=0, weak=5, base=10.0, normalised=True)
    query = rows.units(np.array([17]))
    assert reference_rate(rows, cells, query[0], base=None) == pytest.approx(
        scorer.score_embeddings(query)[0], abs=5e-5
    )


def test_the_command_writes_a_result_file(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "-o", tmp_path / "made" / "scaling.json", "--quick", "--only", "models"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["scaling.json"]
    document = json.loads((tmp_path / "made" / "scaling.json").read_text())
    (plot,) = plots_of(document, "file")
    assert [len(curve.points) for curve in plot.curves] == [3, 3, 3]
    assert document["quick"] is True


def test_a_prompt_has_as_many_tokens_as_asked_for() -> None:
    words = lambda text: len(text.split())  # noqa: E731
    assert words(prompt_of(100, words)) == 100
    assert prompt_of(100, words) == prompt_of(100, words)


def test_floors_leave_what_is_above_them() -> None:
    parts = parts_of("21 260.50 15.00 11.00 134.00")
    assert parts == Parts(
        21, pytest.approx(2.605e-7), pytest.approx(1.5e-8), pytest.approx(1.1e-8), pytest.approx(1.34e-7)
    )
    least = floors_of(parts, 3e-8, features=False)
    assert sum(least.values()) == pytest.approx(3.015e-7)
    assert sum(floors_of(parts, 3e-8, features=True).values()) == pytest.approx(4.395e-7)
    layers = layers_of({"native scorer": 4e-7, "method score": 6.03e-7}, sum(least.values()))
    assert layers == {"native scorer": pytest.approx(9.85e-8), "method score": pytest.approx(2.03e-7)}
    found = Floors("mf", "score", 20, 6.03e-7, least, layers)
    assert found.ratio == pytest.approx(2.0)
    assert replace(found, floors=floors_of(parts, 3e-8, features=True)).times == "1.37 (1.97 without features)"
    assert "| `mf.score` | 20 | 0.60 | 0.30 (tokenizer 0.26, table 0.01, native call 0.03) | 2.00 |" in found.row()


def test_the_native_program_is_told_the_vocabulary() -> None:
    folder = builtin.find_encoder("static-minilm-l6")
    assert folder is not None
    raw = read_artifact(folder, format=ENCODER).files["tokenizer.json"]
    vocabulary = parse_tokenizer(raw, source="it")
    options, *lines = written_vocabulary(vocabulary).split("\n")
    unknown, most, *flags, specials, prefix = options.split(" ")
    assert vocabulary.tokens[int(unknown)] == "[UNK]"
    assert (most, flags, prefix) == ("100", ["1", "1", "1", "1"], "##")
    assert [line.split(" ")[1] for line in lines[: int(specials)]] == [
        token["content"] for token in vocabulary.tokenizer["added_tokens"]
    ]
    assert tuple(lines[int(specials) : -1]) == vocabulary.tokens
