"""Encoders and routers small enough for a fixture, written with the package's own writers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastroute.artifact import ENCODER, ROUTER, safetensors, write_artifact
from fastroute.encoders import StaticEncoder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [chr(ord("a") + i) for i in range(26)]
CONTINUATIONS = [f"##{letter}" for letter in "aeinorstld"]
WORDS = ["the", "is", "of", "and", "prove", "that", "what", "why", "sum", "sqrt", "2", "1", ".", ",", "?", "!", "中"]
TOKENS = [*SPECIAL, *LETTERS, *CONTINUATIONS, *WORDS, "##ing", "##ve"]
assert len(TOKENS) == 60

MODELS = ("large", "medium", "small", "tiny")


def tokenizer_json(**normalizer: object) -> dict[str, Any]:
    """A `tokenizer.json` with `TOKENS`; arguments replace options of its normalizer."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": token, **flags} for i, token in enumerate(SPECIAL)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
            **normalizer,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: i for i, token in enumerate(TOKENS)},
        },
    }


def write_encoder(
    path: Path, *, dim: int = 16, max_tokens: int = 32, seed: int = 0, tokenizer: dict[str, Any] | None = None
) -> str:
    """Write a static encoder with a random table for a tokenizer; its SHA-256."""
    tokenizer = tokenizer or tokenizer_json()
    size = len(tokenizer["model"]["vocab"])
    rng = np.random.default_rng(seed)
    table = {
        "embedding": rng.integers(-127, 128, (size, dim)).astype(np.int8),
        "scale": rng.uniform(0.001, 0.01, size).astype(np.float32),
    }
    return write_artifact(
        path,
        format=ENCODER,
        manifest={"kind": "static", "name": f"tiny-{dim}", "max_tokens": max_tokens},
        files={
            "encoder.safetensors": safetensors.encode(table),
            "tokenizer.json": json.dumps(tokenizer).encode(),
        },
    )


def random_weights(
    dim: int, *, rank: int = 8, models: int = len(MODELS), spread: float = 1.0, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Weights whose logits on an embedding of length 1 are about as large as `spread`."""
    rng = np.random.default_rng(seed)
    normal = {
        "model_embedding": rng.standard_normal((models, rank)),
        "projection": rng.standard_normal((rank, dim)),
        "classifier": rng.standard_normal(rank) * spread / np.sqrt(rank),
        "model_bias": rng.standard_normal(models) * 0.1,
    }
    return {name: values.astype(np.float32) for name, values in normal.items()}


def write_router(
    path: Path,
    weights: Mapping[str, NDArray[np.float32]],
    *,
    encoder: StaticEncoder | None = None,
    threshold: float = 0.5,
    **manifest: Any,
) -> str:
    """Write a matrix-factorization router, with its encoder inside if it has one; its SHA-256."""
    count = len(weights["model_bias"])
    names = list(MODELS) if count == len(MODELS) else [f"model-{i}" for i in range(count)]
    files = {"weights.safetensors": safetensors.encode(weights)}
    reference = None
    if encoder is not None:
        bundle = encoder.files()
        files.update(bundle)
        reference = {"name": encoder.name, "sha256": encoder.sha256, "bundled": bool(bundle)}
    values = {
        "kind": "mf",
        "name": "tiny",
        "models": names,
        "strong": names[0],
        "weak": names[-1],
        "encoder": reference,
        "threshold": threshold,
        **manifest,
    }
    return write_artifact(path, format=ROUTER, manifest=values, files=files)


EXPERT_DOMAINS = ("chat", "code", "maths")


def random_experts(
    dim: int = 16, *, domains: int = 3, gold: int = 0, spread: float = 0.02, seed: int = 0
) -> dict[str, NDArray[np.float32]]:
    """Weights of domain experts by name; gains are about as large as ten times `spread`."""
    rng = np.random.default_rng(seed)
    features, experts = 29, domains + gold
    shapes = {
        "surface_mean": (features,),
        "surface_scale": (features,),
        "classifier_bias": (domains,),
        "classifier_surface": (domains, features),
        "classifier_embedding": (domains, dim),
        "expert_bias": (experts,),
        "expert_mean": (experts, features),
        "expert_scale": (experts, features),
        "expert_surface": (experts, features),
        "expert_embedding": (experts, dim),
        "gate_bias": (gold,),
        "gate_surface": (gold, features),
        "gate_embedding": (gold, dim),
        "gate_ramp": (gold, 2),
        "density_scale": (gold, features),
        "density_ramp": (gold, 2),
    }
    made = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    for name in ("surface_scale", "expert_scale", "density_scale"):
        made[name] = np.abs(made[name])
    for name in ("expert_bias", "expert_surface", "expert_embedding"):
        made[name] *= spread
    made["gate_ramp"][:] = (-2.0, 2.0)
    made["density_ramp"][:] = (400.0, 20.0)
    return {name: values.astype(np.float32) for name, values in made.items()}


def write_experts(
    path: Path,
    weights: Mapping[str, NDArray[Any]],
    *,
    encoder: StaticEncoder,
    gold: tuple[str, ...] = (),
    **manifest: Any,
) -> str:
    """Write an experts router with its encoder inside; its SHA-256."""
    bundle = encoder.files()
    tensors = {**weights, **({"gold_keys": np.arange(3, dtype=np.uint64)} if gold else {})}
    values = {
        "kind": "experts",
        "name": "tiny-experts",
        "strong": "large",
        "weak": "small",
        "strong_models": ["large", "medium"],
        "weak_models": ["small", "tiny"],
        "domains": list(EXPERT_DOMAINS),
        "gold": list(gold),
        "surface_version": 1,
        "encoder": {"name": encoder.name, "sha256": encoder.sha256, "bundled": bool(bundle)},
        "threshold": 0.5,
        **manifest,
    }
    files = {**bundle, "weights.safetensors": safetensors.encode(tensors)}
    return write_artifact(path, format=ROUTER, manifest=values, files=files)
