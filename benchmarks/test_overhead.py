"""The price of a decision beside that of an answer, for every built-in router: `fastroute bench --overhead` as a test.

Unlike the other files this one asserts on time. It can: the limit leaves seconds, and decisions take microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

import fastroute
from fastroute.overhead import cost_of, time_router
from fastroute.overhead.costs import LIMIT

LENGTHS = (20, 95, 400)
ROUTERS = (*fastroute.info().routers, "random")


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("name", ROUTERS)
def test_a_decision_is_under_the_limit_of_an_answer(name: str, tokens: int, figure: Callable[..., None]) -> None:
    """At $0.04 per core-hour, and for the slowest hundredth of calls too."""
    router = fastroute.load(name)
    timing = time_router(router, tokens, seconds=0.5)
    assert timing.tokens == tokens
    for seconds in (timing.core, timing.median, timing.p99):
        assert cost_of(seconds).of_strong < LIMIT
    cost = cost_of(timing.core)
    margin = LIMIT / cost.of_strong
    line = (
        f"{timing.core * 1e6:,.2f} us of a core, {cost.of_strong:.1e} of a GPT-4 answer's price: "
        f"the limit of {LIMIT:.1%} is {margin:,.0f} times as much"
    )
    figure(f"{name}, {tokens} tokens", line, router=name, **asdict(timing), **asdict(cost), margin=margin)


def test_the_limit_can_be_missed() -> None:
    assert cost_of(3.3).of_strong > LIMIT
