"""Multiple-choice prompts with some of their options left out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fastroute import _core
from fastroute.encoders import StaticEncoder
from fastroute.training.experts import Plan, fit_experts, tasks_from_outcomes
from fastroute.training.experts.options import fewer_options

from .conftest import outcome_rows

TEN = "Which?\n" + "\n".join(f"{letter}. answer {i}" for i, letter in enumerate("ABCDEFGHIJ"))


def test_options_are_left_out_and_lettered_anew() -> None:
    counts = set()
    for seed in range(50):
        found = fewer_options(TEN, np.random.default_rng(seed))
        assert found is not None
        lines = found.split("\n")
        assert lines[0] == "Which?"
        assert [line[:3] for line in lines[1:]] == [f"{letter}. " for letter in "ABCDEF"[: len(lines) - 1]]
        numbers = [int(line.rsplit(" ", 1)[1]) for line in lines[1:]]
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= set(range(10))
        names = _core.surface_names()
        assert _core.surface_features([found])[0][names.index("options")] == len(numbers)
        counts.add(len(numbers))
    assert counts == {3, 4, 5, 6}


def test_other_forms_and_long_options() -> None:
    prompt = "Q\n (A) one\nmore of one\n (B) two\n (C) three\n (D) four\n (E) five\n (F) six\n (G) seven\nthe end\n"
    for seed in range(20):
        found = fewer_options(prompt, np.random.default_rng(seed))
        assert found is not None
        assert found.endswith("\n")
        assert ("more of one" in found) == (" one\n" in found)
        assert re.findall(r"^ \((.)\) ", found, re.MULTILINE) == list("ABCDEF")[: found.count(" (")]


@pytest.mark.parametrize(
    "prompt", ["", "no options", "A. one", "A. one\nB. two", "A. one\nB. two\nC. three", "B. x\nC. y"]
)
def test_prompts_without_options_to_spare(prompt: str) -> None:
    assert fewer_options(prompt, np.random.default_rng(0)) is None


def test_copies_teach_and_are_not_counted(encoder: StaticEncoder) -> None:
    rows = outcome_rows(120)
    rows["prompt"] = [
        prompt + "\n" + "\n".join(f"{c}. {i}" for i, c in enumerate("ABCDEFGH")) if benchmark == "sums" else prompt
        for prompt, benchmark in zip(rows["prompt"], rows["benchmark"], strict=True)
    ]
    tasks, _ = tasks_from_outcomes(rows)
    plain, taught = (
        fit_experts(tasks, encoder.embed, pair=("large", "small"), plan=Plan(fewer_options=frozenset(names)))
        for names in ((), ("sums",))
    )
    assert plain.rows == taught.rows == (120, 0)
    assert [len(each.gain) for each in taught.held_out] == [60, 60]
    assert (plain.parameters["expert_surface"] != taught.parameters["expert_surface"]).any()
    few = [re.sub(r"\nE\. .*", "", prompt, flags=re.DOTALL) for prompt in rows["prompt"][::6]]
    shares = []
    for fitted in (plain, taught):
        weights, _ = _core.DomainExperts(encoder.native, **fitted.parameters).mixture(few)
        shares.append(weights[:, fitted.domains.index("sums")].mean())
    assert shares[1] > shares[0]
