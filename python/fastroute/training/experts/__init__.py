"""Training of the `experts` router: what a strong model gains over a weak one, domain by domain.

Modules
-------
rows
    Training rows, and how much traffic they stand for.
domains
    Domains by clustering, where nothing names them.
linear
    Standardisation, ridge regression with its penalty by cross-validation, the domain classifier.
gold
    Gold experts and the guard that keeps them where the gold set is dense.
gold_tables
    Gold labels from the tables that a user gives.
fit
    All of it together, and figures on held-out prompts.
"""

from __future__ import annotations

from fastroute.training.experts.fit import ExpertsFit, fit_experts
from fastroute.training.experts.gold import GoldLabels

__all__ = ["ExpertsFit", "GoldLabels", "fit_experts"]
