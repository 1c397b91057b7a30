"""Classifiers in torch by transformers, timed in a process and an environment of their own.

``FASTROUTE_TORCH_PYTHON`` names a Python that has torch and transformers; the one that runs the tests is taken where
it has them itself. This file is both sides: the benchmarks import it, the other Python runs it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

VARIABLE = "FASTROUTE_TORCH_PYTHON"
WITHOUT = f"{VARIABLE} does not name a Python that has torch and transformers, and this one has not"

_SURROUNDINGS = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
}


def python_with_torch() -> str | None:
    """Python that has torch and transformers."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    here = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
    return sys.executable if here else None


class TorchClassifier:
    """A folder of a sequence classifier on one thread of a process of its own, as a context manager."""

    def __init__(self, python: str, folder: Path) -> None:
        self._command = [python, str(Path(__file__).resolve()), str(folder)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **_SURROUNDINGS}
        )
        self.versions: dict[str, str] = self._answer()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def run(self, prompt: str) -> tuple[list[float], float]:
        """Logits of a prompt, and the seconds that its tokenization and the model took."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(prompt) + "\n")
        self._process.stdin.flush()
        logits, seconds = self._answer()
        return logits, seconds

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._command[0]} ended; what it said is above")
        return json.loads(line)


def _serve(folder: str, questions: IO[str], answers: IO[str]) -> None:
    """Answer as RouteLLM's BERTRouter runs its checkpoint, but in inference mode, which is faster."""
    import torch
    import transformers

    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if (Path(folder) / "model.safetensors").is_file():
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True)
    else:  # speed does not depend on what the weights are
        torch.manual_seed(0)
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
    model = model.float().eval()

    def say(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    say({"torch": torch.__version__, "transformers": transformers.__version__})
    for line in questions:
        prompt = json.loads(line)
        start = time.perf_counter()
        with torch.inference_mode():
            given = tokenizer(prompt, return_tensors="pt", padding=True, truncation=True, max_length=512)
            logits = model(**given).logits[0]
        seconds = time.perf_counter() - start
        say([logits.tolist(), seconds])


if __name__ == "__main__":
    kept = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer
    _serve(sys.argv[1], sys.stdin, kept)
