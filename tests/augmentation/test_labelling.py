"""Prompts in, battles and scores out, over real sockets."""

from __future__ import annotations

import asyncio
import csv
import json

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, Reply, answer_of, completion, verdict

from fastroute.augmentation import BATTLE_COLUMNS, SCORE_COLUMNS, Columns, Endpoint
from fastroute.errors import DataError, FastrouteError, InvalidArgumentError, InvalidTypeError, MissingDependencyError
from fastroute.leaderboard import read_votes
from fastroute.tables import read_table
from fastroute.training.preferences import battles_from_preferences


def test_both_models_answer_and_both_orders_are_judged(server, folder, label):
    folder.write_prompts(3)
    steps = []
    summary = label(progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [len(server.of(model)) for model in (STRONG, WEAK, JUDGE)] == [3, 3, 6]
    assert {request.path for request in server.requests} == {"/v1/chat/completions"}
    rows = folder.rows("battles")
    assert rows[:2] == [
        {
            "model_a": STRONG,
            "model_b": WEAK,
            "winner": "model_a",
            "prompt": "prompt 0",
            "judge": JUDGE,
            "source": "augment",
            "order": "strong_first",
        },
        {
            "model_a": WEAK,
            "model_b": STRONG,
            "winner": "model_b",
            "prompt": "prompt 0",
            "judge": JUDGE,
            "source": "augment",
            "order": "weak_first",
        },
    ]
    assert [row["prompt"] for row in rows] == [f"prompt {number}" for number in (0, 0, 1, 1, 2, 2)]
    assert folder.rows("judge_scores")[:2] == [
        {"prompt": "prompt 0", "model": STRONG, "score": 9.0, "judge": JUDGE, "source": "augment"},
        {"prompt": "prompt 0", "model": WEAK, "score": 4.0, "judge": JUDGE, "source": "augment"},
    ]
    assert folder.rows("failures") == []
    assert (summary.judged, summary.failed, summary.left, summary.stopped) == (3, 0, 0, None)
    assert (summary.strong_wins, summary.weak_wins, summary.ties) == (6, 0, 0)
    assert (summary.agreement, summary.first_wins) == (1.0, 0.5)
    assert (summary.requests, summary.tokens_in, summary.tokens_out) == (12, 1200, 240)
    assert summary.dollars is None


def test_a_judge_that_favours_the_first_is_seen_and_averaged_out(server, folder, label):
    server.script = lambda request, seen: completion(verdict("A", 8, 6)) if request.model == JUDGE else None
    folder.write_prompts(2)
    summary = label()
    assert [row["winner"] for row in folder.rows("battles")] == ["model_a"] * 4
    assert {row["score"] for row in folder.rows("judge_scores")} == {7.0}
    assert (summary.agreement, summary.first_wins, summary.strong_wins, summary.weak_wins) == (0.0, 1.0, 2, 2)
    table = {name: [row[name] for row in folder.rows("battles")] for name in BATTLE_COLUMNS}
    battles = battles_from_preferences(table)
    assert (len(battles), battles.outcome.tolist()) == (2, [0.5, 0.5])


def test_ties(server, folder, label):
    server.script = lambda request, seen: completion(verdict("tie", 5, 5)) if request.model == JUDGE else None
    folder.write_prompts(1)
    summary = label()
    assert [row["winner"] for row in folder.rows("battles")] == ["tie", "tie"]
    assert (summary.ties, summary.agreement, summary.first_wins) == (2, 1.0, None)


def test_answers_that_are_given_call_no_model(server, folder, label):
    folder.write_answered(2, reference="the truth")
    label(asked=False)
    assert {request.model for request in server.requests} == {JUDGE}
    assert len(server.requests) == 4
    assert all("the truth" in request.text for request in server.requests)
    assert all(request.body["temperature"] == 0 for request in server.requests)
    assert {row["winner"] for row in folder.rows("battles")} == {"model_a", "model_b"}


def test_a_model_is_asked_where_the_input_has_no_answer(server, folder, label):
    folder.write(
        [
            {"prompt": "p", "strong_answer": answer_of(STRONG, "given"), "weak_answer": None},
            {"prompt": "q", "weak_answer": answer_of(WEAK, "given")},
        ]
    )
    label()
    assert [request.text for request in server.of(STRONG)] == ["q"]
    assert [request.text for request in server.of(WEAK)] == ["p"]
    texts = [request.text for request in server.of(JUDGE)]
    assert sum("[large on given]" in text and "[small on p]" in text for text in texts) == 2


def test_an_empty_answer_is_an_answer(server, folder, label):
    server.script = lambda request, seen: completion(verdict("tie", 1, 1))
    folder.write([{"prompt": "p", "strong_answer": "", "weak_answer": ""}])
    assert label(asked=False).judged == 1


def test_csv_and_columns_of_other_names(server, folder, label):
    path = folder.path / "log.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["question", "gpt", "mix", "gold"])
        writer.writerow(['say "a,\nb"', answer_of(STRONG, "1\r\n2"), answer_of(WEAK, "ü"), "gold\u20281"])
        writer.writerow(["q", answer_of(STRONG, "x"), answer_of(WEAK, "y"), ""])
    label(asked=False, prompts=path, columns=Columns("question", "gpt", "mix", "gold"))
    assert [row["prompt"] for row in folder.rows("battles")][::2] == ['say "a,\nb"', "q"]
    first, _ = [request for request in server.requests if "say" in request.text]
    assert all(text in first.text for text in ("gold\u20281", answer_of(STRONG, "1\r\n2"), answer_of(WEAK, "ü")))
    assert "REFERENCE" not in next(request.text for request in server.requests if "say" not in request.text)


def test_parquet_in_and_out(server, folder, label):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = folder.path / "log.parquet"
    answers = [[answer_of(model, p) for p in "xy"] for model in (STRONG, WEAK)]
    pq.write_table(pa.table({"prompt": ["x", "y"], "strong_answer": answers[0], "weak_answer": answers[1]}), path)
    label(asked=False, prompts=path, output_format="parquet", source="mine")
    battles = folder.labels / "battles.parquet"
    assert pq.read_schema(battles).names == list(BATTLE_COLUMNS)
    assert pq.read_schema(folder.labels / "judge_scores.parquet").names == list(SCORE_COLUMNS)
    trained = battles_from_preferences(read_table(battles, BATTLE_COLUMNS))
    assert (trained.models, trained.outcome.tolist(), trained.sources) == ((STRONG, WEAK), [1.0, 1.0], ("mine",))


def test_parquet_of_other_kinds(server, folder, label):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = folder.path / "log.parquet"
    answer = pa.array([answer_of(STRONG, "x"), None]).dictionary_encode()
    pq.write_table(pa.table({"prompt": ["x", "y"], "strong_answer": answer, "vector": [[1.0], [2.0]]}), path)
    label(prompts=path)
    assert (len(server.of(STRONG)), len(server.of(WEAK))) == (1, 2)
    pq.write_table(pa.table({"prompt": ["z"] * 3}), path)
    assert label(prompts=path).repeated == 2
    twice = pa.Table.from_arrays([pa.array(["p"])] * 3, names=["prompt", "reference", "reference"])
    pq.write_table(twice, path)
    with pytest.raises(DataError, match="2 columns are named 'reference'"):
        label(prompts=path)
    spoilt = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    pq.write_table(pa.table({"prompt": ["p"], "strong_answer": spoilt}), path)
    with pytest.raises(DataError, match=r"a cell of .*'strong_answer'.* is not UTF-8"):
        label(prompts=path)


def test_a_header_that_names_a_column_twice(folder, label):
    path = folder.path / "log.csv"
    path.write_text("prompt,strong_answer,strong_answer\np,a,b\n")
    with pytest.raises(DataError, match="2 columns are named 'strong_answer'"):
        label(prompts=path)


def test_the_leaderboard_reads_the_battles(folder, label):
    folder.write_answered(4)
    label(asked=False)
    votes = read_votes(folder.labels / "battles.jsonl")
    assert (votes.models, votes.won.tolist()) == ((STRONG, WEAK), [[0, 8], [0, 0]])


def test_rows_that_are_the_same_are_one_and_requests_that_are_the_same_are_sent_once(server, folder, label):
    folder.write([{"prompt": "p"}, {"prompt": "p"}, {"prompt": "p", "reference": "r"}])
    summary = label()
    assert (summary.prompts, summary.repeated, summary.judged) == (2, 1, 2)
    assert [len(server.of(model)) for model in (STRONG, WEAK, JUDGE)] == [1, 1, 4]


def test_requests_are_as_their_endpoints_say(server, folder, label):
    folder.write_answered(1)
    extra = {"max_completion_tokens": 99, "temperature": None, "seed": 7}
    label(asked=False, judge=Endpoint(f"{server.url}/", JUDGE, extra=extra))
    assert {frozenset(request.body) for request in server.requests} == {
        frozenset({"model", "messages", "max_completion_tokens", "seed"})
    }


def test_answers_cut_at_their_longest_are_counted(server, folder, label):
    def script(request, seen):
        return completion(answer_of(STRONG, "…"), finish="length") if request.model == STRONG else None

    server.script = script
    folder.write_prompts(2)
    assert label().cut == 2


@pytest.mark.parametrize("text", [None, "", "  \n", 7, ["part"]])
def test_an_answer_without_text_is_a_failure_that_is_not_paid_for_again(server, folder, label, text):
    server.script = lambda request, seen: completion(text, finish="content_filter") if request.model == WEAK else None
    folder.write_prompts(1)
    for _ in range(2):
        summary = label()
        assert (summary.judged, summary.failed) == (0, 1)
    assert folder.rows("failures") == [
        {
            "prompt": "prompt 0",
            "role": "weak",
            "model": WEAK,
            "order": None,
            "reason": "the answer has no text (finish_reason 'content_filter')",
            "replies": [],
        }
    ]
    assert len(server.requests) == 2


def test_a_malformed_judgement_is_asked_for_again_and_recorded_if_it_stays_so(server, folder, label):
    def script(request, seen):
        if request.model != JUDGE or "prompt 0" not in request.text:
            return None
        again = len(request.body["messages"]) > 1
        return completion("B, clearly." if again else verdict("A", 4, 9))

    server.script = script
    folder.write_answered(2)
    summary = label(asked=False)
    assert (summary.judged, summary.failed, summary.malformed) == (1, 1, 4)
    assert {row["prompt"] for row in folder.rows("battles") + folder.rows("judge_scores")} == {"prompt 1"}
    failures = folder.rows("failures")
    assert [(f["role"], f["order"]) for f in failures] == [("judge", "strong_first"), ("judge", "weak_first")]
    assert all(f["reason"].startswith("malformed: the reply: not valid JSON") for f in failures)
    assert all(f["replies"] == [verdict("A", 4, 9), "B, clearly."] for f in failures)


def test_one_malformed_order_leaves_the_prompt_without_labels(server, folder, label):
    def script(request, seen):
        strong_is_a = request.text.index("[large") < request.text.index("[small")
        return completion("no") if strong_is_a else None

    server.script = script
    folder.write_answered(1)
    summary = label(asked=False, limits={"reasks": 0})
    assert (summary.judged, summary.failed, len(server.requests)) == (0, 1, 2)
    assert folder.rows("battles") == folder.rows("judge_scores") == []
    assert [f["order"] for f in folder.rows("failures")] == ["strong_first"]


def test_a_good_judgement_after_a_malformed_one_counts(server, folder, label):
    server.script = lambda request, seen: completion("?") if len(request.body["messages"]) == 1 else None
    folder.write_answered(1)
    summary = label(asked=False)
    assert (summary.judged, summary.failed, summary.malformed, len(server.requests)) == (1, 0, 2, 4)


def test_a_judgement_that_was_cut_off_says_so(server, folder, label):
    server.script = lambda request, seen: completion('{"explanation": "So', finish="length")
    folder.write_answered(1)
    label(asked=False)
    assert all(f["reason"].endswith("(cut at max_tokens)") for f in folder.rows("failures"))


def test_a_running_event_loop_is_no_hindrance(folder, label):
    folder.write_answered(1)

    async def notebook():
        return label(asked=False)

    assert asyncio.run(notebook()).judged == 1


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "holds no prompts"),
        ([{"question": "p"}], "column 'prompt' is missing"),
        ([{"prompt": None}], "column 'prompt': expected a string, found null"),
        ([{"prompt": "p", "weak_answer": "w"}], r"row 1: no answer of the strong model 'large'.*--strong-url"),
        ([{"prompt": "p", "strong_answer": 7, "weak_answer": "w"}], "row 1: column 'strong_answer': expected a string"),
        ([{"prompt": "p", "strong_answer": "s", "weak_answer": "w", "reference": {}}], "column 'reference'"),
        ([{"prompt": "\ud800"}], "half of a surrogate pair"),
    ],
)
def test_rows_that_can_not_be_used(server, folder, label, rows, reason):
    folder.write(rows)
    with pytest.raises(DataError, match=reason):
        label(asked=False)
    assert not folder.labels.exists()
    assert server.requests == []


@pytest.mark.parametrize("column", ["strong_answer", "weak_answer", "reference"])
def test_a_column_that_is_named_must_be_there(folder, label, column):
    folder.write_answered(1)
    with pytest.raises(DataError, match="no column 'nope'; it has 'prompt', 'strong_answer', 'weak_answer'"):
        label(columns=Columns(**{column: "nope"}))


def test_wrong_arguments(server, folder, label):
    folder.write_answered(1)
    with pytest.raises(InvalidArgumentError, match="weak: found 'large'; allowed: another model"):
        label(weak="large")
    with pytest.raises(InvalidTypeError, match="weak: found int; allowed: an Endpoint or a model's name"):
        label(weak=7)
    with pytest.raises(InvalidTypeError, match="judge: found str; allowed: an Endpoint"):
        label(judge=server.url)
    with pytest.raises(InvalidArgumentError, match="strong: found an empty name"):
        label(strong="")
    with pytest.raises(InvalidArgumentError, match=r"columns: .*four different names"):
        label(columns=Columns("prompt", "prompt"))
    with pytest.raises(InvalidArgumentError, match="output_format: found 'xml'; allowed: jsonl, parquet"):
        label(output_format="xml")
    with pytest.raises(InvalidArgumentError, match="max_dollars: needs the prices of every model; strong has none"):
        label(limits={"max_dollars": 1.0})
    with pytest.raises(InvalidArgumentError, match="there is no such file"):
        label(prompts=folder.path / "none.jsonl")
    assert server.requests == []


def test_output_folders_that_are_refused(folder, label):
    folder.write_answered(1)
    folder.labels.write_text("a file")
    with pytest.raises(InvalidArgumentError, match="expected a folder, found a file"):
        label(asked=False)
    folder.labels.unlink()
    folder.labels.mkdir()
    (folder.labels / "thesis.txt").write_text("mine")
    with pytest.raises(InvalidArgumentError, match=r"holds files, and no journal.jsonl among them"):
        label(asked=False)
    folder.labels = folder.path / "no" / "such"
    with pytest.raises(InvalidArgumentError, match="there is no folder"):
        label(asked=False)


def test_declining_sends_and_writes_nothing(server, folder, label):
    folder.write_prompts(1)
    assert label(confirm=lambda estimate: False) is None
    assert not folder.labels.exists()
    assert server.requests == []


def test_aiohttp_is_asked_for(folder, label, monkeypatch):
    folder.write_answered(1)
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    with pytest.raises(MissingDependencyError, match=r"aiohttp.*pip install 'fastroute\[augment\]'"):
        label(asked=False)


def test_results_that_can_not_be_written(folder, label):
    folder.write_answered(1)
    label(asked=False)
    (folder.labels / "battles.jsonl").unlink()
    (folder.labels / "battles.jsonl").mkdir()
    with pytest.raises(FastrouteError, match=r"battles\.jsonl: can't be written"):
        label(asked=False)


def test_a_server_error_body_is_shown(server, folder, label):
    body = json.dumps({"error": {"message": "model 'judge' does not exist\nhere", "code": 404}}).encode()
    server.script = lambda request, seen: Reply(body, status=404)
    folder.write_answered(1)
    summary = label(asked=False)
    assert summary.first_failure == "status 404: model 'judge' does not exist here"
