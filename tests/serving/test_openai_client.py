"""The official client against the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving.conftest import CLIENT_KEY, HARD, UPSTREAM_KEY, Served, Start
from tests.serving.scripted_upstream import ANSWER, ScriptedUpstream

openai = pytest.importorskip("openai", reason="needs the package openai")


@pytest.fixture(scope="module")
def keyed(start: Start, upstream: ScriptedUpstream) -> Served:
    models = [
        {"name": "big", "base_url": upstream.url("big"), "key_env": "UPSTREAM_KEY"},
        {"name": "small", "base_url": upstream.url("small"), "key_env": "UPSTREAM_KEY"},
    ]
    return start({"KEYS": CLIENT_KEY, "UPSTREAM_KEY": UPSTREAM_KEY}, models=models, client_keys={"env": "KEYS"})


@pytest.fixture
def client(keyed: Served) -> Iterator[Any]:
    with openai.OpenAI(base_url=keyed.url, api_key=CLIENT_KEY, max_retries=0) as made:
        yield made


HELLO = [{"role": "user", "content": "Hello"}]


def test_plain(client: Any, upstream: ScriptedUpstream) -> None:
    answer = client.chat.completions.with_raw_response.create(model="router-mf-0.0", messages=HELLO)
    assert answer.headers["x-fastroute-model"] == "big"
    assert answer.parse().choices[0].message.content == "Hello."
    assert answer.parse().usage.total_tokens == 1100
    assert upstream.received[-1].header("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert not any(name.startswith("x-stainless") for name, _ in upstream.received[-1].headers)


def test_streaming(client: Any, upstream: ScriptedUpstream) -> None:
    stream = client.chat.completions.create(
        model="auto", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content for chunk in chunks if chunk.choices) == "Hello there."
    assert chunks[-1].usage.prompt_tokens == 1000


def test_async_and_streaming(keyed: Served, upstream: ScriptedUpstream) -> None:
    async def run() -> str:
        async with openai.AsyncOpenAI(base_url=keyed.url, api_key=CLIENT_KEY) as made:
            plain = await made.chat.completions.create(model="auto", messages=HELLO)
            assert plain.choices[0].message.content == "Hello."
            stream = await made.chat.completions.create(model="auto", messages=HELLO, stream=True)
            return "".join([c.choices[0].delta.content async for c in stream if c.choices])

    assert asyncio.run(run()) == "Hello there."


def test_tools_schemas_and_images(client: Any, upstream: ScriptedUpstream) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Łódź"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    upstream.answers["big"] = ANSWER | {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    schema = {"type": "object", "properties": {"model": {"type": "string"}}, "required": ["model"]}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": schema, "strict": True}}]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [{"role": "user", "content": [{"type": "text", "text": HARD}, image]}, message]
    messages.append({"role": "tool", "tool_call_id": "c1", "content": "rain"})
    form = {"type": "json_schema", "json_schema": {"name": "m", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model="router-mf-0", messages=messages, tools=tools, tool_choice="auto", response_format=form, seed=7
    )
    assert answer.choices[0].message.tool_calls[0].function.arguments == '{"city": "Łódź"}'
    got = json.loads(upstream.received[-1].body)
    assert (got["tools"], got["response_format"], got["messages"]) == (tools, form, messages)
    assert (got["model"], got["seed"], got["tool_choice"]) == ("big", 7, "auto")


def test_a_schema_as_a_class(client: Any, upstream: ScriptedUpstream) -> None:
    import pydantic

    class City(pydantic.BaseModel):
        name: str
        people: int

    message = {"role": "assistant", "content": '{"name": "Łódź", "people": 658444}'}
    upstream.answers["small"] = ANSWER | {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    found = client.chat.completions.parse(model="small", messages=HELLO, response_format=City)
    assert found.choices[0].message.parsed == City(name="Łódź", people=658444)
    assert json.loads(upstream.received[-1].body)["response_format"]["json_schema"]["name"] == "City"


def test_tool_calls_in_a_stream(client: Any, upstream: ScriptedUpstream) -> None:
    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    def call(**function: str) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": function}]})

    upstream.script["small"] = "events_of"
    upstream.answers["small"] = [
        chunk({"role": "assistant", "content": None}),
        call(name="weather", arguments=""),
        call(arguments='{"city": '),
        call(arguments='"Łódź"}'),
        chunk({}, "tool_calls"),
    ]
    tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
    with client.chat.completions.stream(model="small", messages=HELLO, tools=tools) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"city": "Łódź"}'


def test_the_client_tries_again(keyed: Served, upstream: ScriptedUpstream) -> None:
    upstream.script["small"] = "flaky:2"
    with openai.OpenAI(base_url=keyed.url, api_key=CLIENT_KEY, max_retries=2) as patient:
        answer = patient.chat.completions.create(model="small", messages=HELLO)
    assert answer.choices[0].message.content == "Hello."
    assert len(upstream.received) == 3
    upstream.received.clear()
    hasty = openai.OpenAI(base_url=keyed.url, api_key=CLIENT_KEY, max_retries=1)
    with hasty, pytest.raises(openai.RateLimitError, match="busy"):
        hasty.chat.completions.create(model="small", messages=HELLO)
    assert len(upstream.received) == 2


def test_models_embeddings_and_completions(client: Any, upstream: ScriptedUpstream) -> None:
    assert [each.id for each in client.models.list()] == ["auto", "router-mf", "router-random", "big", "small"]
    assert client.models.retrieve("small").id == "small"
    embedding = {"object": "embedding", "index": 0, "embedding": [0.5, 1.0]}
    upstream.answers["small"] = {"object": "list", "data": [embedding], "model": "e", "usage": {}}
    found = client.embeddings.create(model="small", input="x", encoding_format="float")
    assert found.data[0].embedding == [0.5, 1.0]
    upstream.answers["small"] = {"id": "1", "object": "text_completion", "choices": [{"index": 0, "text": "ok"}]}
    assert client.completions.create(model="small", prompt="x").choices[0].text == "ok"


def test_errors_are_those_of_the_client(client: Any, keyed: Served, upstream: ScriptedUpstream) -> None:
    with pytest.raises(openai.NotFoundError, match="nothing-like-it") as caught:
        client.chat.completions.create(model="nothing-like-it", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="auto", messages=[])
    with openai.OpenAI(base_url=keyed.url, api_key="wrong") as stranger, pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="auto", messages=HELLO)
    upstream.script.update(big="status:429", small="status:429")
    with pytest.raises(openai.RateLimitError, match="status 429"):
        client.chat.completions.create(model="auto", messages=HELLO)
    upstream.script.update(big="status:500", small="status:500")
    with pytest.raises(openai.InternalServerError, match="status 500"):
        client.chat.completions.create(model="auto", messages=HELLO)
    upstream.script.update(big="break")
    with pytest.raises(openai.APIError, match="broke the connection"):
        list(client.chat.completions.create(model="big", messages=HELLO, stream=True))


def test_fallback(client: Any, upstream: ScriptedUpstream) -> None:
    upstream.script.update(big="close")
    answer = client.chat.completions.with_raw_response.create(model="router-mf-0", messages=HELLO)
    assert answer.headers["x-fastroute-model"] == "small"
