"""How good a router is, on questions that both models answered; with intervals.

Modules
-------
metrics
    Definitions, exact: PGR, APGR, CPT, savings, what it costs to keep 95% of the strong model's quality.
bootstrap
    95% intervals over questions; paired differences of routers.
benchmarks, outcomes
    RouteLLM's MMLU, GSM8K and MT-Bench files; any table of prompt, model and score.
gold
    Leaves out what a router's gold labels were.
evaluate
    Routers on a benchmark, beside random, the oracle, always-strong and always-weak.
paper
    RouteLLM's published figures.
plots
    Quality against the share of strong calls, and against dollars.
"""

from __future__ import annotations

from fastroute.evaluation.benchmarks import BENCHMARKS, Benchmark, read_benchmark
from fastroute.evaluation.evaluate import (
    Difference,
    DomainResult,
    Estimate,
    Evaluation,
    FixedResult,
    RouterResult,
    evaluate,
)
from fastroute.evaluation.gold import without_gold_prompts
from fastroute.evaluation.metrics import Curve, Metrics, Outcomes, curve_of, measure
from fastroute.evaluation.outcomes import read_outcomes

__all__ = [
    "BENCHMARKS",
    "Benchmark",
    "Curve",
    "Difference",
    "DomainResult",
    "Estimate",
    "Evaluation",
    "FixedResult",
    "Metrics",
    "Outcomes",
    "RouterResult",
    "curve_of",
    "evaluate",
    "measure",
    "read_benchmark",
    "read_outcomes",
    "without_gold_prompts",
]
