"""Requests per second, what routing adds, streams, first tokens, start-up; all servers in the same run."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.serving import servers
from benchmarks.serving.measuring import no_collection, quantile
from benchmarks.serving.servers import Server
from benchmarks.serving.traffic import CHUNKS, Load, ScriptedModel, requests_for

CONNECTIONS = (16, 64)
ROUTED = ("experts", "mf")
HALF_CORE, HALF_MOST = "half of the core", "half of the most streams"
LIGHT = 0.4  # of what the slowest server can do


async def measure(
    folder: Path, model: ScriptedModel, prompts: Sequence[str], seconds: float, rounds: int
) -> dict[str, Any]:
    """Measure everything; `seconds` is that of one of the `rounds`."""
    starts = {
        "fastroute, no router": lambda: servers.fastroute(folder, model, routers=()),
        "fastroute, experts": lambda: servers.fastroute(folder, model),
        "LiteLLM": lambda: servers.litellm(folder, model),
        "RouteLLM": lambda: servers.routellm(folder, model),
    }
    start_up = {name: await _start_up(begin, rounds) for name, begin in starts.items()}
    with contextlib.ExitStack() as stack:
        begun: list[Server] = []
        for begin in (lambda: servers.fastroute(folder, model, routers=ROUTED), starts["LiteLLM"], starts["RouteLLM"]):
            server = await asyncio.to_thread(begin)
            if server is not None:
                begun.append(stack.enter_context(server))
        versions = {server.name: server.version() for server in begun}
        throughput = {
            str(connections): await _throughput(begun, prompts, connections, seconds, rounds)
            for connections in CONNECTIONS
        }
        streams = await _streams(begun, prompts, seconds)
        slowest = min(row["requests_per_second"] for row in throughput[str(CONNECTIONS[0])].values())
        latency = await _latency(begun, prompts, LIGHT * slowest, 5 * seconds)
    ours = await asyncio.to_thread(servers.fastroute, folder, model, routers=ROUTED)
    with ours:
        added = {f"router-{name}": await _added(ours, f"router-{name}", prompts, seconds) for name in ROUTED}
        most = await _most_streams(ours, prompts, seconds)
        rates = {HALF_CORE: 0.5 / streams[ours.name]["cpu_seconds_per_stream"], HALF_MOST: most / 2}
        first = await _first_events(ours, model, prompts, rates, seconds, rounds)
    return {
        "versions": versions,
        "start_up": {name: found for name, found in start_up.items() if found is not None},
        "throughput": throughput,
        "latency": latency,
        "added_latency": added,
        "streams": streams,
        "first_event": first,
    }


async def _start_up(begin: Callable[[], Server | None], rounds: int) -> dict[str, float] | None:
    """From the start of a process to its first answer, and its memory then; medians, less often of what is slow."""
    seconds, resident = [], []
    while len(seconds) < rounds:
        server = await asyncio.to_thread(begin)
        if server is None:
            return None
        with server:
            seconds.append(server.start_seconds)
            resident.append(server.resident_bytes())
        if server.start_seconds > 2:
            rounds = min(rounds, 2)
    return {"seconds": statistics.median(seconds), "resident_bytes": statistics.median(resident)}


async def _throughput(
    begun: Sequence[Server], prompts: Sequence[str], connections: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """Each server in turn, so that what else the machine does meets all of them; medians over the rounds."""
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(rounds):
        for server in begun:
            for name, target in _targets(server):
                load = Load(server.port, server.requests(prompts, target))
                with no_collection(), server.alone(begun):
                    outcome = await load.closed(connections, seconds, warm_up=seconds / 4, cpu=server.cpu_seconds)
                load.close()
                outcome.only_good()
                row = {
                    "requests_per_second": outcome.rate(),
                    "cpu_seconds_per_request": outcome.cpu_seconds / outcome.answered,
                }
                found.setdefault(name, []).append(row)
    return {
        name: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        | {"rounds": [row["requests_per_second"] for row in rows]}
        for name, rows in found.items()
    }


async def _latency(begun: Sequence[Server], prompts: Sequence[str], rate: float, seconds: float) -> dict[str, Any]:
    """Requests at random times, so few that each server has a core to spare."""
    found: dict[str, Any] = {"requests_per_second": rate}
    for server in begun:
        load = Load(server.port, server.requests(prompts))
        with no_collection(), server.alone(begun):
            await load.open(rate, 1.0)
            outcome = (await load.open(rate, seconds)).only_good()
        load.close()
        found[server.name] = {
            "requests": len(outcome.latencies),
            "p50_seconds": quantile(outcome.latencies, 0.5),
            "p99_seconds": quantile(outcome.latencies, 0.99),
        }
    return found


def _targets(server: Server) -> list[tuple[str, str]]:
    """What is asked of a server: of fastroute, also a model by its name, which is no routing."""
    if server.name != "fastroute":
        return [(server.name, server.model)]
    return [("fastroute", server.model), ("fastroute, not routed", servers.WEAK)]


async def _added(server: Server, routed: str, prompts: Sequence[str], seconds: float) -> dict[str, float]:
    """One connection asks with and without routing by turns."""
    pairs = zip(server.requests(prompts, routed), server.requests(prompts, servers.WEAK), strict=True)
    load = Load(server.port, [request for pair in pairs for request in pair])
    await load.closed(1, seconds / 4)
    load.start_over()
    with no_collection():
        outcome = (await load.closed(1, 3 * seconds)).only_good()
    load.close()
    with_routing, without = outcome.latencies[0::2], outcome.latencies[1::2]
    return {
        "p50_seconds": quantile(with_routing, 0.5),
        "not_routed_p50_seconds": quantile(without, 0.5),
        "added_p50_seconds": quantile(with_routing, 0.5) - quantile(without, 0.5),
        "requests": len(outcome.latencies),
    }


async def _streams(begun: Sequence[Server], prompts: Sequence[str], seconds: float) -> dict[str, Any]:
    """Streams of `CHUNKS` events, 2 ms between them, over 16 connections."""
    found = {}
    for server in begun:
        load = Load(server.port, server.requests(prompts, stream=True))
        with no_collection(), server.alone(begun):
            outcome = await load.closed(16, 2 * seconds, warm_up=seconds / 2, cpu=server.cpu_seconds)
        load.close()
        outcome.only_good()
        found[server.name] = {
            "chunks": CHUNKS,
            "streams": outcome.answered,
            "streams_per_second": outcome.rate(),
            "cpu_seconds_per_stream": outcome.cpu_seconds / outcome.answered,
        }
    return found


async def _first_events(
    server: Server, model: ScriptedModel, prompts: Sequence[str], rates: dict[str, float], seconds: float, rounds: int
) -> dict[str, Any]:
    """First events at some rates of streams, by turns with those of the model itself at the same rate."""
    requests = {
        "through fastroute": (server.port, server.requests(prompts, stream=True)),
        "the model itself": (model.port, requests_for(prompts, servers.WEAK, stream=True)),
    }
    found: dict[str, Any] = {}
    for load_name, rate in rates.items():
        firsts: dict[str, list[float]] = {name: [] for name in requests}
        late: list[float] = []
        busy: list[float] = []
        for _ in range(rounds):
            for name, (port, bodies) in requests.items():
                load = Load(port, bodies)
                with no_collection():
                    await load.open(rate, seconds / 4)
                    before = server.cpu_seconds()
                    outcome = (await load.open(rate, seconds)).only_good()
                load.close()
                firsts[name] += outcome.firsts
                late += outcome.late
                if port == server.port:
                    busy.append((server.cpu_seconds() - before) / outcome.seconds)
        found[load_name] = {
            "streams_per_second": rate,
            "core_share": statistics.median(busy),
            "late_p99_seconds": quantile(late, 0.99),
        }
        for name, values in firsts.items():
            found[load_name][name] = {
                "streams": len(values),
                "p50_seconds": quantile(values, 0.5),
                "p99_seconds": quantile(values, 0.99),
            }
    return found


async def _most_streams(server: Server, prompts: Sequence[str], seconds: float) -> float:
    """Streams per second over 256 connections, each of which asks again at once."""
    load = Load(server.port, server.requests(prompts, stream=True))
    outcome = await load.closed(256, seconds, warm_up=seconds / 4)
    load.close()
    return outcome.only_good().rate()
