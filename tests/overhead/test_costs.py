"""What a time costs, against figures worked out by hand and against the paper's."""

from __future__ import annotations

import math

import pytest

from fastroute.errors import InvalidArgumentError
from fastroute.evaluation.paper import PAPER_OVERHEAD
from fastroute.overhead import Prices, cost_of, prompts_of, time_router
from fastroute.overhead.costs import LIMIT, published
from fastroute.routers import RandomRouter


def test_a_cost_worked_out_by_hand():
    # 36 ms of a core at $1 an hour: 1/100,000 of a dollar
    cost = cost_of(0.036, Prices(core_hour=1.0, strong_answer=0.01, weak_answer=0.0001))
    assert cost.dollars_per_million == pytest.approx(10)
    assert cost.of_strong == pytest.approx(0.001)
    assert cost.of_weak == pytest.approx(0.1)
    assert cost.per_second == pytest.approx(1 / 0.036)


def test_answers_cost_what_their_tokens_do():
    prices = Prices()
    assert prices.core_hour == 0.04
    assert prices.strong_answer == pytest.approx((95 * 10 + 264 * 30) / 1e6, rel=1e-12)
    assert prices.weak_answer == pytest.approx((95 + 264) * 0.24 / 1e6, rel=1e-3)


def test_a_decision_at_the_limit_takes_seconds_of_a_core():
    """0.4% of a GPT-4 answer is 3.2 s at $0.04 an hour: what a margin of thousands means."""
    seconds = LIMIT * 0.00887 * 3600 / 0.04
    assert seconds == pytest.approx(3.1932)
    assert cost_of(seconds).of_strong == pytest.approx(LIMIT)


def test_a_price_and_a_time_are_proportional():
    assert cost_of(2e-6, Prices(core_hour=0.05)).of_weak == pytest.approx(2.5 * cost_of(1e-6).of_weak * 0.8 * 1.25)
    assert cost_of(1e-6, Prices(core_hour=0)).dollars_per_million == 0


@pytest.mark.parametrize(
    ("router", "machine_hour", "embedding"),
    [("SW ranking", 0.39, 1.90), ("MF", 0.80, 1.90), ("BERT", 0.80, 0.0), ("causal LLM", 0.80, 0.0)],
)
def test_the_papers_dollars_are_per_million_requests_of_a_whole_machine(router, machine_hour, embedding):
    """Its two columns agree on machines of 39 and 80 cents an hour, and 95 tokens embedded at $0.02 per million."""
    (row,) = (row for row in PAPER_OVERHEAD if row.router == router)
    seconds = 1 / row.per_second
    assert cost_of(seconds, Prices(core_hour=machine_hour)).dollars_per_million + embedding == pytest.approx(
        row.dollars_per_million, rel=0.004
    )


def test_the_papers_rows_beside_an_answer():
    by_router = {row.router: published(row.dollars_per_million, row.per_second) for row in PAPER_OVERHEAD}
    assert by_router["SW ranking"].of_strong == pytest.approx(0.004426, rel=1e-3)
    assert by_router["BERT"].of_weak == pytest.approx(0.0370, rel=1e-2)
    assert by_router["MF"].per_second == 155.16


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_times_that_are_none(seconds):
    with pytest.raises(InvalidArgumentError, match="seconds: found"):
        cost_of(seconds)
    with pytest.raises(InvalidArgumentError, match="seconds: found"):
        time_router(RandomRouter(), 20, seconds=seconds)


@pytest.mark.parametrize("name", ["core_hour", "strong_answer", "weak_answer"])
@pytest.mark.parametrize("price", [-1.0, math.nan, math.inf, 0.0])
def test_prices_that_are_none(name, price):
    if name == "core_hour" and price == 0:
        assert Prices(core_hour=0).core_hour == 0
        return
    with pytest.raises(InvalidArgumentError, match=f"{name}: found"):
        Prices(**{name: price})


@pytest.mark.parametrize("tokens", [0, -1, 100_001])
def test_lengths_that_are_none(tokens):
    with pytest.raises(InvalidArgumentError, match="tokens: found"):
        prompts_of(tokens)
