"""README.md and docs/benchmarks.md say what the committed result file says."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.readme_tables import BLOCKS, REPORTED, Results, alone, digits, replaced, rewritten
from benchmarks.results import BASELINE, FASTROUTE, groups_of, question_of, seconds, times

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(REPORTED.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("file", BLOCKS)
def test_tables_are_those_of_the_results(read: dict[str, Any], file: str) -> None:
    text = (CHECKOUT / file).read_text(encoding="utf-8")
    assert rewritten(text, file, Results(read)) == text, "run python -m benchmarks.readme_tables"


@pytest.mark.parametrize("file", BLOCKS)
def test_another_figure_is_seen(read: dict[str, Any], file: str) -> None:
    altered = copy.deepcopy(read)
    (group,) = (group for group in altered["groups"] if group["group"] == "one prompt, 400 tokens")
    group["rows"][0]["median"] *= 1.2
    text = (CHECKOUT / file).read_text(encoding="utf-8")
    assert rewritten(text, file, Results(altered)) != text


def test_the_results_are_of_a_whole_run(read: dict[str, Any]) -> None:
    assert read["failed"] == 0
    assert {"id", "changed"} <= read["commit"].keys()
    assert read["machine"].keys() >= {"cpu", "cores", "simd", "load"}
    assert {"python", "numpy", "fastroute", "routellm (another process)"} <= read["versions"].keys()
    for group in read["groups"]:
        medians = {row["role"]: row["median"] for row in group["rows"]}
        if group["ratio"] is not None:
            assert group["ratio"] == pytest.approx(medians[BASELINE] / medians[FASTROUTE])
    shares = [figure["of_strong"] for figure in Results(read).figures("overhead")]
    assert shares
    assert max(shares) < 0.004


def test_a_run_that_failed_gives_no_tables(read: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="failed: found 1"):
        Results(read | {"failed": 1})
    with pytest.raises(ValueError, match="format: found 0"):
        Results(read | {"format": 0})
    with pytest.raises(ValueError, match="groups: no 'experts"):
        rewritten((CHECKOUT / "README.md").read_text(encoding="utf-8"), "README.md", Results(read | {"groups": []}))


@pytest.mark.parametrize(("file", "name", "block"), alone(), ids=lambda value: value[:20])
def test_blocks_with_results_of_their_own_have_what_was_measured(file: str, name: str, block: str) -> None:
    text = (CHECKOUT / file).read_text(encoding="utf-8")
    assert replaced(text, name, block) == text


def test_markers_are_needed_once() -> None:
    assert replaced("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    for text in ("", "<!-- /x -->\n<!-- x -->\n", "<!-- x -->\n<!-- x -->\n<!-- /x -->"):
        with pytest.raises(ValueError, match="markers"):
            replaced(text, "x", "new")


def run(*args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, args)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_a_run_writes_what_it_measured(tmp_path: Path) -> None:
    pytest.importorskip("pytest_benchmark", reason="needs the extra [bench]")
    pytest.importorskip("tokenizers", reason="needs the extra [bench]")
    short = ("--benchmark-max-time=0.01", "--benchmark-min-rounds=1")
    target = tmp_path / "it.json"
    ended = run("benchmarks/test_single_prompt.py", "-k", "test_route or 20", *short, "--results", target)
    assert ended.returncode == 0, ended.stdout
    made = json.loads(target.read_text(encoding="utf-8"))
    assert [(group["question"], group["group"]) for group in made["groups"]] == [
        ("single prompt", "one prompt, 20 tokens"),
        ("single prompt", "one decision, 20 tokens"),
    ]
    ratio = made["groups"][0]["ratio"]
    assert f"{times(ratio)}  at least 15x" in ended.stdout
    assert made["failed"] == 0
    assert made["command"].startswith(
        "pytest -p no:cacheprovider benchmarks/test_single_prompt.py -k 'test_route or 20'"
    )


@pytest.mark.parametrize(
    ("target", "extra", "message"),
    [("nowhere/it.json", (), "a folder that exists"), ("it.json", ("--benchmark-disable",), "nothing is timed")],
)
def test_results_that_could_not_be_written(tmp_path: Path, target: str, extra: tuple[str, ...], message: str) -> None:
    pytest.importorskip("pytest_benchmark", reason="needs the extra [bench]")
    ended = run("benchmarks/test_overhead.py", "--results", tmp_path / target, *extra)
    assert ended.returncode == 4
    assert message in ended.stderr
    assert not (tmp_path / target).exists()


def test_the_readme_is_short() -> None:
    assert len((CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize(
    ("number", "text"),
    [(39.26, "39.26"), (0.5, "0.50"), (0.0123, "0.012"), (0.000000031, "0.000000031"), (0.0, "0.00")],
)
def test_numbers_without_exponents(number: float, text: str) -> None:
    assert digits(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.61e-7, "0.56 us"), (26.2e-6, "26.2 us"), (350e-6, "350 us"), (1.186, "1.19 s"), (0.0285, "28.5 ms")],
)
def test_times_in_their_unit(value: float, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.85, "0.85x"), (1.0, "1.00x"), (3.83, "3.8x"), (782.4, "782x")])
def test_a_baseline_that_is_faster_is_below_one(ratio: float, text: str) -> None:
    assert times(ratio) == text


def test_groups_know_their_question_and_ratio() -> None:
    class Stats:
        data = (1.0,)

        def __init__(self, median: float) -> None:
            self.median = self.min = median
            self.iqr, self.rounds = 0.0, 1

    class Bench:
        group, name, has_error = "one", "test_it", False

        def __init__(self, role: str, median: float) -> None:
            self.fullname = f"benchmarks/test_batch.py::test_{role}"
            self.extra_info, self.stats = {"role": role}, Stats(median)

    (group,) = groups_of([Bench(FASTROUTE, 2.0), Bench(BASELINE, 1.0)])
    assert (group["question"], group["group"], group["ratio"]) == ("batch", "one", 0.5)
    assert group["rows"][1] == {
        "test": f"benchmarks/test_batch.py::test_{BASELINE}",
        "role": BASELINE,
        "median": 1.0,
        "min": 1.0,
        "iqr": 0.0,
        "rounds": 1,
        "info": {},
    }
    assert question_of("benchmarks/test_new_thing.py::test_x") == "new thing"
