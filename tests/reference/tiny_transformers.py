"""Tiny models of transformers with random weights, and token ids for them; needs torch."""

from __future__ import annotations

from typing import Any

import numpy as np

VOCABULARY = 60
POSITIONS = 40
_SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def config_of(kind: str, *, vocab_size: int = VOCABULARY, positions: int = POSITIONS, **changes: Any) -> Any:
    """Configuration of a tiny "bert", "xlm-roberta" or "distilbert"."""
    import transformers

    if kind == "distilbert":
        sizes = {"vocab_size": vocab_size, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
        return transformers.DistilBertConfig(**sizes, max_position_embeddings=positions, **changes)
    sizes = {"vocab_size": vocab_size, **{name: changes.pop(name, size) for name, size in _SIZES.items()}}
    if kind == "xlm-roberta":  # counts its positions from the id of padding on
        return transformers.XLMRobertaConfig(
            **sizes, max_position_embeddings=positions + 2, pad_token_id=1, type_vocab_size=1, **changes
        )
    return transformers.BertConfig(**sizes, max_position_embeddings=positions, pad_token_id=0, **changes)


def random_model(kind: str, *, labels: int = 0, seed: int = 0, spread: float = 0.3, **config: Any) -> Any:
    """A model with random weights of some size, so that its outputs differ; a classifier if it has labels."""
    import torch
    import transformers

    torch.manual_seed(seed)
    made = transformers.AutoModelForSequenceClassification if labels else transformers.AutoModel
    model = made.from_config(config_of(kind, **config, **({"num_labels": labels} if labels else {})))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(spread * torch.randn_like(parameter))
    return model.eval()


def random_ids(lengths: list[int], seed: int = 0) -> list[list[int]]:
    """Sequences of ids that are never those of padding."""
    rng = np.random.default_rng(seed)
    return [rng.integers(5, VOCABULARY, length).tolist() for length in lengths]
