"""Resident memory of a loaded router, each in a process of its own, beside the size of its files."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import fastroute
from fastroute import builtin
from fastroute.overhead import prompts_of

PROBE = """
import json, sys
import fastroute
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS")) / 1024
prompts = json.load(sys.stdin)
fastroute.set_num_threads(1)
before = resident()
router = fastroute.load(sys.argv[1])
loaded = resident()
scores = router.score(prompts).tolist()
for _ in range(20):
    assert router.score(prompts).tolist() == scores
print(json.dumps({"before": before, "load": loaded - before, "score": resident() - loaded, "scores": scores}))
"""
PROCESSES = 5


def files_of(name: str) -> float:
    """MiB of a router's files, its built-in encoder's among them."""
    folders = [builtin.find_router(name)]
    encoder = fastroute.load(name).encoder
    folders += [] if encoder is None else [builtin.find_encoder(encoder.name)]
    files = (file for folder in folders if folder is not None for file in Path(folder).rglob("*"))
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
@pytest.mark.parametrize("name", fastroute.info().routers)
def test_a_loaded_router(name: str, compiled: dict[str, str], figure: Callable[..., None]) -> None:
    probes = []
    prompts = [prompt for tokens in (20, 95, 400) for prompt in prompts_of(tokens)]
    given, command = json.dumps(prompts), [sys.executable, "-c", PROBE, name]
    for _ in range(PROCESSES):
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, env=compiled)
        probes.append(json.loads(done.stdout))
    medians = {key: statistics.median(probe[key] for probe in probes) for key in ("before", "load", "score")}
    files = files_of(name)
    figure(
        name,
        f"{files:.1f} MiB of files; loading takes {medians['load']:.1f} MiB more, scoring {medians['score']:.1f} MiB",
        router=name,
        files=files,
        grown_by_loading=medians["load"],
        by_scoring=medians["score"],
        process_before=medians["before"],
    )
    expected = fastroute.load(name).score(prompts).tolist()
    assert all(probe["scores"] == expected for probe in probes)
    # Scoring keeps nothing, but for ONNX Runtime's buffers of activations.
    assert medians["score"] < (64 if name == "bert" else 8)
