"""From an encoder and a table of battles to a decision, through the command line, on data made here."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.reference import tiny_bert

import fastroute
from fastroute.cli import main
from fastroute.errors import EncoderMismatchError, UnknownModelError
from fastroute.routers import MatrixFactorizationRouter


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    source = tmp_path / "tiny-bert"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(tiny_bert.bert_config()))
    (source / "tokenizer.json").write_text(json.dumps(tiny_bert.tokenizer_json()))
    tiny_bert.write_safetensors(source / "model.safetensors", tiny_bert.bert_tensors(), "F32")
    assert main(["distill", str(source), "-o", str(tmp_path / "encoder"), "--dims", "8", "--max-tokens", "16"]) == 0
    return tmp_path / "encoder"


def battle_columns(count: int = 400) -> dict[str, list[str]]:
    """Battles in which "large" wins where the prompt says "prove", and ties elsewhere."""
    rng = np.random.default_rng(3)
    columns: dict[str, list[str]] = {"prompt": [], "model_a": [], "model_b": [], "winner": []}
    for i in range(count):
        words = rng.choice(["a", "prompt", "prompts", "!", "é"], size=5).tolist()
        hard = bool(i % 2)
        columns["prompt"].append(" ".join([*words, "prove" if hard else "a"]))
        flipped = bool(rng.integers(2))
        columns["model_a"].append("small" if flipped else "large")
        columns["model_b"].append("large" if flipped else "small")
        columns["winner"].append(("model_b" if flipped else "model_a") if hard else "tie")
    return columns


def test_distil_train_route(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table(battle_columns()), tmp_path / "battles.parquet")
    options = (
        f"--strong large --weak small --encoder {encoder} --rank 2 --epochs 60 --learning-rate 0.05 --weight-decay 0"
    )
    arguments = ["train", "mf", "--preferences", str(tmp_path / "battles.parquet"), *options.split()]
    assert main([*arguments, "-o", str(tmp_path / "router")]) == 0
    assert main([*arguments, "-o", str(tmp_path / "again")]) == 0
    for name in ("weights.safetensors", "encoder.safetensors"):
        assert (tmp_path / "router" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()

    router = fastroute.load(tmp_path / "router")
    prompts = battle_columns()["prompt"]
    hard = np.array([prompt.endswith("prove") for prompt in prompts])
    scores = router.score(prompts)
    assert scores[hard].mean() > scores[~hard].mean() + 0.1
    manifest = json.loads((tmp_path / "router" / "router.json").read_bytes())
    assert manifest["encoder"]["bundled"] is True
    assert str(tmp_path) not in json.dumps(manifest)

    capsys.readouterr()
    assert main(["route", "--router", str(tmp_path / "router"), "--json", "a prompt ! é a prove"]) == 0
    decision = json.loads(capsys.readouterr().out)
    assert decision["model"] == "large"
    assert main(["inspect", str(tmp_path / "router")]) == 0
    assert "battles.parquet" in capsys.readouterr().out


def test_every_format_gives_the_same_router(encoder: Path, tmp_path: Path) -> None:
    columns = battle_columns(80) | {"license": ["MIT", ""] * 40}
    pq.write_table(pa.table(columns), tmp_path / "battles.parquet")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    (tmp_path / "battles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        with (tmp_path / f"battles{suffix}").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(columns), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    options = f"--strong large --weak small --encoder {encoder} --rank 2 --epochs 2".split()
    weights = []
    for suffix in (".parquet", ".jsonl", ".csv", ".tsv"):
        file, artifact = tmp_path / f"battles{suffix}", tmp_path / f"router{suffix}"
        assert main(["train", "mf", "--preferences", str(file), *options, "-o", str(artifact)]) == 0
        training = json.loads((artifact / "router.json").read_bytes())["training"]
        assert training["command"].startswith(f"fastroute train mf --preferences battles{suffix} --strong large ")
        assert training["data"] == [
            {
                "file": file.name,
                "bytes": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "licences": ["MIT"],
            }
        ]
        weights.append((artifact / "weights.safetensors").read_bytes())
    assert len(set(weights)) == 1


def outcome_columns(count: int = 400) -> dict[str, list[object]]:
    """Scores by which "large" knows all, and "small" guesses where the prompt says "prove"."""
    rng = np.random.default_rng(4)
    columns: dict[str, list[object]] = {"prompt": [], "model": [], "score": []}
    for i in range(count):
        prompt = " ".join([*rng.choice(["a", "prompt", "prompts", "!", "é"], size=5), "prove" if i % 2 else "a"])
        for model in ("large", "small"):
            columns["prompt"].append(prompt + f"{' !' * (i % 7)}\nA. a\nB. prove")
            columns["model"].append(model)
            columns["score"].append(bool(model == "large" or i % 2 == 0 or rng.integers(2)))
    return columns


def test_train_on_outcomes(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Through the command line and in Python: one objective, one set of weights."""
    pq.write_table(pa.table(outcome_columns()), tmp_path / "outcomes.parquet")
    pq.write_table(pa.table(battle_columns(40)), tmp_path / "battles.parquet")
    judged = {"prompt": ["a prompt", "a !"] * 20, "model": ["large"] * 20 + ["small"] * 20, "score": [9, 10] * 20}
    pq.write_table(pa.table(judged | {"judge": ["j"] * 40}), tmp_path / "judged.parquet")
    pair = f"--strong large --weak small --encoder {encoder}".split()
    settings = {"rank": 2, "epochs": 60, "learning_rate": 0.02, "weight_decay": 0.0}
    options = [*pair, *(f"--{name.replace('_', '-')}={value}" for name, value in settings.items())]
    outcomes = ["train", "mf", "--objective", "outcomes", "--outcomes", str(tmp_path / "outcomes.parquet"), *options]
    assert main([*outcomes, "-o", str(tmp_path / "one")]) == 0
    assert "800 scores of 2 models on 4" in capsys.readouterr().err
    router = MatrixFactorizationRouter("large", "small", encoder=encoder, objective="outcomes", **settings)
    router.fit(outcomes=outcome_columns())
    router.save(tmp_path / "other")
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("one", "other")]
    assert weights[0] == weights[1]

    loaded = fastroute.load(tmp_path / "one")
    prompts = [str(prompt) for prompt in outcome_columns()["prompt"]]
    hard = np.array(["prove\n" in prompt or "prove !" in prompt for prompt in prompts])
    scores = loaded.score(prompts)
    assert scores[hard].mean() > scores[~hard].mean() + 0.05
    assert loaded.score_models(prompts).shape == (len(prompts), 2)
    training = json.loads((tmp_path / "one" / "router.json").read_bytes())["training"]
    assert (training["objective"], training["guess_rate"]) == ("outcomes", "1 / lettered options")
    assert training["scores"] == 800
    assert "--objective outcomes --rank 2" in training["command"]

    more = ["--preferences", str(tmp_path / "battles.parquet"), "--judge-scores", str(tmp_path / "judged.parquet")]
    assert main([*outcomes, *more, "-o", str(tmp_path / "all")]) == 0
    training = json.loads((tmp_path / "all" / "router.json").read_bytes())["training"]
    assert (training["scores"], training["battles"]) == (840, 40)
    assert [data["file"] for data in training["data"]] == ["battles.parquet", "outcomes.parquet", "judged.parquet"]
    assert main([*outcomes, *more, "--objective", "battles", "-o", str(tmp_path / "battles")]) == 0
    training = json.loads((tmp_path / "battles" / "router.json").read_bytes())["training"]
    assert training["objective"] == "battles"
    assert "scores" not in training


def test_fit_on_rows_of_embeddings(tmp_path: Path) -> None:
    """Battles by row, a matrix of embeddings, no encoder: scores embeddings, and says so of text."""
    columns = battle_columns()
    hard = np.array([prompt.endswith("prove") for prompt in columns["prompt"]])
    embeddings = np.random.default_rng(0).normal(size=(len(hard), 6)).astype(np.float32)
    embeddings[:, 0] += 3 * hard
    battles = {key: columns[key] for key in ("model_a", "model_b", "winner")} | {"row": list(range(len(hard)))}
    router = MatrixFactorizationRouter(
        "large", "small", encoder=None, rank=2, epochs=30, learning_rate=0.01, weight_decay=0.0
    )
    assert router.fit(battles, embeddings=embeddings) is router
    scores = router.score_embeddings(embeddings)
    assert scores[hard].mean() > scores[~hard].mean() + 0.1
    assert np.mean(scores >= router.threshold) == pytest.approx(0.5, abs=0.1)
    assert router.score_models.__doc__
    with pytest.raises(fastroute.errors.InvalidArgumentError, match="has no text encoder"):
        router.score("a prompt")
    router.save(tmp_path / "router")
    loaded = fastroute.load(tmp_path / "router")
    np.testing.assert_array_equal(loaded.score_embeddings(embeddings), scores)
    with pytest.raises(EncoderMismatchError, match="trained on embeddings alone"):
        fastroute.load(tmp_path / "router", encoder="static-minilm-l6")


def test_an_unknown_objective_is_refused() -> None:
    with pytest.raises(fastroute.errors.InvalidArgumentError, match="objective: found 'gains', allowed: battles, out"):
        MatrixFactorizationRouter(objective="gains")


def test_another_encoder_is_refused(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderMismatchError, match="static-minilm-l6"):
        fastroute.load("mf", encoder=encoder)


def test_a_pair_of_unknown_models_names_the_nearest(encoder: Path) -> None:
    router = MatrixFactorizationRouter("large", "smal", encoder=encoder)
    with pytest.raises(UnknownModelError, match=r"weak: found 'smal'.*small"):
        router.fit(battle_columns())
    with pytest.raises(UnknownModelError, match=r"strong: found 'gpt-4-1106'.*gpt-4-1106-preview"):
        fastroute.load("mf", strong="gpt-4-1106")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--preferences", "absent.parquet"], "absent.parquet: no such file"),
        ([], "--preferences, --outcomes, --judge-scores: found none"),
        (["--preferences", "battles.parquet", "--strong", "nobody"], "strong: found 'nobody'"),
        (["--preferences", "battles.parquet", "--encoder", "nowhere"], "nowhere"),
        (["--preferences", "battles.parquet", "--rank", "0"], "rank: 0 given"),
        (["--outcomes", "battles.parquet"], "no column 'model'"),
        (["--preferences", "battles.parquet", "--objective", "outcomes"], "--outcomes, --judge-scores: found neither"),
        (["--judge-scores", "battles.parquet"], "no column 'score'"),
        (["--preferences", "battles.parquet", "--objective", "gains"], "invalid choice: 'gains'"),
        (["--preferences", "battles.txt"], "battles.txt: the format can't be told by its name"),
    ],
)
def test_bad_arguments_are_named_and_nothing_is_written(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table(battle_columns(40)), "battles.parquet")
    pair = [] if "--strong" in arguments else ["--strong", "large", "--weak", "small"]
    assert main(["train", "mf", *pair, *arguments, "-o", "router"]) in (1, 2)
    assert says in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["battles.parquet"]
