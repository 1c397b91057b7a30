"""OpenAI's client with a router in it: the SDK's surface, a decision in process, two models behind two clients.

::

    endpoint    a model behind a URL, and its key
    loading     the routers of a client: names, paths, RouteLLM's config
    choosing    from a request to a model, with what was decided
    sdk         the official `openai` package: its clients, what a failed connection is
    core        what both clients share
    blocking    Client
    concurrent  AsyncClient

The `openai` package (extra [client]) is imported when a client is made. docs/client.md has examples.
"""

from __future__ import annotations

from fastroute.client.blocking import Client
from fastroute.client.choosing import Choice
from fastroute.client.concurrent import AsyncClient
from fastroute.client.endpoint import Endpoint

__all__ = ["AsyncClient", "Choice", "Client", "Endpoint"]
