"""The text of a chat: which messages and parts give it, and what is refused with which reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.messages import TURNS, decode, prompt_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def user(content: object, **more: object) -> dict[str, object]:
    return {"role": "user", "content": content, **more}


def says(role: str, content: object, **more: object) -> dict[str, object]:
    return {"role": role, "content": content, **more}


CALL = says(
    "assistant", None, tool_calls=[{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{"}}]
)
CHAT = [
    says("system", "be brief"),
    user("first", name="ann"),
    says("assistant", "answer", refusal=None, annotations=[]),
    user([text("second"), IMAGE, text("line")]),
    CALL,
    says("tool", "42", tool_call_id="c1"),
    user([{"type": "tool_result", "tool_use_id": "c1", "content": [text("not a question")]}]),
    says("assistant", [text("done")]),
]


@pytest.mark.parametrize(
    ("turn", "prompt"),
    [
        ("last-user", "second\nline"),
        ("first-user", "first"),
        ("users", "first\n\nsecond\nline"),
        ("all", "be brief\n\nfirst\n\nanswer\n\nsecond\nline\n\n42\n\ndone"),
    ],
)
def test_turns_of_a_chat_with_tools(turn, prompt):
    assert prompt_of(CHAT, turn) == prompt
    assert prompt_of(decode(json.dumps(CHAT)), turn) == prompt


def test_the_last_user_is_the_default():
    assert prompt_of([user("a"), user("b")]) == "b"


@pytest.mark.parametrize(
    ("content", "prompt"),
    [
        (" as it is\n", " as it is\n"),
        ([text("a"), text("b")], "a\nb"),
        ([{"type": "input_text", "text": "a"}, {"type": "output_text", "text": "b"}], "a\nb"),
        (["a", text("b"), "c"], "a\nb\nc"),
        ([IMAGE, text("what is it?")], "what is it?"),
        ([text("a"), {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}], "a"),
        ([text("a"), {"type": "file", "file": {"file_id": "f"}}, {"type": "refusal", "refusal": "no"}], "a"),
        ([text("a"), {"type": "tool_use", "id": "t", "name": "f", "input": {"text": "no"}}], "a"),
        ([text("a"), {"type": "yet_to_come", "text": "no"}], "a"),
        ([{"type": "text", "text": "a", "image_url": None, "cache_control": {"type": "ephemeral"}}], "a"),
        ([{"type": "image_url", "text": None, "image_url": {"url": "x"}}, {**text("a"), "image_url": None}], "a"),
        (({"type": "text", "text": "a"},), "a"),
        ("half \ud83d", "half \ud83d"),
    ],
)
def test_the_text_of_a_content(content, prompt):
    for turn in TURNS:
        assert prompt_of([user(content)], turn) == prompt


@pytest.mark.parametrize("nothing", [None, "", " \n\t\u00a0", [], [IMAGE], [text(" "), text("\n")], ["", IMAGE]])
def test_messages_without_text_are_passed_over(nothing):
    assert prompt_of([user(nothing), user("a"), user(nothing)]) == "a"
    assert prompt_of([user(nothing), user("a")], "first-user") == "a"
    assert prompt_of([user("a"), user(nothing), user("b")], "users") == "a\n\nb"
    assert prompt_of([says("system", nothing), user("a"), user(nothing)], "all") == "a"
    with pytest.raises(DataError, match=r"^no message of role 'user' has text$"):
        prompt_of([user(nothing), says("assistant", "a")])
    with pytest.raises(DataError, match=r"^no message has text$"):
        prompt_of([user(nothing)], "all")


@pytest.mark.parametrize("role", ["system", "developer", "assistant", "tool", "function", "critic", "User", ""])
def test_other_roles_are_passed_over(role):
    chat = [says(role, "x"), user("a"), says(role, "y"), {"role": role}]
    assert [prompt_of(chat, turn) for turn in TURNS] == ["a", "a", "a", "x\n\na\n\ny"]


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (None, "expected an array of messages, found null"),
        ("hello", "expected an array of messages, found a string"),
        ({"messages": []}, "expected an array of messages, found an object"),
        (1, "expected an array of messages, found a number"),
        (b"[]", "expected an array of messages, found bytes"),
        ([], "no message of role 'user' has text"),
        ([user("a"), None], "message 2: expected an object, found null"),
        ([user("a"), "b"], "message 2: expected an object, found a string"),
        ([user("a"), []], "message 2: expected an object, found an array"),
        ([user("a"), [["role", "user"], ["content", "b"]]], "message 2: expected an object, found an array"),
        ([user("a"), [("role", "user", "content")]], "message 2: expected an object, found an array"),
        ([user("a"), {}], "message 2: role: expected a string, found nothing"),
        ([user("a"), {"from": "human", "value": "b"}], "message 2: role: expected a string, found nothing"),
        ([user("a"), {"role": None, "content": "b"}], "message 2: role: expected a string, found null"),
        ([user("a"), {"role": 1, "content": "b"}], "message 2: role: expected a string, found a number"),
        ([user("a"), {"role": True, "content": "b"}], "message 2: role: expected a string, found a boolean"),
        (
            [user("a"), {"role": "user", "parts": [text("b")]}],
            "message 2: content: expected a string, null or an array of parts, found nothing",
        ),
        (
            [user("a"), user({"content_type": "text", "parts": ["b"]})],
            "message 2: content: expected a string, null or an array of parts, found an object",
        ),
        (
            [user("a"), user(1.5)],
            "message 2: content: expected a string, null or an array of parts, found a number",
        ),
        (
            [user("a"), user([text("b"), None])],
            "message 2: content: part 2: expected an object or a string, found null",
        ),
        ([user("a"), user([["b"]])], "message 2: content: part 1: expected an object or a string, found an array"),
        ([user("a"), user([{"text": "b"}])], "message 2: content: part 1: type: expected a string, found nothing"),
        (
            [user("a"), user([{"type": None, "text": "b"}])],
            "message 2: content: part 1: type: expected a string, found null",
        ),
        ([user("a"), user([{"type": "text"}])], "message 2: content: part 1: text: expected a string, found nothing"),
        (
            [user("a"), user([{"type": "text", "text": {"value": "b"}}])],
            "message 2: content: part 1: text: expected a string, found an object",
        ),
        (
            [user("a"), user([{"type": "text", "text": None}])],
            "message 2: content: part 1: text: expected a string, found null",
        ),
    ],
)
def test_what_is_refused(messages, reason):
    turns = [turn for turn in TURNS if turn != "first-user"]  # the first message of each is sound
    if not messages:
        turns.remove("all")
    for turn in turns:
        with pytest.raises(DataError) as problem:
            prompt_of(messages, turn)
        assert str(problem.value) == reason


def test_what_need_not_be_looked_at_is_not():
    assert prompt_of([None, user("a"), says("assistant", 5)]) == "a"
    assert prompt_of([says("system", 5), user("a"), None], "first-user") == "a"
    assert prompt_of([says("system", 5), user("a")], "users") == "a"
    with pytest.raises(DataError, match=r"^message 1: content: expected"):
        prompt_of([says("system", 5), user("a")], "all")


def test_an_unknown_turn_is_an_argument_not_data():
    with pytest.raises(InvalidArgumentError, match="turn: found 'last', allowed: last-user, first-user, users, all"):
        prompt_of([user("a")], "last")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("", "broken JSON at character 1: Expecting value"),
        ("[{'role': 'user'}]", "broken JSON at character 3: Expecting property name enclosed in double quotes"),
        ("[] []", "broken JSON at character 4: Extra data"),
        ("[" * 200_000, "JSON nested too deeply"),
        ('{"a":' * 200_000, "JSON nested too deeply"),
    ],
)
def test_broken_json(source, reason):
    with pytest.raises(DataError) as problem:
        decode(source)
    assert str(problem.value) == reason


def test_json_that_is_unusual_but_sound():
    assert prompt_of(decode(' \n[{"role": "x", "role": "user", "content": "a"}]\n')) == "a"
    assert prompt_of(decode('[{"role": "user", "content": "a", "n": %s}]' % ("9" * 5000))) == "a"
    assert prompt_of(decode('[{"role": "user", "content": "\\ud83d\\ude00 \\ud83d"}]')) == "\U0001f600 \ud83d"


def arrow_rows(rows: list[object], kind: Any) -> list[object]:
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
    rows = pa.array(rows, kind(pa)).to_pylist()
    assert rows
    return rows


def test_arrow_structs():
    def kind(pa):
        return pa.list_(pa.struct([(key, pa.string()) for key in ("role", "content", "name")]))

    rows = [[says("system", "s"), user("a", name="ann")], [user("b"), {"role": "assistant"}], None]
    first, second, missing = arrow_rows(rows, kind)
    assert prompt_of(first, "all") == "s\n\na"
    assert prompt_of(second) == "b"
    with pytest.raises(DataError, match="expected an array of messages, found null"):
        prompt_of(missing)


def test_arrow_structs_with_parts():
    def kind(pa):
        url = pa.struct([("url", pa.string())])
        part = pa.struct([("type", pa.string()), ("text", pa.string()), ("image_url", url)])
        return pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(part))]))

    (chat,) = arrow_rows([[user([IMAGE, text("a"), text("b")]), {"role": "assistant"}, user([IMAGE])]], kind)
    assert chat[0]["content"][0]["text"] is None
    assert prompt_of(chat) == "a\nb"


def test_arrow_maps():
    def kind(pa):
        return pa.list_(pa.map_(pa.string(), pa.string()))

    (chat,) = arrow_rows([[user("a"), {"role": "assistant", "content": None}, {}]], kind)
    assert chat[0] == [("role", "user"), ("content", "a")]
    assert prompt_of(chat[:2]) == "a"
    with pytest.raises(DataError, match=r"^message 3: expected an object, found an array$"):
        prompt_of(chat)


def test_arrow_maps_as_parts():
    def kind(pa):
        parts = pa.list_(pa.map_(pa.string(), pa.string()))
        return pa.list_(pa.struct([("role", pa.string()), ("content", parts)]))

    (chat,) = arrow_rows([[user([text("a"), {"type": "image_url", "url": "x"}, text("b")])]], kind)
    assert prompt_of(chat) == "a\nb"


def test_a_map_with_keys_of_any_kind():
    assert prompt_of([[("role", "user"), ({}, 1), (None, 2), ("content", "a")]]) == "a"


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.binary(max_size=2))
NAMES = st.sampled_from(["role", "content", "type", "text", "user", "assistant", "input_text", "image_url", "a", " "])
ANYTHING = st.recursive(
    LEAVES | NAMES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES | LEAVES, inner, max_size=3),
        st.lists(st.tuples(NAMES, inner), max_size=3),
        st.tuples(inner, inner),
    ),
    max_leaves=12,
)
PARTS = st.lists(st.fixed_dictionaries({"type": NAMES, "text": ANYTHING}) | NAMES | ANYTHING, max_size=3)
CHATS = st.lists(st.fixed_dictionaries({"role": NAMES, "content": NAMES | PARTS | ANYTHING}) | ANYTHING, max_size=4)


@given(messages=CHATS | ANYTHING, turn=st.sampled_from(TURNS))
def test_anything_gives_a_text_or_a_reason(messages, turn):
    try:
        prompt = prompt_of(messages, turn)
    except DataError as problem:
        assert "\n" not in str(problem)  # noqa: PT017
    else:
        assert isinstance(prompt, str)
        assert prompt.strip()


SOUND = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system"]),
            "content": st.none()
            | st.text(max_size=3)
            | st.lists(st.builds(text, st.text(max_size=3)) | st.just(IMAGE), max_size=3),
        }
    ),
    max_size=5,
)


@given(chat=SOUND)
def test_the_turns_agree_with_the_plain_rule(chat):
    texts = []
    for message in chat:
        content = message["content"] or ""
        if isinstance(content, list):
            content = "\n".join(part["text"] for part in content if part["type"] == "text")
        if content.strip():
            texts.append((message["role"], content))
    users = [content for role, content in texts if role == "user"]
    wanted = {
        "last-user": users[-1:],
        "first-user": users[:1],
        "users": users,
        "all": [content for _, content in texts],
    }
    for turn, parts in wanted.items():
        if parts:
            assert prompt_of(chat, turn) == "\n\n".join(parts)
        else:
            with pytest.raises(DataError, match="has text"):
                prompt_of(chat, turn)


@given(source=st.text(max_size=20) | ANYTHING.map(lambda value: json.dumps(value, default=str, skipkeys=True)))
def test_any_text_decodes_or_has_a_reason(source):
    try:
        decode(source)
    except DataError as problem:
        assert str(problem).startswith("broken JSON at character ")  # noqa: PT017
