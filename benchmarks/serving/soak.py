"""Gate 33: memory over ten minutes of mixed traffic, once everything has been seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import servers
from benchmarks.serving.servers import Server
from benchmarks.serving.traffic import Load, ScriptedModel

ROUTERS = ("experts", "mf")
WARM_SHARE = 0.2  # of the time, before memory counts


async def measure(folder: Path, model: ScriptedModel, prompts: Sequence[str], *, seconds: float) -> dict[str, Any]:
    """Ask for answers, streams and decisions, well and badly, and take the server's memory every half a second."""
    server = await asyncio.to_thread(
        servers.fastroute, folder, model, routers=ROUTERS, sessions={"seconds": 5, "most": 1000}
    )
    with server:
        loads = [Load(server.port, requests) for requests in _mixed(server, prompts)]
        memory: list[tuple[float, int]] = []
        watching = asyncio.create_task(_watch(server, memory))
        try:
            outcomes = await asyncio.gather(*(load.closed(4, seconds) for load in loads))
        finally:
            watching.cancel()
        for load in loads:
            load.close()
        for outcome, expected in zip(outcomes, (200, 200, 200, 404), strict=True):
            if set(outcome.statuses) != {expected}:
                raise RuntimeError(f"statuses: found {outcome.statuses}, expected {expected} alone")
    times, sizes = np.array(memory, float).T
    kept = times - times[0] >= WARM_SHARE * seconds
    slope = float(np.polyfit(times[kept], sizes[kept], 1)[0]) if kept.sum() > 2 else float("nan")
    return {
        "seconds": seconds,
        "requests": sum(sum(outcome.statuses.values()) for outcome in outcomes),
        "first_mib": sizes[kept][0] / 2**20,
        "last_mib": sizes[-1] / 2**20,
        "most_mib": float(sizes.max()) / 2**20,
        "growth_mib_by_slope": slope * (times[-1] - times[kept][0]) / 2**20,
        "mib_every_minute": [
            round(float(sizes[np.searchsorted(times, times[0] + at)]) / 2**20, 2) for at in np.arange(0, seconds, 60)
        ],
    }


def _mixed(server: Server, prompts: Sequence[str]) -> list[list[bytes]]:
    """Answers of sessions, streams, decisions, and requests for a model that there is not."""
    sessions = [
        request.replace(b"\r\n", b"\r\nx-session-id: s%d\r\n" % index, 1)
        for index, request in enumerate(server.requests(list(prompts) * 10, "router-mf"))
    ]
    return [
        sessions,
        server.requests(prompts, stream=True),
        server.requests(prompts, path="/v1/route"),
        server.requests(prompts, "nobody"),
    ]


async def _watch(server: Server, memory: list[tuple[float, int]]) -> None:
    while True:
        memory.append((time.perf_counter(), server.resident_bytes()))
        await asyncio.sleep(0.5)
