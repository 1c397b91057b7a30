"""From tables to a router that is loaded without torch, through the command line and from Python."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="fine-tuning needs torch")
pytest.importorskip("transformers", reason="fine-tuning needs transformers")

from tests.training.bert.conftest import battle_rows, outcome_rows

import fastroute
from fastroute.cli import main
from fastroute.encoders import OnnxEncoder
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownModelError
from fastroute.routers import BertRouter, ExpertsRouter
from fastroute.training.bert.descent import Settings
from fastroute.training.bert.fit import fine_tune_classifier, fine_tune_experts
from fastroute.training.preferences import battles_from_preferences
from fastroute.training.splits import held_out

pytestmark = pytest.mark.torch
FAST = (
    "--max-tokens",
    "64",
    "--batch",
    "8",
    "--passes",
    "6",
    "--encoder-rate",
    "1e-3",
    "--head-rate",
    "1e-2",
    "--prompts",
    "240",
)
HARD, EASY = "the sum of the sum prove", "the sum of the sum hello"


def write_rows(path: Path, columns: dict[str, Any]) -> Path:
    lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def trained(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router that the command line trained on scores."""
    folder = tmp_path_factory.mktemp("trained")
    outcomes = write_rows(folder / "graded.jsonl", outcome_rows(600))
    command = ["train", "bert", "--model", checkpoint_folder, "--outcomes", outcomes, "--strong", "large"]
    command += ["--weak", "small", "-o", folder / "router", "--licence", "MIT", *FAST]
    assert main([*map(str, command)]) == 0
    assert not (folder / "router.checkpoint").exists()
    return folder / "router"


def test_a_trained_router_tells_hard_prompts_from_easy_ones(trained: Path) -> None:
    router = fastroute.load(trained)
    assert isinstance(router, ExpertsRouter)
    assert isinstance(router.encoder, OnnxEncoder)
    scores = router.score([HARD, EASY])
    assert scores[0] > scores[1] + 0.2
    assert router.route(HARD).model == "large"
    assert router.route(EASY).model == "small"


def test_the_artifact_says_how_it_was_made(trained: Path) -> None:
    manifest = json.loads((trained / "router.json").read_bytes())
    training, metrics = manifest["training"], manifest["metrics"]
    assert training["command"].startswith("fastroute train bert --outcomes graded.jsonl --model tiny")
    assert training["fine_tuning"]["settings"]["passes"] == 6
    assert training["model"]["licence"] == "MIT"
    assert [each["file"] for each in training["model"]["files"]] == [
        "config.json",
        "tokenizer.json",
        "model.safetensors",
    ]
    assert set(training["versions"]) >= {"torch", "transformers", "onnxruntime"}
    assert metrics["export"]["largest_difference"] <= 1e-4
    assert metrics["quantisation"]["correlation"] > 0.99
    assert metrics["held_out_apgr"] > 0.7  # .75 is the most that half of the prompts can give
    assert str(trained.parent) not in json.dumps(manifest)


def test_its_figures_are_of_prompts_that_no_pass_has_seen(trained: Path) -> None:
    metrics = fastroute.load(trained).metrics  # type: ignore[attr-defined]
    rows = outcome_rows(600)
    from fastroute.tables import text_key

    keys = tuple({text_key(prompt) for prompt in rows["prompt"]})
    counted = {task["task"]: task["prompts"] for task in metrics["tasks"]}
    assert counted["all together"] == held_out(keys, 0.1, 0).sum()
    assert counted["even"] + counted["odd"] == counted["all together"]


def test_it_runs_where_torch_is_not(trained: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        f"import fastroute; print(fastroute.load({str(trained)!r}).score({HARD!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert float(done.stdout) == fastroute.load(trained).score(HARD)


def test_battles_teach_the_three_classes_of_the_paper(checkpoint_folder: Path, tmp_path: Path) -> None:
    battles = write_rows(tmp_path / "votes.jsonl", battle_rows(600))
    command = ["train", "bert", "--model", checkpoint_folder, "--preferences", battles, "--strong", "large"]
    options = ["--weak", "small", "-o", str(tmp_path / "router"), "--precision", "fp16", "--threads", "1", *FAST]
    assert main([*map(str, command), *options]) == 0
    router = fastroute.load(tmp_path / "router")
    assert isinstance(router, BertRouter)
    assert router.head.kind == "three_class"
    hard, easy = router.score([HARD, EASY])
    assert hard > 0.7
    assert easy < 0.3
    assert router.calibration["strong_fraction"] == 0.5
    assert router.metrics["held_out_apgr"] > 0.7
    saved = json.loads((tmp_path / "router" / "router.json").read_bytes())["training"]
    assert (saved["strong_models"], saved["weak_models"]) == (["large"], ["small"])


def test_killed_and_resumed_it_is_the_same_router(trained: Path, checkpoint_folder: Path, tmp_path: Path) -> None:
    outcomes = write_rows(tmp_path / "graded.jsonl", outcome_rows(600))
    output = tmp_path / "router"
    command = ["-m", "fastroute", "train", "bert", "--model", checkpoint_folder, "--outcomes", outcomes, "-o", output]
    words = [sys.executable, *map(str, command), "--strong", "large", "--weak", "small", *FAST, "--save-every", "5"]
    state = tmp_path / "router.checkpoint"
    killed = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not state.exists() and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert state.exists()
    assert not output.exists()
    assert main([*words[3:], "--resume"]) == 0
    assert not state.exists()
    files = {path.name: path.read_bytes() for path in output.iterdir() if path.name != "router.json"}
    assert files == {path.name: path.read_bytes() for path in trained.iterdir() if path.name != "router.json"}


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "--outcomes, --judge-scores, --preferences: found none"),
        (("--preferences", "votes.jsonl", "--plan", "open-data"), 2, "--plan: goes with"),
        (("--outcomes", "graded.jsonl", "--resume"), 1, "no checkpoint to go on from"),
        (("--outcomes", "graded.jsonl", "--passes", "-1"), 2, "--passes"),
        (("--outcomes", "graded.jsonl", "--max-tokens", "65"), 2, "allowed: at most 64, the positions"),
        (("--outcomes", "graded.jsonl", "--routed-tokens", "65"), 2, "routed_tokens: found 65, allowed: at most 64"),
        (("--outcomes", "graded.jsonl", "--validation", "0"), 2, "--validation: found 0.0"),
        (("--outcomes", "graded.jsonl", "--checkpoint", "graded.jsonl"), 1, "graded.jsonl: is there already"),
        (("--outcomes", "few.jsonl"), 1, "found 12 prompts with scores of both sides, needed: 20 or more"),
        (("--outcomes", "graded.jsonl", "-o", "taken"), 1, "taken: "),
        (("--outcomes", "graded.jsonl", "--strong", "huge"), 2, "strong: found 'huge'"),
        (("--outcomes", "graded.jsonl", "--model", "nowhere"), 1, "nowhere"),
        (("--preferences", "votes.jsonl", "--strong", "small", "--weak", "large"), 1, "must be in a better tier"),
    ],
)
def test_what_the_command_line_refuses(
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "graded.jsonl", outcome_rows(60))
    write_rows(tmp_path / "votes.jsonl", battle_rows(60))
    write_rows(tmp_path / "few.jsonl", outcome_rows(12))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").touch()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    command = ["train", "bert", "--model", str(checkpoint_folder), "--strong", "large", "--weak", "small", "-o", "out"]
    command += ["--max-tokens", "64"]
    try:
        found = main([*command, *options])
    except SystemExit as stop:
        found = int(stop.code or 0)
    assert found == code
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def broken(folder: Path, into: Path, **changes: bytes | None) -> Path:
    """Copy a checkpoint with files replaced, or left out."""
    into.mkdir()
    for path in folder.iterdir():
        data = changes.get(path.stem, path.read_bytes())
        if data is not None:
            (into / path.name).write_bytes(data)
    return into


def test_checkpoints_that_are_none(checkpoint_folder: Path, tmp_path: Path) -> None:
    def tune(folder: Path) -> None:
        settings = Settings(prompts=16, batch=8, max_tokens=64)
        fine_tune_experts(folder, strong="large", weak="small", outcomes=outcome_rows(60), settings=settings)

    with pytest.raises(DataError, match=r"tokenizer\.json: not found"):
        tune(broken(checkpoint_folder, tmp_path / "a", tokenizer=None))
    with pytest.raises(DataError, match=r"has no config\.json"):
        tune(broken(checkpoint_folder, tmp_path / "b", config=None))
    with pytest.raises(DataError, match="transformers can't read it"):
        tune(broken(checkpoint_folder, tmp_path / "c", model=None))
    with pytest.raises(DataError, match="transformers can't read it"):
        tune(broken(checkpoint_folder, tmp_path / "d", model=b"\0" * 100))
    from safetensors.numpy import load, save

    raw = load((checkpoint_folder / "model.safetensors").read_bytes())
    renamed = {f"foo.{name}": values for name, values in raw.items()}
    with pytest.raises(DataError, match="tensors of the encoder are missing, left over or of another shape"):
        tune(broken(checkpoint_folder, tmp_path / "g", model=save(renamed)))
    first = min(name for name in raw if "embeddings" in name)
    with pytest.raises(DataError, match=f"the tensor '{first}' has NaN"):
        tune(broken(checkpoint_folder, tmp_path / "h", model=save(raw | {first: raw[first] * np.float32("nan")})))
    settings = json.loads((checkpoint_folder / "config.json").read_bytes())
    for name, layers in (("i", 4), ("j", 1)):
        changed = json.dumps(settings | {"num_hidden_layers": layers}).encode()
        with pytest.raises(DataError, match="tensors of the encoder are missing, left over"):
            tune(broken(checkpoint_folder, tmp_path / name, config=changed))
    with pytest.raises(DataError, match="no tokenizer that the tokenizers package reads"):
        tune(broken(checkpoint_folder, tmp_path / "e", tokenizer=b"{}"))
    larger = json.loads((checkpoint_folder / "tokenizer.json").read_bytes())
    larger["model"]["vocab"] |= {f"word{i}": 14 + i for i in range(100)}
    with pytest.raises(DataError, match="tokenizer of another model"):
        tune(broken(checkpoint_folder, tmp_path / "f", tokenizer=json.dumps(larger).encode()))


def test_what_the_head_lacks_is_said_before_the_passes(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("fine-tuning began")

    monkeypatch.setattr("fastroute.training.bert.fit.descend", never)
    rows = outcome_rows(60)
    given: dict[str, Any] = {"outcomes": rows, "strong": "large", "weak": "small"}
    with pytest.raises(UnknownModelError, match="strong: found 'huge'"):
        fine_tune_experts(checkpoint_folder, **given | {"strong": "huge"})
    with pytest.raises(InvalidArgumentError, match="found 'large' for both"):
        fine_tune_experts(checkpoint_folder, **given | {"weak": "large"})
    with pytest.raises(DataError, match="none of its domains has a pattern that matches a task"):
        fine_tune_experts(checkpoint_folder, **given, plan="open-data")
    with pytest.raises(InvalidArgumentError, match="clusters: found 9, allowed: at most 3 for 60 prompts"):
        fine_tune_experts(checkpoint_folder, **given, clusters=9)
    with pytest.raises(InvalidArgumentError, match="clusters: not allowed beside a plan"):
        fine_tune_experts(checkpoint_folder, **given, clusters=2, plan="open-data")
    with pytest.raises(DataError, match="no such plan"):
        fine_tune_experts(checkpoint_folder, **given, plan="nowhere.json")


def test_stars_and_domains_of_ones_own(checkpoint_folder: Path, tmp_path: Path) -> None:
    rows = outcome_rows(120)
    rows["score"] = [1 + 4 * score for score in rows["score"]]
    rows["team"] = [f"team {benchmark}" for benchmark in rows["benchmark"]]
    stars = write_rows(tmp_path / "stars.jsonl", rows)
    command = [
        "train",
        "bert",
        "--model",
        checkpoint_folder,
        "--outcomes",
        stars,
        "--strong",
        "large",
        "--weak",
        "small",
    ]
    command += ["--passes", "0", "--max-tokens", "64", "--score-range", "1", "5", "--domain-column", "team"]
    assert main([*map(str, command), "-o", str(tmp_path / "router")]) == 0
    router = fastroute.load(tmp_path / "router")
    assert isinstance(router, ExpertsRouter)
    assert router.domains_ == ("team even", "team odd")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"settings": {}}, InvalidTypeError, "settings: found dict"),
        ({"validation_fraction": "a"}, InvalidTypeError, "validation_fraction: found str"),
        ({"save_every": 0}, InvalidArgumentError, "save_every: found 0"),
        ({"routed_tokens": 1.5}, InvalidTypeError, "routed_tokens: found float"),
        ({"resume": True}, InvalidArgumentError, "resume: goes with checkpoint"),
    ],
)
def test_bad_arguments(
    checkpoint_folder: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fine_tune_experts(checkpoint_folder, strong="large", weak="small", outcomes=outcome_rows(60), **arguments)


def test_without_passes_the_encoder_stays(checkpoint_folder: Path) -> None:
    from transformers import AutoModel

    settings = Settings(passes=0, max_tokens=64)
    router = fine_tune_experts(
        checkpoint_folder, strong="large", weak="small", outcomes=outcome_rows(), settings=settings, precision="fp32"
    )
    import torch

    model = AutoModel.from_pretrained(checkpoint_folder).eval()
    encoder = router.encoder
    assert isinstance(encoder, OnnxEncoder)
    ids = torch.tensor([[2, *encoder.tokenize(HARD), 3]])
    with torch.inference_mode():
        wanted = model(input_ids=ids).last_hidden_state[0].mean(0)
    found = encoder.embed([HARD])[0]
    assert np.allclose(found, wanted / wanted.norm(), atol=1e-5)
    assert router.metrics["quantisation"]["equal_decisions"] == 1


def test_precision_is_one_of_two(checkpoint_folder: Path) -> None:
    battles = battles_from_preferences(battle_rows(60))
    with pytest.raises(InvalidArgumentError, match="precision: found 'int4', allowed: int8, fp32, fp16"):
        fine_tune_classifier(checkpoint_folder, battles, strong="large", weak="small", precision="int4")


def test_a_copy_on_a_gpu_is_asked_for_as_with_other_routers(trained: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="quantised for a CPU"):
        fastroute.load(trained, device="cuda")
    assert fastroute.load(trained, device="cpu").score(HARD) == fastroute.load(trained).score(HARD)
