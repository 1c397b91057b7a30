"""Ids equal those of the `tokenizers` wheel on every prompt of the data pack (scorecard 12)."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from fastroute.encoders import StaticEncoder

Differences = Callable[[StaticEncoder, Tokenizer, Sequence[str]], list[str]]


def strings_in(value: object) -> list[str]:
    """Every string of a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings_in(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings_in(item)]
    return []


@pytest.mark.data
@pytest.mark.parametrize(("name", "fewest"), [("preferences", 2_100), ("judge_scores", 290), ("outcomes", 33_000)])
def test_prompts_of_a_table(
    name: str, fewest: int, data_pack: Path, built_in: tuple[StaticEncoder, Tokenizer], differences: Differences
) -> None:
    column = pq.read_table(data_pack / f"{name}.parquet", columns=["prompt"])["prompt"]
    prompts = sorted(set(column.to_pylist()))
    assert len(prompts) > fewest
    assert differences(*built_in, prompts) == []


@pytest.mark.data
def test_prompts_of_the_evaluations(
    data_pack: Path, built_in: tuple[StaticEncoder, Tokenizer], differences: Differences
) -> None:
    folder = data_pack / "routellm_evals"
    prompts: set[str] = set()
    for path in folder.rglob("*.csv"):
        with path.open(newline="", encoding="utf-8") as rows:
            prompts.update(row["prompt"] for row in csv.DictReader(rows))
    for path in folder.rglob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").split("\n"):
            if line:
                prompts.update(strings_in(json.loads(line)))
    assert len(prompts) > 7_700
    assert differences(*built_in, sorted(prompts)) == []
