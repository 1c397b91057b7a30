"""Small folders in RouteLLM's layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from fastroute.evaluation.benchmarks import MMLU_SUBJECTS

STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json_lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.fixture
def evals(tmp_path: Path) -> Path:
    """`routellm/evals` with 2 questions per MMLU subject, 12 of GSM8K, 8 of MT-Bench; one of each contaminated."""
    root = tmp_path / "evals"
    for folder in ("mmlu/responses", "gsm8k", "mt_bench"):
        (root / folder).mkdir(parents=True)
    for number, subject in enumerate(MMLU_SUBJECTS):
        rows = [
            {
                "Unnamed: 0": i,
                "prompt": f"{subject}, question {i}" + " more" * (number % 7),
                WEAK: i == 0,
                STRONG: True,
                "llama": 0,
            }
            for i in range(2)
        ]
        write_csv(root / "mmlu" / "responses" / f"mmlu_{subject}.csv", rows)
    write_json_lines(root / "mmlu" / "contaminated_prompts.jsonl", [{"eval_prompt": "anatomy, question 1 more"}])
    rows = [{"prompt": f'sum "{i}",\nplease', WEAK: i % 3 == 0, STRONG: i % 6 != 0} for i in range(12)]
    write_csv(root / "gsm8k" / "gsm8k_responses.csv", rows)
    write_json_lines(root / "gsm8k" / "contaminated_prompts.jsonl", [{"eval_prompt": 'sum "1",\nplease'}])
    questions = [
        {"question_id": i, "category": "even" if i % 2 == 0 else "odd", "turns": [f"first {i}", f"second {i}"]}
        for i in range(8)
    ]
    write_json_lines(root / "mt_bench" / "question.jsonl", questions)
    judgements = [
        {"question_id": i, "model": model, "turn": turn, "score": score + turn, "judge": ["gpt-4"]}
        for i in range(8)
        for model, score in ((STRONG, 6 + i % 3), (WEAK, 4 + i % 2), ("another", 1))
        for turn in (1, 2)
    ]
    write_json_lines(root / "mt_bench" / "judgements.jsonl", judgements[::-1])
    write_json_lines(root / "mt_bench" / "contaminated_prompts.jsonl", [{"eval_prompt": "second 5"}])
    return root
