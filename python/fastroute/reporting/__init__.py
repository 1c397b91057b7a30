"""The what-if report over a scored log: what any threshold would have cost, and how the scores have drifted.

::

    sources, partitions    which files a log is, and what their folders say
    text, arrow -> rows    one file, read in batches of bounded size
    reading                all of them, one after the other
    provenance             what made the scores
    counting               one pass: a histogram, the models, the values of a column
    groups                 a second one, for the groups with most rows
    cuts, prices, drift    shares, dollars, PSI and KS, from counts alone
    whatif                 the report of these
    page, charts           the report as one page of HTML

NumPy only; Parquet files need pyarrow.
"""

from __future__ import annotations

from fastroute.reporting.cuts import Cut
from fastroute.reporting.drift import Drift
from fastroute.reporting.page import html_page
from fastroute.reporting.prices import Prices, PriceTable, read_prices
from fastroute.reporting.results import Calibration, Group, Grouping, Report, Routed, ScoredBy, Shape, Target
from fastroute.reporting.whatif import report

__all__ = [
    "Calibration",
    "Cut",
    "Drift",
    "Group",
    "Grouping",
    "PriceTable",
    "Prices",
    "Report",
    "Routed",
    "ScoredBy",
    "Shape",
    "Target",
    "html_page",
    "read_prices",
    "report",
]
