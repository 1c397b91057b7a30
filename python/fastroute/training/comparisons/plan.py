"""Which task belongs to which domain, and which models stand for strong and weak there.

A plan is a JSON object with any of these members::

    {
      "domains": {"code": ["human_eval", "mbpp"], "math": ["*math*"]},
      "prior": {"chat": 0.5},
      "weak_only": ["chat"],
      "tiers": {"math_level5": {"strong": ["gpt-4-turbo-2024-04-09"], "weak": ["gemma-2-9b-it"]}}
    }

`domains` names for each domain the tasks in it, by shell patterns; the first pattern that matches counts, and tasks
that match none are left out. `prior` is the share of traffic to expect from a domain; the rest is shared equally.
In a `weak_only` domain the gain is read off the weak side alone: where a judge gives the strong models the best marks
for everything, their marks say nothing. `tiers` names the models of a task's two sides; tasks and models that the data
lack are passed over.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BUILT_IN_PLANS", "CHAT", "Plan", "read_plan"]

CHAT = "chat"
"""Domain of judged prompts, and of prompts of battles."""
BUILT_IN_PLANS = ("open-data",)
_MEMBERS = ("domains", "prior", "weak_only", "tiers")


@dataclass(frozen=True, slots=True)
class Plan:
    """Domains, priors and tiers.

    Attributes
    ----------
    domains
        Domain to patterns of its tasks; empty for one domain per task.
    prior
        Domain to its share of traffic.
    weak_only
        Domains whose gain is read off the weak side alone.
    tiers
        Task to the names of its (strong, weak) models.
    """

    domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prior: Mapping[str, float] = field(default_factory=dict)
    weak_only: frozenset[str] = frozenset()
    tiers: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=dict)

    def domain_of(self, task: str) -> str | None:
        """Domain of a task; None where the plan leaves it out."""
        if not self.domains:
            return task
        for domain, patterns in self.domains.items():
            if any(fnmatchcase(task, pattern) for pattern in patterns):
                return domain
        return None


def read_plan(plan: str | os.PathLike[str]) -> Plan:
    """Read a plan: a built-in name or the path of a JSON file.

    Raises
    ------
    DataError
        There is no such plan, or it is not what it should be; the member is named.
    """
    if not isinstance(plan, (str, os.PathLike)):
        raise InvalidTypeError(f"plan: found {type(plan).__name__}, allowed: a Plan, a name or a path")
    if plan in BUILT_IN_PLANS:
        source = f"plan {plan}"
        text = (files("fastroute.training.comparisons") / "plans" / f"{plan}.json").read_text("utf-8")
    else:
        source, path = str(plan), Path(plan)
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise DataError(
                f"{plan}: no such plan; allowed: {', '.join(BUILT_IN_PLANS)}, or the path of a JSON file"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{plan}: can't be read: {error}") from error
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: broken JSON: {error}") from error
    return parse_plan(raw, source)


def parse_plan(raw: object, source: str) -> Plan:
    """Check what a plan's JSON holds; `source` is what errors call it."""
    if not isinstance(raw, dict):
        raise DataError(f"{source}: found {type(raw).__name__}, allowed: a JSON object")
    unknown = sorted(set(raw) - set(_MEMBERS))
    if unknown:
        raise DataError(f"{source}: found the member {unknown[0]!r}, allowed: {', '.join(_MEMBERS)}")
    prior = {}
    for domain, share in _object(raw, "prior", source).items():
        if not isinstance(share, (int, float)) or isinstance(share, bool) or not 0 < share <= 1:
            raise DataError(f"{source}: prior.{domain}: found {share!r}, allowed: a number above 0, at most 1")
        prior[domain] = float(share)
    if sum(prior.values()) > 1 + 1e-9:
        raise DataError(f"{source}: prior: the shares add up to {sum(prior.values()):g}, allowed: at most 1")
    tiers = {}
    for task, sides in _object(raw, "tiers", source).items():
        if not isinstance(sides, dict) or set(sides) != {"strong", "weak"}:
            raise DataError(f"{source}: tiers.{task}: found {sides!r:.60}, allowed: an object of 'strong' and 'weak'")
        tiers[task] = (
            _names(sides["strong"], f"{source}: tiers.{task}.strong"),
            _names(sides["weak"], f"{source}: tiers.{task}.weak"),
        )
    return Plan(
        domains={
            domain: _names(tasks, f"{source}: domains.{domain}")
            for domain, tasks in _object(raw, "domains", source).items()
        },
        prior=prior,
        weak_only=frozenset(_names(raw.get("weak_only", []), f"{source}: weak_only")),
        tiers=tiers,
    )


def check_prior(plan: Plan, domains: tuple[str, ...]) -> None:
    """Refuse shares of traffic for domains that no prompt is of."""
    missing = sorted(set(plan.prior) - set(domains))
    if missing:
        raise InvalidArgumentError(
            f"plan: prior names the domain {missing[0]!r}, which no prompt is of; the data have {', '.join(domains)}"
        )


def _object(raw: Mapping[str, Any], member: str, source: str) -> Mapping[str, Any]:
    value = raw.get(member, {})
    if not isinstance(value, dict):
        raise DataError(f"{source}: {member}: found {type(value).__name__}, allowed: an object")
    return value


def _names(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise DataError(f"{place}: found {value!r:.60}, allowed: a list of names")
    return tuple(value)
