"""Training, saving and explaining of routers of nearest neighbours, from Python and the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute.cli import main
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownModelError
from fastroute.routers import KnnRouter
from fastroute.training.comparisons.plan import Plan

pytest.importorskip("sklearn", reason="training needs the extra [train]")

PAIR = ("large", "small")


def scores(count: int = 200, seed: int = 0, models: tuple[str, ...] = ("large", "medium", "small")) -> dict[str, Any]:
    """The small model fails on proofs; the large one never does; a third is right every other time."""
    rng = np.random.default_rng(seed)
    rows: dict[str, Any] = {"prompt": [], "model": [], "score": []}
    for i in range(count):
        proof = bool(rng.integers(2))
        text = "prove the theorem of algebra number" if proof else "write a poem of cats and dogs number"
        for model in models:
            rows["prompt"].append(f"{text} {seed}{i}")
            rows["model"].append(model)
            right = {"large": True, "medium": i % 2 == 0}.get(model, not proof)
            rows["score"].append(float(right))
    return rows


def write_scores(path: Path, **settings: Any) -> Path:
    rows = scores(**settings)
    lines = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def router() -> KnnRouter:
    return KnnRouter(*PAIR, neighbours=20).fit(scores())


def test_it_learns_which_prompts_need_the_strong_model(router: KnnRouter) -> None:
    proof, poem = router.score(["prove the theorem of geometry", "write a poem of birds"])
    assert proof > 0.8 > 0.6 > poem >= 0.5
    assert poem < router.threshold < proof
    assert router.models == ("large", "medium", "small")
    assert router.prompts == 200
    assert router.metrics["held_out_apgr"] > 0.6
    # A prompt without tokens is like none: it scores as the average prompt.
    gains = np.array(scores()["score"]).reshape(-1, 3)
    assert router.score("") == pytest.approx((1 + (gains[:, 0] - gains[:, 2]).mean()) / 2, abs=1e-6)


def test_saved_and_loaded_it_is_the_same(tmp_path: Path, router: KnnRouter) -> None:
    sha256 = router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, KnnRouter)
    assert (loaded.artifact, loaded.settings, loaded.threshold) == (sha256, router.settings, router.threshold)
    prompts = scores(seed=1)["prompt"][::3]
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    np.testing.assert_array_equal(loaded.quality(prompts), router.quality(prompts))
    assert loaded.explain(prompts[0]) == router.explain(prompts[0])
    assert loaded.save(tmp_path / "again") == sha256


def test_quality_of_every_model(router: KnnRouter) -> None:
    quality = router.quality(["prove the theorem of geometry", "write a poem of birds", ""])
    assert quality.shape == (3, 3)
    assert quality.dtype == np.float32
    large, medium, small = quality.T
    assert (large == 1).all()
    np.testing.assert_allclose(medium, 0.5, atol=0.3)
    assert small[0] < 0.3 < 0.7 < small[1]
    np.testing.assert_array_equal(router.quality("write a poem of birds"), quality[1])
    unguarded = KnnRouter(*PAIR, neighbours=20, guard=0).fit(scores())
    prompts = scores(seed=1)["prompt"][::3]
    rated = unguarded.quality(prompts)
    np.testing.assert_allclose((1 + rated[:, 0] - rated[:, 2]) / 2, unguarded.score(prompts), atol=1e-6)


def test_models_that_were_not_all_scored_on_the_same_prompts() -> None:
    rows = scores()
    keep = [i for i, model in enumerate(rows["model"]) if model != "medium" or i < 150]
    router = KnnRouter(*PAIR, neighbours=5).fit({name: [values[i] for i in keep] for name, values in rows.items()})
    assert router.prompts == 200
    other = router.with_models("large", "medium")
    assert (other.threshold, other.models) == (0.5, router.models)
    assert all(int(near.prompt.split()[-1][1:]) < 50 for near in other.explain("prove it", k=5).nearest)
    apart = {"prompt": ["a", "b", "c"], "model": ["large", "small", "medium"], "score": [1, 0, 1]}
    with pytest.raises(DataError, match="nothing can be compared"):
        KnnRouter(*PAIR).fit(apart)


def test_the_explanation_is_what_the_score_rests_on(router: KnnRouter) -> None:
    prompt = "prove the theorem of algebra number 17"
    explanation = router.explain(prompt, k=3)
    assert explanation.score == router.score(prompt)
    assert explanation.neighbours == 20
    assert len(explanation.nearest) == 3
    assert explanation.trusted
    assert explanation.gain > explanation.global_gain
    assert explanation.standard_error < 0.1
    similar = [near.similarity for near in explanation.nearest]
    assert similar == sorted(similar, reverse=True)
    for near in explanation.nearest:
        assert (near.strong, near.weak) == (1.0, 0.0 if near.prompt.startswith("prove") else 1.0)
        assert near.weight == 1.0
    assert not router.explain("").trusted
    weighted = KnnRouter(*PAIR, neighbours=20, base=1e4).fit(scores())
    first, *_, last = weighted.explain(prompt, k=20).nearest
    assert first.weight == 1.0
    assert last.weight == pytest.approx(1e4 ** (last.similarity - first.similarity), rel=1e-5)


def test_what_an_artifact_keeps(tmp_path: Path) -> None:
    rows = {**scores(), "prompt_id": [f"id-{prompt.split()[-1]}" for prompt in scores()["prompt"]]}
    for keep, shown in (("prompts", "prove the"), ("keys", "id-0"), (None, "")):
        KnnRouter(*PAIR).fit(rows, keep=keep).save(tmp_path / str(keep))
        loaded = fastroute.load(tmp_path / str(keep))
        assert isinstance(loaded, KnnRouter)
        assert (tmp_path / str(keep) / "prompts.safetensors").exists() == (keep is not None)
        if keep is None:
            with pytest.raises(InvalidArgumentError, match="without keeping its prompts"):
                loaded.explain("prove it")
        else:
            assert loaded.explain("prove the theorem", k=1).nearest[0].prompt.startswith(shown)
    with pytest.raises(InvalidArgumentError, match="keep: found 'all'"):
        KnnRouter(*PAIR).fit(rows, keep="all")


def test_gains_of_different_models_are_relative_to_their_domain() -> None:
    """Two benchmarks with different models: that one pair lies further apart says nothing of the prompts."""
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {"prompt": [], "model": [], "score": [], "benchmark": []}
    for benchmark, models, level in (("one", PAIR, 0.0), ("two", ("big", "tiny"), 0.5)):
        for i in range(100):
            hard = bool(rng.integers(2))
            for model, score in zip(models, (0.9, 0.9 - level - 0.3 * hard), strict=True):
                rows["prompt"].append(f"{'prove' if hard else 'sing'} {benchmark} {i}")
                rows["model"].append(model)
                rows["score"].append(score)
                rows["benchmark"].append(benchmark)
    plan = Plan(tiers={"two": (("big",), ("tiny",))})
    router = KnnRouter(*PAIR, neighbours=10, guard=0, shrinkage=0).fit(rows, plan=plan)
    assert router._manifest["training"]["gains_are"] == "relative to the prompt's domain"
    hard_one, easy_one, hard_two, easy_two = router.score(["prove one 1", "sing one 1", "prove two 1", "sing two 1"])
    assert hard_one - easy_one == pytest.approx(0.15, abs=0.03)
    assert hard_two - easy_two == pytest.approx(0.15, abs=0.03)
    assert abs(hard_one - hard_two) < 0.04
    weak_only = KnnRouter(*PAIR, neighbours=10, guard=0, shrinkage=0).fit(
        rows, plan=Plan(tiers={"two": (("big",), ("tiny",))}, weak_only=frozenset({"two"}))
    )
    assert len(set(weak_only.quality([f"prove two {i}" for i in range(9)])[:, router.models.index("large")])) <= 9


def test_settings_chosen_on_held_out_prompts() -> None:
    among = [{"neighbours": 200, "guard": 0}, {"neighbours": 10, "guard": 0}, {"neighbours": 200, "shrinkage": 1e9}]
    router = KnnRouter(*PAIR).fit(scores(), among=among)
    tried = router.metrics["tried"]
    assert [one["neighbours"] for one in tried] == [200, 10, 200]
    assert [one["base"] for one in tried] == [1.0] * 3
    best = max(tried, key=lambda one: one["held_out_apgr"])
    assert router.settings == {name: best[name] for name in router.settings}
    assert router.metrics["held_out_apgr"] == best["held_out_apgr"]
    with pytest.raises(InvalidArgumentError, match="guard: found -1"):
        KnnRouter(*PAIR).fit(scores(), among=[{"guard": -1}])


def test_some_of_the_prompts() -> None:
    router = KnnRouter(*PAIR, neighbours=20).fit(scores(), most_prompts=50)
    assert router.prompts == 50
    assert {near.prompt for near in router.explain("prove it", k=20).nearest} <= set(scores()["prompt"])
    again = KnnRouter(*PAIR, neighbours=20).fit(scores(), most_prompts=50)
    np.testing.assert_array_equal(again.score(["prove it", "a poem"]), router.score(["prove it", "a poem"]))
    assert KnnRouter(*PAIR).fit(scores(), most_prompts=10**6).prompts == 200
    with pytest.raises(InvalidArgumentError, match="most_prompts: found 0"):
        KnnRouter(*PAIR).fit(scores(), most_prompts=0)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"neighbours": 0}, InvalidArgumentError, "neighbours: found 0, allowed: 1 to 1,000,000"),
        ({"neighbours": 2.0}, InvalidTypeError, "neighbours: found float"),
        ({"neighbours": True}, InvalidTypeError, "neighbours: found bool"),
        ({"base": 0.5}, InvalidArgumentError, "base: found 0.5"),
        ({"base": float("nan")}, InvalidArgumentError, "base: found nan"),
        ({"base": "2"}, InvalidTypeError, "base: found str"),
        ({"shrinkage": -1}, InvalidArgumentError, "shrinkage: found -1"),
        ({"shrinkage": float("inf")}, InvalidArgumentError, "shrinkage: found inf"),
        ({"guard": None}, InvalidTypeError, "guard: found NoneType"),
        ({"guard": 10**30}, InvalidArgumentError, "guard: found an int of many digits"),
        ({"search": "hnsw"}, InvalidArgumentError, "search: found 'hnsw', allowed: auto, exact, ivf"),
        ({"seed": -1}, InvalidArgumentError, "seed: found -1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        KnnRouter(*PAIR, **settings)


def test_what_it_refuses(router: KnnRouter) -> None:
    with pytest.raises(InvalidArgumentError, match="outcomes, judge_scores: found neither"):
        KnnRouter(*PAIR).fit()
    with pytest.raises(UnknownModelError, match="strong: found 'huge'"):
        KnnRouter("huge", "small").fit(scores())
    with pytest.raises(UnknownModelError, match="weak: found 'tiny'"):
        router.with_models("large", "tiny")
    with pytest.raises(InvalidArgumentError, match="found 'large' for both"):
        router.with_models("large", "large")
    with pytest.raises(DataError, match="score"):
        KnnRouter(*PAIR).fit({**scores(), "score": ["good"] * 600})
    for bad, error in ((3, InvalidTypeError), (None, InvalidTypeError)):
        with pytest.raises(error, match="prompt: found"):
            router.explain(bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="k: found 0"):
        router.explain("a", k=0)
    unfitted = KnnRouter(*PAIR)
    for call in (lambda: unfitted.score("a"), lambda: unfitted.explain("a"), lambda: unfitted.quality("a")):
        with pytest.raises(InvalidArgumentError, match="not trained yet"):
            call()
    with pytest.raises(InvalidArgumentError, match="not trained yet"):
        unfitted.save("x")


def test_a_failed_fit_leaves_the_router_as_it_was() -> None:
    router = KnnRouter(*PAIR, neighbours=20).fit(scores())
    before = router.score("prove it"), router.threshold, router.models
    with pytest.raises(DataError):
        router.fit({**scores(), "score": [2.0] * 600})
    assert (router.score("prove it"), router.threshold, router.models) == before


def test_the_same_bits_again(tmp_path: Path) -> None:
    first, second = (KnnRouter(*PAIR, neighbours=20).fit(scores()).save(tmp_path / str(i)) for i in range(2))
    assert first == second


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes, made = write_scores(tmp_path / "graded.jsonl"), str(tmp_path / "it")
    command = ["train", "knn", "--outcomes", str(outcomes), "--strong", "large", "--weak", "small", "-o", made]
    assert main([*command, "--neighbours", "10", "200", "--guard", "0", "1"]) == 0
    said = capsys.readouterr().err
    assert said.count("neighbours 10,") == said.count("neighbours 200,") == 2
    assert "200 prompts, threshold" in said
    manifest = json.loads((tmp_path / "it" / "router.json").read_text())
    assert "--neighbours 10 200 --guard 0 1" in manifest["training"]["command"]
    assert len(manifest["metrics"]["tried"]) == 4
    assert main(["route", "--router", made, "--explain", "--nearest", "4", "prove the theorem of geometry"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("prove the theorem of algebra number") == 4
    assert "beyond chance" in shown
    assert main(["route", "--router", made, "--explain", "--json", "prove it"]) == 0
    assert len(json.loads(capsys.readouterr().out)["explanation"]["nearest"]) == 5
    assert main([*command, "--keep", "nothing"]) == 0
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == ["index.safetensors", "router.json"]
    assert main(["train", "knn", "-o", made]) == 2
    assert "--outcomes, --judge-scores: found neither" in capsys.readouterr().err
    assert main([*command, "--neighbours", "0"]) == 2
    assert "neighbours: found 0" in capsys.readouterr().err


def test_lists_find_nearly_what_the_scan_does(tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    data = scores(1500)
    exact = KnnRouter(*PAIR, neighbours=10, search="exact").fit(data)
    router = KnnRouter(*PAIR, neighbours=10, search="ivf").fit(data)
    assert exact.recall == 1.0
    assert 0.99 <= router.recall <= 1.0
    prompts = scores(seed=1)["prompt"][::3]
    close = np.abs(router.score(prompts) - exact.score(prompts))
    assert np.mean(close) < 0.01
    router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, KnnRouter)
    assert loaded.recall == router.recall
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    assert [loaded.score(prompt) for prompt in prompts[:5]] == router.score(prompts[:5]).tolist()
    other = loaded.with_models("large", "medium")
    assert other.score(prompts).shape == (len(prompts),)


def test_lists_that_are_read_hold_the_neighbours(tmp_path: Path) -> None:
    """Where they hold fewer, each search ends in the exact scan, which finds all of them and takes as long as ever."""
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    KnnRouter(*PAIR, neighbours=200, search="ivf").fit(scores(1500)).save(tmp_path / "it")
    made = fastroute.artifact.read_artifact(tmp_path / "it", format=fastroute.artifact.ROUTER)
    lists = fastroute.artifact.safetensors.decode(made.files["ivf.safetensors"], source="it")
    a_list = len(lists["lists"]) / len(lists["centroids"])
    assert made.manifest["ivf"]["probes"] * a_list >= 2 * 200


def test_without_faiss_the_scan_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    data = scores(400)
    KnnRouter(*PAIR, neighbours=10, search="ivf").fit(data).save(tmp_path / "it")
    exact = KnnRouter(*PAIR, neighbours=10, search="exact").fit(data)
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, KnnRouter)
    prompts = scores(seed=1)["prompt"][::3]
    np.testing.assert_array_equal(loaded.score(prompts), exact.score(prompts))
    assert loaded.recall == 1.0
    with pytest.raises(fastroute.errors.MissingDependencyError, match=r"fastroute\[faiss\]"):
        KnnRouter(*PAIR, search="ivf").fit(data)


def test_the_threshold_sends_as_nearly_half_as_it_can() -> None:
    """The guard gives many prompts one score: they go to one side together, the side that is nearer to a half."""
    rng = np.random.default_rng(0)
    for seed in range(4):
        rows = scores(400, seed=seed)
        rows["score"] = [float(score) if rng.random() > 0.4 else float(rng.integers(2)) for score in rows["score"]]
        router = KnnRouter(*PAIR, neighbours=10, guard=2).fit(rows)
        calibration = router.calibration
        fresh = scores(400, seed=seed + 10)["prompt"][::3]
        alike = calibration["alike"] / calibration["prompts"]
        assert abs(calibration["strong_fraction"] - 0.5) <= alike / 2 + 0.01
        sent = float(np.mean(router.score(fresh) >= router.threshold))
        assert sent == pytest.approx(calibration["strong_fraction"], abs=0.12)
    assert KnnRouter(*PAIR, neighbours=1000).fit(scores()).constant
    assert not router.constant


def test_a_loaded_router_is_fitted_as_the_saved_one(tmp_path: Path) -> None:
    router = KnnRouter(*PAIR, neighbours=20, seed=7, search="exact").fit(scores())
    router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, KnnRouter)
    assert loaded.fit(scores(seed=1)).save(tmp_path / "a") == router.fit(scores(seed=1)).save(tmp_path / "b")


def test_forked_children_search_lists_too(tmp_path: Path) -> None:
    """FAISS's threads stay in the parent, and a child waited for them."""
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    KnnRouter(*PAIR, neighbours=10, search="ivf").fit(scores(400)).save(tmp_path / "it")
    script = """
import os, sys
import fastroute
router = fastroute.load(sys.argv[1])
prompts = [f"prove the theorem {i}" for i in range(50)]
before = router.score(prompts).tolist()
child = os.fork()
if child == 0:
    os._exit(0 if router.score(prompts).tolist() == before else 3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, tmp_path / "it"], timeout=60, check=False)
    assert done.returncode == 0


def test_lists_refuse_what_the_scan_does() -> None:
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    exact = KnnRouter(*PAIR, neighbours=10, search="exact").fit(scores(100))
    router = KnnRouter(*PAIR, neighbours=10, search="ivf").fit(scores(100))
    good = np.ones((2, 256), np.float32)
    broken = good * np.array([[1], [np.inf]], np.float32)
    for bad in (None, [[1.0]], good[:, :5], good[0], good.astype(int), np.asfortranarray(good), broken, 3):
        with pytest.raises(fastroute.errors.FastrouteError) as scanned:
            exact.score_embeddings(bad)  # type: ignore[arg-type]
        with pytest.raises(type(scanned.value), match=re.escape(str(scanned.value))):
            router.score_embeddings(bad)  # type: ignore[arg-type]


def test_one_neighbour_has_no_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    KnnRouter(*PAIR, neighbours=1).fit(scores()).save(tmp_path / "it")
    assert main(["route", "--router", str(tmp_path / "it"), "--explain", "--json", "prove it"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["explanation"]["standard_error"] is None


@pytest.mark.parametrize(
    ("among", "error", "says"),
    [
        ([{"neighbors": 5}], InvalidArgumentError, "among: found 'neighbors', allowed: neighbours, base"),
        ({"neighbours": 5}, InvalidTypeError, "among: found dict, allowed: a list of mappings"),
        ([5], InvalidTypeError, "among: found list"),
        (5, InvalidTypeError, "among: found int"),
    ],
)
def test_bad_choices(among: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        KnnRouter(*PAIR).fit(scores(), among=among)


def test_bad_provenance() -> None:
    with pytest.raises(InvalidTypeError, match="provenance: found int"):
        KnnRouter(*PAIR).fit(scores(), provenance=5)  # type: ignore[arg-type]


def test_the_explanation_of_lists_is_of_what_they_find() -> None:
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    router = KnnRouter(*PAIR, neighbours=10, guard=0, search="ivf").fit(scores(1500))
    for prompt in scores(60, seed=1)["prompt"][::3]:
        explanation = router.explain(prompt)
        assert explanation.score == pytest.approx((1 + explanation.gain) / 2, abs=1e-6)
