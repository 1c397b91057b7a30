"""Gate 33: memory over ten minutes of mixed traffic, once everything has been seen."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving import servers
from benchmarks.serving.servers import STRONG, WEAK, Server
from benchmarks.serving.traffic import Load, ScriptedModel

WARM_SHARE = 0.2  # of the time, before memory counts
RELOADS = 20  # over the whole time
# While old and new routers are both there, memory is larger; a leak shows in the least of each window just as well.
WINDOWS = 10
LOOKS = 20  # at the memory, in each
FALLS = "falls"  # a router whose strong model can't be reached


async def measure(folder: Path, model: ScriptedModel, prompts: Sequence[str], *, seconds: float) -> dict[str, Any]:
    """Ask well and badly, leave early, reload, look at the playground; take the server's memory meanwhile."""
    server = await asyncio.to_thread(_start, folder, model)
    with server:
        loads = {name: Load(server.port, requests) for name, requests in _mixed(server, prompts).items()}
        memory: list[tuple[float, int]] = []
        beside = [
            asyncio.create_task(each)
            for each in (
                _watch(server, memory, seconds / WINDOWS / LOOKS),
                _leave_early(server, prompts),
                _reload(server, seconds / RELOADS),
                asyncio.to_thread(_look, server, prompts, time.monotonic() + seconds),
            )
        ]
        asked = asyncio.gather(*(load.closed(4, seconds) for load in loads.values()))
        await asyncio.wait([asked, *beside[:3]], return_when=asyncio.FIRST_COMPLETED)
        failed = [task.exception() for task in beside[:3] if task.done()]
        if failed:
            raise RuntimeError(f"beside the load: {failed[0]!r}")
        outcomes = dict(zip(loads, await asked, strict=True))
        looks = await beside[3]
        for task in beside[:3]:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        left = await _in_flight(server)
        for load in loads.values():
            load.close()
    for name, outcome in outcomes.items():
        expected = 404 if name == "unknown models" else 200
        if set(outcome.statuses) != {expected}:
            raise RuntimeError(f"{name}: found {outcome.statuses}, expected {expected} alone")
    times, sizes = np.array(memory, float).T
    window = seconds / WINDOWS
    windows = ((times - times[0]) // window).astype(int)
    least = np.array([sizes[windows == each].min() / 2**20 for each in range(WINDOWS)])
    kept = least[round(WARM_SHARE * WINDOWS) :]
    growth = float(np.polyfit(np.arange(len(kept)), kept, 1)[0]) * (len(kept) - 1)
    return {
        "seconds": seconds,
        "requests": {name: sum(outcome.statuses.values()) for name, outcome in outcomes.items()},
        "playground": looks,
        "in_flight_at_the_end": left,
        "most_mib": float(sizes.max()) / 2**20,
        "least_mib": [round(float(each), 2) for each in least],
        "growth_mib_by_slope": growth,
    }


def _start(folder: Path, model: ScriptedModel) -> Server:
    names = {"gone": f"http://127.0.0.1:{servers.free_port()}/v1", STRONG: model.url, WEAK: model.url}
    pair = {"strong": STRONG, "weak": WEAK}
    routers = [{"label": label, **pair} for label in ("experts", "mf")]
    routers.append({"label": FALLS, "artifact": "mf", "threshold": 0, "strong": "gone", "weak": WEAK})
    return servers.fastroute(
        folder,
        model,
        models=[{"name": name, "base_url": url} for name, url in names.items()],
        routers=routers,
        sessions={"seconds": 5, "most": 1000},
        playground=True,
    )


def _mixed(server: Server, prompts: Sequence[str]) -> dict[str, list[bytes]]:
    sessions = [
        request.replace(b"\r\n", b"\r\nx-session-id: s%d\r\n" % index, 1)
        for index, request in enumerate(server.requests(list(prompts) * 10, "router-mf"))
    ]
    return {
        "answers of sessions": sessions,
        "streams": server.requests(prompts, stream=True),
        "decisions": server.requests(prompts, path="/v1/route"),
        "fallbacks": server.requests(prompts, f"router-{FALLS}"),
        "unknown models": server.requests(prompts, "nobody"),
    }


async def _watch(server: Server, memory: list[tuple[float, int]], every: float) -> None:
    while True:
        memory.append((time.perf_counter(), server.resident_bytes()))
        await asyncio.sleep(every)


async def _leave_early(server: Server, prompts: Sequence[str]) -> None:
    """Ask for streams and hang up at some point."""
    rng = random.Random(20240626)
    requests = server.requests(prompts, stream=True)
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        request = rng.choice(requests)
        writer.write(request[: rng.choice((len(request) // 2, len(request)))])
        await asyncio.sleep(rng.uniform(0, 0.06))
        writer.close()


async def _reload(server: Server, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        server.process.send_signal(signal.SIGHUP)


def _look(server: Server, prompts: Sequence[str], end: float) -> int:
    """Do what the playground's page does, until `end`; return how often."""
    headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    done = 0
    while time.monotonic() < end:
        body = json.dumps({"prompt": prompts[done % len(prompts)]})
        for method, path, content in (("GET", "/playground/hour", None), ("POST", "/playground/scores", body)):
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                raise RuntimeError(f"{path}: found status {response.status}, expected 200")
        done += 1
        time.sleep(0.2)
    connection.close()
    return done


async def _in_flight(server: Server) -> float:
    """Requests that the server still takes for being under way, once nobody asks."""
    for _ in range(50):
        left = await asyncio.to_thread(server.metric, "fastroute_in_flight")
        if not left:
            break
        await asyncio.sleep(0.1)
    return left
