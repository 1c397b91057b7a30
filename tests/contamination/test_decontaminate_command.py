"""``fastroute decontaminate``: files in, the clean file and the pairs out, and what it refuses."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest

from fastroute.cli import main

SHARED = "How many of the nine planets are larger than the fourth one"
ROWS = [
    {"id": 1, "prompt": f"{SHARED}?", "score": 0.5},
    {"id": 2, "prompt": "Write a poem about the sea.", "score": 1.0},
    {"id": 3, "prompt": "what is  SALT?", "score": 0.0},
    {"id": 4, "prompt": f"{SHARED}?", "score": 0.25},
]
EVAL = [{"prompt": "Who are you?"}, {"prompt": f"{SHARED}\nA. one\nB. two"}, {"prompt": "What is salt?"}]


@pytest.fixture
def run(capsys):
    def run(*args):
        code = main(["decontaminate", *map(str, args)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def write(path, rows):
    if path.suffix == ".parquet":
        pa = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(text.getvalue().encode())
    return path


def read(path):
    if path.suffix == ".parquet":
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    return list(
        csv.DictReader(io.StringIO(path.read_bytes().decode()), delimiter="\t" if path.suffix == ".tsv" else ",")
    )


@pytest.fixture
def train(tmp_path):
    return write(tmp_path / "train.jsonl", ROWS)


@pytest.fixture
def evaluation(tmp_path):
    return write(tmp_path / "eval.csv", EVAL)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_the_clean_file_keeps_format_columns_and_order(run, tmp_path, evaluation, suffix):
    source, target = write(tmp_path / f"train{suffix}", ROWS), tmp_path / f"clean{suffix}"
    code, out, err = run(source, evaluation, "-o", target, "--pairs", tmp_path / "pairs.jsonl")
    assert (code, out) == (0, "")
    assert read(target) == read(source)[1:2]
    assert err.splitlines()[:4] == [
        "train: 4 rows, 3 distinct prompts; eval: 3 rows, 3 distinct prompts",
        "exact: 1 pairs, 1 training prompts",
        "near: 1 pairs, 1 training prompts",
        "semantic: 0 pairs, 0 training prompts",
    ]
    assert err.splitlines()[4].startswith("3 rows found, 1 are clean (")


def test_rows_keep_their_bytes(run, tmp_path, evaluation):
    source, target = tmp_path / "train.csv", tmp_path / "clean.csv"
    kept = b'7,"a ""quoted""\r\nprompt",  0.50\r\n'
    source.write_bytes(b"\xef\xbb\xbfid,prompt,score\r\n1,What is salt?,1\r\n\r\n" + kept)
    assert run(source, evaluation, "-o", target)[0] == 0
    assert target.read_bytes() == b"\xef\xbb\xbfid,prompt,score\r\n" + kept


def test_parquet_keeps_schema_metadata_and_row_groups(run, tmp_path, evaluation):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    prompts = pa.array(["What is salt?" if i % 3 else f"prompt {i}" for i in range(30)], pa.large_string())
    table = pa.table({"model": prompts.dictionary_encode(), "prompt": prompts, "n": [[i] for i in range(30)]})
    table = table.replace_schema_metadata({"made": "here"})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=7, compression="zstd")
    assert run(tmp_path / "train.parquet", evaluation, "-o", tmp_path / "clean.parquet")[0] == 0
    clean = pq.ParquetFile(tmp_path / "clean.parquet")
    assert clean.read().equals(
        pq.read_table(tmp_path / "train.parquet").take(list(range(0, 30, 3))), check_metadata=True
    )
    assert clean.num_row_groups == 4  # nothing is left of the fifth
    assert clean.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_the_pairs(run, train, evaluation, tmp_path, suffix):
    pairs = tmp_path / f"pairs{suffix}"
    assert run(train, evaluation, "--pairs", pairs)[0] == 0
    first, second = read(pairs)
    assert {key: str(value) for key, value in first.items()} == {
        "train_row": "0",
        "train_rows": "2",
        "eval_file": str(evaluation),
        "eval_row": "1",
        "eval_rows": "1",
        "method": "near",
        "similarity": "1.0",
        "train_text": f"{SHARED}?",
        "eval_text": f"{SHARED}\nA. one\nB. two",
    }
    assert (str(second["train_row"]), second["method"], str(second["eval_row"])) == ("2", "exact", "2")
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_json_on_stdout(run, train, evaluation):
    code, out, _ = run(train, evaluation, "--json", "--method", "exact", "near")
    assert code == 0
    assert json.loads(out) == {
        "train_rows": 4,
        "train_texts": 3,
        "eval_rows": 3,
        "eval_texts": 3,
        "pairs": {"exact": 1, "near": 1},
        "removed_texts": {"exact": 1, "near": 1},
        "removed_rows": 3,
    }


def test_the_columns_can_be_named(run, tmp_path):
    source = write(
        tmp_path / "train.csv", [{"question": "What is salt?", "prompt": "-"}, {"question": "Why?", "prompt": "-"}]
    )
    other = write(tmp_path / "eval.jsonl", [{"ask": "what is salt?"}])
    target = tmp_path / "clean.csv"
    assert run(source, other, "--column", "question", "--eval-column", "ask", "-o", target)[0] == 0
    assert [row["question"] for row in read(target)] == ["Why?"]


def test_thresholds_reach_the_search(run, train, evaluation):
    assert json.loads(run(train, evaluation, "--json", "--cosine", "0.1")[1])["pairs"]["semantic"] > 0
    assert json.loads(run(train, evaluation, "--json", "--method", "semantic")[1])["pairs"] != {"semantic": 0}


class TestFolders:
    @pytest.fixture
    def evals(self, tmp_path):
        folder = tmp_path / "evals"
        for name in ("mmlu/responses", "gsm8k", "mt_bench"):
            (folder / name).mkdir(parents=True)
        write(folder / "mmlu/responses/mmlu_anatomy.csv", [{"prompt": "What is salt?", "gpt": "True"}])
        write(folder / "gsm8k/gsm8k_responses.csv", [{"prompt": f"{SHARED}?"}])
        turns = ["Write a poem about the sea.", "Who are you?"]
        write(folder / "mt_bench/question.jsonl", [{"question_id": 81, "turns": turns}])
        return folder

    def test_all_benchmarks(self, run, train, evals, tmp_path):
        assert run(train, evals, "--pairs", tmp_path / "pairs.jsonl", "-o", tmp_path / "clean.jsonl")[0] == 0
        assert [row["eval_file"] for row in read(tmp_path / "pairs.jsonl")] == [
            "gsm8k/gsm8k_responses.csv",
            "mt_bench/question.jsonl",
            "mmlu/responses/mmlu_anatomy.csv",
        ]
        assert read(tmp_path / "clean.jsonl") == []

    @pytest.mark.parametrize("name", ["mmlu", "gsm8k", "mt_bench"])
    def test_one_benchmark(self, run, train, evals, name):
        assert json.loads(run(train, evals / name, "--json")[1])["eval_rows"] == 1

    def test_a_missing_file_is_named(self, run, train, evals):
        (evals / "gsm8k/gsm8k_responses.csv").unlink()
        code, _, err = run(train, evals)
        assert code == 1
        assert f"{evals / 'gsm8k'}: no gsm8k_responses.csv is there" in err

    def test_another_folder(self, run, train, tmp_path):
        code, _, err = run(train, tmp_path)
        assert code == 1
        assert "none of mmlu/responses/mmlu_*.csv, gsm8k/gsm8k_responses.csv, mt_bench/question.jsonl is there" in err

    @pytest.mark.parametrize("line", ["{", '{"question_id": 1}', '{"turns": []}', '{"turns": [3]}', "[]"])
    def test_broken_questions(self, run, train, evals, line):
        (evals / "mt_bench/question.jsonl").write_text(f"\n{line}\n")
        code, _, err = run(train, evals)
        assert code == 1
        assert "question.jsonl: line 2: " in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["nope.jsonl", "eval.csv"], 2, "nope.jsonl: there is no such file"),
        (["train.jsonl", "nope.csv"], 2, "nope.csv: there is no such file or folder"),
        (["-", "eval.csv"], 2, "standard input"),
        (["train.jsonl", "-"], 2, "standard input"),
        (["train.jsonl", "eval.csv", "--column", "text"], 1, "column 'text' is missing; this row has 'id', 'prompt'"),
        (["train.jsonl", "eval.csv", "--eval-column", "text"], 1, "eval.csv: no column 'text'"),
        (["train.jsonl", "empty.csv"], 1, "empty.csv: no prompts"),
        (["null.jsonl", "eval.csv"], 1, "null.jsonl: row 1 (line 1): column 'prompt': expected a string, found null"),
        (["train.jsonl", "eval.csv", "-o", "clean.csv"], 2, "the output keeps the input's format"),
        (["train.jsonl", "eval.csv", "-o", "train.jsonl"], 2, "the output is the input"),
        (["train.jsonl", "eval.csv", "--pairs", "eval.csv", "--overwrite"], 2, "the output is the input"),
        (["train.jsonl", "eval.csv", "-o", "old.jsonl"], 2, "the output exists; pass --overwrite"),
        (["train.jsonl", "eval.csv", "-o", "-"], 2, "output, pairs: found '-'"),
        (["train.jsonl", "eval.csv", "-o", "x.jsonl", "--pairs", "./x.jsonl"], 2, "both are 'x.jsonl'"),
        (["train.jsonl", "eval.csv", "--pairs", "x.txt"], 2, "pairs: found 'x.txt', allowed: a name that ends in"),
        (["train.jsonl", "eval.csv", "--pairs", "no/x.csv"], 2, "there is no folder 'no'"),
        (["train.jsonl", "eval.csv", "--cosine", "0"], 2, "cosine: found 0.0"),
        (["train.jsonl", "eval.csv", "--containment", "2"], 2, "containment: found 2.0"),
        (["train.jsonl", "eval.csv", "--method", "fuzzy"], 2, "argument --method: invalid choice: 'fuzzy'"),
        (["train.jsonl", "eval.csv", "--encoder", "nope"], 1, "nope"),
    ],
)
def test_refusals_write_nothing(run, train, evaluation, tmp_path, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.jsonl").write_text("old")
    (tmp_path / "empty.csv").write_text("prompt\n")
    (tmp_path / "null.jsonl").write_text('{"prompt": null}\n')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    options = [] if "-o" in args else ["-o", "clean.jsonl"]
    ended, out, err = run(*args, *options)
    assert (ended, out) == (code, "")
    assert message in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_that_changes_meanwhile_leaves_no_output(run, train, evaluation, tmp_path, monkeypatch):
    from fastroute.contamination import cleaning

    search = cleaning.find_pairs

    def slow(*args, **options):
        train.write_text(train.read_text() + json.dumps(ROWS[1]) + "\n")
        return search(*args, **options)

    monkeypatch.setattr(cleaning, "find_pairs", slow)
    code, _, err = run(train, evaluation, "-o", tmp_path / "clean.jsonl", "--pairs", tmp_path / "pairs.csv")
    assert code == 1
    assert "train.jsonl: the file has changed while it was read" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["eval.csv", "train.jsonl"]


def test_an_empty_training_file_is_clean(run, evaluation, tmp_path):
    (tmp_path / "train.jsonl").write_text("")
    assert run(tmp_path / "train.jsonl", evaluation, "-o", tmp_path / "clean.jsonl")[0] == 0
    assert (tmp_path / "clean.jsonl").read_bytes() == b""


def test_compressed_files(run, tmp_path):
    plain = write(tmp_path / "train.jsonl", ROWS), write(tmp_path / "eval.jsonl", EVAL)
    zipped = [path.with_name(f"{path.name}.gz") for path in plain]
    for path, target in zip(plain, zipped, strict=True):
        target.write_bytes(gzip.compress(path.read_bytes()))
    options = "--method", "exact", "-o"
    assert run(*plain, *options, tmp_path / "clean.jsonl")[0] == 0
    assert run(*zipped, *options, tmp_path / "clean.jsonl.gz")[0] == 0
    clean = gzip.decompress((tmp_path / "clean.jsonl.gz").read_bytes())
    assert clean == (tmp_path / "clean.jsonl").read_bytes()
    assert len(clean.splitlines()) == 3
