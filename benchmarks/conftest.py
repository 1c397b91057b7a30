"""What the benchmarks share: prompts of known length, the baseline, and tables by question at the end of a run.

Each group holds what fastroute does and what it is measured against, in one run; each benchmark checks its
answer against the other's. Run ``pytest benchmarks``; with ``--benchmark-disable`` only the answers are checked, with
``--results FILE`` what was measured is written as JSON, of which `benchmarks/readme_tables.py` makes the tables.
"""

from __future__ import annotations

import json
import os
import random
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import fastroute
from benchmarks import results
from fastroute import builtin
from fastroute.artifact import ENCODER, atomic_file, read_artifact, safetensors

# ONNX Runtime sends telemetry unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

CHECKOUT = Path(__file__).resolve().parents[1]
SEED = 20240626

FASTROUTE = results.FASTROUTE
BASELINE = results.BASELINE
FIGURES: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()
LOAD: pytest.StashKey[tuple[float, ...]] = pytest.StashKey()


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
    """Measure on one thread unless a benchmark says otherwise, the baseline and NumPy's BLAS too."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("TOKENIZERS_PARALLELISM", "false")
        before = fastroute.info().threads
        fastroute.set_num_threads(1)
        yield
        fastroute.set_num_threads(before)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Surroundings of another process in which modules are compiled once, as those of an installed package are."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("compiled"))}


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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--results", metavar="FILE", type=Path, help="write what the benchmarks measured to this file, as JSON"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.stash[LOAD] = os.getloadavg()
    target = config.getoption("--results", None)
    if target is None:
        return
    if config.getoption("--benchmark-disable", False):
        raise pytest.UsageError("--results: nothing is timed with --benchmark-disable")
    if target.suffix != ".json" or not target.parent.is_dir():
        raise pytest.UsageError(
            f"--results: found {target}, allowed: a name that ends in .json in a folder that exists"
        )


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep what was measured other than by `benchmark`: a name, the line to print, and values."""

    def keep(name: str, line: str, **values: Any) -> None:
        question = results.question_of(request.node.nodeid)
        request.config.stash[FIGURES].append({"question": question, "name": name, "line": line, "values": values})

    return keep


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print medians and ratios, baseline to fastroute, by question; write them where `--results` says."""
    session = getattr(config, "_benchmarksession", None)
    groups = results.groups_of(session.benchmarks if session is not None else [])
    figures = config.stash[FIGURES]
    for question in dict.fromkeys(each["question"] for each in (*groups, *figures)):
        terminalreporter.section(f"{question} ({fastroute.info().simd})")
        for line in _lines([each for each in groups if each["question"] == question]):
            terminalreporter.write_line(line)
        for each in figures:
            if each["question"] == question:
                terminalreporter.write_line(f"{each['name']}: {each['line']}")
    target = config.getoption("--results", None)
    if target is not None:
        failed = sum(len(terminalreporter.stats.get(outcome, ())) for outcome in ("failed", "error"))
        command = shlex.join(["pytest", *(str(arg) for arg in config.invocation_params.args)])
        made = results.document(groups, figures, command=command, load=config.stash[LOAD], failed=failed)
        with atomic_file(target) as stream:
            stream.write((json.dumps(made, indent=1, ensure_ascii=False) + "\n").encode())
        terminalreporter.write_line(f"results: {target}")


def _lines(groups: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each pair of fastroute and its baseline, and for whatever else was timed."""
    for group in groups:
        of_role = {row["role"]: row for row in group["rows"] if row["role"] is not None}
        others = [row for row in group["rows"] if row["role"] is None or group["ratio"] is None]
        if group["ratio"] is not None:
            ours, theirs = (results.seconds(of_role[role]["median"]) for role in (FASTROUTE, BASELINE))
            aim = of_role[FASTROUTE]["info"].get("aim") or ""
            yield f"{group['group']:<84} {ours:>10} {theirs:>10} {results.times(group['ratio']):>7}  {aim}"
        for row in others:
            name = f"{group['group']}: {row['test'].rpartition('::')[2]}"
            told = ", ".join(f"{key} {_short(value)}" for key, value in row["info"].items() if value is not None)
            yield f"{name:<84} {results.seconds(row['median']):>10}  {told}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
