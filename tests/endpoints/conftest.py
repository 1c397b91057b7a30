"""A server for each test, and quick ways to ask it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.endpoints.text_models import DIM, SMALL, TextModels

from fastroute.encoders import OpenAIEncoder
from fastroute.routers import CausalLlmEndpointRouter

QUICK = {"backoff": 0.01}


@pytest.fixture
def server() -> Iterator[TextModels]:
    pytest.importorskip("aiohttp", reason="needs the extra [endpoint]")
    scripted = TextModels()
    try:
        yield scripted
    finally:
        scripted.close()


@pytest.fixture
def encoder_of(server: TextModels) -> Callable[..., OpenAIEncoder]:
    def make(**settings: Any) -> OpenAIEncoder:
        return OpenAIEncoder(SMALL, **({"base_url": server.url, "dim": DIM} | QUICK | settings))

    return make


@pytest.fixture
def router_of(server: TextModels) -> Callable[..., CausalLlmEndpointRouter]:
    def make(**settings: Any) -> CausalLlmEndpointRouter:
        return CausalLlmEndpointRouter(server.url, "judge", "large", "small", **(QUICK | settings))

    return make
