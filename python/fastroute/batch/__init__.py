"""Scoring files: rows are read, scored and written in batches of bounded size.

::

    endpoints  files and standard streams ─┐
    formats    jsonl | delimited | parquet ┴─> pipeline ──> ScoreSummary
    rows       what passes between them

Nothing but NumPy is imported until a Parquet file or a terminal asks for more.
"""

from __future__ import annotations

from fastroute.batch.formats import FORMATS
from fastroute.batch.pipeline import Progress, ScoreSummary, score_file
from fastroute.batch.progress import TerminalProgress
from fastroute.batch.rows import BadRow
from fastroute.batch.scoring import Scorer

__all__ = [
    "FORMATS",
    "BadRow",
    "Progress",
    "ScoreSummary",
    "Scorer",
    "TerminalProgress",
    "score_file",
]
