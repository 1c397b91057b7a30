"""LangChain's own chat models, of which each call is answered by one, over a real socket."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integrations.scripted_upstream import Upstream, serving

import fastroute
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownRouterError
from fastroute.integrations.langchain import Choice, model_picker, routed_chat_model

pytest.importorskip("langchain_core", reason="needs the extra [langchain]")
pytest.importorskip("aiohttp", reason="the scripted upstream needs aiohttp")
openai = pytest.importorskip("langchain_openai", reason="needs langchain-openai, for a model over a real socket")

from langchain_core.caches import InMemoryCache  # noqa: E402
from langchain_core.callbacks import UsageMetadataCallbackHandler  # noqa: E402
from langchain_core.language_models import BaseChatModel  # noqa: E402
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402
from langchain_core.output_parsers import StrOutputParser  # noqa: E402
from langchain_core.prompts import ChatPromptTemplate  # noqa: E402
from langchain_core.runnables import RunnableLambda  # noqa: E402
from langchain_core.tools import tool  # noqa: E402
from pydantic import BaseModel  # noqa: E402

pytestmark = [
    pytest.mark.plugs,
    # openai's clients leave the sockets of their pools to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    # langchain-openai's own, where it streams by a schema
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

HARD = "Prove that the square root of 2 is irrational."
EASY = "hi"


class Answer(BaseModel):
    """The answer."""

    answer: str


@tool
def look_up(answer: str) -> str:
    """Look something up."""
    return answer


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with serving() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def wait() -> Iterator[Callable[[Any], Any]]:
    """One event loop for all: LangChain's clients are shared, and bound to that of their first call."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    loop.close()


@pytest.fixture(autouse=True)
def nothing_leaves_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGSMITH_TRACING_V2"):
        monkeypatch.setenv(name, "false")


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    server.bodies.clear()
    server.failing.clear()
    yield server
    gc.collect()  # here, where a socket that is left open is no error


def chat(name: str, upstream: Upstream, **options: Any) -> Any:
    return openai.ChatOpenAI(model=name, base_url=upstream.url, api_key="unused", max_retries=0, **options)


@pytest.fixture
def routed(upstream: Upstream) -> Any:
    return routed_chat_model(chat("big", upstream), chat("small", upstream))


def test_the_prompts_lie_on_two_sides() -> None:
    router = fastroute.load()
    assert [router.route(prompt).model == router.strong for prompt in (HARD, EASY)] == [True, False]


def test_a_call_is_answered_by_the_model_of_its_difficulty(routed: Any, upstream: Upstream) -> None:
    assert isinstance(routed, BaseChatModel)
    assert [routed.invoke(prompt).content for prompt in (HARD, EASY)] == ["big answers", "small answers"]
    assert upstream.models == ["big", "small"]
    decision = fastroute.load().route(HARD)
    assert routed.invoke(HARD).response_metadata["fastroute"] == {
        "model": "big",
        "strong": True,
        "score": decision.score,
        "threshold": decision.threshold,
        "router": "experts",
    }


def test_messages_of_every_form(routed: Any, upstream: Upstream) -> None:
    call = {"id": "1", "name": "look_up", "args": {"answer": "2"}}
    system = SystemMessage(HARD)
    for given in (
        [("system", HARD), ("user", EASY)],
        [{"role": "system", "content": HARD}, {"role": "user", "content": EASY}],
        [HumanMessage(HARD), AIMessage("It is."), HumanMessage(EASY)],
        [system, HumanMessage([{"type": "text", "text": EASY}])],
        [system, HumanMessage(EASY), AIMessage("", tool_calls=[call]), ToolMessage(HARD, tool_call_id="1")],
        ChatPromptTemplate.from_messages([("system", HARD), ("user", "{q}")]).invoke({"q": EASY}),
    ):
        assert routed.invoke(given).content == "small answers"


def test_streams(routed: Any, upstream: Upstream) -> None:
    chunks = list(routed.stream(HARD))
    assert "".join(chunk.content for chunk in chunks) == "big answers"
    assert sum(bool(chunk.content) for chunk in chunks) == 2
    assert sum("fastroute" in chunk.response_metadata for chunk in chunks) == 1
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.response_metadata["fastroute"]["model"] == "big"
    assert upstream.bodies[0]["stream"] is True


def test_asynchronously(wait: Callable[[Any], Any], routed: Any, upstream: Upstream) -> None:
    async def all_of_it() -> tuple[str, str, list[Any]]:
        answer = await routed.ainvoke(EASY)
        pieces = [chunk.content async for chunk in routed.astream(HARD)]
        batch = await routed.abatch([HARD, EASY] * 4)
        return answer.content, "".join(pieces), [message.content for message in batch]

    assert wait(all_of_it()) == ("small answers", "big answers", ["big answers", "small answers"] * 4)


def test_batches_and_the_older_ways(wait: Callable[[Any], Any], routed: Any, upstream: Upstream) -> None:
    assert [message.content for message in routed.batch([HARD, EASY])] == ["big answers", "small answers"]
    generated = routed.generate([[HumanMessage(HARD)], [HumanMessage(EASY)]])
    assert [each[0].text for each in generated.generations] == ["big answers", "small answers"]
    later = wait(routed.agenerate([[HumanMessage(EASY)]]))
    assert later.generations[0][0].text == "small answers"


@pytest.mark.parametrize("prompt", [HARD, EASY])
def test_tools_are_bound_to_both(wait: Callable[[Any], Any], routed: Any, upstream: Upstream, prompt: str) -> None:
    name = "big" if prompt == HARD else "small"
    bound = routed.bind_tools([look_up], tool_choice="any")
    message = bound.invoke(prompt)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("look_up", {"answer": name})]
    assert message.response_metadata["fastroute"]["model"] == name
    assert upstream.bodies[0]["tool_choice"] == "required"
    whole = None
    for chunk in bound.stream(prompt):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.tool_calls[0]["args"] == {"answer": name}
    assert wait(bound.ainvoke(prompt)).tool_calls[0]["args"] == {"answer": name}
    assert isinstance(bound.bind_tools([Answer]), BaseChatModel)
    assert routed.invoke(prompt).tool_calls == []  # the first model is as it was


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_of_both(wait: Callable[[Any], Any], routed: Any, upstream: Upstream, method: str) -> None:
    structured = routed.with_structured_output(Answer, method=method)
    assert [structured.invoke(prompt) for prompt in (HARD, EASY)] == [Answer(answer="big"), Answer(answer="small")]
    assert wait(structured.ainvoke(EASY)) == Answer(answer="small")
    assert structured.batch([EASY, HARD]) == [Answer(answer="small"), Answer(answer="big")]
    assert list(structured.stream(HARD))[-1] == Answer(answer="big")
    chain = ChatPromptTemplate.from_messages([("user", "{q}")]) | structured
    assert chain.invoke({"q": HARD}) == Answer(answer="big")
    raw = routed.with_structured_output(Answer, method=method, include_raw=True).invoke(EASY)
    assert raw["parsed"] == Answer(answer="small")


def test_in_a_chain(routed: Any, upstream: Upstream) -> None:
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{q}")]) | routed | StrOutputParser()
    assert [chain.invoke({"q": prompt}) for prompt in (HARD, EASY)] == ["big answers", "small answers"]
    assert "".join(chain.stream({"q": HARD})) == "big answers"
    upstream.bodies.clear()
    bound = routed.bind(stop=["."], temperature=0.5)
    bound.invoke(HARD)
    list(bound.stream(EASY))
    assert [(body["model"], body["stop"], body["temperature"]) for body in upstream.bodies] == [
        ("big", ["."], 0.5),
        ("small", ["."], 0.5),
    ]


def test_the_other_answers_where_one_fails(routed: Any, upstream: Upstream) -> None:
    upstream.failing.add("big")
    with pytest.raises(Exception, match="out of order"):
        routed.invoke(HARD)
    assert routed.with_fallbacks([chat("small", upstream)]).invoke(HARD).content == "small answers"


@pytest.mark.parametrize("call", ["invoke", "generate"])
def test_tokens_are_counted_once(routed: Any, upstream: Upstream, call: str) -> None:
    used = UsageMetadataCallbackHandler()
    if call == "invoke":
        routed.invoke(HARD, {"callbacks": [used]})
    else:
        routed.generate([[HumanMessage(HARD)]], callbacks=[used])
    assert [usage["total_tokens"] for usage in used.usage_metadata.values()] == [5]


def test_what_cannot_be_scored(upstream: Upstream) -> None:
    image = [HumanMessage([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}])]
    models = chat("big", upstream), chat("small", upstream)
    seen: list[Choice] = []
    answered = routed_chat_model(*models, on_choice=seen.append).invoke(image)
    assert answered.content == "big answers"
    assert answered.response_metadata["fastroute"]["failure"] == "no message of role 'user' has text"
    assert [(choice.name, choice.decision) for choice in seen] == [("big", None)]
    assert routed_chat_model(*models, on_failure="weak").invoke(image).content == "small answers"
    with pytest.raises(DataError, match="has text"):
        routed_chat_model(*models, on_failure="raise").invoke(image)


def test_thresholds_policies_and_routers(upstream: Upstream) -> None:
    models = chat("big", upstream), chat("small", upstream)
    assert routed_chat_model(*models, threshold=1.0).invoke(HARD).content == "small answers"
    assert routed_chat_model(*models, fastroute.load("mf"), threshold=0.0).invoke(EASY).content == "big answers"
    budget = fastroute.Budget(0.5)
    routed_chat_model(*models, "mf", policy=budget).batch([EASY] * 3)
    assert budget.counts[1] == 3  # asked once a call, and not before the first


def test_the_picker(wait: Callable[[Any], Any], upstream: Upstream) -> None:
    seen: list[Choice] = []
    pick = model_picker("big", "small", on_choice=seen.append)
    assert pick.batch([HARD, EASY]) == ["big", "small"]
    assert wait(pick.ainvoke([HumanMessage(EASY)])) == "small"
    assert [choice.strong for choice in seen].count(True) == 1
    both = {name: chat(name, upstream) for name in ("big", "small")}
    branch = RunnableLambda(lambda given: both[pick.invoke(given)])  # a runnable that a function returns is invoked
    assert branch.invoke(HARD).content == "big answers"


def test_wrong_arguments(upstream: Upstream) -> None:
    model = chat("big", upstream)
    with pytest.raises(InvalidTypeError, match=r"weak: found str, allowed: a chat model of LangChain"):
        routed_chat_model(model, "small")  # type: ignore[arg-type]
    with pytest.raises(UnknownRouterError):
        routed_chat_model(model, model, "no such router")
    with pytest.raises(InvalidArgumentError, match=r"threshold: found 2.0, allowed: 0 to 1"):
        routed_chat_model(model, model, threshold=2)
    with pytest.raises(InvalidArgumentError, match="on_failure: found 'big'"):
        model_picker("big", "small", on_failure="big")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="strong, weak: found 'a' for both"):
        model_picker("a", "a")


def test_copies_and_answers_from_a_cache(upstream: Upstream) -> None:
    cache = InMemoryCache()
    models = chat("big", upstream, cache=cache), chat("small", upstream, cache=cache)
    routed = routed_chat_model(*models).model_copy()
    assert [routed.invoke(EASY).response_metadata["fastroute"]["model"] for _ in range(2)] == ["small"] * 2
    assert upstream.models == ["small"]
    other = routed_chat_model(*models, threshold=0.25)  # the cached answer is not marked by the other
    score = other.invoke(EASY).response_metadata["fastroute"]["score"]
    assert routed.invoke(EASY).response_metadata["fastroute"]["threshold"] == fastroute.load().threshold > score > 0.25


def test_two_models_of_one_name_are_strong_and_weak(upstream: Upstream) -> None:
    routed = routed_chat_model(chat("big", upstream, temperature=1), chat("big", upstream, temperature=0))
    assert routed.invoke(HARD).response_metadata["fastroute"]["model"] == "strong"
    assert upstream.bodies[0]["temperature"] == 1
