"""Scoring files, whose rows are read, scored and written in batches of bounded size, and tables in memory.

::

    endpoints  files and standard streams ─┐
    formats    jsonl | delimited | parquet ┴─> pipeline ──> ScoreSummary
    rows       what passes between them
    scoring    any router on a batch, and the models that its scores choose
    arrow      columns of Arrow as texts that the core reads in place: for parquet and for frames
    frames     tables in memory, for fastroute.score_table

Nothing but NumPy is imported until a Parquet file, a table or a terminal asks for more.
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
