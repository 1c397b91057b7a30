"""Scores of models on prompts as comparisons of a strong side with a weak one.

Modules
-------
tasks
    Scores of models on prompts, from tables, one matrix for each task.
plan
    Which task belongs to which domain, which models stand for strong and weak there: a JSON file.
sides
    The strong and the weak side of each prompt of a task.
pairing
    The tasks that can be compared, with their sides and domains.
sources
    From the tables that a user gives to tasks.
held_out
    How a router ranks the prompts of a task that it has not seen.
"""

from __future__ import annotations

from fastroute.training.comparisons.plan import Plan, read_plan
from fastroute.training.comparisons.tasks import Task, tasks_from_judge_scores, tasks_from_outcomes

__all__ = ["Plan", "Task", "read_plan", "tasks_from_judge_scores", "tasks_from_outcomes"]
