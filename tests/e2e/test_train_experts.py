"""A user's own labels, in every format, to a router that routes: through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastroute
from fastroute.cli import main
from fastroute.errors import UnknownModelError
from fastroute.routers import ExpertsRouter

PROOF = "Prove that prime numbers are infinite, step 5."
PAIR = ["--strong", "large", "--weak", "small"]


def labels(count: int = 150, *, seed: int = 0) -> dict[str, list[Any]]:
    """Thumbs for three models; the small one fails where a prompt asks for a proof."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list[Any]] = {"prompt": [], "model": [], "score": [], "team": []}
    for i in range(count):
        hard = bool(i % 2)
        topic = str(rng.choice(["prime numbers", "graphs", "sets", "groups"]))
        text = f"Prove that {topic} are infinite, step {i}." if hard else f"Hello, how are you today, friend {i}?"
        for model, right in (("large", 0.95), ("medium", 0.7 if hard else 0.95), ("small", 0.2 if hard else 0.95)):
            columns["prompt"].append(text)
            columns["model"].append(model)
            columns["score"].append(bool(rng.random() < right))
            columns["team"].append("research" if i % 3 else "sales")
    return columns


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    names = list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def separates(router: Any) -> bool:
    fresh = labels(40, seed=9)["prompt"][::3]
    hard = np.array([prompt.startswith("Prove") for prompt in fresh])
    scores = router.score(fresh)
    return bool(scores[hard].min() > scores[~hard].max())


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_labels_in_every_format_train_the_same_router(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / f"labels{suffix}", labels())
    assert main(["train", "experts", "--outcomes", str(file), *PAIR, "-o", str(tmp_path / "mine")]) == 0
    err = capsys.readouterr().err
    assert "APGR, held out" in err
    assert "threshold" in err
    router = fastroute.load(tmp_path / "mine")
    assert isinstance(router, ExpertsRouter)
    assert separates(router)
    expected = ExpertsRouter("large", "small").fit(labels())
    np.testing.assert_array_equal(router.score(labels()["prompt"]), expected.score(labels()["prompt"]))
    decisions = router.route([PROOF, "Hello, how are you?"])
    assert [decision.model for decision in decisions] == ["large", "small"]
    assert router.with_models("large", "small").score("Hello") == router.score("Hello")

    manifest = json.loads((tmp_path / "mine" / "router.json").read_bytes())
    assert str(tmp_path) not in json.dumps(manifest)
    assert manifest["training"]["data"][0]["file"] == file.name
    assert main(["route", "--router", str(tmp_path / "mine"), "--explain", PROOF]) == 0
    out = capsys.readouterr().out
    assert out.startswith("large\n")
    assert "expected gain +" in out
    assert "what moved it most" in out
    assert main(["route", "--router", str(tmp_path / "mine"), "--explain", "--json", "Hello"]) == 0
    explanation = json.loads(capsys.readouterr().out)["explanation"]
    assert sum(feature["effect"] for feature in explanation["features"]) == pytest.approx(explanation["gain"])


def test_a_fourth_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "labels.csv", labels())
    arguments = ["train", "experts", "--outcomes", str(file), "-o", str(tmp_path / "mine")]
    assert main([*arguments, "--strong", "large", "--weak", "tiny"]) == 2
    assert "weak: found 'tiny', which this router does not know; the nearest of its 3 models" in capsys.readouterr().err
    assert main([*arguments, "--strong", "medium", "--weak", "small"]) == 0  # any choice among those there are
    router = fastroute.load(tmp_path / "mine")
    assert (router.strong, router.weak) == ("medium", "small")
    with pytest.raises(UnknownModelError, match=r"strong: found 'tiny'.*nearest.*medium"):
        fastroute.load(tmp_path / "mine", strong="tiny")


def test_stars_by_team_and_by_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = labels(300)
    columns["score"] = [5 if score else 2 for score in columns["score"]]
    file = write(tmp_path / "stars.jsonl", columns)
    base = ["train", "experts", "--outcomes", str(file), "--score-range", "1", "5", *PAIR]
    assert main([*base, "--domain-column", "team", "-o", str(tmp_path / "teams"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {task["domain"] for task in report["tasks"]} == {"research", "sales", ""}  # and all together
    assert fastroute.load(tmp_path / "teams").domains_ == ("research", "sales")
    assert main([*base, "--clusters", "3", "-o", str(tmp_path / "clusters")]) == 0
    assert len(fastroute.load(tmp_path / "clusters").domains_) == 3
    assert separates(fastroute.load(tmp_path / "clusters"))


def test_a_recorded_command_repeats_a_router(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shlex

    monkeypatch.chdir(tmp_path)
    write(Path("labels.csv"), labels())
    write(Path("exam.jsonl"), {"prompt": [f"Exam {i}" for i in range(80)], "strong": [1] * 80, "weak": [0, 1] * 40})
    Path("plan.json").write_text(json.dumps({"domains": {"all": ["*"]}}))
    assert main([
        "train", "experts", "--outcomes", "labels.csv", "--plan", "plan.json", "--gold", "exam.jsonl",
        "--gold-size", "60", *PAIR, "--seed", "4", "-o", "mine",
    ]) == 0  # fmt: skip
    before = fastroute.load("mine")
    training = json.loads(Path("mine/router.json").read_bytes())["training"]
    assert training["gold"][0]["benchmark"] == "exam"
    assert training["gold"][0]["prompts"] == 60
    assert main(shlex.split(training["command"])[1:]) == 0
    assert fastroute.load("mine").artifact == before.artifact
    capsys.readouterr()


def evaluation_folder(root: Path, count: int = 240) -> Path:
    """RouteLLM's layout, with made-up answers to one subject of MMLU; the weak model fails where it says "prove"."""
    from fastroute.evaluation.benchmarks import MMLU_SUBJECTS

    rng = np.random.default_rng(1)
    folder = root / "evals" / "mmlu"
    (folder / "responses").mkdir(parents=True)
    (folder / "contaminated_prompts.jsonl").write_text("")
    for subject in MMLU_SUBJECTS:
        with (folder / "responses" / f"mmlu_{subject}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["prompt", "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"])
            for i in range(count if subject == MMLU_SUBJECTS[0] else 1):
                hard = bool(rng.integers(2))
                prompt = f"{subject} {i}: {'prove' if hard else 'name'} the {rng.choice(['sum', 'set', 'group'])} of it"
                text = prompt + "\nA. one\nB. two\nC. three\nD. four\nAnswer:"
                writer.writerow([text, rng.random() < 0.95, rng.random() < (0.3 if hard else 0.95)])
    return root / "evals"


def test_gold_is_marked_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = evaluation_folder(tmp_path)
    columns = labels()
    columns["model"] = [
        {"large": "gpt-4-1106-preview", "small": "mixtral-8x7b-instruct-v0.1"}.get(m, m) for m in columns["model"]
    ]
    file = write(tmp_path / "labels.csv", columns)
    gold = ["--gold", f"mmlu={data}", "--gold-size", "100"]
    assert main(["train", "experts", "--outcomes", str(file), *gold, "-o", str(tmp_path / "gold")]) == 0
    assert main(["train", "experts", "--outcomes", str(file), "-o", str(tmp_path / "none")]) == 0
    capsys.readouterr()
    routers = [str(tmp_path / "none"), str(tmp_path / "gold")]
    arguments = ["eval", "--benchmark", "mmlu", "--data", str(data), "--resamples", "50", "--json"]
    assert main([*arguments, "--routers", *routers]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["questions"] == 240 + 56 - 100
    assert f"100 gold prompts of {routers[1]} left out" in " ".join(result["notes"])
    without, with_gold = result["routers"][:2]
    assert without["marks"] == []
    assert with_gold["marks"] == ["gold"]
    assert with_gold["metrics"]["apgr"]["value"] > without["metrics"]["apgr"]["value"] + 0.05
    other = ["train", "experts", "--outcomes", str(file), "--strong", "medium", *gold, "-o", str(tmp_path / "x")]
    assert main(other) == 2
    assert "--gold: mmlu has labels of 'gpt-4-1106-preview', allowed: of the strong model" in capsys.readouterr().err
    assert main([*arguments, "--routers", routers[0]]) == 0
    assert json.loads(capsys.readouterr().out)["questions"] == 296


def test_labels_that_were_gold_give_no_guarantee(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "labels.csv", labels())
    texts = [f"Exam {i}: {'prove' if i % 2 else 'name'} it" for i in range(200)]
    columns = {"prompt": texts, "strong": [1] * 200, "weak": [i % 2 for i in range(200)]}
    exam = write(tmp_path / "exam.jsonl", columns)
    train = ["train", "experts", "--outcomes", str(file), *PAIR, "--gold", str(exam), "--gold-size", "80"]
    assert main([*train, "-o", str(tmp_path / "mine")]) == 0
    calibrate = ["calibrate", "--quality", "0.2", "--labels", str(exam), "--router", str(tmp_path / "mine")]
    assert main(calibrate) in (0, 1)
    captured = capsys.readouterr()
    assert "80 gold prompts of the router left out" in captured.err
    assert main([*train[:-2], "-o", str(tmp_path / "all")]) == 0
    assert main([*calibrate[:-1], str(tmp_path / "all")]) == 1
    assert "every labelled prompt is a gold prompt" in capsys.readouterr().err


def test_names_can_not_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = labels(60)
    columns["team"] = ["a\x1b[31mb" if team == "research" else team for team in columns["team"]]
    file = write(tmp_path / "labels.jsonl", columns)
    arguments = ["train", "experts", "--outcomes", str(file), *PAIR, "--domain-column", "team"]
    assert main([*arguments, "-o", str(tmp_path / "mine")]) == 0
    assert main(["route", "--router", str(tmp_path / "mine"), "--explain", PROOF]) == 0
    captured = capsys.readouterr()
    assert "\x1b" not in captured.out + captured.err
    assert "a\\x1b[31mb" in captured.out
    assert "a\\x1b[31mb" in captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "outcomes, judge_scores: found neither"),
        (["--outcomes", "absent.csv"], 1, "absent.csv"),
        (["--outcomes", "labels.txt"], 2, "labels.txt: the format can't be told by its name"),
        (["--outcomes", "labels.csv", "--plan", "absent.json"], 1, "absent.json: no such plan"),
        (["--outcomes", "labels.csv", "--domain-column", "nobody"], 1, "no column 'nobody'"),
        (["--outcomes", "labels.csv", "--clusters", "0"], 2, "'0' is not a whole number, 1 or more"),
        (["--outcomes", "labels.csv", "--score-range", "1", "5"], 1, "column 'score', line 2: 'False' found"),
        (["--outcomes", "labels.csv", "--score-range", "5", "1"], 2, "score_range: found 5.0 to 1.0"),
        (["--outcomes", "labels.csv", "--gold", "absent.jsonl"], 1, "absent.jsonl"),
        (["--outcomes", "labels.csv", "--gold-size", "9"], 2, "--gold-size: goes with --gold"),
        (["--outcomes", "labels.csv", "--gold", "=x.csv"], 2, "--gold: found '=x.csv', allowed: NAME=FILE or FILE"),
        (["--outcomes", "labels.csv", "--gold", "few.csv"], 1, "gold few: found 2 labelled prompts, needed: 50"),
        (["--outcomes", "labels.csv", "--gold", "few.csv", "--gold-size", "9"], 2, "--gold-size: found 9, allowed"),
        (["--outcomes", "labels.csv", "--gold", "few.csv", "--gold", "few=few.csv"], 2, "--gold: found 'few' twice"),
        (["--outcomes", "labels.csv", "--plan", "open-data", "--clusters", "3"], 2, "not allowed with argument"),
        (["--outcomes", "labels.csv", "--encoder", "nowhere"], 1, "nowhere"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(
    arguments: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = labels(40)
    columns["score"][0] = False
    write(Path("labels.csv"), columns)
    write(Path("few.csv"), {"prompt": ["a", "b"], "strong": [1, 1], "weak": [0, 1]})
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["train", "experts", *PAIR, *arguments, "-o", "router"]) == code
    assert says in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
