"""RouteLLM's own `sw_ranking` and `mf` routers, in a process and an environment of their own.

``FASTROUTE_ROUTELLM_PYTHON`` names a Python that has it; ``pip install routellm==0.2.0 torch==2.13.0`` makes one.
Replaced are the things that need a network, the download of battles and the call for an embedding, and weights come
from a local folder; everything between them is RouteLLM's. This file is both sides: the tests import it, the other
Python runs it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from tests.reference.battle_sets import BattleSet
    from typing_extensions import Self

Pair = tuple[str, str]
VARIABLE = "FASTROUTE_ROUTELLM_PYTHON"
WITHOUT = f"{VARIABLE} does not name a Python that has routellm"

_SURROUNDINGS = {
    "OPENAI_API_KEY": "unused",  # asked for when RouteLLM is imported
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


class RouteLLMError(RuntimeError):
    """RouteLLM raised what the message says."""


@dataclass(frozen=True)
class Loaded:
    """What RouteLLM made of the battles."""

    rating: dict[str, float]
    tier: dict[str, int]


@dataclass(frozen=True)
class Answer:
    """A win rate, and the seconds `calculate_strong_win_rate` took."""

    score: float
    seconds: float


class RouteLLM:
    """A RouteLLM to put questions to, as a context manager."""

    def __init__(self, python: str) -> None:
        self._python = python

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self._folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
            self._log = opened.enter_context((self._folder / "stderr").open("w+"))
            self._process = opened.enter_context(
                subprocess.Popen(
                    [self._python, "-I", str(Path(__file__).resolve())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._log,
                    text=True,
                    env={**os.environ, **_SURROUNDINGS},
                )
            )
            self.versions: dict[str, str] = self._ask({"do": "versions"})
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()  # the process ends with its questions

    def load(self, battles: BattleSet, *, tiers: int = 10) -> Loaded:
        """Hand over the battles; `battles.tier` is not: RouteLLM makes its own."""
        path = self._folder / "battles.npz"
        columns = battles.columns()
        np.savez(
            path,
            embeddings=battles.embeddings,
            queries=battles.queries,
            **{name: np.asarray(columns[name]) for name in ("model_a", "model_b", "winner", "row")},
        )
        question = {"do": "load", "path": str(path), "tiers": tiers, "strong": battles.strong, "weak": battles.weak}
        try:
            return Loaded(**self._ask(question))
        finally:
            path.unlink()

    def load_folders(
        self, battles: list[Path], embeddings: list[Path], queries: NDArray[np.float32], pair: Pair
    ) -> dict[str, int]:
        """Let it read data sets that are on disk, folders of `save_to_disk` or Parquet files; returns its tiers."""
        np.save(self._folder / "queries.npy", queries)
        folders = {"battles": [str(path) for path in battles], "embeddings": [str(path) for path in embeddings]}
        files = {**folders, "queries": str(self._folder / "queries.npy")}
        tiers: dict[str, int] = self._ask({"do": "load_folders", **files, "strong": pair[0], "weak": pair[1]})
        return tiers

    def save_to_disk(self, parquet: Path, folder: Path, *, split: str = "") -> None:
        """Write a Parquet file as `datasets` does, as a data set or as the one split of several."""
        self._ask({"do": "save_to_disk", "parquet": str(parquet), "folder": str(folder), "split": split})

    def score(self, query: int) -> Answer:
        """Win rate of the strong model for the query of this index."""
        return Answer(**self._ask({"do": "score", "query": query}))

    def load_mf(self, weights: Mapping[str, NDArray[np.float32]], queries: NDArray[np.float32], pair: Pair) -> None:
        """Hand over the tensors of RouteLLM's `MFModel` by its names, and embeddings to score."""
        from fastroute.artifact import safetensors  # the other Python has no fastroute

        folder = self._folder / "mf"
        folder.mkdir(exist_ok=True)
        (folder / "model.safetensors").write_bytes(safetensors.encode(dict(weights)))
        np.save(folder / "queries.npy", queries)
        rank, dim = weights["text_proj.0.weight"].shape
        sizes = {"hidden_size": rank, "num_models": len(weights["P.weight"]), "text_dim": dim}
        self._ask({"do": "load_mf", "folder": str(folder), "strong": pair[0], "weak": pair[1], "sizes": sizes})

    def score_mf(self, count: int) -> list[float]:
        """Win rates of the strong model for the first queries, one call of `calculate_strong_win_rate` for each."""
        scores: list[float] = self._ask({"do": "score_mf", "count": count})
        return scores

    def apply_mf(self, count: int) -> list[float]:
        """Win rates for so many prompts, as `Controller.batch_calculate_win_rate` works them out for `mf`."""
        scores: list[float] = self._ask({"do": "apply_mf", "count": count})
        return scores

    def mf_rows(self) -> dict[str, int]:
        """Rows of the models in the `P.weight` of RouteLLM's `MFModel`."""
        rows: dict[str, int] = self._ask({"do": "mf_rows"})
        return rows

    def tiers_of(self, ratings: dict[str, float], count: int) -> dict[str, int]:
        """RouteLLM's `compute_tiers`; ratings from the highest down."""
        tiers: dict[str, int] = self._ask({"do": "tiers", "ratings": ratings, "count": count})
        return tiers

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"{self._python} ended: {self._log.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RouteLLMError(answer["error"])
        return answer["value"]


class _Answerer:
    """The other side: answers questions with what RouteLLM says."""

    def __init__(self) -> None:
        from routellm.routers import routers
        from routellm.routers.matrix_factorization import model

        self._routers, self._mf_model = routers, model
        routers.OPENAI_CLIENT = SimpleNamespace(embeddings=SimpleNamespace(create=self._embedding))
        routers.load_dataset = self._dataset

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        return {name: version(name) for name in ("routellm", "scikit-learn", "numpy", "pandas", "torch")}

    def load(self, path: str, tiers: int, strong: str, weak: str) -> dict[str, Any]:
        with np.load(path) as arrays:
            self._arrays = dict(arrays)
        self._router = self._routers.SWRankingRouter(["battles"], ["embeddings"], strong, weak, num_tiers=tiers)
        del self._arrays["embeddings"]
        return {"rating": self._rating, "tier": self._router.model2tier}

    def load_folders(
        self, battles: list[str], embeddings: list[str], queries: str, strong: str, weak: str
    ) -> dict[str, int]:
        self._arrays = {"queries": np.load(queries)}
        self._routers.load_dataset = self._on_disk
        try:
            self._router = self._routers.SWRankingRouter(battles, embeddings, strong, weak)
        finally:
            self._routers.load_dataset = self._dataset
        tiers: dict[str, int] = self._router.model2tier
        return tiers

    def save_to_disk(self, parquet: str, folder: str, split: str) -> None:
        from datasets import DatasetDict

        found = self._on_disk(parquet)
        (DatasetDict({split: found}) if split else found).save_to_disk(folder, num_shards=None if split else 2)

    def _on_disk(self, name: str, split: str = "train") -> Any:
        import pyarrow.parquet as pq
        from datasets import Dataset, DatasetDict, load_from_disk
        from datasets.table import InMemoryTable

        if Path(name).is_file():
            return Dataset(InMemoryTable(pq.read_table(name)))
        found = load_from_disk(name)
        return found[split] if isinstance(found, DatasetDict) else found

    def score(self, query: int) -> dict[str, float]:
        self._query = self._arrays["queries"][query].astype(np.float64).tolist()  # a list, as the API returns
        start = time.perf_counter()
        score = self._router.calculate_strong_win_rate("")
        return {"score": float(score), "seconds": time.perf_counter() - start}

    def load_mf(self, folder: str, strong: str, weak: str, sizes: dict[str, int]) -> None:
        queries = np.load(Path(folder) / "queries.npy").astype(np.float64).tolist()
        embeddings = iter(itertools.cycle(queries))
        client = SimpleNamespace(create=lambda **_: SimpleNamespace(data=[SimpleNamespace(embedding=next(embeddings))]))
        self._mf_model.OPENAI_CLIENT = SimpleNamespace(embeddings=client)
        self._mf_queries = len(queries)
        self._mf = self._routers.MatrixFactorizationRouter(folder, strong, weak, **sizes)

    def apply_mf(self, count: int) -> list[float]:
        import pandas as pd

        scores = pd.Series([""] * count).apply(self._mf.calculate_strong_win_rate)
        for _ in range(-count % self._mf_queries):
            self._mf_model.OPENAI_CLIENT.embeddings.create()
        return [float(score) for score in scores]

    def score_mf(self, count: int) -> list[float]:
        scores = [float(self._mf.calculate_strong_win_rate("")) for _ in range(count)]
        for _ in range(-count % self._mf_queries):  # the next call begins at the first query again
            self._mf_model.OPENAI_CLIENT.embeddings.create()
        return scores

    def mf_rows(self) -> dict[str, int]:
        rows: dict[str, int] = self._mf_model.MODEL_IDS
        return rows

    def tiers(self, ratings: dict[str, float], count: int) -> dict[str, int]:
        import pandas as pd

        tiers: dict[str, int] = self._routers.compute_tiers(pd.Series(ratings), num_tiers=count)
        return tiers

    def _embedding(self, **_: Any) -> Any:
        return SimpleNamespace(data=[SimpleNamespace(embedding=self._query)])

    def _dataset(self, name: str, **_: Any) -> Any:
        from datasets import Dataset

        a = self._arrays
        if name == "embeddings":
            # float64, as its lists of Python floats become
            embeddings = a["embeddings"].astype(np.float64)[a["row"]]
            return SimpleNamespace(to_dict=lambda: {"embeddings": embeddings})
        prompts = [json.dumps([f"the prompt of row {row}"]) for row in a["row"]]
        flags = {f"winner_{side}": (a["winner"] == side).astype(int) for side in ("model_a", "model_b")}
        return Dataset.from_dict({"prompt": prompts, "model_a": a["model_a"], "model_b": a["model_b"], **flags})

    @property
    def _rating(self) -> dict[str, float]:
        """Global ratings, which the router makes and does not keep."""
        import pandas as pd

        a = self._arrays
        frame = pd.DataFrame({name: a[name] for name in ("model_a", "model_b", "winner")})
        return {name: float(value) for name, value in self._routers.compute_elo_mle_with_tie(frame).items()}

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"value": getattr(self, question.pop("do"))(**question)}
        except Exception as error:  # noqa: BLE001  whatever it is, it is RouteLLM's answer
            return {"error": f"{type(error).__name__}: {error}"}


def _serve(questions: IO[str], answers: IO[str]) -> None:
    answerer = _Answerer()
    for line in questions:
        answers.write(json.dumps(answerer.answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    kept = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    _serve(sys.stdin, kept)
