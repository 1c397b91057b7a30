"""What a run leaves: battles, scores and failures."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastroute.artifact import atomic_file
from fastroute.augmentation.models import ANSWERING, ORDERS
from fastroute.batch.formats.parquet import import_pyarrow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastroute.augmentation.judge import Judgement
    from fastroute.augmentation.models import Models

__all__ = ["BATTLE_COLUMNS", "OUTPUT_FORMATS", "SCORE_COLUMNS", "Failure", "JudgedPair", "write_results"]

OUTPUT_FORMATS = ("jsonl", "parquet")
BATTLE_COLUMNS = ("model_a", "model_b", "winner", "prompt", "judge", "source", "order")
"""A row per judgement. The judge read the answer of model_a first; `order` says so in other words."""

SCORE_COLUMNS = ("prompt", "model", "score", "judge", "source")
"""A row per prompt and model: the mean of the scores, 1 to 10, that the judge gave in both orders."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that was not answered as it should have been, so that a prompt has no labels.

    Attributes
    ----------
    prompt
        The prompt.
    role, model
        Who should have answered: strong, weak or judge.
    order
        Of the judge's requests: strong_first or weak_first.
    reason
        What is wrong.
    replies
        Malformed judgements, word for word.
    """

    prompt: str
    role: str
    model: str
    order: str | None
    reason: str
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A prompt that was judged in both orders; `judgements` has them by order."""

    prompt: str
    judgements: dict[str, Judgement]

    def winners(self) -> list[str]:
        """Who won in each order: strong, weak or tie."""
        sides = {"model_a": 0, "model_b": 1}
        return [
            "tie" if found.winner == "tie" else ORDERS[order][sides[found.winner]]
            for order, found in self.judgements.items()
        ]

    def score(self, role: str) -> float:
        """Mean of the scores that the model in this role got."""
        scores = [
            found.score_a if ORDERS[order][0] == role else found.score_b for order, found in self.judgements.items()
        ]
        return sum(scores) / len(scores)


def write_results(
    folder: Path, pairs: Sequence[JudgedPair], failures: Sequence[Failure], models: Models, *, source: str, kind: str
) -> None:
    """Write ``battles``, ``judge_scores`` and ``failures.jsonl``, each whole or not at all."""
    names = {role: models.name(role) for role in (*ANSWERING, "judge")}
    battles = [
        (names[first], names[second], found.winner, pair.prompt, names["judge"], source, order)
        for pair in pairs
        for order, (first, second) in ORDERS.items()
        for found in (pair.judgements[order],)
    ]
    scores = [
        (pair.prompt, names[role], pair.score(role), names["judge"], source) for pair in pairs for role in ANSWERING
    ]
    encode = _parquet if kind == "parquet" else _json_lines
    contents = {
        f"battles.{kind}": encode([dict(zip(BATTLE_COLUMNS, row, strict=True)) for row in battles], BATTLE_COLUMNS),
        f"judge_scores.{kind}": encode([dict(zip(SCORE_COLUMNS, row, strict=True)) for row in scores], SCORE_COLUMNS),
        "failures.jsonl": _json_lines([asdict(failure) for failure in failures]),
    }
    for name, content in contents.items():
        with atomic_file(folder / name) as stream:
            stream.write(content)


def _json_lines(rows: Sequence[dict[str, Any]], _: Sequence[str] = ()) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False, allow_nan=False)}\n" for row in rows).encode()


def _parquet(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> bytes:
    pa = import_pyarrow()
    types = {name: pa.float64() if name == "score" else pa.string() for name in columns}
    table = pa.Table.from_pylist(rows, schema=pa.schema(list(types.items())))
    written = io.BytesIO()
    pa.parquet.write_table(table, written)
    return written.getvalue()
