"""Routers on a benchmark, beside random, the oracle, always-strong and always-weak."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.evaluation.benchmarks import Benchmark, same_model
from fastroute.evaluation.metrics import (
    KEEP,
    METRIC_NAMES,
    ROUTER_DOLLARS,
    Curve,
    Outcomes,
    checked_unit,
    curve_of,
    measure,
    oracle_scores,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fastroute.evaluation.bootstrap import Resampled, Scored
    from fastroute.routers import Router
    from fastroute.training.progress import Progress

__all__ = [
    "Band",
    "Difference",
    "DomainResult",
    "Estimate",
    "Evaluation",
    "FixedResult",
    "RouterResult",
    "evaluate",
    "marks_of",
]

ORACLE, RANDOM = "oracle", "random"
ALWAYS_STRONG, ALWAYS_WEAK = "always strong", "always weak"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the ends of its 95% interval; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Band:
    """95% interval of the quality at shares 0, 0.01, .., 1; (101,) each."""

    share: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RouterResult:
    """One router on a benchmark.

    Attributes
    ----------
    name
        What it was asked for as.
    kind, artifact, threshold
        Of the router; empty and None for the oracle.
    strong, weak
        The pair that its scores are for.
    marks
        What it has seen of the benchmark: "gold" for its labels, "file" for one of its files; empty for nothing.
    metrics
        By name, as in `fastroute.evaluation.metrics.Metrics`.
    curve, band
        Every cut, and the interval of quality.
    """

    name: str
    kind: str
    artifact: str
    threshold: float | None
    strong: str
    weak: str
    marks: tuple[str, ...]
    metrics: Mapping[str, Estimate]
    curve: Curve
    band: Band


@dataclass(frozen=True, slots=True)
class FixedResult:
    """One model for everything, without a router: quality and dollars per request."""

    name: str
    model: str
    quality: Estimate
    dollars: Estimate


@dataclass(frozen=True, slots=True)
class Difference:
    """APGR of `first` less that of `second`, on the same resamples."""

    first: str
    second: str
    apgr: Estimate


@dataclass(frozen=True, slots=True)
class DomainResult:
    """One domain: its questions, both models' quality, APGR and quality at its own threshold by router."""

    domain: str
    questions: int
    strong_quality: Estimate
    weak_quality: Estimate
    metrics: Mapping[str, Mapping[str, Estimate]]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Routers on a benchmark.

    Attributes
    ----------
    benchmark, strong, weak, notes
        As in `Benchmark`.
    questions, dropped
        Measured, and left out as contaminated.
    resamples, seed, keep
        Settings.
    fixed
        Always-strong and always-weak.
    routers
        Those asked for, then random and the oracle where they weren't.
    differences
        Of the first router asked for and each of the others.
    domains
        Per-domain results, where asked for.
    """

    benchmark: str
    strong: str
    weak: str
    questions: int
    dropped: int
    resamples: int
    seed: int
    keep: float
    fixed: tuple[FixedResult, ...]
    routers: tuple[RouterResult, ...]
    differences: tuple[Difference, ...]
    domains: tuple[DomainResult, ...]
    notes: tuple[str, ...]


def evaluate(
    benchmark: Benchmark,
    routers: Mapping[str, Router],
    *,
    manifests: Mapping[str, Mapping[str, Any]] | None = None,
    keep: float = KEEP,
    router_dollars: float = ROUTER_DOLLARS,
    resamples: int = 2000,
    seed: int = 0,
    domains: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure routers, with 95% bootstrap intervals over questions; needs ``pip install 'fastroute[eval]'``.

    Parameters
    ----------
    benchmark
        From `read_benchmark` or `read_outcomes`.
    routers
        By the name that results are to bear. Random (with `seed`) and the oracle are added.
    manifests
        Manifests of routers by the same names: what they say of their training marks the results.
    keep
        The part of the strong model's quality that the headline keeps.
    router_dollars
        Price of one decision.
    resamples, seed
        Of the bootstrap.
    domains
        Measure each domain on its own as well.
    progress
        Called with (resamples done, all).

    Raises
    ------
    InvalidArgumentError
        No router, or a setting that is not allowed.
    DataError
        A router's scores are not one finite number per prompt.
    EndpointError
        A prompt got a router's fallback score, for want of an answer.
    MissingDependencyError
        numba is not installed.
    """
    from fastroute.evaluation import bootstrap
    from fastroute.routers.random import RandomRouter

    if not routers:
        raise InvalidArgumentError("routers: found none, allowed: one or more")
    checked_unit("keep", keep)
    _checked_price("router_dollars", router_dollars)
    everyone = dict(routers)
    everyone.setdefault(RANDOM, RandomRouter(benchmark.strong, benchmark.weak, seed=seed))
    entrants = {
        name: bootstrap.Scored(_scores(name, router, benchmark.prompts), router.threshold, router_dollars)
        for name, router in everyone.items()
    }
    entrants.setdefault(ORACLE, bootstrap.Scored(oracle_scores(benchmark.outcomes), None, 0.0))
    drawn = bootstrap.resample(
        benchmark.outcomes, list(entrants.values()), resamples=resamples, seed=seed, keep=keep, progress=progress
    )
    results = tuple(
        _result(
            name,
            everyone.get(name),
            scored,
            marks=marks_of((manifests or {}).get(name, {}), benchmark),
            metrics=_estimates(scored, benchmark.outcomes, drawn, column, keep),
            curve=curve_of(scored.scores, benchmark.outcomes, router_dollars=scored.router_dollars),
            band=_band(drawn, column),
        )
        for column, (name, scored) in enumerate(entrants.items())
    )
    strangers = [
        f"{result.name} scores for {result.strong} against {result.weak}: it doesn't know both models"
        for result in results
        if result.kind and not (same_model(result.strong, benchmark.strong) and same_model(result.weak, benchmark.weak))
    ]
    return Evaluation(
        benchmark.name,
        benchmark.strong,
        benchmark.weak,
        len(benchmark.prompts),
        benchmark.dropped,
        resamples,
        seed,
        keep,
        _fixed(benchmark, drawn),
        results,
        _differences(list(entrants), list(routers), results, drawn),
        _domains(benchmark, entrants, resamples, seed, keep) if domains else (),
        (*benchmark.notes, *strangers),
    )


def marks_of(manifest: Mapping[str, Any], benchmark: Benchmark) -> tuple[str, ...]:
    """Read in a router's manifest what it has seen of a benchmark.

    "gold" where ``training.gold`` (a name, or a list or an object of names, or of objects with the key
    "benchmark") names it; "file" where ``training.data`` lists the SHA-256 of one of its files.
    """
    training = manifest.get("training")
    if not isinstance(training, dict):
        return ()
    marks = []
    if benchmark.name in {_plain_name(name) for name in _gold_names(training.get("gold"))}:
        marks.append("gold")
    data = training.get("data")
    listed = {entry.get("sha256") for entry in data if isinstance(entry, dict)} if isinstance(data, list) else set()
    if not listed.isdisjoint(benchmark.files.values()):
        marks.append("file")
    return tuple(marks)


def _gold_names(gold: Any) -> list[str]:
    entries = [gold] if isinstance(gold, str) else gold if isinstance(gold, (list, dict)) else []
    names = [entry.get("benchmark") if isinstance(entry, dict) else entry for entry in entries]
    return [name for name in names if isinstance(name, str)]


def _plain_name(name: str) -> str:
    return name.casefold().replace("_", "-")


def _checked_price(name: str, value: float) -> None:
    if not (np.isfinite(value) and value >= 0):
        raise InvalidArgumentError(f"{name}: found {value}, allowed: a finite price, 0 or more")


def _scores(name: str, router: Router, prompts: Sequence[str]) -> NDArray[np.float64]:
    from fastroute.routers.answered import answered_scores

    scores = np.asarray(answered_scores(router, prompts, f"router {name!r}"), np.float64)
    if scores.shape != (len(prompts),) or not np.isfinite(scores).all():
        raise DataError(f"router {name!r}: found scores of shape {scores.shape}, needed: {len(prompts)} finite numbers")
    return scores


def _result(
    name: str,
    router: Router | None,
    scored: Scored,
    *,
    marks: tuple[str, ...],
    metrics: Mapping[str, Estimate],
    curve: Curve,
    band: Band,
) -> RouterResult:
    kind, artifact, strong, weak = (router.kind, router.artifact, router.strong, router.weak) if router else ("",) * 4
    return RouterResult(name, kind, artifact, scored.threshold, strong, weak, marks, metrics, curve, band)


def _estimates(scored: Scored, outcomes: Outcomes, drawn: Resampled, column: int, keep: float) -> dict[str, Estimate]:
    measured = measure(
        scored.scores, outcomes, threshold=scored.threshold, keep=keep, router_dollars=scored.router_dollars
    )
    return {key: _estimate(getattr(measured, key), drawn.metric(key)[:, column]) for key in METRIC_NAMES}


def _band(drawn: Resampled, column: int) -> Band:
    low, high = np.quantile(drawn.curves[:, column], [0.025, 0.975], axis=0)
    return Band(np.linspace(0, 1, len(low)), low, high)


def _estimate(value: float | None, draws: NDArray[np.float64]) -> Estimate:
    from fastroute.evaluation.bootstrap import interval

    ends = interval(draws) if value is not None else None
    return Estimate(value, *(ends or (None, None)))


def _fixed(benchmark: Benchmark, drawn: Resampled) -> tuple[FixedResult, ...]:
    outcomes = benchmark.outcomes
    weak, strong = (
        FixedResult(
            name,
            model,
            _estimate(float(quality.mean()), drawn.qualities[:, column]),
            _estimate(float(dollars.mean()), drawn.dollars[:, column]),
        )
        for column, (name, model, quality, dollars) in enumerate(
            (
                (ALWAYS_WEAK, benchmark.weak, outcomes.weak, outcomes.weak_dollars),
                (ALWAYS_STRONG, benchmark.strong, outcomes.strong, outcomes.strong_dollars),
            )
        )
    )
    return strong, weak


def _differences(
    entrants: list[str], asked: list[str], results: tuple[RouterResult, ...], drawn: Resampled
) -> tuple[Difference, ...]:
    """Compare the first router with the others that were asked for, and with random."""
    apgr = drawn.metric("apgr")
    values = [result.metrics["apgr"].value for result in results]
    first = entrants.index(asked[0])
    compared = [entrants.index(name) for name in dict.fromkeys((*asked[1:], RANDOM)) if name != asked[0]]
    differences = []
    for second in compared:
        one, other = values[first], values[second]
        value = None if one is None or other is None else one - other
        estimate = _estimate(value, apgr[:, first] - apgr[:, second])
        differences.append(Difference(entrants[first], entrants[second], estimate))
    return tuple(differences)


def _domains(
    benchmark: Benchmark, entrants: Mapping[str, Scored], resamples: int, seed: int, keep: float
) -> tuple[DomainResult, ...]:
    from fastroute.evaluation import bootstrap

    labels = np.array(benchmark.domains)
    results = []
    for domain in sorted(set(benchmark.domains)):
        rows = np.flatnonzero(labels == domain)
        outcomes = benchmark.outcomes.take(rows)
        scored = {name: replace(entrant, scores=entrant.scores[rows]) for name, entrant in entrants.items()}
        drawn = bootstrap.resample(outcomes, list(scored.values()), resamples=resamples, seed=seed, keep=keep)
        metrics = {
            name: _estimates(entrant, outcomes, drawn, column, keep)
            for column, (name, entrant) in enumerate(scored.items())
        }
        strong = _estimate(float(outcomes.strong.mean()), drawn.qualities[:, 1])
        weak = _estimate(float(outcomes.weak.mean()), drawn.qualities[:, 0])
        results.append(DomainResult(domain, len(rows), strong, weak, metrics))
    return tuple(results)
