"""What an artifact says of the data it was trained on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from fastroute.tables import read_table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["describe_data"]


def describe_data(path: Path) -> dict[str, Any]:
    """Name, size, SHA-256 and licences (of a column `license`) of a file of data; never its folder."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    described: dict[str, Any] = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": digest.hexdigest(),
    }
    table = read_table(path, ["license"])
    if "license" in table:
        described["licences"] = sorted(filter(None, table.labels("license", null="").values))
    return described
