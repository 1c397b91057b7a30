"""What adding fastroute costs a service: import, load, memory, wheel. Each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

PROBE = """
import json, resource, sys, time
start = time.perf_counter()
import numpy
numpy_imported = time.perf_counter()
import fastroute
imported = time.perf_counter()
router = fastroute.load("mf")
loaded = time.perf_counter()
score = router.score("Prove that sqrt(2) is irrational.")
resident = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS"))
times = {"import": imported - start, "numpy": numpy_imported - start, "load": loaded - imported}
print(json.dumps({**times, "resident": resident / 1024, "score": score}))
"""


def probe(surroundings: dict[str, str]) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, env=surroundings)
    result: dict[str, float] = json.loads(done.stdout)
    return result


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is read from /proc")
def test_import_load_and_memory(benchmark: Any, router: Any, compiled: dict[str, str]) -> None:
    """Prints medians of 15 processes; the time of the group is that of a whole process."""
    benchmark.group = "cold start: a process that imports, loads and scores once"
    probe(compiled)
    probes: list[dict[str, float]] = []
    benchmark.pedantic(lambda: probes.append(probe(compiled)), rounds=15, iterations=1)
    aims = (("import", "ms", 150), ("numpy", "ms", None), ("load", "ms", 50), ("resident", "MiB", 80))
    for name, unit, aim in aims:
        values = sorted(p[name] * (1000 if unit == "ms" else 1) for p in probes)
        median = values[len(values) // 2]
        benchmark.extra_info[name] = median
        limit = "" if aim is None else f"; at most {aim}"
        print(f"\n{name}: {median:.1f} {unit} (median of {len(values)}{limit})", end="")
    assert {p["score"] for p in probes} == {router.score("Prove that sqrt(2) is irrational.")}
