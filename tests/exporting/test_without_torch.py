"""What says which extra is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
sys.modules[{name!r}] = None
from fastroute.cli import main
sys.exit(main(["export-bert", {folder!r}, "-o", "nowhere"]))
"""


@pytest.mark.parametrize("name", ["torch", "transformers"])
def test_the_extra_is_named(name: str, tmp_path: Path, checkout: Path) -> None:
    script = SCRIPT.format(name=name, folder=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=checkout)
    assert ended.returncode == 1
    assert "pip install 'fastroute[train-bert]'" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
