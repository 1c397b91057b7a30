"""What the benchmarks share: prompts of known length, the baseline, and a table of ratios at the end of a run.

Each group holds what fastroute does and what it is measured against, in one run; each benchmark checks its
answer against the other's. Run ``pytest benchmarks``; with ``--benchmark-disable`` only the answers are checked.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastroute
from fastroute import builtin
from fastroute.artifact import ENCODER, read_artifact, safetensors

# ONNX Runtime sends telemetry unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

CHECKOUT = Path(__file__).resolve().parents[1]
SEED = 20240626

FASTROUTE = "fastroute"
BASELINE = "baseline"


class TokenizersAndNumpy:
    """The same artifact scored by the `tokenizers` wheel and NumPy: what one would write without fastroute.

    It gets the same shortcut as fastroute: one logit per token, worked out beforehand.
    """

    def __init__(self, router: fastroute.routers.MatrixFactorizationRouter) -> None:
        from tokenizers import Tokenizer

        artifact = read_artifact(builtin.find_encoder(router.encoder.name), format=ENCODER)
        self._tokenizer = Tokenizer.from_str(artifact.files["tokenizer.json"].decode())
        self._tokenizer.enable_truncation(router.encoder.max_tokens)
        table = safetensors.decode(artifact.files["encoder.safetensors"], source="encoder")
        strong, weak = (router.models.index(model) for model in (router.strong, router.weak))
        pair = router.classifier_ * (router.model_embedding_[strong] - router.model_embedding_[weak])
        self._bias = float(router.model_bias_[strong] - router.model_bias_[weak])
        vector = pair @ router.projection_
        self._token_logits = (table["embedding"].astype(np.float32) @ vector) * table["scale"]

    def score(self, prompt: str) -> float:
        return self._score(self._tokenizer.encode(prompt, add_special_tokens=False).ids)

    def score_batch(self, prompts: list[str]) -> np.ndarray:
        encodings = self._tokenizer.encode_batch(prompts, add_special_tokens=False)
        return np.array([self._score(encoding.ids) for encoding in encodings], dtype=np.float32)

    def _score(self, ids: list[int]) -> float:
        logit = self._bias + (float(self._token_logits[ids].mean()) if ids else 0.0)
        return 1.0 / (1.0 + float(np.exp(-logit)))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Measure on one thread unless a benchmark says otherwise, the baseline too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        before = fastroute.info().threads
        fastroute.set_num_threads(1)
        yield
        fastroute.set_num_threads(before)


@pytest.fixture(scope="session")
def router() -> Any:
    return fastroute.load("mf")


@pytest.fixture(scope="session")
def baseline(router: Any) -> TokenizersAndNumpy:
    return TokenizersAndNumpy(router)


@pytest.fixture(scope="session")
def prompts(router: Any) -> list[str]:
    """10,000 mixed prompts: real ones where the data pack is beside the checkout, else generated ones."""
    outcomes = CHECKOUT.parent / "shared" / "data" / "outcomes.parquet"
    if outcomes.is_file():
        import pyarrow.parquet as pq

        found = sorted(set(pq.read_table(outcomes, columns=["prompt"])["prompt"].to_pylist()))
    else:
        found = list(_generated(30_000))
    random.Random(SEED).shuffle(found)
    return found[:10_000]


@pytest.fixture(scope="session")
def prompt_of_length(router: Any, prompts: list[str]) -> Callable[[int], str]:
    """Give the prompt whose number of tokens is nearest to the one asked for."""
    lengths = [len(router.encoder.tokenize(prompt)) for prompt in prompts]

    def nearest(tokens: int) -> str:
        return prompts[min(range(len(prompts)), key=lambda i: abs(lengths[i] - tokens))]

    return nearest


def _generated(count: int) -> Iterator[str]:
    rng = random.Random(SEED)
    words = (CHECKOUT / "README.md").read_text(encoding="utf-8").split()
    for _ in range(count):
        yield " ".join(rng.choices(words, k=int(rng.lognormvariate(4, 0.8)) + 1))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print each group's ratio of medians, baseline to fastroute."""
    session = getattr(config, "_benchmarksession", None)
    groups: dict[str, dict[str, Any]] = {}
    for bench in session.benchmarks if session is not None else []:
        if bench.stats.data if hasattr(bench.stats, "data") else bench.stats.stats.data:
            groups.setdefault(bench.group, {})[bench.extra_info.get("role", "")] = bench
    rows = [(name, pair) for name, pair in groups.items() if {FASTROUTE, BASELINE} <= pair.keys()]
    if not rows:
        return
    terminalreporter.section(f"ratios ({fastroute.info()})")
    for name, pair in rows:
        ours, theirs = (pair[role].stats.median for role in (FASTROUTE, BASELINE))
        aim = pair[FASTROUTE].extra_info.get("aim", "")
        terminalreporter.write_line(
            f"{name:<44} {ours * 1e6:>12.2f} us {theirs * 1e6:>12.2f} us {theirs / ours:>8.2f}x  {aim}"
        )
