"""The record of the last hour."""

from __future__ import annotations

import math
import random

import pytest

from fastroute.serving.playground.hour import BINS, MINUTES, Hour


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hour(clock: Clock) -> Hour:
    return Hour(clock)


def test_counts_by_minute_model_and_score(hour: Hour, clock: Clock) -> None:
    draw = random.Random(3)
    sent = []
    for minute in range(MINUTES):
        clock.now = 1000.0 + 60 * minute + draw.random() * 59
        for _ in range(draw.randrange(5)):
            score = draw.choice([0.0, 1.0, 0.57, draw.random()])
            sent.append((minute, score))
            hour.decided("mf", "big" if score >= 0.5 else "small", score, 1e-6)
    found = hour.router("mf")
    for model, is_strong in (("big", True), ("small", False)):
        expected = [sum(m == minute and (s >= 0.5) == is_strong for m, s in sent) for minute in range(MINUTES)]
        assert found["requests"][model] == expected
    assert len(found["scores"]) == BINS + 1
    assert sum(found["scores"]) == len(sent)
    for threshold in (0.0, 0.001, 0.25, 0.57, 0.999, 1.0):
        above = sum(found["scores"][round(threshold * BINS) :])
        assert above == sum(score >= threshold for _, score in sent), threshold


def test_minutes_expire_one_by_one_and_all_after_a_silent_hour(hour: Hour, clock: Clock) -> None:
    def total() -> int:
        found = hour.router("mf")
        assert sum(found["scores"]) == found["seconds"]["count"] == sum(found["requests"].get("big", []))
        return int(sum(found["scores"]))

    for minute in range(90):
        clock.now = 1000.0 + 60 * minute
        hour.decided("mf", "big", 0.7, 1e-6)
        hour.saved("mf", 0.5)
        assert total() == min(minute + 1, MINUTES)
        assert sum(hour.router("mf")["dollars"]) == min(minute + 1, MINUTES) / 2
    clock.now += 59 * 60
    assert total() == 1
    assert hour.router("mf")["requests"]["big"] == [1] + [0] * 59
    clock.now += 60
    assert total() == 0
    hour.decided("mf", "big", 0.7, 1e-6)
    clock.now += 1e7
    assert total() == 0
    hour.chosen("big")
    assert hour.direct()["big"] == [0] * 59 + [1]


def test_a_minute_ends_on_time(hour: Hour, clock: Clock) -> None:
    clock.now = 1059.999
    hour.chosen("big")
    clock.now = 1060.0
    hour.chosen("big")
    assert hour.direct()["big"][-2:] == [1, 1]


def test_quantiles_are_within_a_twentieth(hour: Hour, clock: Clock) -> None:
    draw = random.Random(1)
    for low, high in ((1e-7, 1e-5), (1e-4, 2.0), (10.0, 900.0)):
        clock.now += 3600
        times = sorted(math.exp(draw.uniform(math.log(low), math.log(high))) for _ in range(1001))
        for seconds in times:
            hour.decided("mf", "big", 0.5, seconds)
            hour.answered("big", seconds)
        for found in (hour.router("mf")["seconds"], hour.upstream("big")):
            assert found["count"] == 1001
            assert found["p50"] == pytest.approx(times[500], rel=0.05)
            assert found["p99"] == pytest.approx(times[990], rel=0.05)
            assert found["p50_by_minute"] == [None] * 59 + [found["p50"]]


def test_times_beyond_all_bounds_are_counted(hour: Hour) -> None:
    for seconds in (0.0, -1.0, 1e-12, 1e9):
        hour.answered("big", seconds)
    assert hour.upstream("big")["count"] == 4


def test_nothing_is_nothing(hour: Hour) -> None:
    found = hour.router("unknown")
    assert found["requests"] == {}
    assert sum(found["scores"]) == 0
    assert (found["seconds"]["p50"], found["seconds"]["p99_by_minute"]) == (None, [None] * MINUTES)
    assert hour.direct() == {}
    assert hour.upstream("unknown")["count"] == 0


def test_a_session_a_failure_and_a_fallback_are_told_apart(hour: Hour) -> None:
    hour.decided("mf", "big", 0.7, None)
    hour.undecided("mf", "small")
    hour.fell_back("mf")
    found = hour.router("mf")
    assert [sum(found[name]) for name in ("sticky", "failures", "fallbacks")] == [1, 1, 1]
    assert (sum(found["scores"]), found["seconds"]["count"]) == (1, 0)
    assert {name: sum(values) for name, values in found["requests"].items()} == {"big": 1, "small": 1}


def test_a_reload_keeps_what_still_means_the_same(hour: Hour) -> None:
    hour.keep({"mf": ("hash", "big", "small"), "knn": ("other", "big", "small")}, {"big": 0, "small": 0, "third": 0})
    for label in ("mf", "knn"):
        hour.decided(label, "big", 0.5, 1e-6)
    hour.chosen("third")
    hour.answered("third", 1.0)
    hour.keep({"mf": ("hash", "big", "small"), "new": ("hash", "big", "small")}, {"big": 0, "small": 0})
    assert [sum(hour.router(label)["scores"]) for label in ("mf", "knn", "new")] == [1, 0, 0]
    assert hour.direct() == {}
    assert hour.upstream("third")["count"] == 0
    hour.keep({"mf": ("another hash", "big", "small")}, {"big": 0, "small": 0})
    assert sum(hour.router("mf")["scores"]) == 0


def test_memory_is_of_a_fixed_size(hour: Hour, clock: Clock) -> None:
    hour.decided("mf", "big", 0.5, 1e-6)
    routed = hour._routers["mf"]
    before = sum(ring.cells.buffer_info()[1] * ring.cells.itemsize for ring in routed.rings())
    for number in range(10_000):
        clock.now += 1
        hour.decided("mf", "big", number / 10_000, number * 1e-6)
    assert sum(ring.cells.buffer_info()[1] * ring.cells.itemsize for ring in routed.rings()) == before < 1 << 19
