"""Battles for tests and benchmarks of similarity-weighted Elo: random ones, degenerate ones, large ones.

All from seeds: the same call gives the same bits. Model names sort as their indices do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINNERS = ("model_a", "model_b", "tie")
RANDOM_SETS = 300
TOPICS = 20
_CHUNK = 8192  # rows per random stream, so that part of a matrix has the bits of the whole


@dataclass(frozen=True)
class BattleSet:
    """Battles, the prompts they were fought over, and what to ask of them.

    `tier` is one per model and any grouping at all; routers that make tiers of their own leave it unread.
    """

    name: str
    models: tuple[str, ...]
    tier: tuple[int, ...]
    model_a: NDArray[np.int64]
    model_b: NDArray[np.int64]
    winner: tuple[str, ...]
    row: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    queries: NDArray[np.float32]
    strong: str
    weak: str

    def __len__(self) -> int:
        return len(self.winner)

    def columns(self) -> dict[str, Any]:
        """The table that `fit` takes beside `embeddings`."""
        return {
            "model_a": [self.models[i] for i in self.model_a],
            "model_b": [self.models[i] for i in self.model_b],
            "winner": list(self.winner),
            "row": self.row,
        }

    def between_models(self) -> list[tuple[str, str, str]]:
        return [(self.models[a], self.models[b], w) for a, b, w in self._indices()]

    def between_tiers(self) -> list[tuple[int, int, str]]:
        return [(self.tier[a], self.tier[b], w) for a, b, w in self._indices()]

    def _indices(self) -> Iterator[tuple[int, int, str]]:
        return zip(self.model_a.tolist(), self.model_b.tolist(), self.winner, strict=True)

    def tier_of(self, model: str) -> int:
        return self.tier[self.models.index(model)]


def named_models(count: int) -> tuple[str, ...]:
    return tuple(f"model-{i:02d}" for i in range(count))


def random_set(seed: int) -> BattleSet:
    """Sizes, shapes, ties and repeats all at random; nearly all have finite ratings."""
    rng = np.random.default_rng([20_240_618, seed])
    models = int(rng.integers(2, 25))
    tiers = int(rng.integers(2, min(models, 10) + 1))
    battles = int(rng.integers(12 * tiers, 60 * tiers))
    prompts = int(rng.integers(1, battles + 1)) if rng.random() < 0.7 else battles
    dim = int(rng.choice([1, 2, 3, 7, 16, 31, 32, 33, 64, 100, 256, 384]))
    mean, length = rng.uniform(0.0, 2.0), rng.choice([1e-3, 1.0, 1.0, 50.0])
    embeddings = length * (mean + rng.standard_normal((prompts, dim)))
    # A query is near a prompt, as a rule, and once in a while anywhere.
    queries = embeddings[rng.integers(0, prompts, 3)] + length * rng.standard_normal((3, dim)) * [[0.0], [0.5], [3.0]]
    tier = np.concatenate([np.arange(tiers), rng.integers(0, tiers, models - tiers)])
    rng.shuffle(tier)
    model_a = rng.integers(0, models, battles)
    model_b = (model_a + rng.integers(1, models, battles)) % models
    strength = rng.normal(0, rng.choice([0.1, 0.7, 1.5]), tiers)[tier] + rng.normal(0, 0.3, models)
    won = rng.random(battles) < 1 / (1 + np.exp(strength[model_b] - strength[model_a]))
    tie = rng.random(battles) < rng.choice([0.0, 0.1, 0.35, 0.9])
    row = np.concatenate([np.arange(prompts), rng.integers(0, prompts, battles - prompts)])
    rng.shuffle(row)
    repeats = rng.integers(1, 6, battles) if rng.random() < 0.3 else np.ones(battles, np.int64)
    outcome = np.where(tie, 2, np.where(won, 0, 1))
    strong = rng.integers(models)
    weak = rng.choice(np.flatnonzero(tier != tier[strong]))  # inside one tier the answer is 0.5 whatever happens
    names = named_models(models)
    return BattleSet(
        name=f"random {seed}",
        models=names,
        tier=tuple(tier.tolist()),
        model_a=np.repeat(model_a, repeats),
        model_b=np.repeat(model_b, repeats),
        winner=tuple(WINNERS[k] for k in np.repeat(outcome, repeats)),
        row=np.repeat(row, repeats),
        embeddings=embeddings.astype(np.float32),
        queries=queries.astype(np.float32),
        strong=names[strong],
        weak=names[weak],
    )


def random_sets(count: int = RANDOM_SETS) -> Iterator[BattleSet]:
    return (random_set(seed) for seed in range(count))


def _small(battles: str, **changes: Any) -> BattleSet:
    """Build a set from words such as ``"0>1 1=2 2<0*5"``: models, who won, how often.

    Unless given, each model is its own tier, each battle has its own prompt, the first model is the strong one and
    the last the weak one.
    """
    a, b, winner, row = [], [], [], []
    for k, word in enumerate(battles.split()):
        pair, _, times = word.partition("*")
        sign = next(s for s in ">=<" if s in pair)
        for _ in range(int(times or 1)):
            one, other = pair.split(sign)
            a.append(int(one))
            b.append(int(other))
            winner.append({">": "model_a", "<": "model_b", "=": "tie"}[sign])
            row.append(k)
    models = changes.pop("models", max([*a, *b, 1]) + 1)
    prompts = changes.pop("prompts", len(battles.split()))
    rng = np.random.default_rng(len(battles))
    values = {
        "name": "",
        "models": named_models(models),
        "tier": tuple(range(models)),
        "model_a": np.array(a, np.int64),
        "model_b": np.array(b, np.int64),
        "winner": tuple(winner),
        "row": np.array(row, np.int64) % max(prompts, 1),
        "embeddings": (1.0 + rng.standard_normal((prompts, 8))).astype(np.float32),
        "queries": (1.0 + rng.standard_normal((2, 8))).astype(np.float32),
        "strong": named_models(models)[0],
        "weak": named_models(models)[-1],
        **changes,
    }
    return BattleSet(**values)


_ROUND = "0>1 1>2 2>0 0>2 1>0 2>1 0=1 1=2 0>2 0>1"  # all three reach each other
_ONES, _AXES = np.ones((1, 8), np.float32), np.eye(10, dtype=np.float32)


def _opposite(best: float) -> dict[str, NDArray[np.float32]]:
    """Ten prompts in a half-space and a query whose best similarity is `best`."""
    angles = np.linspace(0.0, 1.2, 10)
    turn = np.arccos(best)
    at = -turn
    return {
        "embeddings": np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32),
        "queries": np.array([[np.cos(at), np.sin(at)]], np.float32),
    }


_DEGENERATE: dict[str, Callable[[], BattleSet]] = {
    "no battles": lambda: _small(""),
    "one battle": lambda: _small("0>1"),
    "one tie": lambda: _small("0=1"),
    "one model, against itself": lambda: _small("0>0 0=0", models=1),
    "the strong model is the weak one": lambda: _small(_ROUND, weak="model-00"),
    "an undefeated model": lambda: _small("0>1*3 0>2*3 1>2 2>1 1=2"),
    "a winless model": lambda: _small("0>1 1>0 0>2*3 1>2*3"),
    "an undefeated bystander": lambda: _small("1>0*4 1>2*4 0>2 2>0 0=2"),
    "a disconnected graph": lambda: _small("0>1 1>0 2>3 3>2 2=3"),
    "joined by a single battle": lambda: _small("0>1 1>0 2>3 3>2 1>2"),
    "joined by a single tie": lambda: _small("0>1 1>0 2>3 3>2 1=2"),
    "two models above a third, never against each other": lambda: _small("0>1*5 2>1*5"),
    "the strong model has no battles": lambda: _small("1>2 2>1", models=3),
    "a tier without battles": lambda: _small(_ROUND, models=4, weak="model-02"),
    "battles only inside tiers": lambda: _small("0>1 0<1 2>3 2=3 2<3 2>3", tier=(0, 0, 1, 1)),
    "side a wins all inside a tier": lambda: _small("0>1*5 0>2 2>0 1=2 1>2", tier=(0, 0, 1)),
    "all inside one tier": lambda: _small(_ROUND, tier=(0, 0, 0)),
    "all ties": lambda: _small("0=1 1=2 0=2 0=1 1=2"),
    "only side a ever wins": lambda: _small("0>1 1>2 2>0 0>2 1>0"),
    "zero prompts": lambda: _small(_ROUND, embeddings=np.zeros((10, 8), np.float32)),
    "some zero prompts": lambda: _small(_ROUND, embeddings=np.diag([0, 1] * 4 + [0, 1]).astype(np.float32),
                                        queries=np.ones((1, 10), np.float32)),
    "a zero query": lambda: _small(_ROUND, queries=np.zeros((1, 8), np.float32)),
    "identical prompts": lambda: _small(_ROUND, embeddings=np.repeat(_ONES, 10, axis=0)),
    "one prompt": lambda: _small(_ROUND, prompts=1, embeddings=_ONES, queries=2 * _ONES),
    "one dimension": lambda: _small(_ROUND, embeddings=np.linspace(-2, 3, 10, dtype=np.float32)[:, None],
                                    queries=np.array([[0.5], [-4.0]], np.float32)),
    "an orthogonal query": lambda: _small(_ROUND, embeddings=np.eye(10, 11, dtype=np.float32),
                                          queries=np.eye(11, dtype=np.float32)[10:]),
    "every similarity negative": lambda: _small(_ROUND, **_opposite(-0.2)),
    "best similarity barely positive": lambda: _small(_ROUND, **_opposite(0.03)),
    "weights beyond float64": lambda: _small(_ROUND, **_opposite(1e-4)),
    "duplicates": lambda: _small("0>1*50 0<1*30 0=1*20 1>2*7 1<2*7"),
    "a count past 16 bits": lambda: _small("0>1*70000 1>0*3 0=1 1>2*65536 2>1*65535"),
    "a count past 8 bits": lambda: _small("0>1*255 1>0*256 0=1*257"),
    "one upset in ten thousand": lambda: _small("0>1*10000 1>0 1>2*10000 2>1"),
    "tiny vectors": lambda: _small(_ROUND, embeddings=np.float32(1e-18) * (0.3 + _AXES), queries=0.3 + _AXES[:1]),
    "long vectors": lambda: _small(_ROUND, embeddings=np.float32(1e18) * (0.3 + _AXES), queries=0.3 + _AXES[:1]),
}  # fmt: skip


def degenerate_sets() -> Iterator[BattleSet]:
    for name, build in _DEGENERATE.items():
        made = build()
        yield BattleSet(**{**vars(made), "name": name})


def embedding_chunks(rows: int, dim: int, *, seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Unit vectors as text has them: all lean one way, and each towards one of 20 topics.

    Two rows have a cosine of about 0.2, two of one topic 0.5; their topic is their index modulo 20.
    """
    topics = _topics(dim)
    for start in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - start)
        noise = np.random.default_rng([seed, dim, start]).standard_normal((_CHUNK, dim), np.float32)[:count]
        noise *= np.float32(0.7 / np.sqrt(dim))
        noise += topics[np.arange(start, start + count) % TOPICS]
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        yield noise


def _topics(dim: int, count: int = TOPICS) -> NDArray[np.float32]:
    """Of every seed the same, so that queries are drawn as the rows are."""
    vectors = np.random.default_rng([dim, count]).standard_normal((count + 1, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return (0.45 * vectors[:1] + 0.55 * vectors[1:]).astype(np.float32)


def embedding_matrix(rows: int, dim: int, *, seed: int = 0) -> NDArray[np.float32]:
    matrix = np.empty((rows, dim), np.float32)
    start = 0
    for chunk in embedding_chunks(rows, dim, seed=seed):
        matrix[start : start + len(chunk)] = chunk
        start += len(chunk)
    return matrix


def int8_matrix(rows: int, dim: int, *, seed: int = 0) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """`embedding_matrix` rounded to int8 and each row's scale, never all of it in float32."""
    codes, scale = np.empty((rows, dim), np.int8), np.empty(rows, np.float32)
    start = 0
    for chunk in embedding_chunks(rows, dim, seed=seed):
        part = slice(start, start + len(chunk))
        scale[part] = np.abs(chunk).max(axis=1) / 127
        codes[part] = np.rint(chunk / scale[part, None])
        start += len(chunk)
    return codes, scale


def large_set(
    battles: int = 65_000,
    *,
    dim: int,
    models: int = 64,
    tiers: int = 10,
    queries: int = 64,
    seed: int = 0,
    embeddings: NDArray[np.float32] | None = None,
) -> BattleSet:
    """Battles as an arena has them: each over a prompt of its own, a third of them ties, topics that suit some models.

    `embeddings` takes the place of the rows where a benchmark has them already or needs none.
    """
    rng = np.random.default_rng([seed, battles, models])
    if embeddings is None:
        embeddings = embedding_matrix(battles, dim, seed=seed)
    strength = np.sort(rng.normal(0, 0.8, models))[::-1]
    taste = rng.normal(0, 0.8, (models, TOPICS))
    a = rng.integers(0, models, battles)
    b = (a + rng.integers(1, models, battles)) % models
    topic = np.arange(battles) % TOPICS
    margin = strength[a] - strength[b] + taste[a, topic] - taste[b, topic]
    outcome = np.where(rng.random(battles) < 0.33, 2, np.where(rng.random(battles) < 1 / (1 + np.exp(-margin)), 0, 1))
    names = named_models(models)
    return BattleSet(
        name=f"{battles} battles, d = {dim}",
        models=names,
        tier=tuple((np.arange(models) * tiers // models).tolist()),
        model_a=a,
        model_b=b,
        winner=tuple(WINNERS[k] for k in outcome),
        row=np.arange(battles),
        embeddings=embeddings,
        queries=embedding_matrix(queries, dim, seed=seed + 1) if queries else np.empty((0, dim), np.float32),
        strong=names[1],
        weak=names[models // 2],
    )
