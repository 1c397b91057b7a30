"""Scores beside an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from typing import Any

import pytest

import fastroute
from fastroute.errors import InvalidArgumentError
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
        if "next" in prompts:
            next(iter(()))
        if "exit" in prompts:
            raise SystemExit(3)
        if "none" in prompts:
            return []
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


@pytest.mark.parametrize(("prompt", "error"), [("next", RuntimeError), ("exit", RuntimeError), ("none", ValueError)])
def test_no_prompt_ends_the_thread_or_the_loop(prompt: str, error: type[Exception]) -> None:
    scorer = Scorer(SETTINGS, Slow())  # type: ignore[arg-type]

    async def run() -> list[Any]:
        return await asyncio.gather(
            *(scorer.decide(p, 0.8, 2.0) for p in ("0.1", prompt, "0.9")), return_exceptions=True
        )

    found = asyncio.run(run())
    assert (found[0].score, found[2].score) == (0.1, 0.9)
    assert type(found[1]) is error


def test_prompts_that_were_given_up_are_not_kept() -> None:
    class Text(str):
        pass

    scorer = Scorer(SETTINGS, Slow())  # type: ignore[arg-type]
    kept: list[weakref.ref[Text]] = []

    async def run() -> int:
        for _ in range(100):
            prompt = Text("0.5")
            kept.append(weakref.ref(prompt))
            with contextlib.suppress(asyncio.TimeoutError):
                await scorer.decide(prompt, None, 0.0005)
        return sum(each() is not None for each in kept)

    scorer.router.score = lambda prompts: time.sleep(0.5) or [0.5 for _ in prompts]  # type: ignore[assignment, func-returns-value]
    assert asyncio.run(run()) < 30


@pytest.mark.parametrize("threshold", [float("nan"), -0.1, float("inf")])
def test_a_threshold_that_is_none_is_refused(threshold: float) -> None:
    router = Slow()
    router.threshold = threshold  # type: ignore[misc]
    with pytest.raises(InvalidArgumentError, match=r"threshold: found .*, allowed: from 0 to 1"):
        Scorer(SETTINGS, router)  # type: ignore[arg-type]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_only_on_linux_a_thread_steps_back(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_: list[int] = []
    monkeypatch.setattr("os.setpriority", lambda *given: set_.append(given[1]), raising=False)
    monkeypatch.setattr("sys.platform", platform)
    assert asyncio.run(Scorer(SETTINGS, Slow()).decide("0.5", None, 5.0)).score == 0.5  # type: ignore[arg-type]
    assert not set_  # the number of a thread is that of another's process there


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
