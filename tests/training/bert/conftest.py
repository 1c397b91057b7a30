"""A tiny checkpoint to fine-tune, and data in which what a prompt says decides who is right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

WORDS = ("the", "sum", "of", "prove", "that", "why", "what", "is", "hello", "there")
MODELS = ("large", "medium", "small")


@pytest.fixture(scope="session")
def checkpoint_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights and a tokenizer of words, as transformers saves them."""
    pytest.importorskip("torch", reason="fine-tuning needs torch")
    transformers = pytest.importorskip("transformers", reason="fine-tuning needs transformers")
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    vocabulary = {token: number for number, token in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def outcome_rows(count: int = 240, seed: int = 0) -> dict[str, Any]:
    """Scores of three models: where a prompt asks for a proof only the large one is right."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {"prompt": [], "model": [], "score": [], "benchmark": []}
    for number in range(count):
        hard = bool(rng.integers(2))
        words = [*rng.choice(WORDS[:3], rng.integers(2, 12)).tolist(), WORDS[3] if hard else WORDS[8]]
        prompt = " ".join([*rng.permutation(words).tolist(), str(number)])
        for model in MODELS:
            rows["prompt"].append(prompt)
            rows["model"].append(model)
            rows["score"].append(float(model == "large" or not hard))
            rows["benchmark"].append("even" if number % 2 else "odd")
    return rows


def battle_rows(count: int = 240, seed: int = 0) -> dict[str, Any]:
    """Battles of the large and the small model: the large one wins where a prompt asks for a proof, else they tie."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[Any]] = {"prompt": [], "model_a": [], "model_b": [], "winner": []}
    for number in range(count):
        hard, swapped = (bool(value) for value in rng.integers(2, size=2))
        words = [*rng.choice(WORDS[:3], rng.integers(2, 12)).tolist(), WORDS[3] if hard else WORDS[8]]
        rows["prompt"].append(" ".join([*rng.permutation(words).tolist(), str(number)]))
        rows["model_a"].append("small" if swapped else "large")
        rows["model_b"].append("large" if swapped else "small")
        rows["winner"].append("tie" if not hard else "model_b" if swapped else "model_a")
    return rows
