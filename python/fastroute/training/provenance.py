"""What an artifact says of the data it was trained on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["describe_data"]


def describe_data(path: Path) -> dict[str, Any]:
    """Name, size, SHA-256 and licences (of a column `license`) of a Parquet file; never its folder."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        digest = hashlib.sha256(file.read())
    described: dict[str, Any] = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": digest.hexdigest(),
    }
    parquet = pq.ParquetFile(path)
    if "license" in parquet.schema_arrow.names:
        licences = pc.unique(parquet.read(columns=["license"])["license"]).to_pylist()
        described["licences"] = sorted(str(licence) for licence in licences if licence)
    return described
