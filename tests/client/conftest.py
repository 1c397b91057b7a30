"""Two scripted APIs for each test, and clients of them that are closed after it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.client.scripted_api import ScriptedApi

STRONG = "router-random-0"  # every score is at least 0
WEAK = "router-random-1"  # and below 1
HELLO = [{"role": "user", "content": "Hello!"}]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def strong() -> Iterator[ScriptedApi]:
    api = ScriptedApi("strong")
    yield api
    api.close()


@pytest.fixture
def weak() -> Iterator[ScriptedApi]:
    api = ScriptedApi("weak")
    yield api
    api.close()


@pytest.fixture
def nobody() -> str:
    """URL at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


@pytest.fixture
def arguments(strong: ScriptedApi, weak: ScriptedApi) -> Callable[..., dict[str, Any]]:
    """Arguments of a client of both APIs."""
    pytest.importorskip("openai", reason="needs the extra [client]")
    from fastroute.client import Endpoint

    def make(**settings: Any) -> dict[str, Any]:
        usual = {
            "routers": ["random", "mf"],
            "strong": Endpoint("big", strong.url, "key-of-strong"),
            "weak": Endpoint("small", weak.url, "key-of-weak"),
            "max_retries": 0,
        }
        return usual | settings

    return make


@pytest.fixture
def client_of(arguments: Callable[..., dict[str, Any]]) -> Iterator[Callable[..., Any]]:
    from fastroute import Client

    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Client(**arguments(**settings)))
