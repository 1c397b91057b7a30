"""Models and a judge behind an OpenAI-compatible API that does as a test says."""

from __future__ import annotations

import json
from typing import Any

from tests.endpoints import scripted_server
from tests.endpoints.scripted_server import Reply, Request

__all__ = ["JUDGE", "STRONG", "WEAK", "Reply", "ScriptedServer", "answer_of", "completion", "verdict"]

STRONG, WEAK, JUDGE = "large", "small", "judge"


def completion(
    text: object, *, finish: str = "stop", tokens: tuple[int, int] | None = (100, 20), **members: Any
) -> Reply:
    """A chat completion with this text."""
    answer: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    if tokens is not None:
        answer["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return Reply(json.dumps(answer | members).encode())


def verdict(winner: str, score_a: float, score_b: float) -> str:
    return json.dumps({"explanation": "Compared.", "score_a": score_a, "score_b": score_b, "winner": winner})


def answer_of(model: str, prompt: str) -> str:
    return f"[{model} on {prompt}]"


def honest_answer(request: Request) -> Reply:
    """Models answer with their name and the prompt; the judge finds the strong model better in both orders."""
    if not request.model.startswith(JUDGE):
        return completion(answer_of(request.model, request.text))
    strong_is_a = request.text.index(f"[{STRONG} on ") < request.text.index(f"[{WEAK} on ")
    return completion(verdict("A", 9, 4) if strong_is_a else verdict("B", 4, 9))


class ScriptedServer(scripted_server.ScriptedServer):
    def honest(self, request: Request) -> Reply:
        return honest_answer(request)
