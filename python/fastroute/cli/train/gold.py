"""Gold labels on the command line: ``--gold NAME=FILE``, or a folder of one of RouteLLM's benchmarks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastroute.training.experts import GoldLabels

__all__ = ["read_gold"]

# Scales of benchmarks whose qualities are no shares.
_SCALES = {"mt-bench": (1.0, 10.0)}


def read_gold(given: Sequence[str], *, strong: str, weak: str, size: int | None, seed: int) -> tuple[GoldLabels, ...]:
    """Read gold labels.

    Parameters
    ----------
    given
        ``NAME=PATH``, or a path whose stem is the name. A folder is RouteLLM's evaluation files, and then the name
        is that of a benchmark; a file is what ``fastroute calibrate --labels`` reads.
    size, seed
        Draw this many prompts of each; all where None.

    Raises
    ------
    InvalidArgumentError
        A name twice, labels of another pair, or fewer prompts than are to be drawn.
    DataError
        What is there can't be read.
    """
    found = [_read_one(each, strong=strong, weak=weak, size=size, seed=seed) for each in given]
    names = [labels.name for labels in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidArgumentError(f"--gold: found {twice!r} twice, allowed: different names (NAME=FILE)")
    return tuple(found)


def _read_one(given: str, *, strong: str, weak: str, size: int | None, seed: int) -> GoldLabels:
    from fastroute.calibration import read_labels
    from fastroute.evaluation import read_benchmark
    from fastroute.evaluation.benchmarks import same_model
    from fastroute.tables import text_key
    from fastroute.training.experts import GoldLabels

    name, separator, path = given.partition("=")
    if not separator:
        name, path = Path(given).stem, given
    if not name or not path:
        raise InvalidArgumentError(f"--gold: found {given!r}, allowed: NAME=FILE or FILE")
    files: Mapping[str, str]
    if Path(path).is_dir():
        benchmark = read_benchmark(name, path)
        for role, found, wanted in (("strong", benchmark.strong, strong), ("weak", benchmark.weak, weak)):
            if not same_model(found, wanted):
                raise InvalidArgumentError(
                    f"--gold: {name} has labels of {found!r}, allowed: of the {role} model, {wanted!r}"
                )
        low, high = _SCALES.get(name, (0.0, 1.0))
        prompts = benchmark.prompts
        sides = [(side - low) / (high - low) for side in (benchmark.outcomes.strong, benchmark.outcomes.weak)]
        files = benchmark.files
    else:
        labelled = read_labels(path, strong=strong, weak=weak)
        prompts, sides = labelled.prompts, [labelled.strong, labelled.weak]
        files = {Path(path).name: hashlib.sha256(Path(path).read_bytes()).hexdigest()}
    # A prompt that comes twice is one prompt: the first of them.
    first = np.array(sorted({prompt: i for i, prompt in reversed(list(enumerate(prompts)))}.values()), np.int64)
    if size is not None:
        if size > len(first):
            raise InvalidArgumentError(
                f"--gold-size: found {size}, allowed: at most the {len(first)} prompts of {name}"
            )
        first = np.sort(np.random.default_rng(seed).choice(first, size, replace=False))
    texts = tuple(prompts[i] for i in first)
    return GoldLabels(
        name, tuple(map(text_key, texts)), texts, sides[0][first], sides[1][first], {"files": dict(files), "seed": seed}
    )
