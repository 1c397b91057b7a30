"""What a client is made of: endpoints and keys, RouteLLM's arguments, what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.client.conftest import HELLO, STRONG, WEAK

import fastroute
from fastroute.client import Client, Endpoint
from fastroute.errors import InvalidArgumentError, InvalidTypeError, UnknownRouterError


def test_nothing_connects(monkeypatch):
    pytest.importorskip("openai", reason="needs the extra [client]")
    import socket

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was connected")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with fastroute.Client(["mf"], "big", "small", api_base="http://localhost:1/v1") as client:
        assert client.route(HELLO).model in ("big", "small")


def test_the_package_loads_without_the_client_and_the_client_without_the_sdk():
    code = """
import sys, fastroute
assert "fastroute.client" not in sys.modules
import fastroute.client
assert "openai" not in sys.modules
assert fastroute.Client is fastroute.client.Client
sys.modules["openai"] = None
try:
    fastroute.Client(["mf"], "big", "small")
except fastroute.errors.MissingDependencyError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "pip install 'fastroute[client]'" in ended.stdout
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        fastroute.nothing  # noqa: B018


def test_routellms_arguments(strong, monkeypatch):
    pytest.importorskip("openai", reason="needs the extra [client]")
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-environment")
    with Client(["random"], "big", "small", None, strong.url, None, True) as client:
        client.chat.completions.create(model=STRONG, messages=HELLO)
        client.chat.completions.create(model=WEAK, messages=HELLO)
    assert strong.models == ["big", "small"]
    assert strong.last.headers["authorization"] == "Bearer key-of-environment"


def test_a_key_does_not_go_to_another_api(client_of, strong, weak, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-environment")
    monkeypatch.setenv("MY_KEY", "key-of-mine")
    client = client_of(strong=Endpoint("big", strong.url, key_env="MY_KEY"), weak=Endpoint("small", weak.url))
    client.chat.completions.create(model=STRONG, messages=HELLO)
    client.chat.completions.create(model=WEAK, messages=HELLO)
    assert strong.last.headers["authorization"] == "Bearer key-of-mine"
    assert weak.last.headers["authorization"] == "Bearer no-key"


def test_a_key_is_not_shown():
    assert "secret" not in repr(Endpoint("big", "https://host/v1", "secret"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"model": ""}, "model: found ''"),
        ({"model": "m", "base_url": "host/v1"}, "base_url: found 'host/v1'"),
        ({"model": "m", "base_url": "https://host/v1/chat/completions"}, "is appended to it"),
        ({"model": "m", "base_url": "https://me:pass@host/v1"}, "may hold a secret"),
        ({"model": "m", "api_key": "k", "key_env": "K"}, "api_key, key_env: found both"),
        ({"model": "m", "base_url": "http://host/v1", "key_env": "K"}, "http would send the key"),
        ({"model": "m", "key_env": "sk-1"}, "name of an environment variable"),
    ],
)
def test_endpoints_that_are_refused(arguments, says):
    with pytest.raises(InvalidArgumentError, match=says):
        Endpoint(**arguments)


def test_endpoints_of_the_wrong_type():
    with pytest.raises(InvalidTypeError, match="model: found int"):
        Endpoint(4)
    with pytest.raises(InvalidTypeError, match="api_key: found int"):
        Endpoint("m", api_key=4)


@pytest.mark.parametrize(
    ("changed", "error", "says"),
    [
        ({"strong": None}, InvalidArgumentError, "strong, strong_model: found neither"),
        ({"weak_model": "small"}, InvalidArgumentError, "weak, weak_model: found both"),
        ({"weak": 4}, InvalidTypeError, "weak: found int"),
        ({"strong": Endpoint("a"), "weak": Endpoint("a")}, InvalidArgumentError, "found 'a' of one API for both"),
        ({"strong": Endpoint("a"), "weak": Endpoint("b")}, InvalidArgumentError, "api_key: found none for 'a'"),
        ({"routers": []}, InvalidArgumentError, "routers: found none"),
        ({"routers": "mf"}, InvalidTypeError, "routers: found str"),
        ({"routers": [4]}, InvalidTypeError, "routers: found int"),
        ({"routers": ["mf-"]}, InvalidArgumentError, "routers: found 'mf-'"),
        ({"routers": ["nothing"]}, UnknownRouterError, "router: found 'nothing'"),
        ({"routers": {"mf": 4}}, InvalidTypeError, r"routers\['mf'\]: found int"),
        ({"config": []}, InvalidTypeError, "config: found list"),
        ({"on_decision": 4}, InvalidTypeError, "on_decision: found int"),
        ({"api_version": "1"}, InvalidArgumentError, "options of OpenAI: .*api_version"),
        ({"base_url": "https://host/v1"}, InvalidArgumentError, "base_url: found one, allowed: one for each model"),
    ],
)
def test_arguments_that_are_refused(client_of, changed, error, says):
    with pytest.raises(error, match=says):
        client_of(**changed)


def test_options_that_are_refused(client_of):
    with pytest.raises(InvalidArgumentError, match="api_key: found one, allowed: one for each model"):
        client_of().with_options(api_key="k")
    with pytest.raises(InvalidTypeError, match="on_decision: found int"):
        client_of().with_options(on_decision=4)


def test_a_config_of_artifacts(client_of, tiny_router_folder):
    mine = fastroute.load(tiny_router_folder)
    config = {"mf": {"checkpoint_path": str(tiny_router_folder)}, "bert": {"checkpoint_path": "not/looked/at"}}
    client = client_of(routers=["mf"], config=config)
    assert client.routers["mf"].artifact == mine.artifact


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"checkpoint_path": "routellm/mf_gpt4_augmented"}, "fastroute import-routellm PATH"),
        ({"arena_battle_datasets": ["lmsys/lmsys-arena-human-preference-55k"]}, "fastroute import-routellm PATH"),
        ({"checkpoint_path": str(Path(__file__).parent)}, "no folder with a router.json"),
        ({"checkpoint_path": "a" * 5000}, "no folder with a router.json"),
    ],
)
def test_what_only_routellm_loads_is_refused_with_what_to_do(client_of, entry, says):
    with pytest.raises(InvalidArgumentError, match=says):
        client_of(routers=["mf"], config={"mf": entry})
