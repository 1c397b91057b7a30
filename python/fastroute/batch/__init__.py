"""Scoring logs, whose rows are read, scored and written in batches of bounded size, and tables in memory.

::

    inputs ──> reading ──> pipeline ──> writing ──> ScoreSummary
               endpoints   scoring      outputs     summary
               formats                  runs        progress

    inputs     which files a run reads
    formats    jsonl | delimited | parquet: readers, and writers of the same rows with new columns
    endpoints  files and standard streams; compression of both
    rows       what passes between them; prompts: which text of a row is scored
    scoring    any router on a batch, and the models that its scores choose
    runs       what is kept beside an output so that a run can be killed and go on
    arrow      columns of Arrow as texts that the core reads in place: for parquet and for frames
    frames     tables in memory, for fastroute.score_table
    selecting  rows of a file that are copied as they are, for other parts of the package

Nothing but NumPy is imported until a Parquet file, a table or a terminal asks for more.
"""

from __future__ import annotations

from fastroute.batch.formats import FORMATS
from fastroute.batch.pipeline import score_log
from fastroute.batch.progress import TerminalProgress
from fastroute.batch.rows import BadRow
from fastroute.batch.scoring import Scorer
from fastroute.batch.summary import Progress, RouterSummary, ScoreSummary

__all__ = [
    "FORMATS",
    "BadRow",
    "Progress",
    "RouterSummary",
    "ScoreSummary",
    "Scorer",
    "TerminalProgress",
    "score_log",
]
