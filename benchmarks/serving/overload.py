"""Gate 31: what a server still answers when five times too much is asked, and beside clients that never finish.

Two bottlenecks: models that take 50 ms, to which 64 requests at once are let through; and the server's own core, asked
by five times as many connections as make its peak, and then at five times its rate by thousands that wait for nothing.
"""

from __future__ import annotations

import asyncio
import statistics
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


async def measure(
    folder: Path, model: ScriptedModel, prompts: Sequence[str], seconds: float, rounds: int
) -> dict[str, Any]:
    """Measure each overload, and the slow clients; `seconds` is that of one of the `rounds`."""
    found: dict[str, Any] = {}
    model.delay = MODEL_SECONDS
    server = await asyncio.to_thread(servers.fastroute, folder, model, limits={"concurrency": AT_ONCE})
    with server:
        name = "slow models, requests at 5x the rate"
        found[name] = await _overload(server, prompts, seconds, rounds, at_a_rate=True)
    model.delay = 0.0
    server = await asyncio.to_thread(servers.fastroute, folder, model)
    with server:
        for name, at_a_rate in (("5x the connections", False), ("requests at 5x the rate", True)):
            found[f"the server's core, {name}"] = await _overload(server, prompts, seconds, rounds, at_a_rate=at_a_rate)
        found["slow clients"] = await _slow_clients(server, prompts, seconds)
    return found


async def _overload(
    server: Server, prompts: Sequence[str], seconds: float, rounds: int, *, at_a_rate: bool
) -> dict[str, Any]:
    """By turns the peak and then `TIMES` as many connections, or as many requests at random times."""
    rows: list[dict[str, float]] = []
    answers: dict[str, int] = {}
    latencies: list[float] = []
    refused: list[float] = []
    for _ in range(rounds):
        load = Load(server.port, server.requests(prompts))
        with no_collection():
            peak = (await load.closed(AT_ONCE, seconds, warm_up=seconds / 4)).only_good().rate()
        load.close()
        load = Load(server.port, server.requests(prompts))
        with no_collection():
            if at_a_rate:
                outcome = await load.open(TIMES * peak, seconds)
            else:
                outcome = await load.closed(TIMES * AT_ONCE, seconds, warm_up=seconds / 4)
        load.close()
        unsent = outcome.statuses.pop(UNSENT, 0)  # every connection waits for an answer
        _only(outcome, {200, 503})
        sent = len(outcome.late) or sum(outcome.statuses.values())
        rows.append(
            {
                "peak_per_second": peak,
                "due_per_second": (sent + unsent) / outcome.seconds,
                "sent_per_second": sent / outcome.seconds,
                "answered_per_second": outcome.rate(),
                "share_of_peak": outcome.rate() / peak,
            }
        )
        for status, count in outcome.statuses.items():
            answers[str(status)] = answers.get(str(status), 0) + count
        latencies += outcome.latencies
        refused += outcome.refused
    return {
        **{key: statistics.median(row[key] for row in rows) for key in rows[0]},
        "rounds": [row["share_of_peak"] for row in rows],
        "answers": answers,
        "answered_p99_seconds": quantile(latencies, 0.99),
        "refused_p50_seconds": quantile(refused, 0.5) if refused else None,
        "refused_p99_seconds": quantile(refused, 0.99) if refused else None,
    }


async def _slow_clients(server: Server, prompts: Sequence[str], seconds: float) -> dict[str, Any]:
    """A healthy client alone, and beside clients that send a byte of their headers or body a second."""
    found: dict[str, Any] = {"slow_clients": SLOW_CLIENTS}
    for name, count in (("alone", 0), ("beside them", SLOW_CLIENTS)):
        slow = [
            asyncio.create_task(_dribble(server, prompts[0], headers_at_once=bool(index % 2))) for index in range(count)
        ]
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


async def _dribble(server: Server, prompt: str, *, headers_at_once: bool) -> None:
    """Send one request a byte at a time: its headers, or those at once and then its body; again when it is refused."""
    (request,) = server.requests([prompt])
    start = request.index(b"\r\n\r\n") + 4 if headers_at_once else 0
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
