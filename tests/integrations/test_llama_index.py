"""LlamaIndex's own RouterQueryEngine, over engines whose LLMs answer over a real socket."""

from __future__ import annotations

import asyncio
import gc
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integrations.scripted_upstream import Upstream, serving

import fastroute
from fastroute.errors import DataError, InvalidArgumentError, UnknownRouterError
from fastroute.integrations.llama_index import Choice, difficulty_selector

pytest.importorskip("llama_index.core", reason="needs the extra [llama-index]")
pytest.importorskip("aiohttp", reason="the scripted upstream needs aiohttp")

from llama_index.core.base.base_selector import BaseSelector
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import CustomQueryEngine, RouterQueryEngine
from llama_index.core.tools import QueryEngineTool, ToolMetadata

pytestmark = [
    pytest.mark.plugs,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:llama_index"),
]

HARD = "Prove that the square root of 2 is irrational."
EASY = "hi"


class Asking(CustomQueryEngine):
    """An engine that has one model answer."""

    model: str
    url: str

    def custom_query(self, query_str: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": query_str}]}
        request = urllib.request.Request(
            f"{self.url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: str = json.load(answer)["choices"][0]["message"]["content"]
            return content


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server
    gc.collect()


@pytest.fixture
def tools(upstream: Upstream) -> list[Any]:
    def made(name: str) -> Any:
        engine = Asking(model=name, url=upstream.url)
        return QueryEngineTool.from_defaults(engine, name=name, description=f"Answers by {name}.")

    return [made("small"), made("other"), made("big")]


def engine(tools: list[Any], **options: Any) -> Any:
    selector = difficulty_selector(strong="big", weak="small", **options)
    return RouterQueryEngine(selector, tools, llm=MockLLM())


def test_a_query_goes_to_the_engine_of_its_difficulty(tools: list[Any], upstream: Upstream) -> None:
    router = engine(tools)
    assert [str(router.query(query)) for query in (HARD, EASY)] == ["big answers", "small answers"]
    assert upstream.models == ["big", "small"]
    chosen = router.query(HARD).metadata["selector_result"]
    decision = fastroute.load().route(HARD)
    assert chosen.ind == 2
    assert chosen.reason == f"score {decision.score:.4f} >= {decision.threshold:.4f} of the router 'experts'"


@pytest.mark.parametrize("router", [None, "random"])
def test_asynchronously(tools: list[Any], upstream: Upstream, router: str | None) -> None:
    async def both() -> list[str]:
        queries = engine(tools, router=router, threshold=0.5)
        return [str(await queries.aquery(query)) for query in (HARD, EASY)]

    scores = fastroute.load(router).score([HARD, EASY])
    assert asyncio.run(both()) == [f"{'big' if score >= 0.5 else 'small'} answers" for score in scores]


def test_choices_may_be_strings() -> None:
    selector = difficulty_selector(strong="gpt-5", weak="gpt-5-mini")
    assert isinstance(selector, BaseSelector)
    assert [selector.select(["gpt-5", "gpt-5-mini"], query).ind for query in (HARD, EASY)] == [0, 1]
    assert selector.get_prompts() == {}


def test_what_cannot_be_scored(tools: list[Any], upstream: Upstream) -> None:
    seen: list[Choice] = []
    answer = engine(tools, on_choice=seen.append).query(" ")
    assert str(answer) == "big answers"
    assert answer.metadata["selector_result"].reason == "no score: no message of role 'user' has text"
    assert [choice.decision for choice in seen] == [None]
    assert str(engine(tools, on_failure="weak").query(" ")) == "small answers"
    with pytest.raises(DataError, match="has text"):
        engine(tools, on_failure="raise").query(" ")


def test_thresholds_and_policies(tools: list[Any], upstream: Upstream) -> None:
    assert str(engine(tools, threshold=1).query(HARD)) == "small answers"
    assert str(engine(tools, router=fastroute.load("mf"), policy=fastroute.Threshold(0)).query(EASY)) == "big answers"


def test_wrong_arguments(tools: list[Any]) -> None:
    with pytest.raises(UnknownRouterError):
        difficulty_selector("no such router")
    with pytest.raises(InvalidArgumentError, match="strong, weak: found 'a' for both"):
        difficulty_selector(strong="a", weak="a")
    selector = difficulty_selector(strong="large", weak="small")
    with pytest.raises(InvalidArgumentError, match=r"0 are named 'large', allowed: one; found 'small', 'other', 'big'"):
        RouterQueryEngine(selector, tools, llm=MockLLM()).query(EASY)
    twice = [ToolMetadata("a", name="small"), ToolMetadata("b", name="small"), ToolMetadata("c", name="large")]
    with pytest.raises(InvalidArgumentError, match="2 are named 'small'"):
        selector.select(twice, EASY)
