"""Folders with tiny exported models, and what they give by `bert_reference`."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from tests.reference import bert_reference
from tests.reference.bert_graph import TINY, Shape, Tensors, build, random_tensors
from tests.reference.tiny_artifacts import TOKENS, tokenizer_json

CLS, SEP = TOKENS.index("[CLS]"), TOKENS.index("[SEP]")
MAX_TOKENS = 24
WORDS = ["the", "is", "prove", "that", "sum", "sqrt", "2", "x", "why", "\u4e2d", "?", "ing"]


def model_tokenizer(**changes: Any) -> dict[str, Any]:
    """A `tokenizer.json` as models ship it: [CLS] and [SEP] added, and padding and truncation that must not count."""
    template = {"type": "BertProcessing", "sep": ["[SEP]", SEP], "cls": ["[CLS]", CLS]}
    padding = {
        "strategy": {"Fixed": 128},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    truncation = {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    return tokenizer_json() | {"post_processor": template, "padding": padding, "truncation": truncation} | changes


def write_model(
    folder: Path,
    tensors: Tensors | None = None,
    *,
    shape: Shape = TINY,
    tokenizer: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    place: str = "model.onnx",
    **graph: Any,
) -> Path:
    """A folder with model.onnx, tokenizer.json and config.json."""
    model = build(random_tensors(shape) if tensors is None else tensors, shape, **graph)
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / place)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer or model_tokenizer()), encoding="utf-8")
    settings = {"model_type": "bert", "max_position_embeddings": MAX_TOKENS, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(settings if config is None else config), encoding="utf-8")
    return folder


@functools.cache
def _words() -> Any:
    """The core's own WordPiece, which shares nothing with the `tokenizers` package."""
    from fastroute.encoders.wordpiece import parse_tokenizer

    return parse_tokenizer(json.dumps(tokenizer_json()).encode(), source="tiny").native()


def ids_of(prompt: str, max_tokens: int = MAX_TOKENS) -> list[int]:
    """Ids that a model reads."""
    return [CLS, *_words().encode(prompt, None)[: max_tokens - 2], SEP]


class Reference:
    """A BERT in float64 on prompts; what it has computed once it keeps."""

    def __init__(self, tensors: Tensors, shape: Shape = TINY) -> None:
        self._tensors, self._shape = tensors, shape
        self._states: dict[tuple[int, ...], np.ndarray] = {}

    def states(self, prompt: str, max_tokens: int = MAX_TOKENS) -> np.ndarray:
        ids = tuple(ids_of(prompt, max_tokens))
        if ids not in self._states:
            shape = self._shape
            self._states[ids] = bert_reference.hidden_states(
                self._tensors, list(ids), layers=shape.layers, heads=shape.heads, eps=shape.eps, activation="gelu"
            )
        return self._states[ids]

    def logits(self, prompts: Iterable[str], max_tokens: int = MAX_TOKENS) -> np.ndarray:
        weight, bias = (self._tensors[f"classifier.{name}"].astype(np.float64) for name in ("weight", "bias"))
        return np.array([weight @ self.states(prompt, max_tokens)[0] + bias for prompt in prompts])

    def embeddings(self, prompts: Sequence[str], *, pooling: str, normalise: bool) -> np.ndarray:
        states = [self.states(prompt) for prompt in prompts]
        rows = np.array([each[0] if pooling == "cls" else each.mean(axis=0) for each in states])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True) if normalise else rows


def random_prompts(count: int, seed: int = 0, longest: int = 30) -> list[str]:
    """Prompts of 0 to `longest` words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(rng.integers(0, longest + 1)))) for _ in range(count)]
