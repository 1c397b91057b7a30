"""Pictures of curves (benchmarks/scaling_plots.py), by its command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "benchmarks" / "scaling_plots.py"

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'fastroute[eval]'")


def point(x: float, seconds: float, limit: float | None) -> dict[str, Any]:
    ratio = None if limit is None else seconds / limit
    return {
        "x": x,
        "seconds": seconds,
        "low": seconds,
        "high": seconds,
        "repetitions": 5,
        "limit": limit,
        "ratio": ratio,
    }


def plot(key: str, xs: list[int]) -> dict[str, Any]:
    limited = [point(x, 1e-6 * x, 5e-7 * x) for x in xs]
    free = [point(x, 1e-5, None) for x in xs]
    curves = [
        {"name": "scan", "limit": "reading", "notes": [], "points": limited},
        {"name": "free", "limit": "", "notes": [], "points": free},
    ]
    return {"key": key, "title": key, "x": "battles", "y": "seconds a query", "curves": curves, "measured": {}}


def drawn(tmp_path: Path, document: object) -> subprocess.CompletedProcess[str]:
    (tmp_path / "scaling.json").write_text(json.dumps(document))
    command = [sys.executable, SCRIPT, tmp_path / "scaling.json", "-o", tmp_path / "plots"]
    environment = os.environ | {"MPLCONFIGDIR": str(tmp_path)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)


def test_draws_each_plot(tmp_path: Path) -> None:
    done = drawn(tmp_path, {"format": 1, "plots": [plot("battles", [10, 1_000, 100_000]), plot("threads", [1, 2])]})
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "plots").iterdir())
    assert [file.name for file in files] == ["scaling-battles.png", "scaling-threads.png"]
    for file in files:
        content = file.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert 10_000 < len(content) <= 150_000
        assert str(file) in done.stderr


@pytest.mark.parametrize("document", [{"format": 2}, {"format": 1, "plots": [plot("battles", [10, 10])]}])
def test_says_what_is_wrong_and_draws_nothing(tmp_path: Path, document: object) -> None:
    done = drawn(tmp_path, document)
    assert done.returncode == 1
    assert done.stderr.startswith("scaling_plots: ")
    assert "allowed: " in done.stderr
    assert not (tmp_path / "plots").exists()
