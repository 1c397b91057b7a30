"""The price of a decision beside that of an answer, for every built-in router: what `fastroute bench --overhead` says.

Unlike the other files this one asserts on time. It can: the limit leaves seconds, and decisions take microseconds.
The command has a process of its own, so that no thread of another benchmark is counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import fastroute
from fastroute.overhead import cost_of
from fastroute.overhead.costs import LIMIT

LENGTHS = (20, 95, 400)
ROUTERS = (*fastroute.info().routers, "random")


@pytest.fixture(scope="module")
def told() -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of the command, by router and tokens."""
    command = [sys.executable, "-m", "fastroute", "bench", "--overhead", "--seconds", "0.5", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["prices"] == {"core_hour": 0.04, "strong_answer": 0.00887, "weak_answer": 0.0000862}
    return {(row["router"], row["tokens"]): row for row in found["routers"]}


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("name", ROUTERS)
def test_a_decision_is_under_the_limit_of_an_answer(
    name: str, tokens: int, told: dict[tuple[str, int], dict[str, Any]], figure: Callable[..., None]
) -> None:
    """At $0.04 per core-hour, and for the slowest hundredth of calls too."""
    row = told[name, tokens]
    for seconds in (row["core"], row["median"], row["p99"]):
        assert cost_of(seconds).of_strong < LIMIT
    assert row["of_strong"] == cost_of(row["core"]).of_strong
    margin = LIMIT / row["of_strong"]
    line = (
        f"{row['core'] * 1e6:,.2f} us of a core, {row['of_strong']:.1e} of a GPT-4 answer's price: "
        f"the limit of {LIMIT:.1%} is {margin:,.0f} times as much"
    )
    figure(f"{name}, {tokens} tokens", line, **row, margin=margin)


def test_the_limit_can_be_missed() -> None:
    assert cost_of(3.3).of_strong > LIMIT
