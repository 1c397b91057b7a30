"""``fastroute leaderboard``: table, JSON, CSV, plot, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from fastroute.cli import main

HEADER = "model_a,model_b,winner"
BATTLES = [("ann", "ben", "model_a")] * 3 + [("ben", "ann", "model_a")] + [("ann", "cy", "model_a")]


@pytest.fixture
def votes(tmp_path):
    path = tmp_path / "votes.csv"
    path.write_text("\n".join([HEADER, *(",".join(battle) for battle in BATTLES)]) + "\n")
    return path


@pytest.fixture
def run(capsys):
    def run(*args):
        code = main(["leaderboard", *map(str, args)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_table(run, votes):
    code, out, err = run(votes, "--resamples", 0)
    assert code == 0
    assert out.splitlines() == [
        "rank  model  rating        interval  ranks  battles  win rate  tier",
        "   1  ann    1095.4  -inf to    inf    1-2        5     80.0%     1",
        "   2  ben     904.6  -inf to    inf    1-2        4     25.0%     2",
    ]
    assert err == "no rating: cy (never won; 1 battle)\n"


def test_json_has_no_infinity(run, votes):
    code, out, _ = run(votes, "--json", "--resamples", 0, "--anchor", "ben=1200.5")
    board = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    first, second = board["groups"][0]["entries"]
    assert second == {
        "rank": 2,
        "model": "ben",
        "rating": 1200.5,
        "low": None,
        "high": None,
        "best_rank": 1,
        "worst_rank": 2,
        "battles": 4,
        "win_rate": 0.25,
        "tier": 2,
    }
    assert first["rating"] == pytest.approx(1200.5 + 400 * math.log10(3))
    assert board["unrated"] == [{"model": "cy", "reason": "never won", "battles": 1}]
    assert (board["battles"], board["resamples"], board["confidence"], board["penalty"]) == (5, 0, 0.95, 0.0)


def test_csv_is_the_table_in_full(run, votes, tmp_path):
    target = tmp_path / "board.csv"
    code, out, _ = run(votes, "--csv", target, "--json", "--seed", 3)
    rows = list(csv.DictReader(io.StringIO(target.read_text())))
    assert code == 0
    for row, entry in zip(rows, json.loads(out)["groups"][0]["entries"], strict=True):
        assert row["group"] == "1"
        assert row["model"] == entry["model"]
        assert float(row["rating"]) == entry["rating"]
        assert int(row["worst_rank"]) == entry["worst_rank"]


def test_groups_have_headings(run, tmp_path):
    path = tmp_path / "votes.jsonl"
    pairs = [*BATTLES[2:4], ("x", "y", "tie"), ("y", "z", "tie")]
    path.write_text("".join(json.dumps(dict(zip(HEADER.split(","), p, strict=True))) + "\n\n" for p in pairs))
    code, out, err = run(path)
    assert code == 0
    assert [line for line in out.splitlines() if line.startswith("group")] == [
        "group 1: 3 models, 2 battles",
        "group 2, apart from group 1: 2 models, 2 battles",
    ]
    assert err == "ratings of different groups can't be compared\n"


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_all_formats_give_one_answer(run, votes, tmp_path, suffix):
    path = tmp_path / f"votes{suffix}"
    rows = [dict(zip(HEADER.split(","), battle, strict=True)) for battle in BATTLES]
    if suffix == ".tsv":
        path.write_text("\ufeff" + votes.read_text().replace(",", "\t"))
    elif suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), path)
    assert run(path) == run(votes)


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_plots(run, votes, tmp_path, suffix, start):
    pytest.importorskip("matplotlib")
    target = tmp_path / f"board{suffix}"
    assert run(votes, "--plot", target, "--resamples", 50)[0] == 0
    content = target.read_bytes()
    assert content.startswith(start)
    if suffix == ".svg":
        assert content.count(b"<!-- 1  ann -->") == 1


def test_a_plot_takes_any_name_of_a_model(run, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "votes.csv"
    path.write_text(f"{HEADER}\n$a_$,$b^$,tie\n")
    assert run(path, "--plot", tmp_path / "board.svg")[0] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--anchor", "ann"], "argument --anchor: 'ann' is not of the form MODEL=RATING"),
        (["--anchor", "ann=high"], "argument --anchor: 'ann=high' is not of the form MODEL=RATING"),
        (["--anchor", "an=1000"], "anchor: 'an' has no battle in"),
        (["--anchor", "cy=1000"], "anchor: 'cy' has no finite rating"),
        (["--resamples", "-1"], "resamples: -1 given"),
        (["--plot", "board.gif"], "--plot: found 'board.gif'; allowed: a name that ends in .png, .svg, .pdf"),
    ],
)
def test_wrong_usage(run, votes, args, message):
    code, out, err = run(votes, *args)
    assert (code, out) == (2, "")
    assert message in err


def test_a_file_of_no_known_format(run, votes):
    code, out, err = run(votes.rename(votes.with_suffix(".txt")))
    assert (code, out) == (2, "")
    assert "votes.txt: the format can't be told by its name; allowed: .jsonl, " in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.parquet", None, "none.parquet: no such file"),
        ("none.csv", None, "none.csv: can't be read: No such file"),
        ("votes.parquet", "x", "votes.parquet: can't be read as Parquet"),
        ("votes.csv", "", "votes.csv: the file is empty"),
        ("votes.csv", "model_a,winner\n", "votes.csv: no column 'model_b'; it has 'model_a', 'winner'"),
        ("votes.csv", f"{HEADER}\na,b\n", "votes.csv: line 2: expected 3 fields, found 2"),
        ("votes.csv", f'{HEADER}\n"a"x,b,tie\n', "votes.csv: line 2: broken quoting"),
        ("votes.csv", f"{HEADER}\n", "votes.csv: no battles"),
        ("votes.csv", f"{HEADER}\na,b,c\n", "votes.csv: column 'winner', line 2: 'c' found"),
        ("votes.csv", f"{HEADER}\na,b,model_a\n", "votes.csv: no two models can be rated"),
        ("votes.jsonl", "{]\n", "votes.jsonl: line 1: broken JSON"),
        ("votes.jsonl", "3\n", "votes.jsonl: line 1: expected a JSON object, found int"),
        ("votes.jsonl", '\n{"model_a":"a"}\n', "votes.jsonl: no column 'model_b'; it has 'model_a'"),
        (
            "votes.jsonl",
            '{"model_a":1,"model_b":"b","winner":"tie"}',
            "column 'model_a', line 1: 1 found; text is needed",
        ),
        (
            "votes.jsonl",
            '{"model_a":"a","model_b":"b","winner":"tie"}\n\n{"model_a":"a","model_b":"b"}',
            "column 'winner', line 3: None found; text is needed",
        ),
    ],
)
def test_bad_input(run, tmp_path, name, content, message):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_text(content)
    code, out, err = run(tmp_path / name, "--csv", tmp_path / "board.csv")
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "board.csv").exists()
