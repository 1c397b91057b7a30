"""Training the labels of a causal_llm router: targets, draws, the softmax, the cache, the command."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from tests.reference.decoder_graph import AFTER, BEFORE, write_decoder

import fastroute
from fastroute.artifact import safetensors
from fastroute.cli import main
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownModelError
from fastroute.routers import CausalLlmRouter
from fastroute.training.label_head import cross_entropy, fit_softmax, log_shares

pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
pytest.importorskip("tokenizers", reason="needs the extra [bert]")
pytest.importorskip("numba", reason="figures need the extra [train]")

HARD, EASY = ["prove", "sqrt", "sum"], ["the", "is", "what"]


def outcomes(count: int = 240, seed: int = 0) -> dict[str, list[object]]:
    """The weak model fails where a prompt has hard words."""
    rng = np.random.default_rng(seed)
    table: dict[str, list[object]] = {name: [] for name in ("prompt_id", "prompt", "model", "score", "benchmark")}
    for place in range(count):
        hard = bool(place % 2)
        prompt = " ".join(rng.choice(HARD if hard else EASY, rng.integers(2, 9)))
        for model, right in (("large", 0.9), ("small", 0.1 if hard else 0.9)):
            table["prompt_id"].append(f"p{place}")
            table["prompt"].append(prompt)
            table["model"].append(model)
            table["score"].append(float(rng.random() < right))
            table["benchmark"].append("sums" if place % 8 else "rare")
    return table


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_decoder(tmp_path_factory.mktemp("decoder") / "exported")


def router_of(folder: Path) -> CausalLlmRouter:
    return CausalLlmRouter.from_folder(folder, "large", "small", template=(BEFORE, AFTER))


@pytest.mark.parametrize("head", ["binary", "three_class"])
def test_it_learns_what_is_hard(head: str, folder: Path, tmp_path: Path) -> None:
    router = router_of(folder).fit(outcomes(), head=head)
    scores = router.score(["prove sqrt sum prove", "the is what the"])
    assert scores[0] > scores[1] + 0.1
    assert router.head.kind == head
    assert router.metrics["held_out_apgr"] > 0.6
    losses = [each["held_out_loss"] for each in router.metrics["tried"]]
    assert min(losses) < router.metrics["loss_of_a_constant"]
    assert router.metrics["l2"] == router.metrics["tried"][int(np.argmin(losses))]["l2"]
    assert {task["task"] for task in router.metrics["tasks"]} == {"sums", "rare"}
    assert 0.3 < router.calibration["strong_fraction"] < 0.7
    router.save(tmp_path / "it")
    assert fastroute.load(tmp_path / "it").score("prove sqrt") == router.score("prove sqrt")


def test_zero_shot_keeps_the_labels(folder: Path) -> None:
    plain, router = router_of(folder), router_of(folder).fit(outcomes(), zero_shot=True)
    assert router.score("prove sqrt") == plain.score("prove sqrt")
    assert router.labels == plain.labels
    assert router.threshold != plain.threshold
    assert "tried" not in router.metrics
    trained = router_of(folder).fit(outcomes())
    assert trained.metrics["before_apgr"] == router.metrics["held_out_apgr"]


def test_the_seed_decides(folder: Path) -> None:
    first, again, other = (router_of(folder).fit(outcomes(), seed=seed, most_prompts=100) for seed in (1, 1, 2))
    assert first.score("prove the") == again.score("prove the")
    assert first.score("prove the") != other.score("prove the")


def test_prompts_are_drawn_by_the_root_of_a_tasks_size(folder: Path) -> None:
    table = outcomes(400)  # 50 rare ones, 350 others
    metrics = router_of(folder).fit(table, most_prompts=100).metrics
    drawn = {task["task"]: task["prompts"] for task in metrics["tasks"]}
    share = np.sqrt(50) / (np.sqrt(50) + np.sqrt(350))
    assert abs(drawn["rare"] - 100 * share) <= 1
    assert abs(drawn["sums"] - 100 * (1 - share)) <= 1
    everything = router_of(folder).fit(table, most_prompts=1000).metrics
    assert {task["task"]: task["prompts"] for task in everything["tasks"]} == {"rare": 50, "sums": 350}


def test_a_run_that_was_stopped_goes_on(folder: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(done: int, _: int) -> None:
        if done >= 128:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        router_of(folder).fit(outcomes(), cache=tmp_path, progress=stop)
    (file,) = tmp_path.iterdir()
    with file.open("ab") as stream:
        stream.write(b"half a record")
    resumed = router_of(folder).fit(outcomes(), cache=tmp_path, progress=lambda done, _: seen.append(done))
    assert seen[0] > 128
    assert seen[-1] == 240
    assert resumed.score("prove the") == router_of(folder).fit(outcomes()).score("prove the")
    router_of(folder).fit(outcomes(), cache=tmp_path, progress=lambda *_: pytest.fail("all of it is in the cache"))


def test_a_cache_that_was_altered_is_worked_out_again(folder: Path, tmp_path: Path) -> None:
    router_of(folder).fit(outcomes(), cache=tmp_path)
    (file,) = tmp_path.iterdir()
    raw = file.read_bytes()
    size = 32 + 16 * 4 + 16  # of a prompt: digest, row, digest of both
    count = len(raw) // size
    assert len(raw) == count * size
    altered = bytearray(raw)
    altered[5 * size + 40] ^= 0x40  # of a row: another finite number
    altered[9 * size + 2] ^= 1  # of a prompt's digest
    altered[11 * size + 32 : 11 * size + 36] = np.float32(np.nan).tobytes()
    file.write_bytes(bytes(altered))
    seen: list[int] = []
    again = router_of(folder).fit(outcomes(), cache=tmp_path, progress=lambda done, _: seen.append(done))
    assert again.score("prove the") == router_of(folder).fit(outcomes()).score("prove the")
    assert seen == [240]  # three prompts in one part
    mended = file.read_bytes()
    assert len(mended) == len(raw)
    assert {mended[place * size :][:size] for place in range(count)} == {
        raw[place * size :][:size] for place in range(count)
    }


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"head": "regression"}, InvalidArgumentError, "head: found 'regression', allowed: binary, three_class"),
        ({"most_prompts": 19}, InvalidArgumentError, "most_prompts: found 19"),
        ({"most_prompts": "many"}, InvalidTypeError, "most_prompts: found str"),
        ({"seed": -1}, InvalidArgumentError, "seed: found -1"),
        ({"zero_shot": 1}, InvalidTypeError, "zero_shot: found int"),
        ({"provenance": "x"}, InvalidTypeError, "provenance: found str"),
        ({"plan": "nowhere"}, Exception, "nowhere"),
        ({"outcomes": None}, InvalidArgumentError, "outcomes, judge_scores: found neither"),
        ({"outcomes": {"prompt": ["a"]}}, DataError, "model"),
        ({"outcomes": outcomes(10)}, DataError, "10 prompts were scored for both sides; 20 are needed"),
    ],
)
def test_arguments(arguments: dict[str, object], error: type[Exception], says: str, folder: Path) -> None:
    router = router_of(folder)
    before = router.score("why")
    with pytest.raises(error, match=says):
        router.fit(**{"outcomes": outcomes(40), **arguments})  # type: ignore[arg-type]
    assert router.score("why") == before
    with pytest.raises(UnknownModelError, match="weak: found 'other'"):
        CausalLlmRouter.from_folder(folder, "large", "other", template=(BEFORE, AFTER)).fit(outcomes(40))


def test_the_softmax_is_at_its_minimum() -> None:
    rng = np.random.default_rng(0)
    rows, targets = rng.standard_normal((80, 3)), rng.dirichlet([1, 1, 1], 80)
    fit = fit_softmax(rows, targets, l2=0.1)

    def loss(weights: np.ndarray) -> float:
        logits = rows @ weights[:, :-1].T + weights[:, -1]
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return float(-(targets * np.log(shares)).sum(axis=1).mean() + 0.05 * (weights[:, :-1] ** 2).sum())

    least = loss(fit)
    for place in np.ndindex(*fit.shape):
        for step in (-1e-3, 1e-3):
            moved = fit.copy()
            moved[place] += step
            assert loss(moved) > least
    assert np.allclose(fit, fit_softmax(rows, targets, l2=0.1, start=rng.standard_normal(fit.shape)), atol=1e-6)
    assert cross_entropy(np.array([[1000.0, 0.0]]), np.array([[1.0, 0.0]])) == 0
    assert log_shares(np.array([[3e3, -3e3]])).tolist() == [[0.0, -6e3]]


@pytest.mark.parametrize("missing", ["torch", "transformers", "onnxscript", "accelerate", "gguf"])
def test_the_extra_is_named(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "transformers", "onnxscript", "accelerate", "gguf"):  # those that are there take seconds to import
        monkeypatch.setitem(sys.modules, name, None if name == missing else types.ModuleType(name))
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF")
    command = ["train", "causal_llm", "--model", str(model), "--zero-shot", "-o", str(tmp_path / "it")]
    assert main(command) != 0
    assert f"exporting needs {missing}: pip install 'fastroute[train-llm]'" in capsys.readouterr().err
    assert not (tmp_path / "it").exists()


def write_csv(path: Path, table: dict[str, list[object]]) -> Path:
    lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "graded.csv", outcomes())
    common = ["train", "causal_llm", "--model", str(folder), "--strong", "large", "--weak", "small"]
    template = ["--before", BEFORE, "--after", AFTER, "--max-tokens", "20"]
    output = tmp_path / "router"
    assert main([*common, *template, "--outcomes", str(data), "--prompts", "200", "-o", str(output)]) == 0
    assert "held-out APGR" in capsys.readouterr().err
    manifest = json.loads((output / "router.json").read_bytes())
    training = manifest["training"]
    assert training["command"].startswith("fastroute train causal_llm --outcomes graded.csv --model exported")
    assert training["prompts"] <= 200
    assert training["data"][0]["file"] == "graded.csv"
    assert str(tmp_path) not in json.dumps(manifest)
    router = fastroute.load(output)
    assert isinstance(router, CausalLlmRouter)
    assert router.max_tokens == 20
    assert main(["route", "--router", str(output), "prove sqrt"]) == 0
    assert "large" in capsys.readouterr().out
    assert main([*common, *template, "--zero-shot", "-o", str(tmp_path / "untaught")]) == 0
    untaught = fastroute.load(tmp_path / "untaught")
    assert untaught.threshold == 0.5
    assert untaught.score("why") == router_of(folder).score("why")
    capsys.readouterr()
    assert main([*common, *template, "-o", str(tmp_path / "none")]) != 0
    assert "--outcomes, --judge-scores: found neither" in capsys.readouterr().err
    assert main([*common, *template, "--zero-shot", "--labels", "a", "b", "-o", str(tmp_path / "none")]) != 0
    assert "is exported, and has its labels already" in capsys.readouterr().err
    assert main([*common[:3], str(tmp_path / "nothing"), "--zero-shot", "-o", str(tmp_path / "none")]) != 0
    assert not (tmp_path / "none").exists()


def test_figures_as_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_csv(tmp_path / "graded.csv", outcomes())
    command = ["train", "causal_llm", "--model", str(folder), "--strong", "large", "--weak", "small", "--json"]
    template = ["--before", BEFORE, "--after", AFTER, "-o", str(tmp_path / "router")]
    assert main([*command, *template, "--outcomes", str(data)]) == 0
    said = capsys.readouterr()
    figures = json.loads(said.out)
    assert figures == json.loads((tmp_path / "router" / "router.json").read_bytes())["metrics"]
    assert "held-out APGR" not in said.err
    assert main([*command, *template, "--zero-shot"]) == 0
    assert json.loads(capsys.readouterr().out) == {}


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--strong", "nobody"], 2, "--strong: found 'nobody'"),
        (["--weak", "nobody"], 2, "--weak: found 'nobody'"),
        (["--weak", "large"], 2, "--strong, --weak: found 'large' for both"),
        (["--prompts", "19"], 2, "--prompts: found 19, allowed: 20 or more"),
        (["--outcomes", "FEW"], 1, "--outcomes: 10 prompts were scored for both sides; 20 are needed"),
        (["--outcomes", "APART"], 1, "--outcomes: no task has a prompt that was scored for both sides"),
        (["--after", ""], 2, "--before, --after: found"),
        (["--plan", "PLAN"], 1, "--plan: none of its domains has a pattern that matches a task"),
        (["--plan", "nowhere"], 1, "--plan: nowhere: no such plan"),
        (["--score-range", "1", "0"], 2, "--score-range: found 1.0 to 0.0"),
        (["--seed", "99999999999"], 2, "--seed: found"),
        (["-o", "FILE"], 1, "--output: FILE: exists and is not a folder"),
        (["-o", "FULL"], 1, "--output: FULL: "),
        (["-o", "nowhere/at/all"], 1, "--output: "),
        (["--zero-shot", "--head", "binary"], 2, "--head: says which labels to train, and --zero-shot trains none"),
        (["--labels", " a", " a"], 2, "--labels: found ' a' twice"),
    ],
)
def test_what_is_wrong_is_said_before_the_export(
    options: list[str],
    code: int,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fastroute.exporting.decoder.export_decoder", lambda *_, **__: pytest.fail("it is exported"))
    apart = outcomes(40)
    apart["prompt_id"] = list(range(80))
    apart["prompt"] = [f"{prompt} {place}" for place, prompt in enumerate(apart["prompt"])]
    (tmp_path / "FULL").mkdir()
    (tmp_path / "FULL" / "thesis.txt").write_text("years of work")
    (tmp_path / "FILE").write_text("a file")
    (tmp_path / "PLAN").write_text(json.dumps({"domains": {"chat": ["nothing*"]}}))
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for name, table in (("data", outcomes(40)), ("FEW", outcomes(10)), ("APART", apart)):
        write_csv(tmp_path / f"{name}.csv", table)
    places = {name: str(tmp_path / name) for name in ("FILE", "FULL", "PLAN")}
    places |= {name: str(tmp_path / f"{name}.csv") for name in ("FEW", "APART")}
    command = ["train", "causal_llm", "--model", str(tmp_path / "model.gguf"), "--strong", "large", "--weak", "small"]
    given = ["--outcomes", str(tmp_path / "data.csv"), "-o", str(tmp_path / "it")]
    assert main([*command, *given, *(places.get(each, each) for each in options)]) == code
    said = capsys.readouterr().err
    for name, place in places.items():
        said = said.replace(place, name)
    assert f"error: {says}" in said
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--plan", "open-data"], "--plan: goes with --outcomes or --judge-scores"),
        (["--domain-column", "team"], "--domain-column: goes with"),
        (["--prompts", "100"], "--prompts: goes with"),
        (["--score-range", "1", "5"], "--score-range: goes with"),
        (["--head", "three_class"], "--head: says which labels to train"),
        (["--max-tokens", "25"], "--max-tokens: found 25, allowed: 24 at most"),
    ],
)
def test_settings_that_do_nothing_zero_shot(
    options: list[str], says: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "causal_llm", "--model", str(folder), "--zero-shot", "--strong", "a", "--weak", "b"]
    template = ["--before", BEFORE, "--after", AFTER, "-o", str(tmp_path / "it")]
    assert main([*command, *template, *options]) == 2
    assert f"error: {says}" in capsys.readouterr().err
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize("labels", [("why", "why"), ("why", "WHY")])
def test_two_labels_of_one_row(labels: tuple[str, str], tmp_path: Path) -> None:
    folder = write_decoder(tmp_path / "exported")
    rows = np.ones((2, 16), np.float32)
    raw = safetensors.encode({"weight": rows, "bias": np.zeros(2, np.float32)}, {"labels": json.dumps(labels)})
    (folder / "labels.safetensors").write_bytes(raw)
    with pytest.raises(DataError, match=r"labels.safetensors: two of its labels .* are one"):
        router_of(folder)
