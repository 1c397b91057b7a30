"""Scores beside an event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

import fastroute
from fastroute.serving.config import RouterSettings
from fastroute.serving.scoring import Scorer

SETTINGS = RouterSettings("own", "own", None, "big", "small")


class Slow:
    """Takes 20 ms a call, whatever is asked; a prompt is its own score."""

    kind, strong, weak, threshold, artifact, encoder = "bert", "a", "b", 0.5, "f00d", None

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []

    def score(self, prompts: Any) -> Any:
        if isinstance(prompts, str):
            return 0.5
        time.sleep(0.02)
        self.calls.append((len(prompts), threading.get_ident()))
        if any(prompt == "bad" for prompt in prompts):
            raise RuntimeError("a bad prompt")
        return [float(prompt) for prompt in prompts]


def test_waiting_prompts_are_scored_together_in_another_thread() -> None:
    router = Slow()
    scorer = Scorer(SETTINGS, router)  # type: ignore[arg-type]
    assert not scorer.in_place
    beats: list[float] = []

    async def beat() -> None:
        while True:
            beats.append(time.perf_counter())
            await asyncio.sleep(0.001)

    async def run() -> list[Any]:
        beating = asyncio.create_task(beat())
        found = await asyncio.gather(*(scorer.decide(str(n / 100), None, 5.0) for n in range(100)))
        beating.cancel()
        return found

    found = asyncio.run(run())
    assert [decision.score for decision in found] == [n / 100 for n in range(100)]
    assert [decision.model for decision in found] == ["small"] * 50 + ["big"] * 50
    assert {decision.artifact for decision in found} == {"f00d"}
    assert len(router.calls) <= 8
    assert max(count for count, _ in router.calls) == 16
    assert threading.get_ident() not in {thread for _, thread in router.calls}
    assert len(beats) > 50, "the loop was held up"


def test_a_bad_prompt_is_not_the_fault_of_others_and_patience_ends() -> None:
    router = Slow()
    scorer = Scorer(SETTINGS, router)  # type: ignore[arg-type]

    async def run() -> list[Any]:
        prompts = ["0.1", "bad", "0.9"]
        return await asyncio.gather(*(scorer.decide(p, 0.8, 5.0) for p in prompts), return_exceptions=True)

    found = asyncio.run(run())
    assert (found[0].model, found[2].model) == ("small", "big")
    assert isinstance(found[1], RuntimeError)

    async def impatient() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await scorer.decide("0.5", None, 0.001)
        assert (await scorer.decide("0.7", None, 5.0)).score == 0.7

    asyncio.run(impatient())


@pytest.mark.parametrize("name", ["experts", "mf", "random"])
def test_routers_of_the_core_are_asked_in_place(name: str) -> None:
    router = fastroute.load(name)
    scorer = Scorer(SETTINGS, router)
    assert scorer.in_place
    short, long = "Prove it.", "Prove it, please. " * 2000
    for prompt in (short, long):
        found = asyncio.run(scorer.decide(prompt, None, 5.0))
        assert found.score == pytest.approx(router.score(prompt), abs=1e-6)
        assert found.threshold == router.threshold
