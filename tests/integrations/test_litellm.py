"""LiteLLM's own Router and proxy, before deployments on a real socket."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integrations.scripted_upstream import Upstream, serving

import fastroute
import fastroute.routers
from fastroute.errors import (
    EndpointError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    UnknownRouterError,
)
from fastroute.integrations.litellm import Choice, routing_strategy, tier_classifier

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # or it fetches prices when it is imported
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about LiteLLM's models
    litellm = pytest.importorskip("litellm", reason="needs the extra [litellm]")
    from litellm.types import router as litellm_types

    HAS_CLASSIFIERS = hasattr(litellm_types, "ClassifierPlugin")
    HAS_STRATEGIES = not hasattr(litellm.Router, "register_plugin")
pytest.importorskip("aiohttp", reason="the scripted upstream needs aiohttp")

litellm.telemetry = False
litellm.suppress_debug_info = True
needs_classifiers = pytest.mark.skipif(not HAS_CLASSIFIERS, reason="this LiteLLM has no classifier plugins")
needs_strategies = pytest.mark.skipif(not HAS_STRATEGIES, reason="this LiteLLM keeps its picks from strategies")

pytestmark = [
    pytest.mark.plugs,
    # LiteLLM's own: deprecations of what it imports, sockets and tasks of logging that it leaves to the collector
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*using the .ReadOnly. qualifier:UserWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

HARD = "Prove that the square root of 2 is irrational."
EASY = "hi"
MASTER_KEY = "sk-of-this-test-only-5f1c9b7e2d84a036"
START = 120.0  # seconds that the proxy may take to start


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with serving() as upstream:
        yield upstream


@pytest.fixture
def upstream(server: Upstream) -> Iterator[Upstream]:
    server.bodies.clear()
    server.failing.clear()
    yield server
    gc.collect()  # here, where a socket that is left open is no error


@pytest.fixture(scope="module")
def wait() -> Iterator[Callable[[Any], Any]]:
    """One event loop for all: LiteLLM's clients are shared, and bound to that of their first call."""
    loop = asyncio.new_event_loop()
    yield loop.run_until_complete
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.1))
    loop.close()


def deployment(group: str, model: str, url: str, **params: Any) -> dict[str, Any]:
    fixed = {"model": f"openai/{model}", "api_base": url, "api_key": "unused", "max_retries": 0}
    return {"model_name": group, "litellm_params": {**fixed, **params}}


def deployments(url: str) -> list[dict[str, Any]]:
    groups = [("big", "big-1"), ("big", "big-2"), ("small", "small-1"), ("other", "other-1"), ("other", "other-2")]
    return [deployment(group, model, url) for group, model in groups]


def tiers(classifier: Any) -> dict[str, Any]:
    config = {
        "classifier_type": "custom",
        "classifier_plugin": classifier,
        "max_tokens_from_tier_model": False,  # or a request's limit is replaced by the model's own
        "tiers": {"SIMPLE": "small", "COMPLEX": "big"},
    }
    return {"model": "auto_router/complexity_router", "complexity_router_config": config}


def made(way: str, models: list[dict[str, Any]], settings: dict[str, Any] | None = None, **options: Any) -> Any:
    """A Router with the alias "fastroute", by a classifier or by a strategy."""
    settings = {"num_retries": 0, **(settings or {})}
    if way == "classifier":
        params = {**tiers(tier_classifier(**options)), "complexity_router_default_model": "big"}
        return litellm.Router([*models, {"model_name": "fastroute", "litellm_params": params}], **settings)
    router = litellm.Router(models, **settings)
    router.set_custom_routing_strategy(routing_strategy(router, strong="big", weak="small", **options))
    return router


ways = pytest.mark.parametrize(
    "way",
    [pytest.param("classifier", marks=needs_classifiers), pytest.param("strategy", marks=needs_strategies)],
)


def ask(prompt: Any) -> list[dict[str, Any]]:
    return [{"role": "system", "content": HARD}, {"role": "user", "content": prompt}]


@ways
def test_a_request_goes_to_the_group_of_its_difficulty(
    wait: Callable[[Any], Any], upstream: Upstream, way: str
) -> None:
    seen: list[Choice] = []
    router = made(way, deployments(upstream.url), on_choice=seen.append)

    async def answers() -> list[str]:
        asked = [await router.acompletion("fastroute", ask(prompt), max_tokens=7) for prompt in (HARD, EASY)]
        stream = await router.acompletion("fastroute", ask(EASY), stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
        return [*(answer.choices[0].message.content for answer in asked), "".join(pieces)]

    first, *rest = wait(answers())
    assert first in ("big-1 answers", "big-2 answers")
    assert rest == ["small-1 answers"] * 2
    assert [choice.strong for choice in seen] == [True, False, False]
    assert seen[0].decision == fastroute.load().route(HARD)
    assert upstream.bodies[1]["max_tokens"] == 7
    assert upstream.bodies[1]["messages"] == ask(EASY)


@ways
def test_litellm_balances_each_group_and_cools_down_what_fails(
    wait: Callable[[Any], Any], upstream: Upstream, way: str
) -> None:
    router = made(way, deployments(upstream.url), {"allowed_fails": 0, "cooldown_time": 300})

    async def many(group: str, prompt: str, times: int) -> int:
        failed = 0
        for _ in range(times):
            try:
                await router.acompletion(group, ask(prompt))
            except litellm.InternalServerError:  # noqa: PERF203
                failed += 1
        return failed

    for group, prompt, kept in (("fastroute", HARD, "big"), ("other", HARD, "other")):
        upstream.bodies.clear()
        upstream.failing.clear()
        assert wait(many(group, prompt, 40)) == 0
        assert Counter(upstream.models).keys() == {f"{kept}-1", f"{kept}-2"}
        upstream.failing.add(f"{kept}-1")
        assert wait(many(group, prompt, 40)) == 1  # the first that met it; then it rests
        assert upstream.models.count(f"{kept}-2") >= 39


@ways
def test_the_strategy_of_litellm_goes_on_within_a_group(
    wait: Callable[[Any], Any], upstream: Upstream, way: str
) -> None:
    models = [
        deployment("big", "big-1", upstream.url, weight=1),
        deployment("big", "big-2", upstream.url, weight=0),
        deployment("small", "small-1", upstream.url),
    ]
    router = made(way, models)

    async def answers() -> None:
        await asyncio.gather(*(router.acompletion("fastroute", ask(HARD)) for _ in range(20)))

    wait(answers())
    assert upstream.models == ["big-1"] * 20


@ways
def test_other_groups_fall_back_as_ever(wait: Callable[[Any], Any], upstream: Upstream, way: str) -> None:
    seen: list[Choice] = []
    settings = {"fallbacks": [{"other": ["fastroute"]}]}
    router = made(way, deployments(upstream.url), settings, on_choice=seen.append)
    upstream.failing.update(("other-1", "other-2"))
    answer = wait(router.acompletion("other", ask(EASY)))
    assert answer.choices[0].message.content == "small-1 answers"
    assert [choice.strong for choice in seen] == [False]


@ways
def test_tools_and_images_pass(wait: Callable[[Any], Any], upstream: Upstream, way: str) -> None:
    router = made(way, deployments(upstream.url))
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    messages = ask([{"type": "text", "text": EASY}, image])
    answer = wait(router.acompletion("fastroute", messages, tools=[tool]))
    assert answer.choices[0].message.tool_calls[0].function.arguments == json.dumps({"answer": "small-1"})
    assert upstream.bodies[0]["tools"] == [tool]
    assert upstream.bodies[0]["messages"] == messages


class Failing(fastroute.routers.RandomRouter):
    """A router whose endpoint is gone."""

    def score(self, prompts: Any) -> Any:
        if isinstance(prompts, str):
            raise EndpointError("http://localhost/v1: no answer")
        return super().score(prompts)


@ways
def test_a_router_that_fails(wait: Callable[[Any], Any], upstream: Upstream, way: str) -> None:
    router_that_fails = Failing()
    for on_failure, expected in (("strong", "big"), ("weak", "small")):
        seen: list[Choice] = []
        options = {"router": router_that_fails, "on_failure": on_failure, "on_choice": seen.append}
        router = made(way, deployments(upstream.url), **options)
        answer = wait(router.acompletion("fastroute", ask(EASY)))
        assert answer.choices[0].message.content.startswith(expected)
        assert [(choice.decision, choice.failure) for choice in seen] == [(None, "http://localhost/v1: no answer")]


@ways
def test_no_text_of_the_user(wait: Callable[[Any], Any], upstream: Upstream, way: str) -> None:
    seen: list[Choice] = []
    router = made(way, deployments(upstream.url), on_choice=seen.append)
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]
    answer = wait(router.acompletion("fastroute", ask(image)))
    assert answer.choices[0].message.content.startswith("big")
    # LiteLLM asks a classifier for texts only, and has its default model answer the rest
    failures = [] if way == "classifier" else ["no message of role 'user' has text"]
    assert [choice.failure for choice in seen] == failures


class Noting(fastroute.routers.RandomRouter):
    """A router that notes which threads it scores on."""

    kind = "noting"

    def __init__(self, *models: str) -> None:
        super().__init__(*models)
        self.threads: list[int] = []

    def score(self, prompts: Any) -> Any:
        if isinstance(prompts, str):
            self.threads.append(threading.get_ident())
        return super().score(prompts)


@ways
def test_a_router_that_may_be_slow_is_kept_off_the_loop(
    wait: Callable[[Any], Any], upstream: Upstream, way: str
) -> None:
    noting = Noting("gpt-5", "gpt-5-mini")
    router = made(way, deployments(upstream.url), router=noting)
    wait(router.acompletion("fastroute", ask(EASY)))
    assert len(noting.threads) == 1
    assert noting.threads[0] != threading.get_ident()


@needs_strategies
def test_without_an_event_loop(upstream: Upstream) -> None:
    router = made("strategy", deployments(upstream.url), threshold=0.5, router=fastroute.load("random"), alias="auto")
    score = fastroute.load("random").score(EASY)
    answer = router.completion("auto", ask(EASY)).choices[0].message.content
    assert answer.startswith("big" if score >= 0.5 else "small")
    assert router.completion("other", ask(EASY)).choices[0].message.content.startswith("other")


@needs_strategies
def test_wrong_arguments_of_a_strategy(upstream: Upstream) -> None:
    router = litellm.Router(deployments(upstream.url))
    with pytest.raises(InvalidTypeError, match=r"llm_router: found NoneType, allowed: a litellm\.Router"):
        routing_strategy(None, strong="big", weak="small")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"weak: found 'tiny', allowed: .* big, other, small"):
        routing_strategy(router, strong="big", weak="tiny")
    with pytest.raises(InvalidArgumentError, match="strong: found 'big', which is the alias"):
        routing_strategy(router, strong="big", weak="small", alias="big")
    with pytest.raises(UnknownRouterError):
        routing_strategy(router, "no such router", strong="big", weak="small")


@pytest.mark.skipif(HAS_STRATEGIES, reason="this LiteLLM leaves its picks to strategies")
def test_a_strategy_is_refused_where_it_would_take_every_group(upstream: Upstream) -> None:
    router = litellm.Router(deployments(upstream.url))
    with pytest.raises(InvalidArgumentError, match=r"litellm \S+ a custom strategy .* Use tier_classifier"):
        routing_strategy(router, strong="big", weak="small")


@needs_classifiers
def test_wrong_arguments_of_a_classifier() -> None:
    with pytest.raises(UnknownRouterError):
        tier_classifier("no such router")
    with pytest.raises(InvalidArgumentError, match="threshold: found 2"):
        tier_classifier(threshold=2)


@pytest.mark.skipif(HAS_CLASSIFIERS, reason="this LiteLLM has classifier plugins")
def test_a_litellm_without_classifiers_is_named() -> None:
    with pytest.raises(MissingDependencyError, match=r"litellm \S+ has no classifier plugins.*or use routing_strategy"):
        tier_classifier()


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {MASTER_KEY}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        read: dict[str, Any] = json.load(answer)
        return read


@needs_classifiers
@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastapi", "backoff", "orjson", "apscheduler")),
    reason="needs litellm[proxy]",
)
def test_in_the_proxy(tmp_path: Path, upstream: Upstream) -> None:
    (tmp_path / "routing.py").write_text(
        "from fastroute.integrations.litellm import tier_classifier\n\nclassifier = tier_classifier()\n"
    )
    alias = {**tiers("routing.classifier"), "complexity_router_default_model": "big"}
    models = [*deployments(upstream.url), {"model_name": "fastroute", "litellm_params": alias}]
    (tmp_path / "config.yaml").write_text(json.dumps({"model_list": models}))  # JSON is YAML
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "LITELLM_TELEMETRY": "False",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    code = "from litellm import run_server; run_server()"
    options = ["--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--telemetry", "False"]
    with (tmp_path / "log").open("w") as log:
        proxy = subprocess.Popen(
            [sys.executable, "-c", code, *options], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
    try:
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START
        while True:
            assert proxy.poll() is None, (tmp_path / "log").read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{base}/health/liveliness", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
                time.sleep(0.2)
        said = {
            prompt: post(f"{base}/v1/chat/completions", {"model": group, "messages": ask(prompt)})
            for group, prompt in (("fastroute", HARD), ("fastroute", EASY), ("other", "?"))
        }
    finally:
        proxy.terminate()
        proxy.wait(30)
    answers = [answer["choices"][0]["message"]["content"] for answer in said.values()]
    assert [answer.split("-")[0] for answer in answers] == ["big", "small", "other"]
