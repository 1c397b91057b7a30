"""No kernel, and no call of a built-in router, takes 5% more instructions than its baseline (docs/benchmarks.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.instructions import measuring
from benchmarks.instructions.comparison import Measured, compare, find_baseline, read_baselines, table


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> measuring.Programs:
    try:
        return measuring.build(tmp_path_factory.mktemp("build"))
    except measuring.UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def kernels(programs: measuring.Programs, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return measuring.count_kernels(programs, tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def calls(programs: measuring.Programs, tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, dict[str, int]]:
    return measuring.count_calls(programs, tmp_path_factory.mktemp("calls"))


def _holds(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    print(table(measured))
    known = find_baseline(read_baselines(), measured)
    if isinstance(known, str):
        pytest.skip(known)
    found = compare(known.counts, measured.counts)
    assert not found.fails, f"{found}\nrecorded with {dict(known.versions)}, here {dict(measured.versions)}"
    if found.better:
        with capsys.disabled():
            print(f"\n{found}")


def test_kernels(kernels: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    _holds(kernels, capsys)


def test_calls(calls: tuple[Measured, dict[str, int]], capsys: pytest.CaptureFixture[str]) -> None:
    _holds(calls[0], capsys)


def test_one_more_pass_over_its_input_is_found_in_every_kernel(
    programs: measuring.Programs, kernels: Measured, tmp_path: Path
) -> None:
    slower = measuring.count_kernels(programs, tmp_path, extra_pass=True)
    found = compare(kernels.counts, slower.counts)
    assert len(found.worse) == len(kernels.counts) >= 22, found


def test_one_more_function_of_python_is_found_in_a_call(calls: tuple[Measured, dict[str, int]]) -> None:
    measured, slowed = calls
    found = compare({label: measured.counts[label] for label in slowed}, slowed)
    assert len(found.worse) == len(slowed) == 1, found


def test_counts_repeat_and_rise_with_the_prompt(
    programs: measuring.Programs, kernels: Measured, calls: tuple[Measured, dict[str, int]], tmp_path: Path
) -> None:
    assert measuring.count_kernels(programs, tmp_path).counts == kernels.counts
    counts = calls[0].counts
    for router in ("experts", "mf"):
        assert counts[f"{router}.score, 20 tokens"] * 2 < counts[f"{router}.score, 95 tokens"]
        assert counts[f"{router}.score, 95 tokens"] * 2 < counts[f"{router}.score, 400 tokens"]
