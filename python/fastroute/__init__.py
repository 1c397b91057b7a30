"""Decide per prompt which LLM should answer it, in microseconds, inside your process.

>>> import fastroute
>>> router = fastroute.load("mf")
>>> decision = router.route("Prove that sqrt(2) is irrational.")

Importing fastroute loads NumPy and the native core and nothing else; no call here uses the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: F401  the core needs it at its first call; loaded now, that call is not slower

from fastroute import errors
from fastroute.info import Info, info, set_num_threads
from fastroute.loading import load
from fastroute.policies import Budget, Decision, QualityFloor, Threshold
from fastroute.scoring import score_table

if TYPE_CHECKING:
    from fastroute.client import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "Budget",
    "Client",
    "Decision",
    "Info",
    "QualityFloor",
    "Threshold",
    "__version__",
    "errors",
    "info",
    "load",
    "score_table",
    "set_num_threads",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the clients once they are asked for."""
    if name not in ("AsyncClient", "Client"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastroute import client

    return getattr(client, name)
