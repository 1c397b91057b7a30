"""A scripted API and short ways to run against it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, ScriptedServer, answer_of

from fastroute.augmentation import AugmentSummary, Endpoint, Limits, augment

QUICK = {"backoff": 0.01}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    try:
        yield scripted
    finally:
        scripted.close()


class Folder:
    """Prompts, and the labels made of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prompts = path / "prompts.jsonl"
        self.labels = path / "labels"

    def write(self, rows: list[dict[str, Any]]) -> Path:
        self.prompts.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return self.prompts

    def write_prompts(self, count: int) -> Path:
        return self.write([{"prompt": f"prompt {number}"} for number in range(count)])

    def write_answered(self, count: int, **columns: str) -> Path:
        prompts = [f"prompt {number}" for number in range(count)]
        return self.write(
            [
                {"prompt": p, "strong_answer": answer_of(STRONG, p), "weak_answer": answer_of(WEAK, p), **columns}
                for p in prompts
            ]
        )

    def rows(self, name: str) -> list[dict[str, Any]]:
        text = (self.labels / f"{name}.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def everything(self) -> bytes:
        """All bytes of all files."""
        return b"".join(path.read_bytes() for path in sorted(self.path.rglob("*")) if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


Label = Callable[..., AugmentSummary]


@pytest.fixture
def label(server: ScriptedServer, folder: Folder) -> Label:
    """Label the folder's prompts; both models are asked unless `asked` is false."""

    def run(*, asked: bool = True, limits: dict[str, Any] | None = None, judge: Any = None, **options: Any) -> Any:
        models = {"strong": Endpoint(server.url, STRONG), "weak": Endpoint(server.url, WEAK)}
        names = {"strong": STRONG, "weak": WEAK}
        return augment(
            options.pop("prompts", folder.prompts),
            folder.labels,
            judge=judge or Endpoint(server.url, JUDGE),
            limits=Limits(**(QUICK | (limits or {}))),
            **((models if asked else names) | options),
        )

    return run
