"""Reading RouteLLM's files and tables of outcomes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.evaluation import read_benchmark, read_outcomes

STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_mmlu(evals: Path) -> None:
    found = read_benchmark("mmlu", evals)
    assert (found.name, found.strong, found.weak) == ("mmlu", STRONG, WEAK)
    assert (len(found.prompts), found.dropped) == (113, 1)
    assert found.prompts[0] == "abstract_algebra, question 0"
    assert len(set(found.domains)) == 57
    assert found.outcomes.strong.tolist() == [1.0] * 113
    assert found.outcomes.weak.sum() == 57
    assert found.outcomes.strong_dollars[0] == 0.00887
    assert len(found.files) == 58


def test_gsm8k_from_the_root_of_a_checkout(evals: Path) -> None:
    root = evals.parent / "checkout"
    (root / "routellm").mkdir(parents=True)
    evals.rename(root / "routellm" / "evals")
    found = read_benchmark("gsm8k", root, strong_dollars=3)
    assert found.prompts == tuple(f'sum "{i}",\nplease' for i in range(12) if i != 1)
    assert found.outcomes.weak.tolist() == [float(i % 3 == 0) for i in range(12) if i != 1]
    assert found.outcomes.strong.tolist() == [float(i % 6 != 0) for i in range(12) if i != 1]
    assert set(found.outcomes.strong_dollars) == {3.0}


def test_mt_bench_routes_on_the_first_turn_and_averages_both(evals: Path) -> None:
    """A question is left out where its second turn is contaminated, as RouteLLM does."""
    found = read_benchmark("mt-bench", evals)
    kept = [i for i in range(8) if i != 5]
    assert found.prompts == tuple(f"first {i}" for i in kept)
    assert found.outcomes.strong.tolist() == [7.5 + i % 3 for i in kept]
    assert found.outcomes.weak.tolist() == [5.5 + i % 2 for i in kept]
    assert found.domains == tuple("odd" if i % 2 else "even" for i in kept)


def test_an_organisation_before_the_name_does_not_matter(evals: Path) -> None:
    edit(evals / "gsm8k" / "gsm8k_responses.csv", WEAK, "mixtral-8x7b-instruct-v0.1")
    assert read_benchmark("gsm8k", evals).weak == "mixtral-8x7b-instruct-v0.1"
    swapped = read_benchmark("gsm8k", evals, strong="org/Mixtral-8x7B-Instruct-v0.1", weak=STRONG)
    assert (swapped.strong, swapped.weak) == ("mixtral-8x7b-instruct-v0.1", STRONG)


def test_unknown_benchmark_and_one_model(evals: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="benchmark: found 'arc', allowed: mmlu, gsm8k, mt-bench, outcomes"):
        read_benchmark("arc", evals)
    with pytest.raises(InvalidArgumentError, match="for both"):
        read_benchmark("mmlu", evals, strong="a/x", weak="X")


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("mmlu", "mmlu/responses/mmlu_virology.csv", "mmlu_virology.csv: can't be read: No such file"),
        ("mmlu", "mmlu/contaminated_prompts.jsonl", "contaminated_prompts.jsonl: can't be read"),
        ("gsm8k", "gsm8k/gsm8k_responses.csv", "gsm8k_responses.csv: can't be read"),
        ("mt-bench", "mt_bench/question.jsonl", "question.jsonl: can't be read"),
        ("mt-bench", "mt_bench/judgements.jsonl", "judgements.jsonl: can't be read"),
    ],
)
def test_half_empty_folders(evals: Path, name: str, file: str, message: str) -> None:
    (evals / file).unlink()
    with pytest.raises(DataError, match=message):
        read_benchmark(name, evals)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder 'mt_bench' in it; RouteLLM's folder routellm/evals is needed"):
        read_benchmark("mt-bench", tmp_path)
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        read_benchmark("mmlu", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("gsm8k", "gsm8k/gsm8k_responses.csv", "prompt,", "question,", "no column 'prompt'; the header has 'question'"),
        ("gsm8k", "gsm8k/gsm8k_responses.csv", STRONG, "gpt-4", "no strong model 'gpt-4-1106-preview'; its columns"),
        ("gsm8k", "gsm8k/gsm8k_responses.csv", "True,False", "True,", "row 1: column 'gpt-4-1106-preview': found ''"),
        ("gsm8k", "gsm8k/gsm8k_responses.csv", "True,False", "NaN,False", f"row 1: column '{WEAK}': found 'NaN'"),
        ("gsm8k", "gsm8k/gsm8k_responses.csv", "True,False", "True", "row 1: found 2 fields, needed: 3"),
        ("gsm8k", "gsm8k/contaminated_prompts.jsonl", "eval_prompt", "prompt", "line 1: no column 'eval_prompt'"),
        ("mt-bench", "mt_bench/judgements.jsonl", '"score": 9', '"score": NaN', "column 'score': found nan"),
        ("mt-bench", "mt_bench/judgements.jsonl", '"score": 9', '"mark": 9', "no column 'score'"),
        ("mt-bench", "mt_bench/judgements.jsonl", '"model": "gpt-4-1106-preview", "turn": 2', '"model": "x", "turn": 2',
         "question 7, model 'gpt-4-1106-preview': found scores of 1 turns, needed: 2"),
        ("mt-bench", "mt_bench/question.jsonl", '["first 0", "second 0"]', '"first 0"', "line 1: column 'turns'"),
        ("mt-bench", "mt_bench/question.jsonl", '{"question_id": 0', '{{', "line 1: broken JSON"),
    ],
)  # fmt: skip
def test_bad_files(evals: Path, name: str, file: str, old: str, new: str, message: str) -> None:
    edit(evals / file, old, new)
    with pytest.raises(DataError) as raised:
        read_benchmark(name, evals)
    assert message in str(raised.value)
    assert str(evals / file) in str(raised.value)


def test_a_header_without_rows(evals: Path) -> None:
    (evals / "mmlu" / "responses" / "mmlu_marketing.csv").write_text(f"prompt,{WEAK},{STRONG}\n")
    with pytest.raises(DataError, match=r"mmlu_marketing.csv: no question in it"):
        read_benchmark("mmlu", evals)


def write_outcomes(path: Path, rows: list[dict[str, object]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


ROWS: list[dict[str, object]] = [
    {"prompt": "p", "model": "a", "score": 1.0, "benchmark": "x", "cost": 0.5},
    {"prompt": "p", "model": "b", "score": 0.0, "benchmark": "x", "cost": 0.1},
    {"prompt": "p", "model": "b", "score": 0.5, "benchmark": "x", "cost": 0.3},
    {"prompt": "p", "model": "a", "score": 0.25, "benchmark": "y", "cost": 0.7},
    {"prompt": "p", "model": "b", "score": 0.75, "benchmark": "y", "cost": 0.2},
    {"prompt": "only a", "model": "a", "score": 1.0, "benchmark": "y", "cost": 0.7},
    {"prompt": "only c", "model": "c", "score": 1.0, "benchmark": "y", "cost": 0.7},
]


def test_outcomes(tmp_path: Path) -> None:
    found = read_outcomes(write_outcomes(tmp_path / "o.parquet", ROWS), strong="a", weak="b")
    assert (found.prompts, found.domains) == (("p", "p"), ("x", "y"))
    assert (found.outcomes.strong.tolist(), found.outcomes.weak.tolist()) == ([1, 0.25], [0.25, 0.75])
    assert found.outcomes.strong_dollars.tolist() == [0.5, 0.7]
    np.testing.assert_allclose(found.outcomes.weak_dollars, [0.2, 0.2])
    assert found.notes == ()


def test_outcomes_without_some_costs_fall_back_to_prices_and_say_so(tmp_path: Path) -> None:
    rows = [{**row, "cost": None} if row["benchmark"] == "y" else row for row in ROWS]
    found = read_outcomes(write_outcomes(tmp_path / "o.parquet", rows), strong="a", weak="b", weak_dollars=7)
    assert found.outcomes.weak_dollars.tolist() == [7, 7]
    assert found.notes == ("column 'cost' is empty for 1 of 2 questions: fixed prices used",)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_outcomes_as_text(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"o{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(ROWS[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    found = read_outcomes(path, strong="a", weak="b")
    expected = read_outcomes(write_outcomes(tmp_path / "o.parquet", ROWS), strong="a", weak="b")
    assert (found.prompts, found.domains, found.notes) == (expected.prompts, expected.domains, expected.notes)
    for side in ("strong", "weak", "strong_dollars", "weak_dollars"):
        np.testing.assert_array_equal(getattr(found.outcomes, side), getattr(expected.outcomes, side))
    with pytest.raises(DataError, match="column 'model': no row of 'z'; the nearest of its 3 models"):
        read_outcomes(path, strong="a", weak="z")


def test_thumbs_are_outcomes(tmp_path: Path) -> None:
    path = tmp_path / "thumbs.csv"
    path.write_text("prompt,model,score,cost\np,a,true,\np,b,False,\n")
    found = read_outcomes(path, strong="a", weak="b")
    assert (found.outcomes.strong.tolist(), found.outcomes.weak.tolist()) == ([1], [0])
    for cell, says in (("fine,", "column 'score', line 2: 'fine' found"), ("1,cheap", "column 'cost' holds something")):
        path.write_text(f"prompt,model,score,cost\np,a,{cell}\np,b,0,0.1\n")
        with pytest.raises(DataError, match=says):
            read_outcomes(path, strong="a", weak="b")
    path.write_text("prompt,model\np,a\np,b\n")
    with pytest.raises(DataError, match="no column 'score'"):
        read_outcomes(path, strong="a", weak="b")


def test_outcomes_need_only_three_columns(tmp_path: Path) -> None:
    rows = [{key: row[key] for key in ("prompt", "model", "score")} for row in ROWS]
    found = read_outcomes(write_outcomes(tmp_path / "o.parquet", rows), strong="a", weak="b")
    assert (found.domains, found.outcomes.strong.tolist()) == (("",), [0.625])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": float("nan")}, "column 'score', row 0: nan found"),
        ({"cost": -1.0}, "column 'cost', row 0: -1.0 found"),
        ({"prompt": None}, "column 'prompt', row 0: None found"),
    ],
)
def test_bad_outcomes(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = write_outcomes(tmp_path / "o.parquet", [{**ROWS[0], **change}, *ROWS[1:]])
    with pytest.raises(DataError) as raised:
        read_outcomes(path, strong="a", weak="b")
    assert f"{path}: {message}" in str(raised.value)


def test_outcomes_of_unknown_models_and_files(tmp_path: Path) -> None:
    path = write_outcomes(tmp_path / "o.parquet", ROWS)
    with pytest.raises(DataError, match="column 'model': no row of 'z'; the nearest of its 3 models: a, b, c"):
        read_outcomes(path, strong="a", weak="z")
    with pytest.raises(DataError, match="no prompt has a score of both 'a' and 'c'"):
        read_outcomes(path, strong="a", weak="c")
    with pytest.raises(InvalidArgumentError, match="for both"):
        read_outcomes(path, strong="a", weak="a")
    with pytest.raises(DataError, match="no such file"):
        read_outcomes(tmp_path / "none.parquet", strong="a", weak="b")
    (tmp_path / "text.parquet").write_text(json.dumps(ROWS))
    with pytest.raises(DataError, match="can't be read as Parquet"):
        read_outcomes(tmp_path / "text.parquet", strong="a", weak="b")
    with pytest.raises(DataError, match="no column 'score'; it has 'prompt', 'model'"):
        read_outcomes(write_outcomes(tmp_path / "p.parquet", [{"prompt": "p", "model": "a"}]), strong="a", weak="b")
