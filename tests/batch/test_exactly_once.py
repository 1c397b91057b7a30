"""A run that is killed goes on with ``resume``; then every row is in the output once, as if nothing had happened."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.batch.interrupted_runs import SCENARIOS

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="kills children that it forks")
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_call_that_changes_the_disk(tmp_path: Path, checkout: Path, name: str) -> None:
    command = [sys.executable, "-m", "tests.batch.interrupted_runs", tmp_path, name]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["kills"] > 70
