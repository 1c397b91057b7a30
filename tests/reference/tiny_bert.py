"""Tiny encoders, made here: random weights, a vocabulary of a few words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "prompt", "##s", "prove", "!", "é", "中"]
HIDDEN, LAYERS, HEADS, INNER, POSITIONS = 8, 2, 2, 16, 6

Tensors = dict[str, np.ndarray]


def bert_tensors(seed: int = 0, vocab: int = len(TOKENS)) -> Tensors:
    """Float32 weights of a two-layer BERT."""
    generator = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocab, HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        dense = {f"{at}.attention.self.{part}": (HIDDEN, HIDDEN) for part in ("query", "key", "value")}
        dense[f"{at}.attention.output.dense"] = (HIDDEN, HIDDEN)
        dense[f"{at}.intermediate.dense"] = (INNER, HIDDEN)
        dense[f"{at}.output.dense"] = (HIDDEN, INNER)
        for name, shape in dense.items():
            shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
        norms += [f"{at}.attention.output.LayerNorm", f"{at}.output.LayerNorm"]
    tensors = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    for name in norms:
        tensors[f"{name}.weight"] = (1 + 0.3 * generator.standard_normal(HIDDEN)).astype(np.float32)
        tensors[f"{name}.bias"] = (0.3 * generator.standard_normal(HIDDEN)).astype(np.float32)
    return tensors


def write_safetensors(path: Path, tensors: dict[str, np.ndarray], dtype: str = "F32") -> None:
    """Write tensors by hand: header length, JSON header, data."""
    header, chunks, at = {}, [], 0
    for name, tensor in tensors.items():
        if dtype == "BF16":
            raw = (np.ascontiguousarray(tensor, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
        else:
            raw = tensor.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [at, at + len(raw)]}
        chunks.append(raw)
        at += len(raw)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))


def bert_config(**changes: object) -> dict[str, object]:
    """A `config.json` for `bert_tensors`."""
    return {
        "model_type": "bert",
        "vocab_size": len(TOKENS),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
    } | changes


def tokenizer_json(**changes: object) -> dict[str, object]:
    """A `tokenizer.json` as encoders ship them: truncation, padding and a template switched on."""
    return {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 4}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
        },
        "added_tokens": [
            {
                "id": index, "content": TOKENS[index], "special": True, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False,
            }
            for index in range(5)
        ],
        "normalizer": {
            "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
            "strip_accents": False, "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {token: index for index, token in enumerate(TOKENS)},
        },
    } | changes  # fmt: skip
