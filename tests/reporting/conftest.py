"""Scored logs, written as ``fastroute score`` writes them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Write a log: its name, its scores, and its other columns."""

    def write(name: str, scores: Sequence[float], **columns: Sequence[Any]) -> Path:
        path = tmp_path / name
        texts = [str(np.float32(score)) for score in scores]
        if path.suffix == ".jsonl":
            with path.open("w", encoding="utf-8") as file:
                for row, text in enumerate(texts):
                    others = {key: values[row] for key, values in columns.items()}
                    file.write(json.dumps(others)[:-1] + (", " if others else "") + f'"score": {text}}}\n')
        elif path.suffix == ".parquet":
            pa = pytest.importorskip("pyarrow")
            pq = pytest.importorskip("pyarrow.parquet")
            pq.write_table(pa.table({**columns, "score": pa.array(np.array(scores, np.float32))}), path)
        else:
            with path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writerow([*columns, "score"])
                writer.writerows(zip(*columns.values(), texts, strict=True))
        return path

    return write
