"""The what-if report: a scored log against prices, a budget, a calibration set, and its own parts."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.batch.endpoints import STANDARD
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.policies.arguments import closed_unit, positive_integer
from fastroute.reporting.counting import LogCounts, OnError, OpenLog
from fastroute.reporting.cuts import Cuts, cut_of
from fastroute.reporting.drift import Drift, drift_between, ks_between, psi_edges
from fastroute.reporting.groups import GroupCounts
from fastroute.reporting.histogram import FINE_BITS, GROUP_BITS, ScoreHistogram, coarse
from fastroute.reporting.prices import Prices, PriceTable, checked_amount
from fastroute.reporting.results import Calibration, Group, Grouping, Report, Shape, Target
from fastroute.reporting.rows import Columns
from fastroute.reporting.sources import format_of, opened_source, source_name
from fastroute.reporting.words import money, percent

if TYPE_CHECKING:
    from fastroute.batch.summary import Progress
    from fastroute.reporting.results import Routed

__all__ = ["MAX_GROUPS", "report"]

MAX_GROUPS = 100
_TOP_VALUES, _TOP_DAYS = 20, 100
_SHAPE_BINS = 60
_MAX_RESAMPLES = 100_000
_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Settings:
    columns: Columns
    top: int
    resamples: int
    seed: int


def report(
    source: str | os.PathLike[str],
    *,
    score_column: str = "score",
    model_column: str = "model",
    prices: Prices | PriceTable | None = None,
    strong: str | None = None,
    weak: str | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    strong_fraction: float | None = None,
    against: str | os.PathLike[str] | None = None,
    by: str | None = None,
    by_day: str | None = None,
    top: int | None = None,
    resamples: int = 2000,
    seed: int = 0,
    format: str | None = None,  # noqa: A002
    on_error: OnError = "fail",
    progress: Progress | None = None,
) -> Report:
    """Tell what a scored log would have cost at any threshold, and how far its scores have drifted.

    Scores are read as float32, as fastroute writes them, and counted in 2^20 bins: memory does not grow with the log.
    What is counted at a threshold is exact, and thresholds that are found are edges of these bins. With `by` or
    `by_day` the log is read twice; standard input is then copied to a temporary file.

    Parameters
    ----------
    source
        A scored log: .jsonl, .ndjson, .csv, .tsv or .parquet; "-" is standard input.
    score_column, model_column
        The scores, numbers from 0 to 1; and the models that they chose, read where the log has them.
    prices
        Dollars per 1,000 answers: $8.87 and $0.0862, GPT-4's and Mixtral-8x7B's in RouteLLM's paper, by default.
    strong, weak
        Which models of a price table the two are; by default the entries "strong" and "weak" where it has them, else
        the models of the log.
    threshold
        Report what this one does.
    budget
        Dollars for the whole log: find the threshold with most strong answers that keeps it.
    strong_fraction
        Find the threshold whose share of strong answers is nearest to this one.
    against
        Another scored log, the calibration set, in the format that its name tells or else that of `source`.
    by
        Column of values that the rows are grouped by.
    by_day
        Column of timestamps; rows are grouped by day. Not with `by`.
    top
        Groups shown on their own, those with most rows, 1 to 100; the others are one. 20, or 100 days, by default.
    resamples, seed
        Of the intervals of PSI.
    format : {"jsonl", "csv", "tsv", "parquet"}, optional
        Of `source`, where its name does not tell.
    on_error : {"fail", "skip"}
        Whether a row that can't be used ends the run or is left out.
    progress
        Is told how far each reading has got.

    Raises
    ------
    InvalidArgumentError, InvalidTypeError
        An argument that can't serve.
    DataError
        A file that can't be read, lacks a column, has no row, or with ``on_error="fail"`` a row that can't be used;
        a price that is missing.
    MissingDependencyError
        A Parquet file without pyarrow.

    Notes
    -----
    Thread-safe. Rows count as independent draws in every interval; logs with many prompts of one conversation or user
    have wider ones.
    """
    path = os.fspath(source)
    against_path = None if against is None else os.fspath(against)
    asked = _asked(threshold, budget, strong_fraction)
    settings = _settings(Columns(score_column, model_column), by, by_day, top=top, resamples=resamples, seed=seed)
    if on_error not in ("fail", "skip"):
        raise InvalidArgumentError(f"on_error: found {on_error!r}, allowed: 'fail' or 'skip'")
    if against_path == path == STANDARD:
        raise InvalidArgumentError("against: standard input can't be the log and the calibration set")
    kind = format_of(path, format)
    against_kind = None if against_path is None else _format_of_against(against_path, kind)
    with ExitStack() as stack:
        other, skipped = None, []
        if against_path is not None and against_kind is not None:
            stream, size = stack.enter_context(opened_source(against_path, seekable=against_kind == "parquet"))
            read = OpenLog(stream, against_kind, source_name(against_path), size, on_error, progress)
            other = _Against(read.name, LogCounts(read, Columns(score_column)).histogram, read.skipped)
            skipped = read.first_skipped
        twice = settings.columns.group is not None
        stream, size = stack.enter_context(opened_source(path, seekable=twice or kind == "parquet"))
        log = OpenLog(stream, kind, source_name(path), size, on_error, progress)
        counts = LogCounts(log, settings.columns, threshold)
        named = (*log.first_skipped, *skipped)[:10]
        paid = _prices(prices, strong, weak, counts.routed)
        cuts = Cuts(counts.histogram, paid)
        targets = _targets(asked, counts, cuts, paid)
        found = _without_groups(log, counts, cuts, targets=targets, prices=paid, other=other, settings=settings)
        found = replace(found, first_skipped=named)
        if not twice:
            return found
        return replace(found, grouping=_grouping(log, found, counts, other, settings))


@dataclass(frozen=True, slots=True)
class _Against:
    """The calibration set, counted."""

    name: str
    histogram: ScoreHistogram
    skipped: int

    def drift(self, counts: Any, settings: _Settings) -> Drift:
        """Drift of a histogram of any grid from this one."""
        own = self.histogram.counts
        bits = FINE_BITS if len(counts) == len(own) else GROUP_BITS
        tenths = coarse(own, GROUP_BITS)
        return drift_between(
            coarse(counts, GROUP_BITS),
            tenths,
            psi_edges(tenths),
            ks=ks_between(counts, coarse(own, bits)),
            resamples=settings.resamples,
            seed=settings.seed,
        )


def _asked(threshold: float | None, budget: float | None, strong_fraction: float | None) -> dict[str, float]:
    asked: dict[str, float] = {}
    if threshold is not None:
        asked["threshold"] = closed_unit("threshold", threshold)
    if budget is not None:
        asked["budget"] = checked_amount("budget", budget)
    if strong_fraction is not None:
        asked["strong_fraction"] = closed_unit("strong_fraction", strong_fraction)
    return asked


def _settings(
    columns: Columns, by: str | None, by_day: str | None, *, top: int | None, resamples: int, seed: int
) -> _Settings:
    if by is not None and by_day is not None:
        raise InvalidArgumentError("by_day: not with by; the rows are grouped by one column")
    columns = replace(columns, group=by if by_day is None else by_day, by_day=by_day is not None)
    if top is None:
        top = _TOP_VALUES if by_day is None else _TOP_DAYS
    return _Settings(
        columns,
        positive_integer("top", top, MAX_GROUPS),
        positive_integer("resamples", resamples, _MAX_RESAMPLES),
        positive_integer("seed + 1", seed + 1, _MAX_SEED) - 1,
    )


def _format_of_against(path: str, kind: str) -> str:
    try:
        return format_of(path, None)
    except InvalidArgumentError:
        return format_of(path, kind)


def _prices(prices: Prices | PriceTable | None, strong: str | None, weak: str | None, routed: Routed | None) -> Prices:
    if isinstance(prices, Prices):
        return prices
    if prices is None:
        from fastroute.evaluation.metrics import STRONG_DOLLARS, WEAK_DOLLARS

        return Prices(STRONG_DOLLARS * 1000, WEAK_DOLLARS * 1000)
    for role in ("strong", "weak"):
        given = strong if role == "strong" else weak
        name = given or (role if role in prices.models else getattr(routed, role, None))
        if name is None:
            known = ", ".join(map(repr, list(prices.models)[:20]))
            raise InvalidArgumentError(
                f"{role}: which price is the {role} model's can't be told from the log; name one of {known}"
            )
        strong, weak = (name, weak) if role == "strong" else (strong, name)
    assert strong is not None
    assert weak is not None
    return prices.pair(strong, weak)


def _targets(asked: dict[str, float], counts: LogCounts, cuts: Cuts, prices: Prices) -> tuple[Target, ...]:
    rows = counts.histogram.rows
    targets: list[Target] = []
    if "threshold" in asked:
        cut = cut_of(asked["threshold"], counts.strong_rows, rows, prices)
        targets.append(Target("threshold", asked["threshold"], cut))
    if "budget" in asked:
        within = cuts.within(asked["budget"])
        cheapest = cuts.cheapest()
        reason = "" if within else f"the cheapest cut costs {money(cheapest.dollars)}, {percent(cheapest.share)} strong"
        targets.append(Target("budget", asked["budget"], within, reason))
    if "strong_fraction" in asked:
        targets.append(Target("strong_fraction", asked["strong_fraction"], cuts.nearest(asked["strong_fraction"])))
    if counts.routed is not None:
        routed = counts.routed
        targets.append(Target("logged", None, cut_of(routed.up_to, routed.strong_rows, rows, prices)))
    if not any(target.cut for target in targets):
        targets.append(Target("half", 0.5, cuts.nearest(0.5)))
    return tuple(targets)


def _without_groups(
    log: OpenLog,
    counts: LogCounts,
    cuts: Cuts,
    *,
    targets: tuple[Target, ...],
    prices: Prices,
    other: _Against | None,
    settings: _Settings,
) -> Report:
    histogram = counts.histogram
    calibration = None
    if other is not None:
        drift = other.drift(histogram.counts, settings)
        calibration = Calibration(other.name, other.histogram.rows, other.skipped, other.histogram.mean, drift)
    return Report(
        source=log.name,
        rows=histogram.rows,
        skipped=log.skipped,
        first_skipped=(),
        least=histogram.least,
        mean=histogram.mean,
        most=histogram.most,
        prices=prices,
        strong_dollars=prices.dollars(histogram.rows, histogram.rows),
        weak_dollars=prices.dollars(0, histogram.rows),
        routed=counts.routed,
        targets=targets,
        curve=cuts.curve(),
        shape=_shape(histogram, None if other is None else other.histogram),
        calibration=calibration,
        grouping=None,
    )


def _shape(log: ScoreHistogram, calibration: ScoreHistogram | None) -> Shape:
    """Equal bins, of a whole number of fine ones each, around all scores."""
    both = [log] if calibration is None else [log, calibration]
    fine = len(log.counts)
    first = min(int(np.flatnonzero(each.counts)[0]) for each in both)
    last = max(int(np.flatnonzero(each.counts)[-1]) for each in both) + 1
    width = max(-(-(last - first) // _SHAPE_BINS), 1 << (FINE_BITS - 12))
    bins = -(-(last - first) // width)
    places = np.minimum(first + width * np.arange(bins + 1), fine)
    edges = np.minimum(places, fine - 1) / (1 << log.bits)
    counted = [tuple(np.diff(each.below()[places]).tolist()) for each in both]
    return Shape(tuple(edges.tolist()), counted[0], None if calibration is None else counted[1])


def _grouping(log: OpenLog, found: Report, counts: LogCounts, other: _Against | None, settings: _Settings) -> Grouping:
    columns = settings.columns
    assert columns.group is not None
    values = counts.values.largest(settings.top)
    threshold = found.cut.threshold
    groups = GroupCounts(values, threshold)
    log.stream.seek(0)
    for batch in log.batches(replace(columns, model=None)):
        groups.add(batch)
    if int(groups.counts.sum()) != found.rows or log.skipped != found.skipped:
        raise DataError(
            f"{log.name}: the file has changed while it was read: {found.rows} rows before, now another number"
        )

    def group(slot: int, value: str | None) -> Group | None:
        own = groups.counts[slot]
        rows = int(own.sum())
        if not rows:
            return None
        cut = cut_of(threshold, int(groups.strong[slot]), rows, found.prices)
        drift = None if other is None else other.drift(own, settings)
        return Group(value, rows, float(groups.sums[slot]) / rows, cut, drift)

    shown = [each for slot, value in enumerate(values) if (each := group(slot, value)) is not None]
    shown.sort(key=(lambda each: each.value or "") if columns.by_day else (lambda each: -each.rows))
    return Grouping(
        column=columns.group,
        by_day=columns.by_day,
        groups=tuple(shown),
        rest=group(len(values), None),
        values=counts.values.values,
        overlooked=counts.values.missed,
    )
