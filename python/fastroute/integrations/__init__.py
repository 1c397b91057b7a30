"""Scoring inside frameworks that spread data over processes and machines; each needs its own extra.

::

    workers  the router that every worker loads for itself, the same on each
    ray      Ray Data, extra [ray]
    spark    Apache Spark, extra [spark]

Nothing is imported here: each module, and its framework, is loaded once asked for.
"""

from __future__ import annotations

__all__: list[str] = []
