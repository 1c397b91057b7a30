"""The router that ships, through the doors that users have."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
import re
import shlex
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from tests.reference.apgr_reference import apgr, fast_apgr

import fastroute
from fastroute import builtin
from fastroute.cli import main
from fastroute.encoders import OnnxEncoder, load_encoder

STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"


def test_the_quickstart_of_the_readme_runs(checkout: Path) -> None:
    readme = (checkout / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(r"^## In Python\n(.*?)^## ", readme, re.DOTALL | re.MULTILINE)
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert names["router"].kind == "experts"
    assert names["budget"].counts[1] == 1


def test_readme_has_at_most_200_lines(checkout: Path) -> None:
    assert len((checkout / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


def test_routing_opens_no_socket_and_reads_no_home() -> None:
    """Every audited attempt to reach the network ends the process."""
    code = """
        import sys
        def refuse(event, args):
            if event.startswith(("socket.", "urllib.", "http.")):
                raise SystemExit(f"network: {event} {args}")
        sys.addaudithook(refuse)
        import fastroute
        print(fastroute.load().route("Prove that sqrt(2) is irrational.").model)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": "/nonexistent"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")


def test_built_in_artifacts_say_where_they_come_from() -> None:
    for name in builtin.routers():
        manifest = json.loads((builtin.find_router(name) / "router.json").read_bytes())
        training = manifest["training"]
        assert training["command"].startswith(f"fastroute train {name} ")
        assert "/" not in training["command"]
        for data in training["data"]:
            assert len(data["sha256"]) == 64
            assert data["licences"]
    for name in builtin.encoders():
        manifest = json.loads((builtin.find_encoder(name) / "encoder.json").read_bytes())
        assert manifest["provenance"]["command"].startswith("fastroute distill ")
        assert manifest["provenance"]["licence"] == "Apache-2.0"


@pytest.mark.data
@pytest.mark.slow
def test_mmlu_is_ranked_better_than_random(data_pack: Path, tmp_path: Path) -> None:
    """`fastroute score` over every visible MMLU prompt: the 95% interval of APGR lies above a half."""
    evaluation = data_pack / "routellm_evals" / "mmlu"
    listed = (evaluation / "contaminated_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    contaminated = {json.loads(line)["eval_prompt"] for line in listed}
    score, weak, strong = [], [], []
    for file in sorted((evaluation / "responses").glob("*.csv")):
        assert main(["score", str(file), "-o", str(tmp_path / file.name), "--quiet"]) == 0
        with (tmp_path / file.name).open(newline="", encoding="utf-8") as scored:
            for row in csv.DictReader(scored):
                if row["prompt"] not in contaminated:
                    score.append(np.float32(row["score"]))
                    weak.append(row[WEAK] == "True")
                    strong.append(row[STRONG] == "True")
    scores = np.array(score, dtype=np.float32)
    weak_right, strong_right = np.array(weak, dtype=np.float64), np.array(strong, dtype=np.float64)
    assert len(scores) > 7000
    value = fast_apgr(scores, weak_right, strong_right)
    assert value == pytest.approx(apgr(scores, weak_right, strong_right), abs=1e-9)
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(1000):
        drawn = rng.integers(0, len(scores), len(scores))
        resampled.append(fast_apgr(scores[drawn], weak_right[drawn], strong_right[drawn]))
    low, high = np.quantile(resampled, [0.025, 0.975])
    print(f"MMLU, {len(scores)} questions: APGR {value:.4f}, 95% interval [{low:.4f}, {high:.4f}]")
    assert low > 0.5


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("name", "tolerance"), [("mf", 0.01), ("experts", 1e-5), ("knn", 1e-5), ("sw_ranking", 1e-5)])
def test_the_recorded_command_reproduces_the_weights(
    name: str, tolerance: float, data_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit with the recorded versions; experts as near as another BLAS rounds."""
    folder = builtin.find_router(name)
    manifest = json.loads((folder / "router.json").read_bytes())
    training = manifest["training"]
    for data in training["data"]:
        assert hashlib.sha256((data_pack / data["file"]).read_bytes()).hexdigest() == data["sha256"]
    words = shlex.split(training["command"])[1:]
    files = {data["file"] for data in training["data"]}
    monkeypatch.chdir(tmp_path)
    assert main([str(data_pack / word) if word in files else word for word in words]) == 0
    retrained, shipped = fastroute.load(tmp_path / name), fastroute.load(name)
    recorded = training["versions"]
    same = all(version(package) == recorded[package] for package in recorded if package != "fastroute")
    file = {"mf": "weights.safetensors", "knn": "index.safetensors", "sw_ranking": "index.safetensors"}.get(name)
    if file is not None and platform.machine() == "x86_64" and same:
        assert (tmp_path / name / file).read_bytes() == (folder / file).read_bytes()
    prompts = [
        f"{verb} {n} things about {topic}."
        for verb in ("Name", "Prove")
        for n in range(5)
        for topic in ("cats", "sets")
    ]
    np.testing.assert_allclose(retrained.score(prompts), shipped.score(prompts), atol=tolerance)
    assert retrained.threshold == pytest.approx(shipped.threshold, abs=tolerance)


def test_bert_brings_its_encoder() -> None:
    router = fastroute.load("bert")
    manifest = json.loads((builtin.find_router("bert") / "router.json").read_bytes())
    assert router.kind == "experts"
    assert isinstance(router.encoder, OnnxEncoder)
    assert router.encoder.max_tokens == 512
    assert manifest["encoder"] == {"name": router.encoder.name, "sha256": router.encoder.sha256, "bundled": True}
    assert manifest["training"]["model"]["licence"] == "Apache-2.0"
    hard, easy = router.score(["Prove that there are infinitely many primes, step by step.", "What colour is the sky?"])
    assert hard > easy


@pytest.mark.parametrize("name", sorted(set(builtin.routers()) - {"bert"}))
def test_the_encoder_is_the_one_that_the_router_names(name: str) -> None:
    router = fastroute.load(name)
    manifest = json.loads((builtin.find_router(name) / "router.json").read_bytes())
    assert manifest["encoder"] == {"name": router.encoder.name, "sha256": load_encoder().sha256, "bundled": False}


def test_the_default_is_experts_with_a_threshold_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    router = fastroute.load()
    assert router.kind == "experts"
    assert router.threshold == fastroute.load("experts").threshold != 0.5
    assert router.calibration["strong_fraction"] == 0.5
    assert router.with_models("gpt-4-turbo-2024-04-09", "gpt-3.5-turbo").score("Hi") == router.score("Hi")
    assert main(["route", "--explain", "What is 17 * 23, and why?"]) == 0
    out = capsys.readouterr().out
    assert f"(router experts: {router.strong} or {router.weak})" in out
    assert "expected gain" in out


def test_another_pair_does_not_inherit_the_threshold() -> None:
    router = fastroute.load("mf")
    assert router.threshold != 0.5
    assert router.with_models(router.strong, router.weak).threshold == router.threshold
    for other in (
        router.with_models("gpt-4", "gpt-3.5-turbo"),
        fastroute.load("mf", strong="gpt-4", weak="gpt-3.5-turbo"),
    ):
        assert (other.strong, other.weak, other.threshold) == ("gpt-4", "gpt-3.5-turbo", 0.5)
        assert other.score("What is 2 + 2?") != router.score("What is 2 + 2?")
