"""Chats: lists of messages in every format, of which one turn is scored."""

from __future__ import annotations

import csv
import io
import json

import pytest

from fastroute.errors import DataError, InvalidArgumentError

CHAT = [
    {"role": "system", "content": "s" * 5},
    {"role": "user", "content": "a" * 20},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
    {"role": "tool", "content": "t" * 7, "tool_call_id": "1"},
    {"role": "assistant", "content": "b" * 10},
    {"role": "user", "content": [{"type": "text", "text": "c" * 30}, {"type": "image_url", "image_url": {"url": "x"}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
]
# users' and all texts have two characters between each and the next
LENGTHS = {"last-user": 30, "first-user": 20, "users": 52, "all": 5 + 20 + 7 + 10 + 30 + 4 * 2}
NO_USER = "column 'messages': no message of role 'user' has text"
BAD = {
    "no user": ([{"role": "assistant", "content": "x"}], NO_USER),
    "empty": ([], NO_USER),
    "null content": ([{"role": "user", "content": None}], NO_USER),
    "no array": ({"role": "user"}, "column 'messages': expected an array of messages, found an object"),
    "no role": ([{"content": "x"}], "column 'messages': message 1: role: expected a string, found nothing"),
    "null": (None, "column 'messages': expected an array of messages, found null"),
    "number": (7, "column 'messages': expected an array of messages, found a number"),
    "part": (
        [{"role": "user", "content": [{"text": "x"}]}],
        "column 'messages': message 1: content: part 1: type: expected a string, found nothing",
    ),
}


def jsonl_of(chats, *, text):
    return "".join(json.dumps({"messages": json.dumps(chat) if text else chat}) + "\n" for chat in chats).encode()


def csv_of(chats):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["messages"], *([json.dumps(chat)] for chat in chats)])
    return text.getvalue().encode()


def parquet_of(column, **options):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    content = io.BytesIO()
    pq.write_table(pa.table({"messages": column, "id": range(len(column))}), content, **options)
    return content.getvalue()


def scores_in(content, suffix):
    if suffix == ".parquet":
        pq = pytest.importorskip("pyarrow.parquet")
        return [round(score, 6) for score in pq.read_table(io.BytesIO(content))["score"].to_pylist()]
    if suffix == ".csv":
        return [float(row["score"]) for row in csv.DictReader(io.StringIO(content.decode(), newline=""))]
    return [json.loads(line)["score"] for line in content.splitlines()]


FORMS = {
    "jsonl": (".jsonl", lambda chats: jsonl_of(chats, text=False)),
    "jsonl text": (".jsonl", lambda chats: jsonl_of(chats, text=True)),
    "csv": (".csv", csv_of),
    "parquet text": (".parquet", lambda chats: parquet_of([json.dumps(chat) for chat in chats])),
}


@pytest.mark.parametrize("turn", LENGTHS)
@pytest.mark.parametrize("form", FORMS)
def test_turns(score_bytes, form, turn):
    suffix, encode = FORMS[form]
    out, summary = score_bytes(encode([CHAT, CHAT[:2] * 2]), suffix, turn=turn)
    short = {"last-user": 20, "first-user": 20, "users": 42, "all": 56}[turn]
    assert scores_in(out, suffix) == [LENGTHS[turn] / 100, short / 100]
    assert summary.skipped == 0


@pytest.mark.parametrize("form", FORMS)
def test_bad_chats(score_bytes, form):
    suffix, encode = FORMS[form]
    content = encode([CHAT, *(chat for chat, _ in BAD.values()), CHAT])
    out, summary = score_bytes(content, suffix, turn="last-user", on_error="skip")
    assert scores_in(out, suffix) == [0.3, 0.3]
    assert [(bad.row, bad.reason) for bad in summary.first_skipped] == [
        (row, reason) for row, (_, reason) in enumerate(BAD.values(), 2)
    ]


def test_a_bad_chat_ends_the_run(score_bytes, tmp_path):
    with pytest.raises(DataError, match=r"in.jsonl: row 2 \(line 2\): column 'messages': expected an array"):
        score_bytes(jsonl_of([CHAT, 7], text=False), ".jsonl", turn="all")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_text_that_is_no_json(score_bytes):
    _, summary = score_bytes(b'messages\nhello\n"[1"\n', ".csv", turn="all", on_error="skip")
    assert [bad.reason for bad in summary.first_skipped] == [
        "column 'messages': broken JSON at character 1: Expecting value",
        "column 'messages': broken JSON at character 3: Expecting ',' delimiter",
    ]


class TestParquet:
    def typed(self, pa, content):
        message = pa.struct([("role", pa.string()), ("content", content)])
        return pa.list_(message)

    def test_lists_of_structs(self, score_bytes):
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        plain = [
            {"role": turn["role"], "content": turn["content"]} for turn in CHAT if isinstance(turn["content"], str)
        ]
        chats = [plain, None, [], [{"role": None, "content": "x"}], [None], plain] * 500
        column = pa.array(chats, self.typed(pa, pa.string()))
        content = parquet_of(column, row_group_size=1_000)
        out, summary = score_bytes(content, ".parquet", turn="last-user", on_error="skip")
        table = pq.read_table(io.BytesIO(out))
        assert table["id"].to_pylist() == [i for i in range(3_000) if i % 6 in (0, 5)]
        assert set(scores_in(out, ".parquet")) == {0.2}
        assert table["messages"].to_pylist() == [plain] * 1_000
        assert [bad.reason.removeprefix("column 'messages': ") for bad in summary.first_skipped[:4]] == [
            "expected an array of messages, found null",
            "no message of role 'user' has text",
            "message 1: role: expected a string, found null",
            "message 1: expected an object, found null",
        ]

    def test_parts(self, score_bytes):
        pa = pytest.importorskip("pyarrow")
        part = pa.struct([("type", pa.string()), ("text", pa.large_string()), ("url", pa.string())])
        parts = [{"type": "text", "text": "c" * 30, "url": None}, {"type": "image", "text": None, "url": "x"}]
        column = pa.array([[{"role": "user", "content": parts}]], self.typed(pa, pa.list_(part)))
        assert scores_in(score_bytes(parquet_of(column), ".parquet", turn="all")[0], ".parquet") == [0.3]

    def test_messages_that_are_maps(self, score_bytes):
        pa = pytest.importorskip("pyarrow")
        column = pa.array([[[("role", "user"), ("content", "c" * 30)]]], pa.list_(pa.map_(pa.string(), pa.string())))
        assert scores_in(score_bytes(parquet_of(column), ".parquet", turn="all")[0], ".parquet") == [0.3]

    def test_other_types(self, score_bytes):
        with pytest.raises(DataError, match="column 'messages': expected message lists, found int64"):
            score_bytes(parquet_of([1]), ".parquet", turn="all", on_error="skip")

    def test_the_column_chunks_are_copied(self, score_bytes):
        pa = pytest.importorskip("pyarrow")
        column = pa.array([[{"role": "user", "content": "a" * 20}]] * 9, self.typed(pa, pa.string()))
        content = parquet_of(column, compression="zstd")
        out, _ = score_bytes(content, ".parquet", turn="all")
        assert content[4:-2_000] in out


def test_which_column(score_bytes):
    content = jsonl_of([CHAT], text=False).replace(b'"messages"', b'"conversation"')
    assert scores_in(score_bytes(content, ".jsonl", turn="users", column="conversation")[0], ".jsonl") == [0.52]
    with pytest.raises(DataError, match="column 'messages' is missing; this row has 'conversation'"):
        score_bytes(content, ".jsonl", turn="users", overwrite=True)


def test_an_unknown_turn(score_bytes):
    with pytest.raises(InvalidArgumentError, match="turn: found 'last', allowed: last-user, first-user, users, all"):
        score_bytes(b"", ".jsonl", turn="last")
