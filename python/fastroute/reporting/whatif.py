"""The what-if report: a scored log against prices, a budget, a calibration set, and its own parts."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastroute.batch.endpoints import STANDARD
from fastroute.errors import DataError, InvalidArgumentError
from fastroute.policies.arguments import closed_unit, positive_integer
from fastroute.reporting.counting import LogCounts
from fastroute.reporting.cuts import Cuts, cut_of
from fastroute.reporting.drift import Drift, drift_between, ks_between, psi_edges
from fastroute.reporting.groups import GroupCounts
from fastroute.reporting.histogram import FINE_BITS, GROUP_BITS, ScoreHistogram, coarse
from fastroute.reporting.prices import Prices, PriceTable, checked_amount
from fastroute.reporting.provenance import scored_by
from fastroute.reporting.reading import MAX_NAMED_ROWS, OnError, ScoredLog
from fastroute.reporting.results import Calibration, Group, Grouping, Report, Shape, Target
from fastroute.reporting.rows import Columns
from fastroute.reporting.sources import find_calibration, find_log, paths_of
from fastroute.reporting.words import money, percent

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from fastroute.batch.summary import Progress
    from fastroute.reporting.results import Routed, ScoredBy

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
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    score_column: str = "score",
    model_column: str | None = None,
    prices: Prices | PriceTable | None = None,
    strong: str | None = None,
    weak: str | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    strong_fraction: float | None = None,
    against: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
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
    `by_day` the log is read twice; standard input and pipes are then copied to a temporary file.

    Parameters
    ----------
    source
        A scored log: a file, .jsonl, .ndjson, .csv, .tsv (also .gz, .zst, .bz2, .xz) or .parquet; "-" is standard
        input. Or a folder, a pattern (``scored/**/*.parquet``), or several of these, which are one log; names that
        begin with a dot or an underscore are passed over.
    score_column, model_column
        The scores, numbers from 0 to 1; and the models that they chose, read where the log has them: by default
        "model", or "model_X" for the scores "score_X".
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
        Column of values that the rows are grouped by. Rows that do not have it are of the partition that the folders of
        their file's path name, as ``day=2026-11-01``.
    by_day
        Column of timestamps, or such a partition; rows are grouped by day. Not with `by`.
    top
        Groups shown on their own, those with most rows, 1 to 100; the others are one. 20, or 100 days, by default.
    resamples, seed
        Of the intervals of PSI.
    format : {"jsonl", "csv", "tsv", "parquet"}, optional
        Of `source`, where its name does not tell.
    on_error : {"fail", "skip"}
        Whether a row that can't be used, or one of several files that can't be read, ends the run or is left out.
    progress
        Is told how far each reading has got.

    Raises
    ------
    InvalidArgumentError, InvalidTypeError
        An argument that can't serve.
    DataError
        A file that can't be read or lacks a column, a log that has no row, or with ``on_error="fail"`` a row that can't
        be used; a price that is missing.
    MissingDependencyError
        A Parquet file, or zstd, without pyarrow.

    Notes
    -----
    Thread-safe. Rows count as independent draws in every interval; logs with many prompts of one conversation or user
    have wider ones.
    """
    paths, against_paths = paths_of(source), None if against is None else paths_of(against)
    asked = _asked(threshold, budget, strong_fraction)
    columns = Columns(score_column, _model_of(score_column) if model_column is None else model_column)
    settings = _settings(columns, by, by_day, top=top, resamples=resamples, seed=seed)
    if on_error not in ("fail", "skip"):
        raise InvalidArgumentError(f"on_error: found {on_error!r}, allowed: 'fail' or 'skip'")
    if against_paths is not None and STANDARD in against_paths and STANDARD in paths:
        raise InvalidArgumentError("against: standard input can't be the log and the calibration set")
    files = find_log(paths, format)
    against_files = None if against_paths is None else find_calibration(against_paths, format, files.kind)
    twice = settings.columns.group is not None
    with ExitStack() as stack:
        other, skipped = None, []
        if against_files is not None:
            read = stack.enter_context(ScoredLog(against_files, on_error, progress, again=False))
            made = scored_by(against_files.files, score_column)
            other = _Against(read, LogCounts(read, Columns(score_column)).histogram, made)
            skipped = read.first_skipped
        log = stack.enter_context(ScoredLog(files, on_error, progress, again=twice))
        counts = LogCounts(log, settings.columns, threshold)
        named = (*log.first_skipped, *skipped)[:MAX_NAMED_ROWS]
        paid = _prices(prices, strong, weak, counts.routed)
        cuts = Cuts(counts.histogram, paid)
        targets = _targets(asked, counts, cuts, paid)
        found = _without_groups(log, counts, cuts, targets=targets, prices=paid, other=other, settings=settings)
        found = replace(found, first_skipped=named, scored_by=scored_by(files.files, score_column))
        if not twice:
            return found
        return replace(found, grouping=_grouping(log, found, counts, other, settings))


@dataclass(frozen=True, slots=True)
class _Against:
    """The calibration set, counted."""

    log: ScoredLog
    histogram: ScoreHistogram
    scored_by: tuple[ScoredBy, ...]

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


def _model_of(score_column: str) -> str:
    """Name the models that go with scores, as `fastroute score` with several routers does."""
    label = score_column.removeprefix("score_")
    return "model" if label == score_column else f"model_{label}"


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
    log: ScoredLog,
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
        calibration = Calibration(
            source=other.log.name,
            files=other.log.files,
            rows=other.histogram.rows,
            skipped=other.log.skipped,
            lost=other.log.lost,
            mean=other.histogram.mean,
            drift=drift,
            scored_by=other.scored_by,
        )
    return Report(
        source=log.name,
        files=log.files,
        score_column=settings.columns.score,
        scored_by=(),
        rows=histogram.rows,
        skipped=log.skipped,
        lost=log.lost,
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


def _grouping(
    log: ScoredLog, found: Report, counts: LogCounts, other: _Against | None, settings: _Settings
) -> Grouping:
    columns = settings.columns
    assert columns.group is not None
    values = counts.values.largest(settings.top)
    threshold = found.cut.threshold
    groups = GroupCounts(values, threshold)
    for batch in log.batches(replace(columns, model=None)):
        groups.add(batch)
    if (int(groups.counts.sum()), log.skipped, log.lost) != (found.rows, found.skipped, found.lost):
        what = "the file has changed while it was" if log.files == 1 else "files have changed while they were"
        raise DataError(f"{log.name}: {what} read: {found.rows} rows before, now another number")

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
