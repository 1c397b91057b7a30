"""To the other model, where the chosen one can't be reached, and where the user allows it."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest
from tests.client.conftest import HELLO, WEAK

from fastroute.client import Endpoint


@pytest.fixture
def client(client_of, nobody):
    """A client whose weak model can't be reached, and what it was told."""
    told = []
    made = client_of(weak=Endpoint("small", nobody, "k"), fallback=True, on_decision=told.append)
    made.told = told
    return made


def check(client, strong) -> None:
    assert strong.models == ["big"]
    assert [(choice.model, choice.role, choice.fell_back) for choice in client.told] == [
        ("small", "weak", False),
        ("big", "strong", True),
    ]
    assert client.told[1].decision == client.told[0].decision


def test_plain(client, strong):
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "strong"
    check(client, strong)


def test_streams(client, strong):
    with client.chat.completions.create(model=WEAK, messages=HELLO, stream=True) as chunks:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "strong"
    check(client, strong)


def test_streams_of_events(client, strong):
    with client.chat.completions.stream(model=WEAK, messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content == "strong"
    check(client, strong)


def test_responses_that_are_read_later(client, strong):
    with client.chat.completions.with_streaming_response.create(model=WEAK, messages=HELLO) as response:
        assert response.parse().choices[0].message.content == "strong"
    check(client, strong)


def test_a_connection_that_breaks_before_the_first_byte(client_of, strong, weak):
    weak.faults = ["drop"]
    client = client_of(fallback=True)
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "strong"
    assert (len(weak.asked), len(strong.asked)) == (1, 1)


def test_an_answer_that_breaks_off_before_it_is_read(client_of, strong, weak):
    weak.faults = ["cut"]
    client = client_of(fallback=True)
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "strong"


def test_a_stream_that_breaks_off_after_its_first_byte(client_of, strong, weak):
    weak.faults = ["cut"]
    with client_of(fallback=True).chat.completions.create(model=WEAK, messages=HELLO, stream=True) as chunks:
        assert next(chunks).choices[0].delta.content == "w"
        with pytest.raises(Exception, match=r"Connection error|peer closed connection"):
            next(chunks)
    assert strong.asked == []


def test_connecting_that_takes_too_long(client_of, strong):
    with socket.socket() as full, ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):  # nobody accepts them, so there is no room for another
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        client = client_of(weak=Endpoint("small", url, "k"), fallback=True, timeout=0.3)
        assert client.chat.completions.create(model=WEAK, messages=HELLO).model == "big"


def test_the_sdks_retries_come_first(client_of, strong, weak):
    weak.faults = ["drop"]
    client = client_of(fallback=True, max_retries=1)
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "weak"
    assert (len(weak.asked), len(strong.asked)) == (2, 0)


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_an_answer_of_any_status_is_an_answer(client_of, strong, weak, status):
    import openai

    weak.faults = [status]
    with pytest.raises(openai.APIStatusError):
        client_of(fallback=True).chat.completions.create(model=WEAK, messages=HELLO)
    assert strong.asked == []


def test_only_where_it_is_allowed(client, client_of, nobody, strong):
    import openai

    with pytest.raises(openai.APIConnectionError):
        client_of(weak=Endpoint("small", nobody, "k")).chat.completions.create(model=WEAK, messages=HELLO)
    with pytest.raises(openai.APIConnectionError):
        client.with_options(fallback=False).chat.completions.create(model=WEAK, messages=HELLO)
    with pytest.raises(openai.APIConnectionError):  # the user named the model
        client.chat.completions.create(model="small", messages=HELLO)
    assert strong.asked == []


def test_when_neither_can_be_reached(client_of, nobody):
    import openai

    client = client_of(strong=Endpoint("big", nobody, "k"), weak=Endpoint("small", nobody, "k"), fallback=True)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model=WEAK, messages=HELLO)
