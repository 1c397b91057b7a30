"""Files as RouteLLM publishes them, small or of its sizes: checkpoints of mf, data sets of battles and embeddings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastroute.artifact import safetensors

PAIR = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1")
README = "---\nlicense: apache-2.0\ntags: [router]\n---\n# A router\n"
PADDING = " is the number of this prompt"


def random_weights(models: int = 64, rank: int = 128, dim: int = 1536, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {
        "P.weight": rng.standard_normal((models, rank), np.float32),
        "text_proj.0.weight": rng.standard_normal((rank, dim), np.float32) / np.float32(dim**0.5),
        "classifier.0.weight": rng.standard_normal((1, rank), np.float32),
    }


def config_of(weights: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """What `PyTorchModelHubMixin` writes to `config.json`."""
    (models, rank), dim = weights["P.weight"].shape, weights["text_proj.0.weight"].shape[1]
    return {"dim": rank, "num_classes": 1, "num_models": models, "text_dim": dim, "use_proj": True}


def write_checkpoint(folder: Path, weights: Mapping[str, NDArray[Any]], readme: str = README) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config_of(weights)))
    (folder / "model.safetensors").write_bytes(safetensors.encode(dict(weights)))
    (folder / "README.md").write_text(readme)
    return folder


def expected_scores(
    weights: Mapping[str, NDArray[Any]], strong: int, weak: int, queries: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Win rates by RouteLLM's formulas, in float64."""
    p, w, c = (np.asarray(weights[name], np.float64) for name in weights)
    p = p / np.maximum(np.linalg.norm(p, axis=1, keepdims=True), 1e-12)
    logits = (queries.astype(np.float64) @ w.T)[:, None, :] * p[[strong, weak]] @ c[0]
    return 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))


@dataclass(frozen=True)
class Arena:
    """Rows of a data set of battles by column, and the embeddings of those whose prompt is not short."""

    columns: dict[str, list[Any]]
    embeddings: NDArray[np.float32]

    def part(self, first: int, last: int) -> Arena:
        """Some rows, with their embeddings."""
        long = np.array([len(json.loads(text)[0].strip()) >= 16 for text in self.columns["prompt"]])
        begin, end = int(long[:first].sum()), int(long[:last].sum())
        return Arena({name: rows[first:last] for name, rows in self.columns.items()}, self.embeddings[begin:end])


def arena(battles: int, dim: int, *, models: int = 24, topics: int = 4, seed: int = 0) -> Arena:
    """Battles on topics that suit some models; some prompts come twice, some are too short, some have two turns."""
    rng = np.random.default_rng(seed)
    names = [PAIR[0], PAIR[1], *(f"model-{k:02d}" for k in range(models - 2))]
    strength, taste = rng.normal(0, 0.6, models), rng.normal(0, 1.5, (models, topics))
    a = rng.integers(0, models, battles)
    b = (a + rng.integers(1, models, battles)) % models
    prompt = rng.permutation(np.arange(battles) * 9 // 10)
    topic, short = prompt % topics, prompt % 29 == 5
    margin = strength[a] - strength[b] + taste[a, topic] - taste[b, topic]
    won = rng.random(battles) < 1 / (1 + np.exp(-margin))
    winner = np.where(rng.random(battles) < 0.3, "tie", np.where(won, "model_a", "model_b"))
    turns = [[f"{k}" if low else f" {k}{PADDING} ", *["and?"] * (k % 2)] for k, low in zip(prompt, short, strict=True)]
    columns = {
        "id": list(range(battles)),
        "model_a": [names[k] for k in a],
        "model_b": [names[k] for k in b],
        "prompt": [json.dumps(each) for each in turns],
        "response_a": ["[]"] * battles,
        **{f"winner_{side}": (winner == side).astype(int).tolist() for side in ("model_a", "model_b", "tie")},
    }
    vectors = about(rng.permutation(np.arange(battles))[: battles * 9 // 10 + 1] % topics, dim, topics, seed)
    return Arena(columns, vectors[prompt[~short]])


def about(topic: NDArray[np.int64], dim: int, topics: int, seed: int) -> NDArray[np.float32]:
    """Unit vectors around those of their topics."""
    centres = np.random.default_rng([seed, 1]).standard_normal((topics, dim))
    noise = 0.5 * np.random.default_rng([seed, 2, len(topic)]).standard_normal((len(topic), dim))
    rows = centres[topic] + noise
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def write_arena(folder: Path, data: Arena, *, kind: type = np.float64) -> tuple[Path, Path]:
    """A Parquet file of battles and one of embeddings."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    battles, embeddings = folder / "battles.parquet", folder / "embeddings.parquet"
    pq.write_table(pa.table(data.columns), battles)
    rows = pa.array(list(data.embeddings.astype(kind)))
    pq.write_table(pa.table({"embeddings": rows}), embeddings, row_group_size=100)
    return battles, embeddings
