"""Gate 31: what a server still answers when five times too much is asked, and beside clients that never finish.

Two bottlenecks: models that take 50 ms, to which 64 requests at once are let through; and the server's own core, asked
by five times as many connections as make its peak, and then at five times its rate by thousands that wait for nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving import servers
from benchmarks.serving.measuring import no_collection, quantile
from benchmarks.serving.servers import Server
from benchmarks.serving.traffic import UNSENT, Load, Outcome, ScriptedModel

TIMES = 5
SLOW_CLIENTS = 200
MODEL_SECONDS = 0.05
AT_ONCE = 64


async def measure(folder: Path, model: ScriptedModel, prompts: Sequence[str], *, seconds: float) -> dict[str, Any]:
    """Measure both overloads, and the slow clients."""
    found: dict[str, Any] = {}
    model.delay = MODEL_SECONDS
    server = await asyncio.to_thread(servers.fastroute, folder, model, limits={"concurrency": AT_ONCE})
    with server:
        found["slow models, requests at 5x the rate"] = await _overload(server, prompts, seconds, times_rate=TIMES)
    model.delay = 0.0
    server = await asyncio.to_thread(servers.fastroute, folder, model)
    with server:
        found["the server's core, 5x the connections"] = await _overload(server, prompts, seconds)
        found["the server's core, requests at 5x the rate"] = await _overload(
            server, prompts, seconds, times_rate=TIMES
        )
    server = await asyncio.to_thread(servers.fastroute, folder, model)
    with server:
        found["slow clients"] = await _slow_clients(server, prompts, seconds)
    return found


async def _overload(
    server: Server, prompts: Sequence[str], seconds: float, *, times_rate: int | None = None
) -> dict[str, Any]:
    """The peak, then `TIMES` as many connections, or as many requests at random times."""
    load = Load(server.port, server.requests(prompts))
    await load.closed(AT_ONCE, seconds / 4)
    peak = (await load.closed(AT_ONCE, seconds)).only_good().rate()
    load.close()
    load = Load(server.port, server.requests(prompts))
    with no_collection():
        if times_rate is None:
            outcome = await load.closed(TIMES * AT_ONCE, seconds)
        else:
            outcome = await load.open(times_rate * peak, seconds)
    load.close()
    unsent = outcome.statuses.pop(UNSENT, 0)  # every connection waits for an answer
    _only(outcome, {200, 503})
    asked = sum(outcome.statuses.values())
    return {
        "peak_per_second": peak,
        "asked_per_second": asked / outcome.seconds,
        "unsent": unsent,
        "answered_per_second": outcome.rate(),
        "share_of_peak": outcome.rate() / peak,
        "answers": {str(status): count for status, count in sorted(outcome.statuses.items())},
        "answered_p99_seconds": quantile(outcome.latencies, 0.99),
        "refused_p50_seconds": quantile(outcome.refused, 0.5) if outcome.refused else None,
        "refused_p99_seconds": quantile(outcome.refused, 0.99) if outcome.refused else None,
    }


async def _slow_clients(server: Server, prompts: Sequence[str], seconds: float) -> dict[str, Any]:
    """A healthy client alone, and beside clients that send a byte of their headers or body a second."""
    found: dict[str, Any] = {"slow_clients": SLOW_CLIENTS}
    for name, count in (("alone", 0), ("beside them", SLOW_CLIENTS)):
        slow = [asyncio.create_task(_dribble(server, prompts[0], whole=index % 2)) for index in range(count)]
        await asyncio.sleep(0.2)
        load = Load(server.port, server.requests(prompts))
        await load.closed(1, seconds / 4)
        with no_collection():
            outcome = (await load.closed(1, seconds)).only_good()
        load.close()
        broken = [task for task in slow if task.done() and task.exception() is not None]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        if broken:
            raise RuntimeError(f"slow clients: {broken[0].exception()!r}")
        found[name] = {
            "p50_seconds": quantile(outcome.latencies, 0.5),
            "p99_seconds": quantile(outcome.latencies, 0.99),
        }
    found["p99_ratio"] = found["beside them"]["p99_seconds"] / found["alone"]["p99_seconds"]
    return found


async def _dribble(server: Server, prompt: str, *, whole: int) -> None:
    """Send one request a byte at a time: its headers, or those at once and then its body; again when it is refused."""
    (request,) = server.requests([prompt])
    start = request.index(b"\r\n\r\n") + 4 if whole else 0
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            writer.write(request[:start])
            for at in range(start, len(request)):
                writer.write(request[at : at + 1])
                await writer.drain()
                await asyncio.sleep(1)
        except ConnectionError:
            pass  # the server has had enough of it
        finally:
            writer.close()


def _only(outcome: Outcome, allowed: set[int]) -> None:
    others = {status: count for status, count in outcome.statuses.items() if status not in allowed}
    if others:
        raise RuntimeError(f"statuses: found {others}, expected {sorted(allowed)}")
