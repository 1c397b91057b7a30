"""How long the event loop is held up while a slow router scores: seen by a client that asks every two milliseconds.

What is late counts from when it was due, so that a pause holds up all the questions that fall into it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving import servers
from benchmarks.serving.measuring import no_collection, quantile
from benchmarks.serving.traffic import Load, ScriptedModel, wait_until

EVERY = 0.002  # seconds
PING = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


async def measure(folder: Path, model: ScriptedModel, prompts: Sequence[str], seconds: float) -> dict[str, Any]:
    """Return delays of ``/health``: of a server at rest, and of one whose every request waits for `bert`."""
    found: dict[str, Any] = {}
    server = await asyncio.to_thread(servers.fastroute, folder, model, routers=("bert",))
    with server:
        for name, clients in (("at rest", 0), ("16 clients wait for bert", 16)):
            load = Load(server.port, server.requests(prompts))
            rate = None
            with no_collection():
                pings = asyncio.create_task(_pings(server.port, seconds))
                if clients:
                    outcome = (await load.closed(clients, seconds)).only_good()
                    rate = outcome.rate()
                delays = await pings
            load.close()
            found[name] = {
                "requests_per_second": rate,
                "pings": len(delays),
                "p50_seconds": quantile(delays, 0.5),
                "p99_seconds": quantile(delays, 0.99),
                "p999_seconds": quantile(delays, 0.999),
                "max_seconds": max(delays),
                "over_5_ms": sum(delay > 0.005 for delay in delays),
            }
        scored = server.metric('fastroute_score_count{router="bert"}')
        failed = server.metric('fastroute_routing_failures_total{router="bert"}')
        if failed or not scored:
            raise RuntimeError(f"bert: found {scored:.0f} scores and {failed:.0f} failures, expected no failure")
    return found


async def _pings(port: int, seconds: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    delays: list[float] = []
    start = time.perf_counter()
    while (due := start + len(delays) * EVERY) < start + seconds:
        await wait_until(due)
        writer.write(PING)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(b'{"status":"ok"}'))
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"/health: found {head[:40]!r}, expected 200")
        delays.append(time.perf_counter() - due)
    writer.close()
    return delays
