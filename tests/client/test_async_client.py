"""The client whose calls are awaited, and its loop, which goes on meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from tests.client.conftest import HELLO, STRONG, WEAK

import fastroute
from fastroute.client import Endpoint
from fastroute.errors import DataError, InvalidArgumentError


@pytest.fixture
def with_client(arguments):
    """Run a coroutine function with a client, in a loop of its own."""

    def run(work, **settings):
        async def main():
            async with fastroute.AsyncClient(**arguments(**settings)) as client:
                return await work(client)

        return asyncio.run(main())

    return run


def test_the_name_decides_which_api_is_asked(with_client, strong, weak):
    async def work(client):
        responses = await asyncio.gather(
            *(client.chat.completions.create(model=name, messages=HELLO) for name in [STRONG, WEAK] * 8)
        )
        return [response.choices[0].message.content for response in responses]

    told = []
    assert with_client(work, on_decision=told.append) == ["strong", "weak"] * 8
    assert (strong.models, weak.models) == (["big"] * 8, ["small"] * 8)
    assert sorted(choice.model for choice in told) == ["big"] * 8 + ["small"] * 8


def test_streams(with_client):
    async def work(client):
        chunks = await client.chat.completions.create(model=WEAK, messages=HELLO, stream=True)
        first = [chunk.choices[0].delta.content async for chunk in chunks]
        async with client.chat.completions.stream(model=STRONG, messages=HELLO) as stream:
            final = await stream.get_final_completion()
        return first, final.choices[0].message.content

    assert with_client(work) == (["w", "e", "a", "k", None], "strong")


def test_schemas_raw_responses_and_those_read_later(with_client):
    from pydantic import BaseModel

    class Answer(BaseModel):
        answer: int

    async def work(client):
        chat = client.chat.completions
        parsed = await chat.parse(model=WEAK, messages=HELLO, response_format=Answer)
        raw = await chat.with_raw_response.create(model=WEAK, messages=HELLO)
        async with chat.with_streaming_response.create(model=STRONG, messages=HELLO) as later:
            return parsed.choices[0].message.parsed, raw.headers["x-request-id"], (await later.parse()).model

    assert with_client(work) == (Answer(answer=4), "from-weak", "big")


def test_completions_embeddings_and_models(with_client):
    async def work(client):
        text = await client.completions.create(model=WEAK, prompt="Once")
        vector = await client.embeddings.create(model="small", input="a", encoding_format="float")
        return text.choices[0].text, vector.data[0].embedding, [each.id async for each in client.models.list()]

    assert with_client(work) == ("weak", [0.5, 0.25], ["strong"])


def test_falling_back(with_client, nobody, strong):
    async def work(client):
        plain = await client.chat.completions.create(model=WEAK, messages=HELLO)
        async with client.chat.completions.stream(model=WEAK, messages=HELLO) as stream:
            final = await stream.get_final_completion()
        return plain.model, final.model

    told = []
    settings = {"weak": Endpoint("small", nobody, "k"), "fallback": True, "on_decision": told.append}
    assert with_client(work, **settings) == ("big", "big")
    assert [choice.fell_back for choice in told] == [False, True, False, True]


def test_not_falling_back(with_client, nobody, strong):
    import openai

    async def work(client):
        await client.chat.completions.create(model=WEAK, messages=HELLO)

    with pytest.raises(openai.APIConnectionError):
        with_client(work, weak=Endpoint("small", nobody, "k"))
    assert strong.asked == []


def test_errors_and_retries_are_the_sdks(with_client, weak):
    import openai

    async def work(client):
        weak.faults = [500]
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(model=WEAK, messages=HELLO)
        weak.faults = [500]
        return (await client.with_options(max_retries=1).chat.completions.create(model=WEAK, messages=HELLO)).model

    assert with_client(work) == "small"
    assert len(weak.asked) == 3


def test_bad_requests_are_refused_and_not_sent(with_client, strong, weak):
    async def work(client):
        with pytest.raises(InvalidArgumentError, match=r"threshold 2\.0"):
            await client.chat.completions.create(model="router-mf-2", messages=HELLO)
        with pytest.raises(DataError, match="found null"):
            await client.chat.completions.create(model=WEAK, messages=None)
        return await client.route(HELLO, WEAK)

    assert with_client(work).model == "small"
    assert strong.asked + weak.asked == []


class Slow:
    """A router that takes its time, as a network does."""

    kind = "slow"
    strong, weak, threshold, artifact, encoder = "s", "w", 0.5, "", None

    def __init__(self) -> None:
        self.threads = set()

    def route(self, prompt, threshold=None):
        self.threads.add(threading.get_ident())
        time.sleep(0.3)
        return fastroute.Decision("w", 0.25, 0.5, self.kind, "")


def test_the_loop_goes_on_while_a_slow_router_decides(with_client):
    async def work(client):
        request = asyncio.create_task(client.chat.completions.create(model="auto", messages=HELLO))
        turns = 0
        while not told:
            await asyncio.sleep(0.01)
            turns += 1
        return turns, (await request).model

    told, router = [], Slow()
    turns, model = with_client(
        work, routers={"slow": router}, on_decision=lambda choice: told.append(threading.get_ident())
    )
    assert turns > 5
    assert model == "small"
    assert threading.get_ident() not in router.threads
    assert told == [threading.get_ident()]
