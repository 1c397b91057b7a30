"""``fastroute calibrate``, with the router that ships."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import numpy as np
import pytest

import fastroute
from fastroute.cli import main
from fastroute.policies import QualityFloor

PROMPTS = [
    f"{verb} {n} {thing}" for n in range(20) for verb in ("Prove", "Say") for thing in ("hello", "the lemma", "x")
]


@pytest.fixture
def run(capfd):
    def run(*args: object):
        code = main(["calibrate", *map(str, args)])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": p, "score": 1, "model": "x"}) + "\n" for p in PROMPTS))
    return path


@pytest.fixture
def labels(tmp_path):
    """Strong always right; weak only on the prompts that the router scores low."""
    path = tmp_path / "labels.jsonl"
    random = np.random.default_rng(0)
    texts = [f"{random.choice(['Prove', 'Translate', 'Compute'])} {n} times {random.integers(99)}" for n in range(600)]
    scores = fastroute.load("mf").score(texts)
    right = scores < np.median(scores)
    rows = [{"prompt": t, "strong": True, "weak": bool(w)} for t, w in zip(texts, right, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_share(run, prompts):
    code, out, err = run(prompts, "--strong-fraction", 0.25)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    scores = fastroute.load("mf").score(PROMPTS)
    assert (scores >= float(lines[0])).mean() == 0.25
    assert lines[1].startswith("25.0% of 120 prompts to gpt-4-1106-preview")
    assert lines[2].startswith("95% interval for prompts like these: ")


def test_a_share_as_json_saved_and_used(run, prompts, tmp_path):
    code, out, err = run(prompts, "--strong-fraction", 0.25, "--json", "--save", tmp_path / "mine", "--confidence", 0.8)
    found = json.loads(out)
    assert (code, found["share"], found["confidence"]) == (0, 0.25, 0.8)
    assert "router 'mf' with threshold" in err
    router = fastroute.load(tmp_path / "mine")
    assert router.artifact == found["sha256"]
    assert router.threshold == found["threshold"]
    assert router.calibration["strong"] == router.strong
    strong = [decision.model == router.strong for decision in router.route(PROMPTS)]
    assert np.mean(strong) == 0.25


def test_a_quality(run, labels, tmp_path):
    code, out, _ = run("--quality", 0.8, "--labels", labels, "--save", tmp_path / "mine")
    assert code == 0
    assert out.splitlines()[1].startswith("with probability 0.9 at least 80.0% of the gap between gpt-4-1106-preview")
    router = fastroute.load(tmp_path / "mine")
    floor = QualityFloor.from_record(router.calibration)
    assert repr(floor.threshold) == out.splitlines()[0]
    assert (floor.quality, floor.confidence, floor.prompts) == (0.8, 0.9, 600)
    assert 0.8 < floor.recovered <= 1
    assert router.route("Say hello").threshold == floor.threshold


def test_a_quality_with_other_prompts(run, labels, prompts):
    code, out, _ = run(prompts, "--quality", 0.5, "--labels", labels, "--json", "--confidence", 0.5)
    found = json.loads(out)
    assert code == 0
    scores = fastroute.load("mf").score(PROMPTS)
    assert found["threshold"] in [0.0, *scores.tolist()]
    assert found["on_prompts"]["share"] == (scores >= found["threshold"]).mean()
    assert found["thresholds_tested"] <= len(PROMPTS) + 1


def test_no_threshold_qualifies(run, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("prompt,strong,weak\na,0,1\nb,1,1\n")
    saved = tmp_path / "mine"
    code, out, err = run("--quality", 0.8, "--labels", path, "--save", saved)
    assert (code, out) == (1, "")
    assert "no threshold qualifies: on 2 labelled prompts" in err
    assert not saved.exists()
    code, out, _ = run("--quality", 0.8, "--labels", path, "--json")
    assert (code, json.loads(out)["threshold"]) == (1, None)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "one of the arguments --strong-fraction --quality is required"),
        (["--strong-fraction", "0.5"], "PROMPTS: missing"),
        (["P", "--strong-fraction", "0.5", "--quality", "0.5"], "not allowed with"),
        (["P", "--strong-fraction", "0.5", "--labels", "l.csv"], "--labels: goes with --quality"),
        (["P", "--quality", "0.5"], "--labels: missing"),
        (["P", "--strong-fraction", "1.5"], "--strong-fraction: '1.5' is not a number from 0 to 1"),
        (["P", "--strong-fraction", "0"], "strong_fraction: found 0.0"),
        (["missing.jsonl", "--strong-fraction", "0.5"], "missing.jsonl: there is no such file"),
        (["P", "--strong-fraction", "0.5", "--router", "nope"], "router: found 'nope'"),
        (["P", "--strong-fraction", "0.5", "--format", "xml"], "--format"),
    ],
)
def test_wrong_usage(run, prompts, args, message):
    code, out, err = run(*(prompts if arg == "P" else arg for arg in args))
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no prompts"),
        ('{"text": "a"}\n', "column 'prompt' is missing"),
        ('{"prompt": 1}\n', "expected a string"),
    ],
)
def test_prompts_that_cant_be_used(run, tmp_path, content, message):
    path = tmp_path / "p.jsonl"
    path.write_text(content)
    code, out, err = run(path, "--strong-fraction", 0.5)
    assert (code, out) == (1, "")
    assert message in err


def test_needs_no_more_than_numpy(labels):
    code = f"""
import sys
for name in ("scipy", "numba", "pyarrow", "matplotlib", "tqdm"):
    sys.modules[name] = None
from fastroute.cli import main
sys.exit(main(["calibrate", "--quality", "0.5", "--labels", {str(labels)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_compressed_log(run, tmp_path):
    text = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    (tmp_path / "log.jsonl").write_text(text)
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    plain, zipped = (run(tmp_path / name, "--strong-fraction", "0.3") for name in ("log.jsonl", "log.jsonl.gz"))
    assert zipped == plain
    assert plain[0] == 0
