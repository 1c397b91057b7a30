"""Why a similarity-weighted router scores as it does: the battles it shows are those that weigh most."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fastroute
from fastroute.cli import main
from fastroute.errors import InvalidArgumentError, InvalidTypeError
from fastroute.routers import NearestBattle, SimilarityWeightedRouter

from .test_sw_ranking import PAIR, votes, write_votes


@pytest.fixture(scope="module")
def router() -> SimilarityWeightedRouter:
    return SimilarityWeightedRouter(*PAIR, base=1e6, tiers=3).fit(votes())


def test_the_nearest_battles_are_those_of_the_table(router: SimilarityWeightedRouter) -> None:
    rows = votes()
    said = {
        (prompt, min(a, b), max(a, b)): a if winner == "model_a" else b if winner == "model_b" else "tie"
        for prompt, a, b, winner in zip(*rows.values(), strict=True)
    }
    prompt = "prove the theorem of algebra number 17"
    explanation = router.explain(prompt, k=7)
    assert explanation.score == router.score(prompt)
    assert explanation.prompts == 300
    assert len(explanation.battles) == 7
    for battle in explanation.battles:
        pair = battle.model_a, battle.model_b
        won = {"model_a": battle.model_a, "model_b": battle.model_b, "tie": "tie"}[battle.winner]
        assert said[battle.prompt, min(pair), max(pair)] == won
        assert (battle.outcome == 0.5) == (battle.winner == "tie")
    # As NumPy finds them: by the cosine of the embeddings, and the weights of the formula.
    assert router.encoder is not None
    embedded = router.encoder.embed([prompt, *rows["prompt"]]).astype(np.float64)
    embedded /= np.linalg.norm(embedded, axis=1, keepdims=True)
    cosine = embedded[1:] @ embedded[0]
    np.testing.assert_allclose([b.similarity for b in explanation.battles], np.sort(cosine)[::-1][:7], atol=1e-4)
    best = cosine.max()
    expected = [1e6 ** (battle.similarity / best - 1) for battle in explanation.battles]
    np.testing.assert_allclose([battle.weight for battle in explanation.battles], expected, rtol=2e-3)


def test_one_prompt_shows_the_battles_that_tell_most() -> None:
    rows = {
        "prompt": ["prove it"] * 5 + ["a poem"],
        "model_a": ["x", "small", "x", "large", "y", "large"],
        "model_b": ["y", "x", "large", "small", "x", "small"],
        "winner": ["model_a", "tie", "model_b", "model_b", "model_b", "model_a"],
    }
    router = SimilarityWeightedRouter(*PAIR, tiers=4).fit(rows)
    assert len(set(router.tiers_.tolist())) == 4
    (first,) = router.explain("prove it", k=1).battles
    assert {first.model_a, first.model_b} == set(PAIR)
    assert (first.winner, first.model_a, first.battles) == ("model_b", "large", 4)  # x against y twice is one battle
    shown = router.explain("prove it", k=10, per_prompt=3).battles
    assert [battle.prompt for battle in shown] == ["prove it"] * 3 + ["a poem"]
    assert all({battle.model_a, battle.model_b} & set(PAIR) for battle in shown)
    assert [battle.battles for battle in shown] == [4, 4, 4, 1]


def test_what_an_artifact_keeps(tmp_path: Path) -> None:
    rows = votes()
    for keep, shown in (("prompts", True), ("battles", False)):
        router = SimilarityWeightedRouter(*PAIR).fit(rows, keep=keep)
        router.save(tmp_path / keep)
        loaded = fastroute.load(tmp_path / keep)
        assert isinstance(loaded, SimilarityWeightedRouter)
        assert loaded.explain("prove it", k=3) == router.explain("prove it", k=3)
        text = (tmp_path / keep / "battles.safetensors").read_bytes()
        assert (b"algebra" in text) == shown
        assert loaded.save(tmp_path / "again") == loaded.artifact
    nothing = SimilarityWeightedRouter(*PAIR).fit(rows, keep=None)
    nothing.save(tmp_path / "nothing")
    assert not (tmp_path / "nothing" / "battles.safetensors").exists()
    for each in (nothing, fastroute.load(tmp_path / "nothing")):
        with pytest.raises(InvalidArgumentError, match="without keeping its battles"):
            each.explain("prove it")  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgumentError, match="keep: found 'all'"):
        SimilarityWeightedRouter(*PAIR).fit(rows, keep="all")


def test_battles_added_later_are_shown_too() -> None:
    first, second = votes(seed=1), votes(seed=2)
    both = {name: first[name] + second[name] for name in first}
    at_once = SimilarityWeightedRouter(*PAIR).fit(both)
    later = SimilarityWeightedRouter(*PAIR).fit(first).with_battles(second)
    for prompt in ("prove the theorem of algebra number 217", "write a poem of cats and dogs number 122"):
        shown = later.explain(prompt, k=20)
        assert {(b.prompt, b.similarity) for b in shown.battles} == {
            (b.prompt, b.similarity) for b in at_once.explain(prompt, k=20).battles
        }
    kept = SimilarityWeightedRouter(*PAIR).fit(first, keep=None).with_battles(second)
    with pytest.raises(InvalidArgumentError, match="without keeping"):
        kept.explain("prove it")


def test_battles_within_a_tier_are_not_shown() -> None:
    rows = votes()
    router = SimilarityWeightedRouter(*PAIR, tiers=2).fit(rows)
    tier = dict(zip(router.models_, router.tiers_.tolist(), strict=True))
    shown = router.explain("prove it", k=300).battles
    assert len(shown) == router.prompts < 300
    assert all(tier[battle.model_a] != tier[battle.model_b] for battle in shown)


def test_a_prompt_like_none(router: SimilarityWeightedRouter) -> None:
    explanation = router.explain("")
    assert np.float32(explanation.score) == np.float32(explanation.global_score)
    assert {battle.weight for battle in explanation.battles} == {1.0}
    assert {battle.similarity for battle in explanation.battles} == {0.0}


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"prompt": 3}, InvalidTypeError, "prompt: found int"),
        ({"prompt": ["a"]}, InvalidTypeError, "prompt: found list"),
        ({"prompt": "a", "k": 0}, InvalidArgumentError, "k: found 0, allowed: 1 or more"),
        ({"prompt": "a", "k": 2.0}, InvalidTypeError, "k: found float"),
        ({"prompt": "a", "k": True}, InvalidTypeError, "k: found bool"),
        ({"prompt": "a", "per_prompt": 0}, InvalidArgumentError, "per_prompt: found 0"),
    ],
)
def test_bad_arguments(
    router: SimilarityWeightedRouter, arguments: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        router.explain(**arguments)  # type: ignore[arg-type]


def test_without_a_text_encoder() -> None:
    rows = votes()
    table = {**{name: rows[name] for name in ("model_a", "model_b", "winner")}, "row": np.arange(300)}
    embeddings = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    router = SimilarityWeightedRouter(*PAIR, encoder=None).fit(table, embeddings=embeddings)
    with pytest.raises(InvalidArgumentError, match="no text encoder"):
        router.explain("prove it")


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    battles = write_votes(tmp_path / "votes.jsonl")
    made = str(tmp_path / "it")
    assert (
        main(["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small", "-o", made])
        == 0
    )
    capsys.readouterr()
    assert main(["route", "--router", made, "--explain", "--nearest", "3", "prove the theorem of geometry"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("with all battles alike" in line for line in lines)
    assert sum(" on prove the theorem of algebra" in line for line in lines) == 3
    assert main(["route", "--router", made, "--explain", "--json", "prove the theorem"]) == 0
    explanation = json.loads(capsys.readouterr().out)["explanation"]
    assert len(explanation["battles"]) == 5
    assert set(explanation["battles"][0]) == set(NearestBattle.__dataclass_fields__)
    assert main(["route", "--router", "mf", "--explain", "prove it"]) == 2
    assert "can't say; experts, sw_ranking, knn and cascade can" in capsys.readouterr().err
    assert main(["route", "--router", "experts", "--nearest", "3", "prove it"]) == 2
    assert "has no neighbours to show" in capsys.readouterr().err


def test_keys_of_battles_are_recorded_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    battles = write_votes(tmp_path / "votes.jsonl")
    made = str(tmp_path / "it")
    command = ["train", "sw_ranking", "--preferences", str(battles), "--strong", "large", "--weak", "small"]
    assert main([*command, "--keep", "battles", "-o", made]) == 0
    manifest = json.loads((tmp_path / "it" / "router.json").read_text())
    assert manifest["kept"] == "battles"
    assert "--keep battles" in manifest["training"]["command"]
    assert main([*command[:-4], "--append", made, "--keep", "nothing"]) == 2
    assert "--keep: not allowed with --append" in capsys.readouterr().err
    assert main([*command, "--keep", "nothing", "-o", made]) == 0
    assert sorted(path.name for path in (tmp_path / "it").iterdir()) == ["index.safetensors", "router.json"]
