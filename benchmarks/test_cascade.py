"""A cascade, string in, decision out: what it costs beside its routers, and what the widths trade."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastroute
from benchmarks.conftest import BASELINE, FASTROUTE
from fastroute.routers import CascadeRouter

PAIRS = [("experts", "mf"), ("mf", "experts")]
TARGETS = (0.02, 0.05, 0.1)


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def cascade(request: pytest.FixtureRequest, prompts: list[str]) -> CascadeRouter:
    first, second = (fastroute.load(name) for name in request.param)
    return CascadeRouter(first, second).calibrate(prompts[:6000], disagreement=0.05)


@pytest.mark.parametrize("stops", [True, False], ids=["stops early", "whole score"])
def test_a_batch(benchmark: Any, cascade: CascadeRouter, prompts: list[str], stops: bool) -> None:
    held_out = prompts[6000:]
    benchmark.group = f"{len(held_out)} mixed prompts, {cascade.first.kind} then {cascade.second.kind}, one thread"
    benchmark.extra_info |= {"role": FASTROUTE if stops else BASELINE}
    scores = benchmark(cascade.score_at if stops else cascade.score, held_out)
    strong = cascade.second.score(held_out).astype(float) >= cascade.threshold
    assert np.mean((scores.astype(float) >= cascade.threshold) != strong) < 0.07


@pytest.mark.parametrize("names", PAIRS, ids="-".join)
def test_the_curve(names: tuple[str, str], prompts: list[str], figure: Callable[..., None]) -> None:
    """Not timed: the share that reaches the second router at three agreements, on held-out prompts."""
    first, second = (fastroute.load(name) for name in names)
    held_out = prompts[6000:]
    for target in TARGETS:
        cascade = CascadeRouter(first, second).calibrate(prompts[:6000], disagreement=target)
        band = cascade.band
        assert band is not None
        scores = first.score(held_out).astype(float)
        reach = np.mean((scores >= band[0]) & (scores <= band[1]))
        routed = cascade.score_at(held_out).astype(float) >= cascade.threshold
        agreement = np.mean(routed == (second.score(held_out).astype(float) >= cascade.threshold))
        assert agreement > 1 - target - 0.02
        told = {"disagreement": target, "reach": float(reach), "agreement": float(agreement)}
        figure(f"{names[0]}, then {names[1]}", f"{reach:.1%} reach the second, {agreement:.1%} agree", **told)


@pytest.fixture(scope="module")
def before_bert(prompts: list[str]) -> CascadeRouter:
    pytest.importorskip("onnxruntime", reason="needs the extra [bert]")
    first, second = (fastroute.load(name) for name in ("experts", "bert"))
    return CascadeRouter(first, second).calibrate(prompts[:1000], disagreement=0.05)


@pytest.mark.parametrize("role", [FASTROUTE, BASELINE], ids=["cascade", "bert alone"])
def test_before_bert(benchmark: Any, before_bert: CascadeRouter, prompts: list[str], role: str) -> None:
    """What reaches a router that takes milliseconds decides; docs/results.md has the curve, of prompts new to both."""
    held_out = prompts[1000:1500]
    benchmark.group = f"{len(held_out)} mixed prompts, experts then bert against bert alone, one thread"
    benchmark.extra_info |= {"role": role}
    router = before_bert if role == FASTROUTE else before_bert.second.with_threshold(before_bert.threshold)
    decisions = benchmark.pedantic(router.route, (held_out,), rounds=1)
    strong = before_bert.second.score(held_out).astype(float) >= before_bert.threshold
    assert (
        np.mean([(each.model == router.strong) != alone for each, alone in zip(decisions, strong, strict=True)]) < 0.08
    )
