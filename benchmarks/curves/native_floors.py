"""The parts of a score without Python around them: a small program of the engine's own sources, built and run."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.curves.measuring import CHECKOUT
from fastroute import builtin
from fastroute.artifact import ENCODER, read_artifact
from fastroute.encoders.static import TOKENIZER_FILE
from fastroute.encoders.wordpiece import WordPieceVocabulary, parse_tokenizer

if TYPE_CHECKING:
    from typing_extensions import Self


class UnavailableError(Exception):
    """The program can't be built here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of the parts of a score of one prompt, its data in the cache.

    Attributes
    ----------
    tokens
        That count.
    tokenizer
        From UTF-8 to ids.
    rows, numbers
        Summing a row of floats per token, and one float per token.
    features
        The surface features.
    """

    tokens: int
    tokenizer: float
    rows: float
    numbers: float
    features: float


class NativeFloors:
    """The program, in a folder that goes with it; a context manager.

    Raises
    ------
    UnavailableError
        CMake, Ninja or a compiler is missing.
    """

    def __init__(self) -> None:
        for tool in ("cmake", "ninja"):
            if shutil.which(tool) is None:
                raise UnavailableError(f"no {tool} here")
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        generate = ["cmake", "-G", "Ninja", "-S", CHECKOUT, "-B", folder, "-DFASTROUTE_FLOORS=ON"]
        _run([*generate, "-DCMAKE_BUILD_TYPE=Release"])
        _run(["cmake", "--build", folder, "--parallel", "1", "--target", "native_floors"])
        self._program = folder / "benchmarks" / "native_floors" / "native_floors"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def time(self, encoder: str, prompts: Sequence[str], *, most: int, width: int) -> list[Parts]:
        """Time prompts.

        Parameters
        ----------
        encoder
            A built-in static encoder, whose tokenizer is used.
        most
            Tokens that count.
        width
            Floats in a row of the table.
        """
        path = builtin.find_encoder(encoder)
        if path is None:
            raise UnavailableError(f"no built-in encoder {encoder}")
        raw = read_artifact(path, format=ENCODER).files[TOKENIZER_FILE]
        folder = Path(self._folder.name)
        vocabulary = folder / "vocabulary"
        vocabulary.write_text(written_vocabulary(parse_tokenizer(raw, source=encoder)), encoding="utf-8")
        files = []
        for i, prompt in enumerate(prompts):
            files.append(folder / f"prompt-{i}")
            files[-1].write_bytes(prompt.encode())
        printed = _run([self._program, vocabulary, str(most), str(width), *files])
        return [parts_of(line) for line in printed.splitlines()]


def written_vocabulary(vocabulary: WordPieceVocabulary) -> str:
    """The file that native_floors.cpp reads: options, special tokens, and a token a line."""
    model, normalizer = (vocabulary.tokenizer[name] for name in ("model", "normalizer"))
    strip = normalizer["strip_accents"]
    special = vocabulary.tokenizer["added_tokens"]
    options = [
        model["vocab"][model["unk_token"]],
        model["max_input_chars_per_word"],
        *(
            int(flag)
            for flag in (
                normalizer["clean_text"],
                normalizer["handle_chinese_chars"],
                normalizer["lowercase"] if strip is None else strip,
                normalizer["lowercase"],
            )
        ),
        len(special),
        model["continuing_subword_prefix"],
    ]
    lines = [" ".join(map(str, options)), *(f"{token['id']} {token['content']}" for token in special)]
    text = "\n".join([*lines, *vocabulary.tokens]) + "\n"
    if len(text.splitlines()) < len(lines) + len(vocabulary.tokens) or any("\n" in t for t in vocabulary.tokens):
        raise UnavailableError(f"a token of {json.dumps(vocabulary.source)} holds a line break")
    return text


def parts_of(line: str) -> Parts:
    """Read a line that native_floors printed."""
    tokens, *nanoseconds = line.split()
    tokenizer, rows, numbers, features = (float(each) / 1e9 for each in nanoseconds)
    return Parts(int(tokens), tokenizer, rows, numbers, features)


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
