"""``python -m benchmarks.serving``, which measures for minutes and checks each answer: here for seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.conftest import CHECKOUT


@pytest.fixture
def measure(tmp_path: Path) -> Any:
    pytest.importorskip("uvloop", reason="needs the extra [serve]")
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")

    def run(what: str) -> Any:
        output = tmp_path / f"{what}.json"
        command = [sys.executable, "-m", "benchmarks.serving", what, "--quick", "-o", str(output)]
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(output.read_text())

    return run


def test_speed(measure: Any) -> None:
    found = measure("speed")
    for rows in found["throughput"].values():
        assert rows["fastroute"]["requests_per_second"] > 100
    assert all(first["through fastroute"]["streams"] > 100 for first in found["first_event"].values())
    assert set(found["pauses"]) == {"at rest", "16 clients wait for bert"}


def test_overload(measure: Any) -> None:
    found = measure("overload")
    slow = found["slow models, requests at 5x the rate"]
    assert slow["answers"]["503"] > slow["answers"]["200"] > 0
    assert found["slow clients"]["p99_ratio"] > 0


def test_soak(measure: Any) -> None:
    found = measure("soak")
    assert min(found["requests"].values()) > 50
    assert found["playground"] > 3
    assert found["in_flight_at_the_end"] == 0
    assert found["most_mib"] < 500
