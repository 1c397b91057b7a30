"""One pass over a scored log: everything that is counted before a threshold is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastroute.errors import DataError
from fastroute.reporting.groups import ValueCounts
from fastroute.reporting.histogram import ScoreHistogram
from fastroute.reporting.results import Routed

if TYPE_CHECKING:
    from fastroute.reporting.reading import ScoredLog
    from fastroute.reporting.rows import Columns, Labels, ScoredRows

__all__ = ["LogCounts", "ModelRanges"]


class ModelRanges:
    """Which models the log's rows went to, and between which scores each lies; of at most two models."""

    def __init__(self) -> None:
        self._ranges: dict[str, tuple[int, float, float]] = {}
        self._one_threshold = True

    def add(self, rows: ScoredRows, models: Labels) -> None:
        """Take in the rows of a batch."""
        if not self._one_threshold:
            return
        for code, model in enumerate(models.values):
            scores = rows.scores[models.codes == code]
            if not len(scores):
                continue
            if model is None or (len(self._ranges) == 2 and model not in self._ranges):
                self._one_threshold = False
                return
            count, least, most = self._ranges.get(model, (0, np.inf, -np.inf))
            ends = min(least, float(scores.min())), max(most, float(scores.max()))
            self._ranges[model] = (count + len(scores), *ends)

    def routed(self) -> Routed | None:
        """Return the pair and its threshold; None unless every row of one model scores above all of the other's."""
        if not self._one_threshold or len(self._ranges) != 2:
            return None
        (weak, low), (strong, high) = sorted(self._ranges.items(), key=lambda item: item[1][1])
        if low[2] >= high[1]:
            return None
        return Routed(strong, weak, high[0], low[0] + high[0], low[2], high[1])


class LogCounts:
    """Counts of a whole log.

    Parameters
    ----------
    log, columns
        What is read.
    threshold
        Scores from here up are counted exactly, whatever the grid; None for none.

    Raises
    ------
    DataError
        There is no row that can be used.
    """

    def __init__(self, log: ScoredLog, columns: Columns, threshold: float | None = None) -> None:
        self.histogram = ScoreHistogram()
        self.strong_rows = 0
        self.values = ValueCounts()
        models = ModelRanges()
        for batch in log.batches(columns):
            self.histogram.add(batch.scores)
            if threshold is not None:
                self.strong_rows += int(np.count_nonzero(batch.scores.astype(np.float64) >= threshold))
            if batch.models is not None:
                models.add(batch, batch.models)
            if batch.groups is not None:
                self.values.add(batch.groups)
        self.routed = models.routed()
        if not self.histogram.rows:
            left_out = f"; {log.skipped:,} were left out" if log.skipped else ""
            if log.lost:
                left_out += f"; {log.lost:,} of {log.files:,} files can't be read, first {log.first_skipped[0]}"
            raise DataError(f"{log.name}: no rows with a score, at least one is needed{left_out}")
