"""BERT's forward pass in plain loops and float64, straight from the paper's equations (arXiv 1810.04805)."""

from __future__ import annotations

import math

import numpy as np


def hidden_states(
    tensors: dict[str, np.ndarray], ids: list[int], *, layers: int, heads: int, eps: float, activation: str
) -> np.ndarray:
    """Last hidden states (length, hidden) of one sequence."""
    weights = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    states = []
    for position, token in enumerate(ids):
        total = (
            weights["embeddings.word_embeddings.weight"][token]
            + weights["embeddings.position_embeddings.weight"][position]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        states.append(_norm(total, weights, "embeddings.LayerNorm", eps))
    for layer in range(layers):
        states = _layer(states, weights, f"encoder.layer.{layer}", heads, eps, activation)
    return np.array(states)


def _layer(states, weights, at, heads, eps, activation):
    query, key, value = (
        [_dense(state, weights, f"{at}.attention.self.{part}") for state in states]
        for part in ("query", "key", "value")
    )
    width = len(states[0]) // heads
    result = []
    for i, state in enumerate(states):
        mixed = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = [float(query[i][part] @ key[j][part]) / math.sqrt(width) for j in range(len(states))]
            shares = [math.exp(score) for score in scores]
            mixed.append(sum(share * value[j][part] for j, share in enumerate(shares)) / sum(shares))
        attended = _dense(np.concatenate(mixed), weights, f"{at}.attention.output.dense")
        middle = _norm(state + attended, weights, f"{at}.attention.output.LayerNorm", eps)
        inner = np.array([_act(x, activation) for x in _dense(middle, weights, f"{at}.intermediate.dense")])
        outer = _dense(inner, weights, f"{at}.output.dense")
        result.append(_norm(middle + outer, weights, f"{at}.output.LayerNorm", eps))
    return result


def _dense(x, weights, name):
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def _norm(x, weights, name, eps):
    variance = sum((value - x.mean()) ** 2 for value in x) / len(x)
    return (x - x.mean()) / math.sqrt(variance + eps) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _act(x: float, name: str) -> float:
    if name == "gelu":
        return x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
    if name == "relu":
        return max(x, 0.0)
    return 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
