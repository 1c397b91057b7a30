"""Questions whose answers a router was trained on are no questions any more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.tables import prompt_hashes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastroute.evaluation.benchmarks import Benchmark
    from fastroute.routers import Router

__all__ = ["without_gold_prompts"]


def without_gold_prompts(benchmark: Benchmark, routers: Mapping[str, Router]) -> Benchmark:
    """Leave out the questions that are gold prompts of any of the routers, so that all are measured on the same rest.

    Raises
    ------
    DataError
        Nothing is left.
    """
    hashes = np.array([prompt_hashes([prompt])[0] for prompt in benchmark.prompts], np.uint64)
    kept = np.ones(len(hashes), np.bool_)
    notes = []
    for name, router in routers.items():
        theirs = np.isin(hashes, getattr(router, "gold_keys", np.zeros(0, np.uint64)))
        if theirs.any():
            notes.append(f"{int(theirs.sum()):,} gold prompts of {name} left out")
            kept &= ~theirs
    if kept.all():
        return benchmark
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise DataError(f"{benchmark.name}: every question is a gold prompt; nothing is left to measure")
    return replace(
        benchmark,
        prompts=tuple(benchmark.prompts[row] for row in rows),
        outcomes=benchmark.outcomes.take(rows),
        domains=tuple(benchmark.domains[row] for row in rows),
        notes=(*benchmark.notes, *notes),
    )
