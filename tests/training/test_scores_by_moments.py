"""Similarity-weighted routers that score by moments: how far they are off is known, and decisions are as exact."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute import Budget
from fastroute.cli import main
from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.routers import SimilarityWeightedRouter
from fastroute.routers.battle_index import text_keys
from fastroute.tables import text_key
from fastroute.training.battle_moments import fit_moments

from .test_sw_ranking import PAIR, votes, write_votes

SETTINGS: dict[str, Any] = {"base": 100, "normaliser": "none", "moments": 8}


@pytest.fixture(scope="module")
def router() -> SimilarityWeightedRouter:
    return SimilarityWeightedRouter(*PAIR, **SETTINGS).fit(votes(600))


def test_it_is_opt_in(router: SimilarityWeightedRouter) -> None:
    prompts = votes(seed=1)["prompt"]
    plain = SimilarityWeightedRouter(*PAIR, **{**SETTINGS, "moments": 0}).fit(votes(600))
    np.testing.assert_array_equal(router.score(prompts), plain.score(prompts))
    quick = router.with_moments()
    assert (quick.score(prompts) != router.score(prompts)).any()
    np.testing.assert_array_equal(quick.with_moments(enabled=False).score(prompts), router.score(prompts))
    assert plain.error_band is None
    with pytest.raises(InvalidArgumentError, match="with_moments: this router has none; train it with moments=32"):
        plain.with_moments()


def test_the_band_is_what_was_measured(router: SimilarityWeightedRouter) -> None:
    band = router.error_band
    assert band is not None
    assert 0 < band.rms < band.band < 0.2
    assert band.prompts == router.prompts
    assert band.band < 3 * band.spread
    quick = router.with_moments()
    rows = votes(600)["prompt"]
    exact = router.score(rows)
    off = np.abs(quick._native.approximate(rows) - exact)
    assert off.max() <= band.band + 2e-5  # of the prompts as the index has them


def test_decisions_near_the_threshold_are_exact(router: SimilarityWeightedRouter) -> None:
    quick, band = router.with_moments(), router.error_band
    assert band is not None
    prompts = votes(400, seed=1)["prompt"]
    exact, approximate = router.score(prompts), quick._native.approximate(prompts)
    for threshold in (router.threshold, float(np.quantile(exact, 0.3)), 0.0, 1.0):
        near = np.abs(approximate.astype(np.float64) - threshold) <= band.band
        decisions = quick.route(prompts, threshold=threshold)
        np.testing.assert_array_equal(
            np.array([decision.score for decision in decisions], np.float32), np.where(near, exact, approximate)
        )
        same = [
            decision.model == other.model
            for decision, other in zip(decisions, router.route(prompts, threshold=threshold), strict=True)
        ]
        assert np.mean(same) > 0.99
        assert decisions[7] == quick.route(prompts[7], threshold=threshold)
    own = np.abs(approximate.astype(np.float64) - router.threshold) <= band.band
    np.testing.assert_array_equal(quick.score(prompts), np.where(own, exact, approximate))
    assert quick.score(prompts[0]) == quick.score(prompts[:1])[0]
    assert quick.encoder is not None
    np.testing.assert_array_equal(quick.score_embeddings(quick.encoder.embed(prompts)), quick.score(prompts))


def test_a_policy_that_is_no_threshold_gets_exact_scores(router: SimilarityWeightedRouter) -> None:
    prompts = votes(seed=1)["prompt"]
    decisions = router.with_moments().route(prompts, policy=Budget(0.5))
    np.testing.assert_array_equal([decision.score for decision in decisions], router.score(prompts))


def test_another_pair_has_a_band_of_its_own(router: SimilarityWeightedRouter, tmp_path: Path) -> None:
    other = router.with_moments().with_models("large", "medium")
    assert other.error_band != router.error_band
    router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it", strong="large", weak="medium")
    assert isinstance(loaded, SimilarityWeightedRouter)
    assert loaded.error_band == other.error_band
    moved = router.with_moments().with_threshold(0.3)
    assert moved.score("prove it") == router.with_moments().route("prove it", threshold=0.3).score


def test_saved_and_loaded_it_is_the_same(router: SimilarityWeightedRouter, tmp_path: Path) -> None:
    sha256 = router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, SimilarityWeightedRouter)
    assert loaded.error_band == router.error_band
    manifest = json.loads((tmp_path / "it" / "router.json").read_text())
    assert router.error_band is not None
    assert manifest["moments"] == asdict(router.error_band)
    prompts = votes(seed=1)["prompt"]
    np.testing.assert_array_equal(loaded.with_moments().score(prompts), router.with_moments().score(prompts))
    assert loaded.save(tmp_path / "again") == sha256
    assert router.with_moments().save(tmp_path / "third") == sha256  # the mode is the user's, not the artifact's


def test_battles_added_later(router: SimilarityWeightedRouter) -> None:
    first, second = votes(400, seed=1), votes(400, seed=2)
    both = {name: first[name] + second[name] for name in first}
    at_once = SimilarityWeightedRouter(*PAIR, **SETTINGS).fit(both)
    later = SimilarityWeightedRouter(*PAIR, **SETTINGS).fit(first).with_battles(second)
    prompts = votes(seed=3)["prompt"]
    np.testing.assert_allclose(later._native.approximate(prompts), at_once._native.approximate(prompts), atol=1e-3)
    assert later.error_band is not None


def test_large_indexes_have_means_without_being_asked(tmp_path: Path) -> None:
    rows = votes(4400)
    router = SimilarityWeightedRouter(*PAIR, tiers=3).fit(rows, keep=None)
    assert router.prompts > 4096
    router.save(tmp_path / "it")
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == [
        "index.safetensors",
        "moments.safetensors",
        "router.json",
    ]
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, SimilarityWeightedRouter)
    assert loaded.error_band is None
    prompts = votes(seed=1)["prompt"]
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    # A small index that grows has them too: those of all its prompts, as they were before they were rounded.
    part = SimilarityWeightedRouter(*PAIR, tiers=3).fit({name: values[:2200] for name, values in rows.items()})
    grown = part.with_battles({name: values[2200:] for name, values in rows.items()})
    assert (part._moments, grown.prompts) == (None, router.prompts)
    for each in (router, grown):
        assert each._moments is not None
        assert each.encoder is not None
        stored = each._stored()
        place = {key: row for row, key in enumerate(text_keys(tuple(map(text_key, rows["prompt"]))).tolist())}
        embedded = each.encoder.embed([rows["prompt"][place[key]] for key in stored.keys.tolist()])
        cells, means, _ = fit_moments(stored.lengths, stored.cells, stored.counts, embedded, 0)
        np.testing.assert_array_equal(each._moments.cells(), cells)
        np.testing.assert_allclose(each._moments.means(), means, atol=2e-5)


def test_what_is_refused() -> None:
    for settings in ({"moments": 8}, {"moments": 8, "normaliser": "none", "neighbours": 2000}):
        with pytest.raises(InvalidArgumentError, match="moments: found 8 with normaliser"):
            SimilarityWeightedRouter(*PAIR, **settings)  # type: ignore[arg-type]
    for bad, error in ((-1, InvalidArgumentError), (257, InvalidArgumentError), (2.0, InvalidTypeError)):
        with pytest.raises(error, match="moments: found"):
            SimilarityWeightedRouter(*PAIR, normaliser="none", moments=bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="not trained yet"):
        SimilarityWeightedRouter(*PAIR, **SETTINGS).with_moments()


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    battles, made = write_votes(tmp_path / "votes.jsonl"), tmp_path / "it"
    command = ["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small"]
    assert main([*command, "--normaliser", "none", "--moments", "4", "-o", str(made)]) == 0
    manifest = json.loads((made / "router.json").read_text())
    assert "--normaliser none --moments 4" in manifest["training"]["command"]
    assert manifest["moments"]["band"] > 0
    assert main([*command, "--moments", "4", "-o", str(made)]) == 2
    assert "moments: found 4 with normaliser 'best'" in capsys.readouterr().err


def test_neighbours_through_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="inverted lists need the extra [faiss]")
    settings: dict[str, Any] = {"neighbours": 40, "shrinkage": 1.0}
    exact = SimilarityWeightedRouter(*PAIR, **settings, search="exact").fit(votes(1000))
    router = SimilarityWeightedRouter(*PAIR, **settings, search="ivf").fit(votes(1000))
    prompts = votes(seed=1)["prompt"]
    assert np.abs(router.score(prompts) - exact.score(prompts)).mean() < 0.01
    router.save(tmp_path / "it")
    loaded = fastroute.load(tmp_path / "it")
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    grown = router.with_battles(votes(100, seed=5))
    assert grown._lists is not None
    assert len(grown._lists.lists) == grown.prompts
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    np.testing.assert_array_equal(fastroute.load(tmp_path / "it").score(prompts), exact.score(prompts))
