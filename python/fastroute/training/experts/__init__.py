"""Training of the `experts` router: what a strong model gains over a weak one, domain by domain.

Modules
-------
plan
    Which task belongs to which domain, which models stand for strong and weak there: a JSON file.
tasks
    Scores of models on prompts, from tables, one matrix for each task.
tiers
    The strong and the weak side of each prompt of a task.
domains
    Domains by clustering, where nothing names them.
linear
    Standardisation, ridge regression with its penalty by cross-validation, the domain classifier.
gold
    Gold experts and the guard that keeps them where the gold set is dense.
fit
    All of it together, and figures on held-out prompts.
"""

from __future__ import annotations

from fastroute.training.experts.fit import ExpertsFit, fit_experts
from fastroute.training.experts.gold import GoldLabels
from fastroute.training.experts.plan import Plan, read_plan
from fastroute.training.experts.tasks import Task, tasks_from_judge_scores, tasks_from_outcomes

__all__ = [
    "ExpertsFit",
    "GoldLabels",
    "Plan",
    "Task",
    "fit_experts",
    "read_plan",
    "tasks_from_judge_scores",
    "tasks_from_outcomes",
]
