"""Which model a request goes to, with what, and what is told of the decision."""

from __future__ import annotations

import threading

import pytest
from tests.client.conftest import HELLO, STRONG, WEAK

import fastroute
from fastroute.client import Choice
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownRouterError


def test_the_name_decides_which_api_is_asked(client_of, strong, weak):
    client = client_of()
    assert client.chat.completions.create(model=STRONG, messages=HELLO).choices[0].message.content == "strong"
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "weak"
    assert (strong.models, weak.models) == (["big"], ["small"])
    assert strong.last.headers["authorization"] == "Bearer key-of-strong"
    assert weak.last.headers["authorization"] == "Bearer key-of-weak"


def test_what_is_returned_is_the_sdks(client_of):
    from openai.types.chat import ChatCompletion

    response = client_of().chat.completions.create(model=WEAK, messages=HELLO)
    assert type(response) is ChatCompletion
    assert response.model == "small"


def test_all_else_goes_as_it_is_given(client_of, weak):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]
    client_of().chat.completions.create(
        model=WEAK, messages=messages, temperature=0.5, seed=7, user="me", extra_body={"yet_to_come": [1]}
    )
    expected = {"messages": messages, "temperature": 0.5, "seed": 7, "user": "me", "yet_to_come": [1]}
    assert weak.last.body == {"model": "small", **expected}


def test_the_last_message_of_the_user_is_scored(client_of):
    router = fastroute.load("mf")
    chat = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": "Hi."}]
    chat.append({"role": "user", "content": "Prove that sqrt(2) is irrational."})
    choice = client_of().route(chat, "router-mf")
    made = router.route("Prove that sqrt(2) is irrational.")
    assert choice.decision.score == made.score != router.score("Hello!")
    assert choice.decision.threshold == router.threshold
    assert choice.decision.router == choice.router == "mf"
    assert choice.decision.artifact == router.artifact
    assert choice.decision.model == choice.model == {"strong": "big", "weak": "small"}[choice.role]
    assert (choice.role == "strong") == (made.model == router.strong)


def test_a_score_that_is_the_threshold_goes_to_the_strong_model(client_of):
    score = fastroute.load("mf").score("Hello!")
    client = client_of()
    assert client.route(HELLO, f"router-mf-{score}").role == "strong"
    assert client.route(HELLO, f"router-mf-{score + 1e-6}").role == "weak"


def test_auto_is_the_first_router_at_its_own_threshold(client_of):
    choice = client_of(routers=["mf", "random"]).route(HELLO)
    assert (choice.router, choice.decision.threshold) == ("mf", fastroute.load("mf").threshold)


def test_without_routers_it_is_the_default_one(client_of):
    client = client_of(routers=None)
    assert list(client.routers) == [fastroute.load().kind]
    assert client.route(HELLO).decision.score == fastroute.load().score("Hello!")


def test_routers_of_ones_own(client_of, tiny_router_folder):
    mine = fastroute.load(tiny_router_folder)
    client = client_of(routers={"mine-at-home": mine, "as-path": tiny_router_folder})
    assert client.route(HELLO, "router-mine-at-home-0.5").decision.score == mine.score("Hello!")
    assert client.route(HELLO, "router-as-path-0.5").decision.artifact == mine.artifact


@pytest.mark.parametrize(("name", "role"), [("small", "weak"), ("big", "strong"), ("another", "strong")])
def test_plain_names_are_passed_through(client_of, strong, weak, name, role):
    told = []
    client_of(on_decision=told.append).chat.completions.create(model=name, messages=HELLO)
    asked, other = (strong, weak) if role == "strong" else (weak, strong)
    assert (asked.models, other.models, told) == ([name], [], [])


def test_decisions_are_told_before_the_request(client_of, strong, weak):
    told = []
    client = client_of(on_decision=lambda choice: told.append((choice, len(strong.asked) + len(weak.asked))))
    client.chat.completions.create(model=STRONG, messages=HELLO)
    client.chat.completions.create(model=WEAK, messages=HELLO)
    assert [(choice.model, choice.role, choice.router, asked) for choice, asked in told] == [
        ("big", "strong", "random", 0),
        ("small", "weak", "random", 1),
    ]
    assert all(isinstance(choice, Choice) and not choice.fell_back for choice, _ in told)
    assert client.route(HELLO, STRONG) == told[0][0]
    assert len(told) == 2


def test_a_callback_for_one_request(client_of, weak):
    told = []
    client = client_of()
    client.with_options(on_decision=told.append).chat.completions.create(model=WEAK, messages=HELLO)
    client.chat.completions.create(model=WEAK, messages=HELLO)
    assert len(told) == 1
    assert len(weak.asked) == 2


def test_a_choice_can_be_made_first(client_of, strong):
    client = client_of()
    choice = client.route(HELLO, STRONG)
    assert strong.asked == []
    client.chat.completions.create(model=choice.model, messages=HELLO)
    assert strong.models == ["big"]


def test_a_chat_without_text_goes_to_the_strong_model(client_of):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    choice = client_of().route([{"role": "user", "content": [image]}], WEAK)
    assert choice == Choice("big", "strong", "random", None)


def test_the_sdks_own_messages_and_any_iterable(client_of, weak):
    client = client_of()
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    first = client.chat.completions.create(model=WEAK, messages=HELLO, tools=[tool]).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "42"}
    client.chat.completions.create(model=WEAK, messages=(each for each in [*HELLO, first, result]))
    assert [each["role"] for each in weak.last.body["messages"]] == ["user", "assistant", "tool"]
    assert weak.last.body["messages"][1]["tool_calls"][0]["function"]["name"] == "f"
    client.chat.completions.create(model=WEAK, messages=[*HELLO, first, result])
    assert weak.last.body["messages"][1]["tool_calls"][0]["function"]["name"] == "f"


@pytest.mark.parametrize(
    ("model", "messages", "error", "says"),
    [
        ("router-mf-1.5", HELLO, InvalidArgumentError, "threshold 1.5; allowed"),
        ("router-", HELLO, InvalidArgumentError, "label or threshold is missing"),
        ("router-bert-0.5", HELLO, UnknownRouterError, "asks for the router 'bert'; allowed: random, mf"),
        (None, HELLO, InvalidTypeError, "model: found NoneType"),
        (WEAK, None, DataError, "expected an array of messages, found null"),
        (WEAK, "Hello!", DataError, "expected an array of messages, found a string"),
        (WEAK, [{"content": "Hello!"}], DataError, "message 1: role"),
        (WEAK, [{"role": "user", "content": 4}], DataError, "message 1: content"),
    ],
)
def test_bad_requests_are_refused_and_not_sent(client_of, strong, weak, model, messages, error, says):
    with pytest.raises(error, match=says):
        client_of().chat.completions.create(model=model, messages=messages)
    assert strong.asked + weak.asked == []


def test_many_threads_get_their_own_answers(client_of, strong, weak):
    told, wrong = [], []
    client = client_of(on_decision=told.append)

    def work(name: str, content: str) -> None:
        for _ in range(10):
            response = client.chat.completions.create(model=name, messages=HELLO)
            if response.choices[0].message.content != content:
                wrong.append(response)

    threads = [threading.Thread(target=work, args=pair) for pair in [(STRONG, "strong"), (WEAK, "weak")] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(choice.model for choice in told) == ["big"] * 40 + ["small"] * 40
    assert len(strong.asked) == len(weak.asked) == 40
