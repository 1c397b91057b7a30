"""What the guard of instruction counts makes of them (benchmarks/instructions); counting itself needs valgrind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.instructions.comparison import (
    BASELINE,
    HOW_TO_RECORD,
    Measured,
    compare,
    find_baseline,
    largest_difference,
    read_baselines,
    read_dumps,
    table,
    write_baseline,
)

HERE = Measured(
    "kernels", {"machine": "x86_64", "compiler": "GNU 12.2.0"}, {"numpy": "2.0.0"}, {"dot n=8, scalar": 100}
)

# What callgrind 3.19 writes, shortened.
DUMPS = """# callgrind format
desc: I1 cache:
desc: Timerange: Basic block 0 - 355172
desc: Trigger: Client Request: dot n=8, scalar

events: Ir
summary: 37800

ob=(1) /somewhere/kernel_instructions
fn=(118) dot
0 37779
calls=1 0
0 37779

totals: 37801

part: 2
desc: Trigger: Client Request: mf.score, 20 tokens x 50
summary: 1000

part: 3
desc: Trigger: Client Request: mf.score, 20 tokens x 100
summary: 1911

part: 4
desc: Trigger: Program termination
summary: 4454
"""


def test_counts_are_those_of_the_requests_and_of_one_repetition() -> None:
    assert read_dumps(DUMPS) == {"dot n=8, scalar": 37800, "mf.score, 20 tokens": 18}


def test_a_repetition_without_its_double_is_no_count() -> None:
    with pytest.raises(ValueError, match="unpack"):
        read_dumps(DUMPS.replace("x 100", "x 50"))


@pytest.mark.parametrize("count", [950, 1000, 1050])
def test_up_to_the_limit_nothing_is_said(count: int) -> None:
    found = compare({"a": 1000}, {"a": count})
    assert not found.fails
    assert str(found) == ""


def test_more_fails_and_says_by_how_much() -> None:
    found = compare({"a": 1000, "b": 10}, {"a": 1051, "b": 10})
    assert found.fails
    assert found.worse == ("a: 1,051, baseline 1,000 (+5.1%)",)
    assert "more than 5% above the baseline:\n  a: 1,051" in str(found)


def test_fewer_passes_and_asks_for_a_new_baseline() -> None:
    found = compare({"a": 1000}, {"a": 949})
    assert not found.fails
    assert found.better == ("a: 949, baseline 1,000 (-5.1%)",)
    assert HOW_TO_RECORD in str(found)


def test_what_only_one_side_has_fails() -> None:
    found = compare({"a": 1, "gone": 2}, {"a": 1, "added": 3})
    assert found.fails
    assert (found.missing, found.new) == (("gone",), ("added",))
    assert not found.worse


def test_difference_of_two_runs() -> None:
    assert largest_difference({"a": 1000, "b": 10}, {"a": 997, "b": 10}) == pytest.approx(0.003)
    with pytest.raises(ValueError, match="'b'"):
        largest_difference({"a": 1}, {"a": 1, "b": 1})


def test_baseline_is_that_of_the_environment_whatever_the_versions(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    other = replace(HERE, environment={**HERE.environment, "compiler": "Clang 19.1.0"}, counts={"dot n=8, scalar": 7})
    for measured in (HERE, other):
        write_baseline(measured, file)
    found = find_baseline(read_baselines(file), replace(HERE, versions={"numpy": "2.4.6"}, counts={}))
    assert found == HERE
    write_baseline(replace(HERE, counts={"dot n=8, scalar": 90}), file)
    assert sorted(known.counts["dot n=8, scalar"] for known in read_baselines(file)) == [7, 90]


@pytest.mark.parametrize("change", [{"of": "calls"}, {"environment": {**HERE.environment, "machine": "aarch64"}}])
def test_without_a_baseline_the_reason_tells_what_to_do(change: dict[str, object]) -> None:
    found = find_baseline([HERE], replace(HERE, **change))
    assert isinstance(found, str)
    assert HOW_TO_RECORD in found
    assert ("machine 'x86_64'" in found) is ("environment" in change)


def test_no_file_has_no_baselines(tmp_path: Path) -> None:
    assert read_baselines(tmp_path / "none.json") == []


def test_table_has_a_column_for_each_level() -> None:
    counts = {"dot n=8, scalar": 1000, "dot n=8, avx2": 100, "sum, scalar": 5}
    assert table(replace(HERE, counts=counts)).splitlines() == [
        "| instructions | scalar | avx2 |",
        "| --- | --- | --- |",
        "| `dot n=8` | 1,000 | 100 |",
        "| `sum` | 5 |  |",
    ]


def test_committed_baseline_is_sound_and_the_docs_show_it(checkout: Path) -> None:
    page = (checkout / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    known = read_baselines()
    assert {measured.of for measured in known} == {"calls", "kernels"}
    assert all(type(count) is int and count > 0 for measured in known for count in measured.counts.values())
    for of in ("calls", "kernels"):
        shown = [measured for measured in known if measured.of == of and table(measured) in page]
        assert shown, f"docs/benchmarks.md has not the table of {of} that the baseline gives: {HOW_TO_RECORD}"
        assert all(value in page for value in shown[0].environment.values())


def test_the_baseline_file_is_written_as_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    for measured in read_baselines():
        write_baseline(measured, file)
    assert json.loads(file.read_text(encoding="utf-8")) == json.loads(BASELINE.read_text(encoding="utf-8"))
