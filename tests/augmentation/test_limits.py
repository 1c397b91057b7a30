"""How fast, how many at once, and for how much: by the server's own count."""

from __future__ import annotations

import threading
import time

import pytest
from tests.augmentation.scripted_server import JUDGE, STRONG, WEAK, Reply, completion, verdict

from fastroute.augmentation import Endpoint, Limits
from fastroute.endpoints.pacing import RateLimit
from fastroute.errors import InvalidArgumentError

WORST = 20  # dollars: so many tokens, at a dollar each


def priced(server, model=JUDGE):
    return Endpoint(server.url, model, price_in=0, price_out=1e6, max_tokens=WORST)


@pytest.mark.parametrize("tokens", [20, 5, 1])
def test_the_cap_is_never_passed(server, folder, label, tokens):
    """What was answered, and what is under way at its worst, stay within the cap at every moment."""
    cap, at_stake, lock = 105.0, [], threading.Lock()

    def script(request, seen):
        with lock:
            at_stake.append(sum(server.answered.values()) * tokens + server.under_way * WORST)
        time.sleep(0.01)  # for others to come meanwhile
        return completion(verdict("tie", 5, 5), tokens=(0, tokens))

    server.script = script
    folder.write_answered(60)
    summary = label(asked=False, judge=priced(server), limits={"max_dollars": cap, "concurrency": 16})
    assert max(at_stake) <= cap
    assert server.most_at_once > 1
    assert summary.dollars == summary.spent == len(server.requests) * tokens
    assert cap - WORST < summary.spent <= cap
    assert summary.stopped == "the next request could take the cost past 105 dollars (max_dollars)"
    assert (summary.failed, summary.judged + summary.left) == (0, 60)
    assert len(folder.rows("battles")) == 2 * summary.judged


def test_the_cap_holds_for_all_runs_together_and_a_higher_one_goes_on(server, folder, label):
    server.script = lambda request, seen: completion(verdict("tie", 5, 5), tokens=(0, WORST))
    folder.write_answered(5)
    for _ in range(2):
        summary = label(asked=False, judge=priced(server), limits={"max_dollars": 130})
        assert (len(server.requests), summary.spent) == (6, 120)
    summary = label(asked=False, judge=priced(server), limits={"max_dollars": 200})
    assert (summary.judged, summary.left, summary.stopped) == (5, 0, None)
    assert (len(server.requests), summary.dollars, summary.spent) == (10, 80, 200)


def test_answers_that_were_lost_count_at_their_worst(server, folder, label):
    def script(request, seen):
        reply = completion(verdict("tie", 5, 5), tokens=(0, 1))
        reply.cut = 10
        return reply

    server.script = script
    folder.write_answered(9)
    limits = {"max_dollars": 100, "tries": 2, "concurrency": 3}
    summary = label(asked=False, judge=priced(server), limits=limits)
    assert len(server.requests) == 5
    assert (summary.dollars, summary.unconfirmed, summary.spent) == (0, 100, 100)
    summary = label(asked=False, judge=priced(server), limits=limits)
    assert (len(server.requests), summary.spent) == (5, 100)


def test_refusals_cost_nothing(server, folder, label):
    server.script = lambda request, seen: Reply(b"", status=429) if seen < 3 else None
    folder.write_answered(1)
    summary = label(asked=False, judge=priced(server), limits={"max_dollars": 2 * WORST})
    assert (summary.judged, summary.requests, summary.spent) == (1, 8, 40)


def test_a_cap_that_allows_nothing(server, folder, label):
    folder.write_prompts(1)
    models = {"strong": priced(server, STRONG), "weak": priced(server, WEAK)}
    summary = label(judge=priced(server), limits={"max_dollars": 1}, **models)
    assert (server.requests, summary.left) == ([], 1)
    assert folder.rows("battles") == []


def test_requests_at_once(server, folder, label):
    folder.write_prompts(20)
    label(limits={"concurrency": 3})
    assert server.most_at_once <= 3


def test_requests_per_minute(server, folder, label):
    folder.write_answered(10)
    label(asked=False, limits={"requests_per_minute": 1200})
    times = [request.at for request in server.requests]
    # Half of what it must take: the first one may have been slow to arrive.
    assert times[-1] - times[0] >= 0.5 * 19 * 0.05
    assert len(times) == 20


def test_the_rate_by_a_clock_of_its_own():
    now = 100.0
    rate = RateLimit(60, clock=lambda: now)
    assert [rate.take(), rate.take(), rate.take()] == [0, 1, 1]
    now = 100.75
    assert rate.take() == 0.25
    now = 101.0
    assert [rate.take(), rate.take()] == [0, 1]
    rate.pause(10)
    assert rate.take() == 10
    rate.pause(5)
    assert rate.take() == 10
    now = 120.0  # time that was not used is not saved up
    assert [rate.take(), rate.take()] == [0, 1]
    free = RateLimit(None, clock=lambda: now)
    assert [free.take() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    "name", ["concurrency", "tries", "failures_in_a_row", "requests_per_minute", "max_dollars", "timeout", "backoff"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan"), "seven"])
def test_limits_that_are_refused(name, value):
    with pytest.raises(InvalidArgumentError, match=f"{name}: found {value!r}; allowed: a "):
        Limits(**{name: value})


@pytest.mark.parametrize("value", [-1, True, 1.5, "1"])
def test_reasks_that_are_refused(value):
    with pytest.raises(InvalidArgumentError, match=r"reasks: found .*; allowed: a whole number, 0 or more"):
        Limits(reasks=value)
