"""Labels where there are none: two models answer, a third one compares, both orders.

::

    rows      prompts, answers and references from a file
    models    who answers, who judges, and what each is asked   (endpoint, judge)
    asking    a request until it is answered                    (client, limits, journal)
    cost      what a run will cost, before it is begun
    run       all of it ─> results: battles, scores, failures

aiohttp is imported when a run begins; pyarrow for Parquet.
"""

from __future__ import annotations

from fastroute.augmentation.cost import Estimate, RoleEstimate
from fastroute.augmentation.endpoint import Endpoint
from fastroute.augmentation.limits import Limits
from fastroute.augmentation.results import BATTLE_COLUMNS, SCORE_COLUMNS, Failure
from fastroute.augmentation.rows import Columns
from fastroute.augmentation.run import AugmentSummary, augment

__all__ = [
    "BATTLE_COLUMNS",
    "SCORE_COLUMNS",
    "AugmentSummary",
    "Columns",
    "Endpoint",
    "Estimate",
    "Failure",
    "Limits",
    "RoleEstimate",
    "augment",
]
