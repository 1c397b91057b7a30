"""Thresholds from the user's own prompts, with what can be promised of them.

::

    strong_fraction  a threshold for a share of strong calls, and an interval for that share
    quality_floor    the cheapest threshold that recovers a share of the quality gap, with a guarantee
    cascade          how far a fast router may decide before a careful one is asked, with a bound on disagreements
    labels           labelled prompts from a file
    prompts          prompts from a file

NumPy only; Parquet files need pyarrow.
"""

from __future__ import annotations

from fastroute.calibration.cascade import CascadeSearch, CascadeStep, calibrate_cascade
from fastroute.calibration.labels import LabelledPrompts, read_labels
from fastroute.calibration.prompts import read_prompts
from fastroute.calibration.quality_floor import QualityFloorSearch, Step, calibrate_quality_floor
from fastroute.calibration.strong_fraction import StrongFraction, calibrate_strong_fraction

__all__ = [
    "CascadeSearch",
    "CascadeStep",
    "LabelledPrompts",
    "QualityFloorSearch",
    "Step",
    "StrongFraction",
    "calibrate_cascade",
    "calibrate_quality_floor",
    "calibrate_strong_fraction",
    "read_labels",
    "read_prompts",
]
