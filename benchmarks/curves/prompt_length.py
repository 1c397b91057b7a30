"""Prompts grow: string in, score out, and the tokenizer alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from tests.reference.experts_reference import gain_of, score_of

import fastroute
from benchmarks.curves.measuring import CHECKOUT, Clock, Reader, native_call, threads
from benchmarks.curves.native_floors import NativeFloors, Parts, UnavailableError
from benchmarks.curves.plots import Curve, Plot, Point
from fastroute import _core
from fastroute.builtin import DEFAULT_ENCODER

TOKENS = (10, 30, 100, 300, 512, 1_000, 3_000, 10_000, 30_000, 100_000)
QUICK = (10, 512, 10_000)


def prompt_of(tokens: int, count: Callable[[str], int]) -> str:
    """Words of the README, drawn from a seed, to just so many tokens or a few more."""
    words = (CHECKOUT / "README.md").read_text(encoding="utf-8").split()
    drawn = random.Random(7).choices(words, k=2 * tokens)
    low, high = 1, len(drawn)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if count(" ".join(drawn[:middle])) >= tokens else (middle + 1, high)
    return " ".join(drawn[:low])


def _check(mf: Any, experts: Any, prompt: str) -> None:
    embedding = experts.encoder.embed([prompt])
    assert abs(mf.score(prompt) - float(mf.score_embeddings(embedding)[0])) < 1e-5
    surface = _core.surface_features([prompt])[0].astype(np.float64)
    exact = score_of(gain_of(experts.parameters_, surface, embedding[0].astype(np.float64)))
    assert abs(experts.score(prompt) - exact) < 1e-5


def _parts(clock: Clock, prompts: list[str], *, most: int, width: int) -> list[Parts] | None:
    """Without a compiler there are none."""
    try:
        with NativeFloors() as floors:
            return floors.time(DEFAULT_ENCODER, prompts, most=most, width=width)
    except UnavailableError as error:
        clock.say(f"  no limits: {error}")
        return None


def measure(clock: Clock, reader: Reader) -> Plot:
    """All lengths, one prompt a call, on one thread."""
    mf, experts = fastroute.load("mf"), fastroute.load("experts")
    encoder = experts.encoder
    most, call = encoder.max_tokens, native_call(clock)
    clock.say("prompts grow")
    prompts = [
        prompt_of(tokens, lambda text: len(encoder.tokenize(text))) for tokens in (QUICK if clock.quick else TOKENS)
    ]
    whole = _parts(clock, prompts, most=1 << 40, width=1)
    counted = _parts(clock, prompts, most=most, width=2 * len(experts.parameters_["expert_bias"]))
    found: dict[str, list[Point]] = {}
    with threads(1):
        for i, prompt in enumerate(prompts):
            _check(mf, experts, prompt)
            x = len(encoder.tokenize(prompt))
            limits: dict[str, float] = {}
            if whole is not None and counted is not None:
                assert (whole[i].tokens, counted[i].tokens) == (x, min(x, most))
                limits = {
                    "experts": call + counted[i].tokenizer + counted[i].rows + counted[i].features,
                    "mf": call + counted[i].tokenizer + counted[i].numbers,
                    "tokens": call + whole[i].tokenizer,
                }
            calls: dict[str, Callable[[], Any]] = {
                "experts": partial(experts.score, prompt),
                "mf": partial(mf.score, prompt),
                "tokens": partial(encoder.tokenize, prompt),
            }
            for name, each in calls.items():
                point = clock.time(each, x, limit=limits.get(name))
                found.setdefault(name, []).append(clock.show(name, point))
            read = reader.seconds(len(prompt.encode()))
            found.setdefault("read", []).append(Point(x, read, read, read, 1))
    curves = (
        Curve(
            "tokenizer alone, all tokens, as a list", tuple(found["tokens"]), "a native call and the native tokenizer"
        ),
        Curve("experts, end to end", tuple(found["experts"]), "a native call, tokenizer, table and surface features"),
        Curve("mf, end to end", tuple(found["mf"]), "a native call, tokenizer and table"),
        Curve("reading the text's bytes, nothing else", tuple(found["read"])),
    )
    title = f"One prompt as it grows (the encoder counts the first {most} tokens)"
    measured = {"seconds of a native call": call}
    return Plot("prompts", title, "tokens of the prompt", "seconds a prompt", curves, measured)
