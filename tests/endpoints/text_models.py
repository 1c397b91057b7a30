"""Embedding models and classifiers behind an OpenAI-compatible API: an answer depends on the text alone."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from tests.endpoints import scripted_server
from tests.endpoints.scripted_server import Reply, Request

DIM = 8
SMALL = "embed-small"


def embedding(text: str, dim: int = DIM) -> list[float]:
    digest = hashlib.sha512(text.encode()).digest()
    return [byte / 128 - 1 for byte in digest[:dim]]


def embeddings(request: Request, *, dim: int | None = None, **members: Any) -> Reply:
    """What is asked for, the last one first: order is said by `index` alone."""
    wanted = dim or request.body.get("dimensions", DIM)
    data = [
        {"object": "embedding", "index": index, "embedding": embedding(text, wanted)}
        for index, text in enumerate(request.body["input"])
    ]
    return Reply(json.dumps({"object": "list", "data": data[::-1], **members}).encode())


def probabilities(text: str) -> dict[str, float]:
    """Of the labels 1 to 5, and of something else."""
    weights = [1 + byte for byte in hashlib.sha256(text.encode()).digest()[:5]]
    return {str(label + 1): 0.9 * weight / sum(weights) for label, weight in enumerate(weights)} | {"The": 0.1}


def expected(text: str) -> float:
    """Score of a text that the model reads in full, template and all."""
    found = probabilities(text)
    return (found["1"] + found["2"] + found["3"]) / sum(found[label] for label in "12345")


def as_chat(found: dict[str, float]) -> Reply:
    top = [{"token": token, "logprob": math.log(p), "bytes": list(token.encode())} for token, p in found.items()]
    return chat(top)


def chat(top: Any) -> Reply:
    content = [{"token": "x", "logprob": -0.1, "top_logprobs": top}]
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "logprobs": {"content": content}}
    return Reply(json.dumps({"choices": [choice]}).encode())


def as_completion(found: dict[str, float]) -> Reply:
    top = [{token: math.log(p) for token, p in found.items()}]
    logprobs = {"tokens": ["x"], "token_logprobs": [-0.1], "top_logprobs": top, "text_offset": [0]}
    return Reply(json.dumps({"choices": [{"index": 0, "text": "x", "logprobs": logprobs}]}).encode())


class TextModels(scripted_server.ScriptedServer):
    def honest(self, request: Request) -> Reply:
        if request.path == "/v1/embeddings":
            return embeddings(request)
        if request.path == "/v1/chat/completions":
            return as_chat(probabilities(request.text))
        if request.path == "/v1/completions":
            return as_completion(probabilities(request.body["prompt"]))
        return Reply(b"no such path", status=404)

    @property
    def inputs(self) -> list[list[str]]:
        """Texts of each request for embeddings."""
        return [request.body["input"] for request in self.requests]
