"""``fastroute eval`` from end to end, and the random router."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.reference import evaluation_reference as reference
from tests.reference.evaluation_reference import Question

import fastroute
from fastroute.artifact import ROUTER, write_artifact
from fastroute.cli import main
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.evaluation import Outcomes, evaluate, read_benchmark
from fastroute.evaluation.benchmarks import Benchmark
from fastroute.evaluation.evaluate import marks_of
from fastroute.evaluation.paper import PAPER
from fastroute.routers import RandomRouter


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def run(*args: object) -> Ended:
        code = main(["eval", *(str(arg) for arg in args)])
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


def squeezed(text: str) -> list[str]:
    """Lines with one space between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_table(run, evals) -> None:
    ended = run("--benchmark", "mmlu", "--data", evals, "--routers", "mf", "--resamples", 50)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(
        "mmlu: 113 questions, 1 contaminated left out; gpt-4-1106-preview (strong), "
        "mistralai/Mixtral-8x7B-Instruct-v0.1 (weak)\n[95% intervals over questions, 50 resamples, seed 0]\n"
    )
    first = [line.split()[0] for line in ended.out.split("\n\n")[1].splitlines()]
    assert first == ["router", "mf", "random", "oracle"]
    assert "always strong" in ended.out
    assert "always weak" in ended.out
    assert "SW ranking arena+gold 0.603 35.40% 71.55%" in squeezed(ended.out)
    assert "APGR of mf less that of random: " in ended.out


@pytest.mark.parametrize("name", ["mmlu", "gsm8k", "mt-bench"])
def test_json_holds_the_figures_of_the_reference(run, evals, name) -> None:
    ended = run("--benchmark", name, "--data", evals, "--routers", "all", "--resamples", 20, "--json")
    found = json.loads(ended.out)
    read = read_benchmark(name, evals)
    assert (found["questions"], found["dropped"]) == (len(read.prompts), 1)
    assert [router["name"] for router in found["routers"]] == [*fastroute.info().routers, "random", "oracle"]
    router = found["routers"][0]
    scores = fastroute.load(router["name"]).score(read.prompts).tolist()
    questions = [
        Question(float(score), weak, strong)
        for score, weak, strong in zip(scores, read.outcomes.weak.tolist(), read.outcomes.strong.tolist(), strict=True)
    ]
    assert router["metrics"]["apgr"]["value"] == pytest.approx(reference.apgr(questions))
    assert router["metrics"]["cpt_80"]["value"] == pytest.approx(reference.cpt(questions, 0.8))
    assert router["metrics"]["apgr"]["low"] <= router["metrics"]["apgr"]["value"] <= router["metrics"]["apgr"]["high"]
    assert [fixed["name"] for fixed in found["fixed"]] == ["always strong", "always weak"]
    assert len(found["paper"]) == 9
    assert found["domains"] == []


def test_the_same_seed_gives_the_same_bytes(run, evals) -> None:
    args = ("--benchmark", "gsm8k", "--data", evals, "--routers", "random", "--resamples", 30)
    assert run(*args, "--json").out == run(*args, "--json").out
    assert run(*args).out != run(*args, "--seed", 1).out


def test_csv_and_plots(run, evals, tmp_path) -> None:
    args = ("--benchmark", "mt-bench", "--data", evals, "--resamples", 20, "--per-domain")
    assert run(*args, "--csv", tmp_path / "e.csv", "--plot", tmp_path / "e.png").code == 0
    assert run(*args, "--plot", tmp_path / "e.svg").code == 0
    rows = list(csv.DictReader((tmp_path / "e.csv").read_text().splitlines()))
    apgr = {(row["domain"], row["router"]): row for row in rows if row["metric"] == "apgr"}
    assert set(apgr) == {
        (domain, router) for domain in ("", "even", "odd") for router in ("experts", "random", "oracle")
    }
    assert float(apgr["", "oracle"]["low"]) <= float(apgr["", "oracle"]["value"])
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    drawing = (tmp_path / "e.svg").read_text()
    assert drawing.count("<svg") == 1
    assert "nan" not in drawing.lower().split("<metadata>")[0]


def outcome_file(path: Path) -> Path:
    rows = [
        {
            "prompt": f"prompt {i}",
            "model": model,
            "score": float(i % 3 != 0 or model == "big"),
            "domain": f"d{i % 2}",
            "cost": cost,
        }
        for i in range(40)
        for model, cost in (("big", 0.02), ("small", 0.001))
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_outcomes_with_per_domain_rows_and_their_own_costs(run, tmp_path) -> None:
    data = outcome_file(tmp_path / "o.parquet")
    args = ("--benchmark", "outcomes", "--data", data, "--strong", "big", "--weak", "small", "--resamples", 20)
    ended = run(*args)
    assert ended.code == 0
    assert "experts scores for gpt-4-1106-preview against mixtral-8x7b-instruct-v0.1: it doesn't know both" in ended.err
    assert [line.split()[0] for line in ended.out.split("\n\n")[4].splitlines()] == ["domain", "d0", "d1"]
    assert "always strong - 100.0% 1.000 [1.000, 1.000] 1.000 20.00" in squeezed(ended.out)
    found = json.loads(run(*args, "--json", "--routers", "random").out)
    assert [domain["questions"] for domain in found["domains"]] == [20, 20]


def test_routers_that_saw_gold_labels_are_marked(run, evals, tmp_path) -> None:
    manifest = json.loads((fastroute.loading.locate("mf") / "router.json").read_bytes())
    kept = {key: value for key, value in manifest.items() if key not in ("format", "format_version", "files", "sha256")}
    weights = (fastroute.loading.locate("mf") / "weights.safetensors").read_bytes()
    training = {**kept["training"], "gold": [{"benchmark": "mt_bench"}]}
    manifest = {**kept, "training": training}
    write_artifact(tmp_path / "golden", format=ROUTER, manifest=manifest, files={"weights.safetensors": weights})
    args = ("--data", evals, "--routers", "mf", tmp_path / "golden", "--resamples", 5)
    marked = run("--benchmark", "mt-bench", *args)
    assert f"{tmp_path / 'golden'} (gold)" in marked.out
    assert "mf (gold)" not in marked.out
    assert "(gold): trained with gold labels of this benchmark" in marked.out
    assert "(gold)" not in run("--benchmark", "gsm8k", *args).out
    found = json.loads(run("--benchmark", "mt-bench", *args, "--json").out)
    assert [router["marks"] for router in found["routers"]] == [[], ["gold"], [], []]


@pytest.mark.parametrize(
    ("training", "marks"),
    [
        ({}, ()),
        ({"gold": None}, ()),
        ({"gold": "mmlu"}, ("gold",)),
        ({"gold": ["gsm8k", "MMLU"]}, ("gold",)),
        ({"gold": {"mmlu": 1500}}, ("gold",)),
        ({"gold": ["gsm8k"]}, ()),
        ({"data": [{"sha256": "f00"}, {"sha256": "abc"}]}, ("file",)),
        ({"data": [{"sha256": "f00"}], "gold": []}, ()),
        ("text", ()),
    ],
)
def test_marks(training, marks) -> None:
    benchmark = Benchmark("mmlu", "a", "b", ("p",), Outcomes.of([0], [1]), ("",), 0, {"x.csv": "abc"})
    assert marks_of({"training": training}, benchmark) == marks


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--benchmark", "arc", "--data", "x"], 2, "argument --benchmark: invalid choice: 'arc'"),
        (["--benchmark", "mmlu", "--data", "nowhere"], 1, "nowhere: no such folder"),
        (["--benchmark", "mmlu", "--data", "x", "--plot", "x.gif"], 2, "--plot: found 'x.gif'; allowed:"),
        (["--benchmark", "mmlu", "--data", "x", "--resamples", "0"], 2, "argument --resamples: '0'"),
        (["--benchmark", "mmlu", "--data", "x", "--seed", "-1"], 2, "argument --seed: '-1'"),
        (
            ["--benchmark", "mmlu", "--data", "x", "--keep", "95"],
            2,
            "argument --keep: '95' is not a number from 0 to 1",
        ),
        (["--benchmark", "mmlu", "--data", "x", "--weak-dollars", "inf"], 2, "argument --weak-dollars: 'inf'"),
        (["--benchmark", "outcomes", "--data", "x"], 2, "--strong: needed with --benchmark outcomes"),
    ],
)
def test_wrong_usage(run, args, code, message) -> None:
    ended = run(*args)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_an_unknown_router_is_named(run, evals) -> None:
    ended = run("--benchmark", "gsm8k", "--data", evals, "--routers", "fm")
    assert (ended.code, ended.out) == (2, "")
    assert "router: found 'fm', allowed: a built-in name" in ended.err


@pytest.mark.parametrize("missing", ["numba", "pyarrow", "matplotlib"])
def test_a_missing_extra_is_named(run, evals, monkeypatch, tmp_path, missing) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    ended = run("--benchmark", "gsm8k", "--data", evals, "--plot", tmp_path / "e.png")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"fastroute: error: fastroute eval needs {missing}: pip install 'fastroute[eval]'\n"


def test_scores_that_are_no_numbers(evals) -> None:
    class Broken(RandomRouter):
        def score(self, prompts):
            return np.full(len(prompts), np.nan)

    with pytest.raises(DataError, match=r"router 'x': found scores of shape \(11,\), needed: 11 finite numbers"):
        evaluate(read_benchmark("gsm8k", evals), {"x": Broken()})
    with pytest.raises(InvalidArgumentError, match="routers: found none"):
        evaluate(read_benchmark("gsm8k", evals), {})


def test_the_random_router_is_uniform_seeded_and_deterministic(tmp_path) -> None:
    router = fastroute.load("random")
    prompts = [f"prompt {i}" for i in range(20_000)]
    scores = router.score(prompts)
    assert scores.dtype == np.float32
    assert scores.min() >= 0
    assert scores.max() < 1
    # chi-squared over 20 bins: 19 degrees of freedom, 1 in 10,000 at 51
    counts = np.bincount((scores * 20).astype(int), minlength=20)
    assert ((counts - 1000) ** 2 / 1000).sum() < 51
    assert router.score("prompt 7") == scores[7]
    assert RandomRouter(seed=0).score("prompt 7") == scores[7]
    other = RandomRouter(seed=1).score(prompts)
    assert abs(np.corrcoef(scores, other)[0, 1]) < 0.03
    decision = router.route("prompt 7", threshold=0.0)
    assert (decision.model, decision.router) == ("gpt-4-1106-preview", "random")
    saved = RandomRouter("a", "b", seed=9)
    saved.save(tmp_path / "r")
    loaded = fastroute.load(tmp_path / "r")
    assert (loaded.strong, loaded.weak, loaded.seed, loaded.artifact) == ("a", "b", 9, saved.artifact)
    np.testing.assert_array_equal(loaded.score(prompts[:50]), saved.score(prompts[:50]))
    assert fastroute.load("random", weak="w").weak == "w"


def test_bad_arguments_of_the_random_router() -> None:
    with pytest.raises(InvalidTypeError, match=r"prompts\[1\]: found int"):
        RandomRouter().score(["a", 1])
    with pytest.raises(InvalidTypeError, match="prompts: found int"):
        RandomRouter().score(3)
    with pytest.raises(InvalidArgumentError, match="seed: found -1"):
        RandomRouter(seed=-1)
    with pytest.raises(InvalidTypeError, match="seed: found str"):
        RandomRouter(seed="1")
    with pytest.raises(InvalidArgumentError, match="for both"):
        RandomRouter("a", "a")
    with pytest.raises(InvalidArgumentError, match="encoder="):
        fastroute.load("random", encoder="static-minilm-l6")


def test_the_papers_figures_that_the_text_of_the_paper_quotes() -> None:
    """Improvements over random that tables 1 to 3 give beside APGR."""
    improvements = {
        "mt-bench": [-21.8, 14.6, 16, 22.1, 50.2, 35.8, 60.4, 51.8],
        "mmlu": [0.5, -0.2, 4.9, -5.4, 14.4, 19.9, 19.5, 20.7],
        "gsm8k": [-11.8, -7.3, -4.5, -4.3, 6.9, 25.3, 13.8, 14.3],
    }
    for benchmark, expected in improvements.items():
        random, *rows = PAPER[benchmark]
        assert [100 * (row.apgr / random.apgr - 1) for row in rows] == pytest.approx(expected, abs=0.25)


@pytest.mark.data
@pytest.mark.parametrize(("name", "questions", "listed"), [("mmlu", 7079, 5), ("gsm8k", 650, 7), ("mt-bench", 40, 8)])
def test_the_visible_files(run, data_pack, name, questions, listed) -> None:
    folder = data_pack / "routellm_evals"
    ended = run("--benchmark", name, "--data", folder, "--routers", "all", "--json")
    found = json.loads(ended.out)
    assert found["questions"] + found["dropped"] == questions
    assert 0 < found["dropped"] <= listed
    router, random, oracle = found["routers"][0], found["routers"][-2], found["routers"][-1]
    print(name, {key: router["metrics"][key] for key in ("apgr", "cpt_50", "cpt_80", "keep_share")})
    assert random["metrics"]["apgr"]["low"] <= 0.5 <= random["metrics"]["apgr"]["high"]
    assert oracle["metrics"]["apgr"]["value"] > 0.85
    strong, weak = (fixed["quality"]["value"] for fixed in found["fixed"])
    assert strong > weak


def test_differences_are_of_the_same_resamples(evals) -> None:
    """A router differs from itself by nothing in every resample; from random by its interval's own ends."""
    found = evaluate(
        read_benchmark("mmlu", evals), {"one": RandomRouter(seed=3), "same": RandomRouter(seed=3)}, resamples=50
    )
    same, random = found.differences
    assert (same.second, same.apgr.value, same.apgr.low, same.apgr.high) == ("same", 0, 0, 0)
    assert random.second == "random"
    assert random.apgr.low <= random.apgr.value <= random.apgr.high
    assert random.apgr.low < random.apgr.high
