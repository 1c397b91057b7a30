"""RouteLLM's battles and embeddings as sw_ranking routers, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.importing.routellm_files import PADDING, PAIR, Arena, about, arena, write_arena
from tests.reference.elo_reference import (
    ROUTELLM,
    cell_weights,
    global_ratings,
    rating_gap,
    similarities,
    tiers_of,
    weights,
    wins_of,
)

import fastroute
from fastroute.cli import main
from fastroute.encoders import load_encoder
from fastroute.errors import EncoderMismatchError, FastrouteError, InvalidArgumentError, UnknownModelError
from fastroute.importing import import_sw_ranking
from fastroute.routers import SimilarityWeightedRouter
from fastroute.training.tiers import assign_tiers

pa = pytest.importorskip("pyarrow", reason="needs the extra [batch]")
import pyarrow.parquet as pq  # noqa: E402

BATTLES, DIM, TOPICS = 400, 24, 4
QUERIES = about(np.arange(8) % TOPICS, DIM, TOPICS, 0)


@pytest.fixture
def data() -> Arena:
    return arena(BATTLES, DIM, models=12, topics=TOPICS)


@pytest.fixture
def files(tmp_path: Path, data: Arena) -> tuple[Path, Path]:
    return write_arena(tmp_path / "data", data)


def long(data: Arena) -> list[tuple[str, str, str]]:
    """Battles whose prompt is not short."""
    c = data.columns
    flags = zip(c["winner_model_a"], c["winner_model_b"], strict=True)
    winners = ["model_a" if a else "model_b" if b else "tie" for a, b in flags]
    rows = zip(c["model_a"], c["model_b"], winners, c["prompt"], strict=True)
    return [(a, b, winner) for a, b, winner, text in rows if PADDING in text]


def test_scores_and_tiers_are_those_of_the_formulas(files: Any, data: Arena, tmp_path: Path) -> None:
    import_sw_ranking(*files, encoder=None, tiers=3, threshold=0.6).save(tmp_path / "out")
    router = fastroute.load(tmp_path / "out")
    battles = long(data)
    assert 0 < len(battles) == len(data.embeddings) < BATTLES
    ratings = global_ratings(battles)
    tiers = tiers_of(ratings, 3, objective="variance")
    assert tiers != tiers_of(ratings, 3, objective="squares")  # how `fit` cuts them
    assert dict(zip(router.models_, router.tiers_.tolist(), strict=True)) == tiers
    gaps = [rating - ratings[model] for model, rating in zip(router.models_, router.ratings_, strict=True)]
    assert np.ptp(gaps) < 1e-3
    between = [(tiers[a], tiers[b], winner) for a, b, winner in battles]
    wanted = []
    for query in QUERIES:
        weight = weights(similarities(data.embeddings, query))
        gap = rating_gap(wins_of(cell_weights(between, weight), compat=ROUTELLM), tiers[PAIR[0]], tiers[PAIR[1]])
        wanted.append(float(1 - 1 / (1 + 10 ** (gap / Decimal(400)))))
    assert np.ptp(wanted) > 0.05
    np.testing.assert_allclose(router.score_embeddings(QUERIES), wanted, rtol=0, atol=2e-5)
    assert (router.strong, router.weak, router.threshold) == (*PAIR, 0.6)
    settings = router.base, router.normaliser, router.neighbours, router.shrinkage, router.compat
    assert settings == (10.0, "best", 0, 0.0, "routellm")


def test_equal_embeddings_are_one_prompt(files: Any, data: Arena) -> None:
    router = import_sw_ranking(*files, encoder=None)
    assert router.prompts == len(np.unique(data.embeddings, axis=0)) < len(data.embeddings)


def test_large_sets_have_coarse_rows(tmp_path: Path) -> None:
    """Above 4,096 prompts the artifact has one byte for a number, and the means that make up for it."""
    data = arena(5200, 8, models=6, topics=TOPICS)
    router = import_sw_ranking(*write_arena(tmp_path, data), encoder=None, keep=None)
    router.save(tmp_path / "out")
    assert router.prompts > 4096
    assert (tmp_path / "out" / "moments.safetensors").is_file()
    queries = about(np.arange(4), 8, TOPICS, 0)
    np.testing.assert_array_equal(
        fastroute.load(tmp_path / "out").score_embeddings(queries), router.score_embeddings(queries)
    )


@pytest.mark.parametrize("keep", ["prompts", "battles", None])
def test_what_is_kept(files: Any, keep: str | None, tmp_path: Path) -> None:
    import_sw_ranking(*files, encoder=None, keep=keep).save(tmp_path / "out")
    raw = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert (PADDING.encode() in raw) == (keep == "prompts")
    assert (tmp_path / "out" / "battles.safetensors").is_file() == (keep is not None)
    assert fastroute.load(tmp_path / "out")._keep == keep


def test_texts_are_read_explained_and_added_to(tmp_path: Path, data: Arena) -> None:
    """With an encoder whose embeddings the battles have, a router is like any other."""
    encoder = load_encoder()
    turns = [json.loads(text)[0].strip() for text in data.columns["prompt"]]
    embedded = replace(data, embeddings=encoder.embed([turn for turn in turns if PADDING in turn]))
    router = import_sw_ranking(*write_arena(tmp_path / "own", embedded), encoder=encoder)
    router.save(tmp_path / "out")
    loaded = fastroute.load(tmp_path / "out")
    assert isinstance(loaded, SimilarityWeightedRouter)
    asked = f"31{PADDING}"
    score = loaded.score_embeddings(encoder.embed([asked]))[0]
    assert loaded.score(asked) == pytest.approx(score, abs=1e-6)
    assert loaded.explain(asked, k=3).battles[0].prompt == asked
    vote = {
        "model_a": [PAIR[0]],
        "model_b": ["new"],
        "winner": ["model_b"],
        "prompt": ["What is the answer to it all?"],
    }
    more = loaded.with_battles(vote)
    assert more.prompts == loaded.prompts + 1
    assert "new" in more.models


def test_the_artifact_says_what_it_was_made_of(files: Any, tmp_path: Path) -> None:
    (files[0].parent / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    command = ["import-routellm", "--battles", str(files[0]), "--embeddings", str(files[1]), "--encoder", "none"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "router.json").read_text()
    said = json.loads(text)["training"]
    assert [each["file"] for each in said["data"]] == ["battles.parquet", "embeddings.parquet"]
    assert said["licence"] == "cc-by-4.0"
    assert sum(said["sources"].values()) == said["battles"] == BATTLES - sum(said["dropped_rows"].values())
    assert str(tmp_path) not in text


def saved_to_disk(table: Any, folder: Path, *, file_format: bool = False) -> None:
    """As `datasets` does: two Arrow files, and a `state.json` that has them in order."""
    folder.mkdir(parents=True)
    names = ["z.arrow", "a.arrow"]
    half = table.num_rows // 3
    for name, part in zip(names, (table.slice(0, half), table.slice(half)), strict=True):
        new = pa.ipc.new_file if file_format else pa.ipc.new_stream
        with new(folder / name, table.schema) as writer:
            writer.write_table(part, max_chunksize=50)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")


def as_streams(battles: Any, rows: Any, path: Path) -> None:
    saved_to_disk(battles, path / "battles")
    saved_to_disk(rows, path / "embeddings")


def as_files(battles: Any, rows: Any, path: Path) -> None:
    saved_to_disk(battles, path / "battles", file_format=True)
    saved_to_disk(rows, path / "embeddings", file_format=True)


def as_splits(battles: Any, rows: Any, path: Path) -> None:
    for name, table in (("battles", battles), ("embeddings", rows)):
        saved_to_disk(table, path / name / "train")
        saved_to_disk(table.slice(0, 5), path / name / "test")
        (path / name / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')


def as_shards(battles: Any, rows: Any, path: Path) -> None:
    for name, table in (("battles", battles), ("embeddings", rows)):
        folder = path / name / "data"
        folder.mkdir(parents=True)
        pq.write_table(table.slice(0, 90), folder / "train-00000-of-00002.parquet")
        pq.write_table(table.slice(90), folder / "train-00001-of-00002.parquet")
        pq.write_table(table.slice(0, 5), folder / "test-00000-of-00001.parquet")


def as_narrow(battles: Any, rows: Any, path: Path) -> None:
    """Fixed lengths of float32, truths for numbers, no ties: other types say the same."""
    for name in ("winner_model_a", "winner_model_b"):
        battles = battles.set_column(battles.schema.get_field_index(name), name, battles.column(name).cast(pa.bool_()))
    battles = battles.drop_columns(["winner_tie"])
    fixed = pa.list_(pa.float32(), DIM)
    rows = pa.table({"embeddings": pa.array(rows.column("embeddings").to_pylist(), fixed)})
    for name, table in (("battles", battles), ("embeddings", rows)):
        (path / name).mkdir(parents=True)
        pq.write_table(table, path / name / "part.parquet")


@pytest.mark.parametrize("write", [as_streams, as_files, as_splits, as_shards, as_narrow])
def test_every_form_of_data_set_says_the_same(write: Any, files: Any, tmp_path: Path) -> None:
    wanted = import_sw_ranking(*files, encoder=None)
    write(*map(pq.read_table, files), tmp_path / "sets")
    router = import_sw_ranking(tmp_path / "sets" / "battles", [tmp_path / "sets" / "embeddings"], encoder=None)
    np.testing.assert_array_equal(router.score_embeddings(QUERIES), wanted.score_embeddings(QUERIES))
    assert len(router._manifest["training"]["data"]) in (2, 4)


def test_several_data_sets_are_one_after_the_other(data: Arena, files: Any, tmp_path: Path) -> None:
    parts = [write_arena(tmp_path / name, data.part(*rows)) for name, rows in (("b", (0, 150)), ("a", (150, BATTLES)))]
    router = import_sw_ranking([battles for battles, _ in parts], [rows for _, rows in parts], encoder=None)
    wanted = import_sw_ranking(*files, encoder=None)
    np.testing.assert_array_equal(router.score_embeddings(QUERIES), wanted.score_embeddings(QUERIES))
    assert set(router._manifest["training"]["sources"]) == {"a", "b"}


def column(name: str, change: Callable[[list[Any]], list[Any]]) -> Callable[[Arena, Path], None]:
    def damage(data: Arena, path: Path) -> None:
        write_arena(path, replace(data, columns={**data.columns, name: change(list(data.columns[name]))}))

    return damage


def without(name: str) -> Callable[[Arena, Path], None]:
    def damage(data: Arena, path: Path) -> None:
        write_arena(path, replace(data, columns={key: rows for key, rows in data.columns.items() if key != name}))

    return damage


def rows(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Arena, Path], None]:
    return lambda data, path: (write_arena(path, replace(data, embeddings=change(data.embeddings.copy()))), None)[1]


def lists(change: Callable[[list[Any]], list[Any]], kind: Any = None) -> Callable[[Arena, Path], None]:
    def damage(data: Arena, path: Path) -> None:
        pq.write_table(
            pa.table({"embeddings": pa.array(change(data.embeddings.tolist()), kind)}), path / "embeddings.parquet"
        )

    return damage


def content(name: str, change: Callable[[bytes], bytes]) -> Callable[[Arena, Path], None]:
    return lambda data, path: ((path / name).write_bytes(change((path / name).read_bytes())), None)[1]


def with_first(value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda found: [value, *found[1:]]


def put(matrix: np.ndarray, row: int, value: float) -> np.ndarray:
    matrix[row] = value
    return matrix


def both_won(data: Arena, path: Path) -> None:
    ones = {f"winner_{side}": [1] * BATTLES for side in ("model_a", "model_b")}
    write_arena(path, replace(data, columns={k: v for k, v in {**data.columns, **ones}.items() if k != "winner_tie"}))


DAMAGES: dict[str, tuple[Callable[[Arena, Path], None], str]] = {
    "no model_a": (without("model_a"), "no column 'model_a'"),
    "no winner": (without("winner_model_b"), "no column 'winner_model_b'"),
    "no prompt": (without("prompt"), "no column 'prompt'"),
    "prompt is no JSON": (column("prompt", with_first("What is it?")), "row 0: 'What is it"),
    "prompt is an object": (column("prompt", with_first('{"a": 1}')), "JSON list that begins with a text"),
    "prompt is an empty list": (column("prompt", with_first("[]")), "JSON list that begins with a text"),
    "prompt begins with null": (column("prompt", with_first("[null]")), "JSON list that begins with a text"),
    "prompt is too deep": (column("prompt", with_first("[" * 100_000)), "JSON list that begins with a text"),
    "prompt is missing": (column("prompt", with_first(None)), "row 0: None found"),
    "model is missing": (column("model_a", with_first(None)), "row 0: None found"),
    "against itself": (lambda d, p: column("model_a", with_first(d.columns["model_b"][0]))(d, p), "other than model_a"),
    "both won": (both_won, "one of them is to be 1"),
    "nobody won or tied": (column("winner_tie", lambda found: [0] * len(found)), "one of them is to be 1"),
    "half a win": (column("winner_model_a", lambda found: [0.5, *map(float, found[1:])]), "0 or 1 is needed"),
    "two wins": (column("winner_model_a", with_first(2)), "from 0 to 1"),
    "a win is missing": (column("winner_model_a", with_first(None)), "from 0 to 1"),
    "a row too few": (rows(lambda e: e[:-1]), "RouteLLM's data sets have one row for each"),
    "a row for each battle": (rows(lambda e: np.concatenate([e, e])[:BATTLES]), "RouteLLM's data sets have one row"),
    "NaN": (rows(lambda e: put(e, 130, np.nan)), "row 130: NaN"),
    "infinity": (rows(lambda e: put(e, 2, np.inf)), "row 2: NaN, infinity"),
    "zeros": (rows(lambda e: put(e, 7, 0)), "row 7 is all zeros"),
    "lists of two lengths": (lists(lambda e: [*e[:-1], e[-1][:-1]]), "23 numbers found; 24 numbers are needed"),
    "a row is missing": (lists(lambda e: [None, *e[1:]]), "row 0: nothing found"),
    "a number is missing": (lists(lambda e: [[None, *e[0][1:]], *e[1:]]), "row 0: NaN, infinity or nothing"),
    "no numbers": (lists(lambda e: [[] for _ in e], pa.list_(pa.float64())), "row 0: 0 numbers found"),
    "texts": (lists(lambda e: [["1"] for _ in e]), "lists of floating-point numbers are needed"),
    "numbers, no lists": (lists(lambda e: [each[0] for each in e]), "lists of floating-point numbers are needed"),
    "cut short": (content("embeddings.parquet", lambda raw: raw[:-20]), "can't be read as parquet"),
    "a byte is another": (content("battles.parquet", lambda raw: raw[: len(raw) - 30] + b"?" * 30), "can't be read"),
    "a name is no UTF-8": (
        content("battles.parquet", lambda raw: raw.replace(b"model_a", b"model_\xff")),
        "can't be read",
    ),
    "no embeddings": (lambda d, p: pq.write_table(pa.table({"x": [1.0]}), p / "embeddings.parquet"), "no column 'emb"),
    "no file": (lambda d, p: (p / "battles.parquet").unlink(), "not found"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_wrong_is_said_and_nothing_is_written(
    name: str, data: Arena, files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGES[name]
    damage(data, tmp_path / "data")
    with pytest.raises(FastrouteError, match=message):
        import_sw_ranking(*files, encoder=None)
    given = ["--battles", str(files[0]), "--embeddings", str(files[1]), "--encoder", "none"]
    assert main(["import-routellm", *given, "-o", str(tmp_path / "out")]) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["data"]
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "_data_files"),
        ({"_data_files": []}, "_data_files"),
        ({"_data_files": ["a.arrow"]}, "_data_files"),
        ({"_data_files": [{"filename": "../a.arrow"}]}, "_data_files"),
        ({"_data_files": [{"filename": "gone.arrow"}]}, "not found"),
        (
            {"_data_files": [{"filename": "a.arrow"}], "_indices_data_files": [{"filename": "i.arrow"}]},
            "flatten_indices",
        ),
    ],
)
def test_a_state_that_leads_nowhere(state: Any, message: str, files: Any, tmp_path: Path) -> None:
    as_streams(*map(pq.read_table, files), tmp_path / "sets")
    (tmp_path / "sets" / "battles" / "state.json").write_text(json.dumps(state))
    with pytest.raises(FastrouteError, match=message):
        import_sw_ranking(tmp_path / "sets" / "battles", files[1], encoder=None)


@pytest.mark.parametrize("cut", [0, 10, 300, 5000])
def test_arrow_files_that_are_cut_short(cut: int, files: Any, tmp_path: Path) -> None:
    as_streams(*map(pq.read_table, files), tmp_path / "sets")
    path = tmp_path / "sets" / "embeddings" / "a.arrow"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FastrouteError):
        import_sw_ranking(files[0], tmp_path / "sets" / "embeddings", encoder=None)


def test_folders_without_a_split_train(files: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FastrouteError, match=r"empty: holds no \.parquet or \.arrow file"):
        import_sw_ranking(tmp_path / "empty", files[1])
    (tmp_path / "other").mkdir()
    files[0].rename(tmp_path / "other" / "test-00000-of-00001.parquet")
    with pytest.raises(FastrouteError, match="no file of the split train"):
        import_sw_ranking(tmp_path / "other", files[1])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strong": "model-99"}, UnknownModelError, "model-99"),
        ({"weak": PAIR[0]}, InvalidArgumentError, "for both"),
        ({"tiers": 0}, InvalidArgumentError, "tiers"),
        ({"keep": "all"}, InvalidArgumentError, "keep"),
        ({"threshold": -1}, InvalidArgumentError, "threshold"),
        ({"encoder": "text-embedding-3-small"}, EncoderMismatchError, "the router has 24"),
    ],
)
def test_arguments(files: Any, arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        import_sw_ranking(*files, **{"encoder": None, **arguments})


def test_models_of_one_tier_are_named(files: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--battles", str(files[0]), "--embeddings", str(files[1]), "--encoder", "none", "--tiers", "1"]
    assert main(["import-routellm", *given, "-o", str(tmp_path / "out"), "--keep", "none"]) == 0
    assert "every prompt gets the same score" in capsys.readouterr().err


def test_models_that_never_lose_have_a_tier(tmp_path: Path) -> None:
    """RouteLLM's ratings of them are wherever its solver stops; ours are finite."""
    data = arena(300, DIM, models=6, topics=TOPICS)
    c = {name: list(values) for name, values in data.columns.items()}
    for row in range(300):
        for side in ("model_a", "model_b"):
            if c[side][row] == PAIR[0]:
                won = {"model_a": 0, "model_b": 0, "tie": 0, side: 1}
                for name, flag in won.items():
                    c[f"winner_{name}"][row] = flag
    router = import_sw_ranking(*write_arena(tmp_path, replace(data, columns=c)), encoder=None, tiers=3)
    assert np.isfinite(router.ratings_).all()
    assert router.tiers_[router.models_.index(PAIR[0])] == 0
    assert np.isfinite(router.score_embeddings(QUERIES)).all()


@pytest.mark.parametrize("seed", range(20))
def test_tiers_by_variance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = rng.normal(1000, 100, int(rng.integers(1, 30)))
    count = int(rng.integers(1, len(ratings) + 1))
    found = assign_tiers(ratings, count, variance=True) - 1
    assert dict(enumerate(found.tolist())) == tiers_of(dict(enumerate(ratings.tolist())), count, objective="variance")
