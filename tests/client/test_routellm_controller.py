"""RouteLLM's Controller: its arguments, methods and errors."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from tests.client.conftest import HELLO, STRONG, WEAK

import fastroute
from fastroute.compat.routellm import Controller, RoutingError
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, MissingDependencyError

# The quickstart in the README of routellm 0.2.0; of it, only the second line is another.
QUICKSTART = """
import os
from fastroute.compat.routellm import Controller

os.environ["OPENAI_API_KEY"] = "sk-XXXXXX"
# Replace with your model provider.
os.environ["ANYSCALE_API_KEY"] = "esecret_XXXXXX"

# client = OpenAI()
client = Controller(
  routers=["mf"],
  strong_model="gpt-4-1106-preview",
  # Mixtral 8x7B model provided by Anyscale
  weak_model="anyscale/mistralai/Mixtral-8x7B-Instruct-v0.1",
)
response = client.chat.completions.create(
  # This tells RouteLLM to use the MF router with a cost threshold of 0.11593
  model="router-mf-0.11593",
  messages=[
    {"role": "user", "content": "Hello!"}
  ]
)
"""


@pytest.fixture
def without_litellm(monkeypatch):
    pytest.importorskip("openai", reason="needs the extra [client]")
    monkeypatch.setitem(sys.modules, "litellm", None)


@pytest.fixture
def litellm(monkeypatch):
    """A stand-in that remembers what it was called with."""
    stand_in: Any = ModuleType("litellm")
    stand_in.calls = []

    def completion(**arguments: Any) -> str:
        stand_in.calls.append(arguments)
        return "answer"

    async def acompletion(**arguments: Any) -> str:
        return completion(**arguments)

    stand_in.completion, stand_in.acompletion = completion, acompletion
    monkeypatch.setitem(sys.modules, "litellm", stand_in)
    return stand_in


def controller(api_base=None, **settings):
    usual = {"routers": ["random", "mf"], "strong_model": "big", "weak_model": "small", "api_key": "k"}
    return Controller(**usual | {"api_base": api_base} | settings)


def test_routellms_quickstart_with_another_import(strong):
    pytest.importorskip("openai", reason="needs the extra [client]")
    # Without LiteLLM, so that the answer does not depend on whether it is installed.
    code = f"import sys; sys.modules['litellm'] = None\n{QUICKSTART}print(response.choices[0].message.content)"
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | {"OPENAI_BASE_URL": strong.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "strong"
    assert strong.last.body == {"model": "gpt-4-1106-preview", "messages": HELLO}
    assert strong.last.headers["authorization"] == "Bearer sk-XXXXXX"


def test_completions_through_the_openai_package(without_litellm, strong):
    made = controller(strong.url, weak_model="openai/mistralai/small")
    assert made.chat.completions.create(model=STRONG, messages=HELLO).model == "big"
    assert made.completion(router="random", threshold=1, messages=HELLO, temperature=0).model == "mistralai/small"
    assert strong.last.body == {"model": "mistralai/small", "messages": HELLO, "temperature": 0}
    assert strong.last.headers["authorization"] == "Bearer k"
    counts = {router: dict(models) for router, models in made.model_counts.items()}
    assert counts == {"random": {"big": 1, "openai/mistralai/small": 1}}


def test_completions_that_are_awaited(without_litellm, strong):
    async def main():
        made = controller(strong.url)
        try:
            first = await made.acompletion(model=STRONG, messages=HELLO)
            second = await made.chat.completions.acreate(model=WEAK, messages=HELLO, stream=True)
            return first.model, "".join([chunk.choices[0].delta.content or "" async for chunk in second])
        finally:
            await made._client("AsyncOpenAI").close()

    assert asyncio.run(main()) == ("big", "strong")
    assert strong.models == ["big", "small"]


def test_completions_through_litellm(litellm):
    made = controller("https://host/v1", weak_model="anyscale/mistralai/small")
    assert made.completion(model=WEAK, messages=HELLO, tools=[]) == "answer"
    assert asyncio.run(made.acompletion(model=STRONG, messages=HELLO)) == "answer"
    shared = {"api_base": "https://host/v1", "api_key": "k", "messages": HELLO}
    assert litellm.calls == [shared | {"model": "anyscale/mistralai/small", "tools": []}, shared | {"model": "big"}]


def test_the_real_litellm(strong, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    pytest.importorskip("litellm", reason="needs the extra [routellm]")
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from fastroute.compat.routellm import Controller\n"
            "made = Controller(['random'], 'openai/big', 'openai/small', api_base=sys.argv[1], api_key='k')\n"
            "made.completion(model='router-random-1', messages=[{'role': 'user', 'content': 'Hello!'}])\n",
            strong.url,
        ],
        env={name: value for name, value in os.environ.items() if name != "LITELLM_LOCAL_MODEL_COST_MAP"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "cost map" not in ended.stderr  # which LiteLLM fetches, unless told not to
    assert strong.models == ["small"]
    assert strong.last.headers["authorization"] == "Bearer k"


def test_a_providers_prefix_needs_litellm(without_litellm, strong):
    made = controller(strong.url, weak_model="anyscale/mistralai/small")
    with pytest.raises(MissingDependencyError, match=r"found 'anyscale/mistralai/small'.*fastroute\[routellm\]"):
        made.completion(model=WEAK, messages=HELLO)
    assert strong.asked == []


def test_no_key(without_litellm):
    with pytest.raises(InvalidArgumentError, match="api_key: found none"):
        controller(api_key=None).completion(model=STRONG, messages=HELLO)


def test_choosing_alone():
    made = controller()
    score = fastroute.load("mf").score("Hello!")
    assert made.route("Hello!", "mf", score) == "big"
    assert made.route("Hello!", "mf", score + 1e-6) == "small"
    assert (made.model_pair.strong, made.model_pair.weak) == ("big", "small")
    assert dict(made.model_counts) == {}


def test_names_without_a_threshold_use_the_routers_own(litellm):
    made = controller(routers=["mf", "random"])
    for name in ("auto", "router-mf"):
        made.completion(model=name, messages=HELLO)
    expected = made.route("Hello!", "mf", fastroute.load("mf").threshold)
    assert [call["model"] for call in litellm.calls] == [expected] * 2
    assert made.model_counts["mf"][expected] == 2


def test_win_rates_of_a_list():
    prompts = ["Hello!", "Prove that sqrt(2) is irrational."]
    rates = controller().batch_calculate_win_rate(prompts, "mf")
    assert rates == fastroute.load("mf").score(prompts).tolist()
    assert controller().batch_calculate_win_rate(iter(prompts), router="mf") == rates
    assert controller().batch_calculate_win_rate([], "mf") == []


def test_win_rates_of_a_series():
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    prompts = pandas.Series(["Hello!", "Prove that sqrt(2) is irrational."], index=[7, 3], name="prompt")
    rates = controller().batch_calculate_win_rate(prompts=prompts, router="mf")
    scores = fastroute.load("mf").score(list(prompts)).tolist()
    pandas.testing.assert_series_equal(rates, pandas.Series(scores, index=[7, 3], name="prompt"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "router, threshold: found one or both missing"),
        ({"router": "mf"}, "router, threshold: found one or both missing"),
        ({"router": "bert", "threshold": 0.5}, "router: found 'bert', allowed: random, mf"),
        ({"router": "mf", "threshold": 1.5}, "threshold: found 1.5, allowed: 0 to 1"),
        ({"router": "mf", "threshold": float("nan")}, "threshold: found nan"),
        ({"router": "mf", "threshold": "0.5"}, "threshold: found '0.5'"),
        ({"router": "mf", "threshold": []}, r"threshold: found \[\]"),
        ({"router": ["mf"], "threshold": 0.5}, r"router: found \['mf'\]"),
        ({"model": "router-bert-0.5"}, "router: found 'bert'"),
        ({"model": "router-mf-1.5"}, "threshold 1.5; allowed"),
        ({"model": "gpt-4"}, "model: found 'gpt-4', allowed: 'router-LABEL-THRESHOLD'"),
    ],
)
def test_routing_errors(litellm, arguments, says):
    with pytest.raises(RoutingError, match=says):
        controller().completion(messages=HELLO, **arguments)
    assert litellm.calls == []


def test_other_errors(litellm):
    made = controller()
    with pytest.raises(RoutingError, match="router: found 'bert'"):
        made.route("Hello!", "bert", 0.5)
    with pytest.raises(RoutingError, match="router: found 'bert'"):
        made.batch_calculate_win_rate(["Hello!"], "bert")
    with pytest.raises(InvalidTypeError, match="prompt: found list"):
        made.route(["Hello!"], "mf", 0.5)
    with pytest.raises(InvalidTypeError, match="prompts: found str"):
        made.batch_calculate_win_rate("Hello!", "mf")
    with pytest.raises(DataError, match="found null"):
        made.completion(model=WEAK)
    with pytest.raises(InvalidTypeError, match="strong_model: found NoneType"):
        controller(strong_model=None)
    with pytest.raises(InvalidArgumentError, match="fastroute import-routellm PATH"):
        controller(config={"mf": {"checkpoint_path": "routellm/mf_gpt4_augmented"}})
    assert litellm.calls == []
