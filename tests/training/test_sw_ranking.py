"""Training, saving and appending of similarity-weighted routers, from Python and the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute.cli import main
from fastroute.errors import (
    DataError,
    EncoderMismatchError,
    InvalidArgumentError,
    InvalidTypeError,
    UnknownModelError,
)
from fastroute.routers import SimilarityWeightedRouter

PAIR = ("large", "small")


def votes(count: int = 300, seed: int = 0, models: tuple[str, ...] = ("large", "medium", "small")) -> dict[str, Any]:
    """The large model wins on proofs, the small one on the rest."""
    rng = np.random.default_rng(seed)
    rows: dict[str, Any] = {"prompt": [], "model_a": [], "model_b": [], "winner": []}
    for i in range(count):
        proof = bool(rng.integers(2))
        a, b = rng.permutation(models)[:2]
        better = (a == models[0] or b == models[-1]) == proof
        text = "prove the theorem of algebra number" if proof else "write a poem of cats and dogs number"
        rows["prompt"].append(f"{text} {seed}{i}")
        rows["model_a"].append(str(a))
        rows["model_b"].append(str(b))
        rows["winner"].append("tie" if i % 7 == 0 else "model_a" if better else "model_b")
    return rows


def write_votes(path: Path, **settings: Any) -> Path:
    rows = votes(**settings)
    lines = [dict(zip(rows, values, strict=True)) for values in zip(*rows.values(), strict=True)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_it_learns_which_prompts_need_the_strong_model() -> None:
    router = SimilarityWeightedRouter(*PAIR, base=1e6).fit(votes())
    proof, poem = router.score(["prove the theorem of geometry", "write a poem of birds"])
    assert proof > 0.6 > 0.4 > poem
    assert 0 < router.threshold < 1
    assert router.metrics["validation_battles"] > 0
    assert router.models == ("large", "medium", "small")
    # A prompt without tokens is like none: all battles count alike.
    assert router.score("") == np.float32(router._scorer.global_rate)  # type: ignore[union-attr]


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    router = SimilarityWeightedRouter(*PAIR, base=50, normaliser="none", compat="routellm").fit(votes())
    sha256 = router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, SimilarityWeightedRouter)
    assert loaded.artifact == sha256
    assert (loaded.base, loaded.normaliser, loaded.compat) == (50, "none", "routellm")
    assert (loaded.models, loaded.threshold, loaded.prompts) == (router.models, router.threshold, router.prompts)
    prompts = votes(seed=1)["prompt"]
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    assert loaded.save(tmp_path / "again") == sha256


def test_battles_added_later_are_battles_given_at_once() -> None:
    first, second = votes(seed=1), votes(seed=2)
    both = {name: first[name] + second[name] for name in first}
    prompts = votes(seed=3)["prompt"][:50]
    at_once = SimilarityWeightedRouter(*PAIR).fit(both)
    later = SimilarityWeightedRouter(*PAIR).fit(first).with_battles(second)
    assert later.prompts == at_once.prompts == 600
    np.testing.assert_allclose(later.score(prompts), at_once.score(prompts), atol=1e-6)
    # Prompts that are there get more battles, and rows stay as they are.
    again = later.with_battles(second)
    assert again.prompts == 600
    assert (again.score(prompts) != later.score(prompts)).any()


def test_a_new_model_joins_the_tier_of_its_like() -> None:
    router = SimilarityWeightedRouter(*PAIR).fit(votes(seed=1))
    newcomers = votes(seed=2, models=("large", "twin of medium", "small"))
    joined = router.with_battles(newcomers)
    assert set(joined.models) == {*router.models, "twin of medium"}
    tiers = dict(zip(joined.models, joined.tiers_.tolist(), strict=True))
    assert tiers["twin of medium"] == tiers["medium"]
    assert joined.with_models("large", "twin of medium").score("prove it") == joined.with_models(
        "large", "medium"
    ).score("prove it")


def test_embeddings_in_place_of_texts() -> None:
    rng = np.random.default_rng(0)
    rows = votes()
    embeddings = rng.standard_normal((300, 12)).astype(np.float32)
    table = {**{name: rows[name] for name in ("model_a", "model_b", "winner")}, "row": np.arange(300)}
    router = SimilarityWeightedRouter(*PAIR, encoder=None).fit(table, embeddings=embeddings)
    assert router.encoder is None
    assert router.score_embeddings(embeddings).shape == (300,)
    with pytest.raises(InvalidArgumentError, match="no text encoder"):
        router.score("text")
    more = router.with_battles(table, embeddings=embeddings)
    assert more.prompts == router.prompts  # told apart by the embedding itself, not by the row's number
    with pytest.raises(InvalidArgumentError, match="embeddings: found 3 columns, allowed: 12"):
        router.with_battles(table, embeddings=embeddings[:, :3].copy())


def test_models_of_one_tier_have_one_score() -> None:
    router = SimilarityWeightedRouter(*PAIR, tiers=1, compat="routellm").fit(votes())
    assert set(router.score(["prove it", "a poem"]).tolist()) == {0.5}
    assert router.constant
    assert not SimilarityWeightedRouter(*PAIR).fit(votes()).constant


def test_the_command_says_where_a_router_tells_nothing_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    battles = write_votes(tmp_path / "votes.jsonl")
    command = ["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small"]
    assert main([*command, "--tiers", "1", "--compat", "routellm", "-o", str(tmp_path / "it")]) == 0
    assert "note: nothing tells large and small apart by prompt" in capsys.readouterr().err


def test_what_fit_refuses() -> None:
    rows = votes(20)
    with pytest.raises(InvalidArgumentError, match="battles, outcomes: neither given"):
        SimilarityWeightedRouter(*PAIR).fit()
    with pytest.raises(InvalidArgumentError, match="battles: found none"):
        SimilarityWeightedRouter(*PAIR).fit({name: [] for name in rows})
    with pytest.raises(UnknownModelError, match="strong: found 'huge'"):
        SimilarityWeightedRouter("huge", "small").fit(rows)
    with pytest.raises(InvalidArgumentError, match="battles: found none between two tiers"):
        SimilarityWeightedRouter(*PAIR, tiers=1).fit(rows)
    with pytest.raises(DataError, match="winner"):
        SimilarityWeightedRouter(*PAIR).fit({**rows, "winner": ["nobody"] * 20})
    apart = {"prompt": ["a", "b"], "model_a": ["large", "small"], "model_b": ["x", "y"], "winner": ["model_a"] * 2}
    with pytest.raises(InvalidArgumentError, match="no chain of wins compares"):
        SimilarityWeightedRouter(*PAIR).fit(apart)
    with pytest.raises(InvalidTypeError, match="seed"):
        SimilarityWeightedRouter(seed=0.5)  # type: ignore[arg-type]
    unfitted = SimilarityWeightedRouter(*PAIR)
    for call in (lambda: unfitted.score("a"), lambda: unfitted.with_battles(rows), lambda: unfitted.save("x")):
        with pytest.raises(InvalidArgumentError, match="not trained yet"):
            call()


def test_a_failed_fit_leaves_the_router_as_it_was() -> None:
    router = SimilarityWeightedRouter(*PAIR).fit(votes())
    before = router.score("prove it"), router.threshold, router.models
    with pytest.raises(UnknownModelError):
        router.fit(votes(models=("x", "y", "z")))
    assert (router.score("prove it"), router.threshold, router.models) == before


def test_another_encoder_is_refused(tmp_path: Path, tiny_encoder_folder: Path) -> None:
    SimilarityWeightedRouter(*PAIR).fit(votes()).save(tmp_path / "it")
    with pytest.raises(EncoderMismatchError, match="was trained with encoder"):
        fastroute.load(tmp_path / "it", encoder=tiny_encoder_folder)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = write_votes(tmp_path / "a.jsonl", seed=1), write_votes(tmp_path / "b.jsonl", seed=2)
    out = tmp_path / "it"
    pair = ["--strong", "large", "--weak", "small"]
    train = ["train", "sw_ranking", "--preferences", str(first), *pair, "--base", "10", "1e6", "--normaliser", "none"]
    assert main([*train, "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "300 battles of 3 models on 300 prompts" in said
    assert "base 1000000, normaliser none: held-out APGR" in said
    manifest = json.loads((out / "router.json").read_bytes())
    tried = manifest["training"]["tried"]
    assert [one["base"] for one in tried] == [10, 1e6]
    best = max(tried, key=lambda one: one["validation_apgr"])
    assert (manifest["base"], manifest["normaliser"]) == (best["base"], "none")
    assert str(tmp_path) not in json.dumps(manifest)

    assert main(["train", "sw_ranking", "--append", str(out), "--preferences", str(second)]) == 0
    router = fastroute.load(out)
    assert isinstance(router, SimilarityWeightedRouter)
    assert router.prompts == 600
    manifest = json.loads((out / "router.json").read_bytes())
    (appended,) = manifest["training"]["appended"]
    assert appended["command"].startswith("fastroute train sw_ranking --preferences b.jsonl --append it ")
    assert str(tmp_path) not in json.dumps(manifest)

    for wrong, says in (
        ([], "found none; at least one is needed"),
        (["--preferences", str(first)], "-o, --append: found neither"),
        (["--preferences", str(first), "--append", str(out), "--base", "3"], "--base: not allowed with --append"),
        (["--preferences", str(first), "--append", "mf"], "--append: found a router of kind 'mf'"),
        (["--preferences", str(first), "--most-prompts", "0", "-o", str(out)], "most_prompts: 0 given"),
    ):
        assert main(["train", "sw_ranking", *wrong]) == 2
        assert says in capsys.readouterr().err
    assert fastroute.load(out).artifact == router.artifact


@pytest.mark.slow
def test_a_killed_append_leaves_the_old_or_the_new_artifact(tmp_path: Path) -> None:
    """Twenty kills at times from the start of the process to its end."""
    out, more = tmp_path / "it", write_votes(tmp_path / "more.jsonl", seed=2)
    SimilarityWeightedRouter(*PAIR).fit(votes()).save(out)
    command = [
        sys.executable,
        "-m",
        "fastroute",
        "train",
        "sw_ranking",
        "--append",
        str(out),
        "--preferences",
        str(more),
    ]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    took = time.monotonic() - began
    known = {300, 600}
    for part in np.linspace(0.3, 1.1, 20):
        SimilarityWeightedRouter(*PAIR).fit(votes()).save(out)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * float(part))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        router = fastroute.load(out)
        assert isinstance(router, SimilarityWeightedRouter)
        assert router.prompts in known


def test_only_the_nearest_battles_count() -> None:
    rows = votes(1500)
    everything = SimilarityWeightedRouter(*PAIR).fit(rows)
    nearest = SimilarityWeightedRouter(*PAIR, neighbours=1000).fit(rows)
    few = SimilarityWeightedRouter(*PAIR, neighbours=50, shrinkage=5).fit(rows)
    prompts = ["prove the theorem of geometry", "write a poem of birds"]
    for router in (everything, nearest, few):
        proof, poem = router.score(prompts)
        assert proof > 0.5 > poem
    spread = [float(np.ptp(router.score(prompts))) for router in (everything, nearest, few)]
    assert spread == sorted(spread)  # with a base of 10 all battles weigh nearly alike
    assert (few.neighbours, few.shrinkage) == (50, 5.0)
    whole = SimilarityWeightedRouter(*PAIR, neighbours=10**6).fit(rows)
    np.testing.assert_allclose(whole.score(prompts), everything.score(prompts), atol=1e-4)
    # Shrunk without end, a prompt has the score of all battles.
    shrunk = SimilarityWeightedRouter(*PAIR, neighbours=50, shrinkage=1e9).fit(rows)
    np.testing.assert_allclose(shrunk.score(prompts), everything.score(""), atol=1e-4)


def test_neighbours_are_kept_and_refused(tmp_path: Path) -> None:
    router = SimilarityWeightedRouter(*PAIR, neighbours=50, shrinkage=5).fit(votes())
    router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, SimilarityWeightedRouter)
    assert (loaded.neighbours, loaded.shrinkage) == (50, 5.0)
    prompts = votes(seed=1)["prompt"]
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    with pytest.raises(InvalidArgumentError, match="neighbours: found 999 without shrinkage, allowed: 0 for all"):
        SimilarityWeightedRouter(*PAIR, neighbours=999)
    with pytest.raises(InvalidArgumentError, match="shrinkage: found 3 without neighbours"):
        SimilarityWeightedRouter(*PAIR, shrinkage=3)
    for bad in (-1, 10**10):
        with pytest.raises(InvalidArgumentError, match=f"neighbours: found {bad}"):
            SimilarityWeightedRouter(*PAIR, neighbours=bad)
    with pytest.raises(InvalidArgumentError, match="shrinkage: found -1"):
        SimilarityWeightedRouter(*PAIR, neighbours=10, shrinkage=-1)


def test_neighbours_chosen_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    battles, made = write_votes(tmp_path / "votes.jsonl", count=1200), tmp_path / "it"
    command = ["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small"]
    options = ["--neighbours", "100", "1000000", "--shrinkage", "0.5", "--base", "1e3"]
    assert main([*command, *options, "-o", str(made)]) == 0
    said = capsys.readouterr().err
    assert "base 1000, neighbours 100, shrinkage 0.5: " in said
    manifest = json.loads((made / "router.json").read_text())
    assert "--base 1000 --neighbours 100 1000000 --shrinkage 0.5" in manifest["training"]["command"]
    assert [one["neighbours"] for one in manifest["training"]["tried"]] == [100, 1000000]


def test_nothing_of_an_earlier_fit_is_left() -> None:
    """Above 4,096 prompts an index has moments, which are those of its own battles."""
    first, second = votes(4500, seed=1, models=("large", "small")), votes(4500, seed=2)
    again = SimilarityWeightedRouter(*PAIR, base=1e4).fit(first).fit(second)
    fresh = SimilarityWeightedRouter(*PAIR, base=1e4).fit(second)
    assert (again.threshold, again.calibration, again.metrics) == (fresh.threshold, fresh.calibration, fresh.metrics)
    assert again.calibration["prompts"] > 400
    few = votes(60, seed=3)
    assert (
        SimilarityWeightedRouter(*PAIR).fit(first).fit(few).threshold
        == SimilarityWeightedRouter(*PAIR).fit(few).threshold
    )


def test_a_loaded_router_is_fitted_as_the_saved_one(tmp_path: Path) -> None:
    router = SimilarityWeightedRouter(*PAIR, tiers=2, seed=7).fit(votes())
    router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, SimilarityWeightedRouter)
    other = votes(seed=1, models=("large", "medium", "fair", "small"))
    assert loaded.fit(other).save(tmp_path / "a") == router.fit(other).save(tmp_path / "b")
    assert max(loaded.tiers_) == 1


def test_commands_are_recorded_to_the_last_digit(tmp_path: Path) -> None:
    battles, made = write_votes(tmp_path / "votes.jsonl"), tmp_path / "it"
    command = ["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small"]
    numbers = ["--base", "1234567.25", "--neighbours", "100", "--shrinkage", "3.14159265"]
    assert main([*command, *numbers, "-o", str(made)]) == 0
    recorded = json.loads((made / "router.json").read_text())["training"]["command"]
    assert " ".join(numbers) in recorded


def test_what_is_wrong_is_said_before_data_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "sw_ranking", "--preferences", str(tmp_path / "nowhere.jsonl"), "-o", str(tmp_path / "it")]
    for options, says in (
        (["--normaliser", "none", "best", "--moments", "4"], "moments: found 4 with normaliser 'best'"),
        (["--base", "10", "nan"], "base: found nan"),
        (["--search", "ivf"], "--search: goes with --neighbours"),
        (["--append", str(tmp_path / "nobody")], "--append: found"),
        (["--append", "mf"], "--append: found a router of kind 'mf', allowed: sw_ranking"),
    ):
        assert main([*command, *options]) == 2
        assert says in capsys.readouterr().err


def test_all_prompts_can_be_compared_with_neighbours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    battles, made = write_votes(tmp_path / "votes.jsonl"), tmp_path / "it"
    command = ["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small"]
    assert main([*command, "--neighbours", "0", "50", "--shrinkage", "2", "20", "-o", str(made)]) == 0
    assert capsys.readouterr().err.count("neighbours 0, shrinkage 0: ") == 1


def test_only_battles_that_count_are_shown() -> None:
    router = SimilarityWeightedRouter(*PAIR, neighbours=3, shrinkage=10).fit(votes())
    assert len(router.explain("prove the theorem", k=10).battles) == 3
