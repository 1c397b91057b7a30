"""``fastroute cascade``, with the routers that ship."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import fastroute
from fastroute.cli import main

WORDS = ["prove", "that", "the", "sum", "of", "two", "odd", "numbers", "is", "even", "say", "hello", "why", "2", "def"]


@pytest.fixture
def run(capfd):
    def run(*args: object):
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def texts(count):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": text, "question": "x"}) + "\n" for text in texts(1200)))
    return path


def test_a_report_and_an_artifact(run, prompts, tmp_path):
    code, out, err = run("cascade", "experts", "mf", "--prompts", prompts, "--disagreement", 0.1, "-o", tmp_path / "it")
    assert code == 0
    cascade = fastroute.load(tmp_path / "it")
    found = cascade.calibration
    lines = out.splitlines()
    assert lines[0].startswith(f"{found['escalated']:.1%} [")
    assert lines[0].endswith("] of prompts reach mf; experts decides the others")
    assert lines[1].startswith(f"{found['agreement']:.1%} [")
    assert lines[1].endswith("of decisions are those of mf alone, on 600 prompts")
    assert lines[2].startswith("with probability 0.9 at most ")
    assert lines[2].endswith("of decisions differ (asked for: 10.00%)")
    assert lines[3] == f"{found['strong_share']:.1%} of prompts go to gpt-4-1106-preview"
    assert lines[4].startswith("at threshold 0.")
    assert lines[5].startswith("microseconds per prompt: experts ")
    assert lines[6] == "curve: reach the second  agreement"
    assert lines[7].split() == ["100.0%", "100.0%"]
    assert lines[-1].split()[0] == "0.0%"
    assert err.splitlines()[-1] == (
        f"{tmp_path / 'it'}: cascade, threshold {cascade.threshold:.4f}, sha256 {cascade.artifact}"
    )


def test_json(run, prompts, tmp_path):
    code, out, _ = run(
        "cascade", "mf", "experts", "--prompts", prompts, "--strong-fraction", 0.3, "--confidence", 0.8, "--seed", 3,
        "--disagreement", 0.1, "--json", "-o", tmp_path / "it",
    )  # fmt: skip
    found = json.loads(out)
    cascade = fastroute.load(tmp_path / "it")
    assert code == 0
    assert (found["sha256"], found["saved"]) == (cascade.artifact, str(tmp_path / "it"))
    assert (found["confidence"], found["disagreement"], found["prompts"]) == (0.8, 0.1, 1200)
    assert tuple(found["band"]) == cascade.band
    assert found["curve"] == cascade.metrics["curve"]
    assert found["strong_share"] == pytest.approx(0.3, abs=0.1)


def test_a_threshold_another_column_and_a_plot(run, prompts, tmp_path):
    pytest.importorskip("matplotlib", reason="plots need the extra [eval]")
    for name, magic in (("curve.png", b"\x89PNG"), ("curve.SVG", b"<?xml")):
        code, _, err = run(
            "cascade", "mf", "mf", "--prompts", prompts, "--column", "question", "--threshold", 0.8,
            "--plot", tmp_path / name, "-o", tmp_path / "it",
        )  # fmt: skip
        assert code == 0
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert fastroute.load(tmp_path / "it").threshold == 0.8
    assert "fastroute: note: the cascade takes no less time" in err


def test_a_cascade_is_routed_inspected_calibrated_and_nested(run, prompts, tmp_path):
    folder = tmp_path / "it"
    assert run("cascade", "experts", "mf", "--prompts", prompts, "--disagreement", 0.1, "-o", folder)[0] == 0
    code, out, _ = run("route", "--router", folder, "--explain", "Prove it")
    assert code == 0
    assert "(router cascade: " in out
    assert "\nthe first router's score " in out
    assert "router decides" in out
    assert json.loads(run("route", "--router", folder, "--explain", "--json", "Prove it")[1])["explanation"]["first"]
    assert "kind  cascade" in run("inspect", folder)[1]
    code, out, _ = run(
        "calibrate", prompts, "--strong-fraction", 0.25, "--router", folder, "--save", tmp_path / "other"
    )
    assert code == 0
    other = fastroute.load(tmp_path / "other")
    routed = [decision.model == other.strong for decision in other.route(texts(1200))]
    assert np.mean(routed) == pytest.approx(0.25, abs=0.01)
    code, _, _ = run("cascade", folder, "experts", "--prompts", prompts, "--disagreement", 0.2, "-o", tmp_path / "deep")
    assert code == 0
    assert fastroute.load(tmp_path / "deep").first.kind == "cascade"


def test_scoring_a_file_takes_the_same_decisions(run, prompts, tmp_path):
    folder = tmp_path / "it"
    assert run("cascade", "mf", "experts", "--prompts", prompts, "--disagreement", 0.1, "-o", folder)[0] == 0
    assert run("score", prompts, "-o", tmp_path / "scored.jsonl", "--router", folder, "--threshold", 0.49, "-q")[0] == 0
    models = [json.loads(line)["model"] for line in (tmp_path / "scored.jsonl").read_text().splitlines()]
    assert models == [d.model for d in fastroute.load(folder).route(texts(1200), threshold=0.49)]


def test_too_few_prompts(run, tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("prompt\na\nb\n")
    code, out, err = run("cascade", "experts", "mf", "--prompts", path, "-o", tmp_path / "it")
    assert code == 0
    assert out.startswith("100.0% [")
    assert "fastroute: note: every prompt reaches the second router: 1 prompts to check on are too few" in err
    assert run("cascade", "experts", "mf", "--prompts", path, "--json", "-o", tmp_path / "it")[0] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["experts", "--prompts", "P", "-o", "D"], "the following arguments are required: SECOND"),
        (["experts", "mf", "-o", "D"], "--prompts"),
        (["experts", "mf", "--prompts", "P"], "-o/--output"),
        (["experts", "nope", "--prompts", "P", "-o", "D"], "router: found 'nope'"),
        (["experts", "mf", "--prompts", "missing.jsonl", "-o", "D"], "missing.jsonl: there is no such file"),
        (
            ["experts", "mf", "--prompts", "P", "-o", "D", "--threshold", "0.5", "--strong-fraction", "0.5"],
            "not allowed",
        ),
        (["experts", "mf", "--prompts", "P", "-o", "D", "--threshold", "1.5"], "--threshold: '1.5'"),
        (["experts", "mf", "--prompts", "P", "-o", "D", "--disagreement", "0"], "disagreement: found 0.0"),
        (["experts", "mf", "--prompts", "P", "-o", "D", "--confidence", "1"], "confidence: found 1.0"),
        (["experts", "mf", "--prompts", "P", "-o", "D", "--plot", "x.pdf"], "--plot: found 'x.pdf'"),
        (["experts", "mf", "--prompts", "P", "-o", "D", "--strong", "nobody"], "strong: found 'nobody'"),
        (["experts", "mf", "--prompts", "P", "-o", "D", "--seed", "-1"], "--seed: '-1'"),
    ],
)
def test_wrong_usage(run, prompts, tmp_path, args, message):
    given = [{"P": prompts, "D": tmp_path / "it"}.get(arg, arg) for arg in args]
    code, out, err = run("cascade", *given)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_no_prompts(run, tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    code, out, err = run("cascade", "experts", "mf", "--prompts", path, "-o", tmp_path / "it")
    assert (code, out) == (1, "")
    assert "holds no prompts" in err


def test_needs_no_more_than_numpy(prompts, tmp_path):
    code = f"""
import sys
for name in ("scipy", "numba", "pyarrow", "matplotlib", "tqdm", "sklearn"):
    sys.modules[name] = None
from fastroute.cli import main
sys.exit(main(["cascade", "mf", "experts", "--prompts", {str(prompts)!r}, "-o", {str(tmp_path / "it")!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
