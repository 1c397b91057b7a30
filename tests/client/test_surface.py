"""The SDK's surface: streams, tools, schemas, raw responses, completions, embeddings, errors, retries, options."""

from __future__ import annotations

import pytest
from tests.client.conftest import HELLO, STRONG, WEAK

from fastroute.errors import InvalidArgumentError

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_streams(client_of, weak):
    with client_of().chat.completions.create(model=WEAK, messages=HELLO, stream=True) as chunks:
        parts = [chunk.choices[0].delta.content for chunk in chunks]
    assert parts == ["w", "e", "a", "k", None]
    assert weak.last.body["stream"] is True


def test_streams_of_events(client_of, strong):
    told = []
    manager = client_of(on_decision=told.append).chat.completions.stream(model=STRONG, messages=HELLO)
    assert (told, strong.asked) == ([], [])
    with manager as stream:
        assert [event.delta for event in stream if event.type == "content.delta"] == list("strong")
        assert stream.get_final_completion().choices[0].message.content == "strong"
    assert len(told) == 1


def test_tools(client_of, weak):
    response = client_of().chat.completions.create(model=WEAK, messages=HELLO, tools=[TOOL], tool_choice="auto")
    assert response.choices[0].message.tool_calls[0].function.name == "f"
    assert weak.last.body["tools"] == [TOOL]


def test_schemas(client_of, weak):
    from pydantic import BaseModel

    class Answer(BaseModel):
        answer: int

    response = client_of().chat.completions.parse(model=WEAK, messages=HELLO, response_format=Answer)
    assert response.choices[0].message.parsed == Answer(answer=4)
    assert weak.last.body["response_format"]["type"] == "json_schema"


def test_raw_responses(client_of):
    response = client_of().chat.completions.with_raw_response.create(model=WEAK, messages=HELLO)
    assert response.headers["x-request-id"] == "from-weak"
    assert response.parse().choices[0].message.content == "weak"


def test_responses_that_are_read_later(client_of):
    opened = client_of().chat.completions.with_streaming_response.create(model=STRONG, messages=HELLO)
    with opened as response:
        assert response.headers["x-request-id"] == "from-strong"
        assert response.parse().choices[0].message.content == "strong"


def test_completions_of_one_text(client_of, weak):
    client = client_of()
    assert client.completions.create(model=WEAK, prompt="Once").choices[0].text == "weak"
    assert client.completions.create(model=WEAK, prompt=["Once"]).choices[0].text == "weak"
    assert weak.last.path == "/v1/completions"
    with pytest.raises(InvalidArgumentError, match="prompt: found list, allowed where a router chooses"):
        client.completions.create(model=WEAK, prompt=["a", "b"])
    client.completions.create(model="small", prompt=["a", "b"])
    assert weak.last.body["prompt"] == ["a", "b"]


def test_embeddings_take_plain_names(client_of, strong, weak):
    client = client_of()
    assert client.embeddings.create(model="vectors", input="a", encoding_format="float").data[0].embedding[1] == 0.25
    assert (strong.models, weak.models) == (["vectors"], [])
    client.embeddings.create(model="small", input="a", encoding_format="float")
    assert weak.models == ["small"]
    with pytest.raises(InvalidArgumentError, match="allowed for embeddings: the name of a model"):
        client.embeddings.create(model="auto", input="a")


def test_the_rest_is_on_the_clients_of_the_sdk(client_of):
    import openai

    client = client_of()
    assert [each.id for each in client.models.list()] == ["strong"]
    assert [each.id for each in client.weak.models.list()] == ["weak"]
    assert type(client.strong) is openai.OpenAI


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, "BadRequestError"), (401, "AuthenticationError"), (429, "RateLimitError"), (500, "InternalServerError")],
)
def test_errors_are_the_sdks(client_of, weak, status, error):
    import openai

    weak.faults = [status]
    with pytest.raises(getattr(openai, error)) as caught:
        client_of().chat.completions.create(model=WEAK, messages=HELLO)
    assert caught.value.status_code == status
    assert len(weak.asked) == 1


def test_retries_are_the_sdks(client_of, weak):
    weak.faults = [500]
    client = client_of().with_options(max_retries=1)
    assert client.chat.completions.create(model=WEAK, messages=HELLO).choices[0].message.content == "weak"
    assert len(weak.asked) == 2


def test_timeouts_are_the_sdks(client_of, weak):
    import openai

    weak.faults = ["slow"]
    with pytest.raises(openai.APITimeoutError):
        client_of(fallback=True).with_options(timeout=0.1).chat.completions.create(model=WEAK, messages=HELLO)


def test_options_of_the_sdk_when_made(client_of, weak):
    client_of(default_headers={"x-team": "blue"}).chat.completions.create(model=WEAK, messages=HELLO)
    assert weak.last.headers["x-team"] == "blue"


def test_a_resource_is_one_object_that_can_be_replaced(client_of):
    client = client_of()
    client.chat.completions.create = lambda **_: "mine"
    assert client.chat.completions.create(model="auto", messages=HELLO) == "mine"
