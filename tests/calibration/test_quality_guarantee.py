"""The guarantee of `QualityFloor`, checked by drawing many calibration sets.

A violation is a threshold whose PGR over the whole population is below what was asked for. The guarantee speaks of the
population: PGR on a finite test half scatters about it by the half's own noise, which no calibration can foresee.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

import fastroute
from fastroute.calibration import calibrate_quality_floor, quality_floor

CONFIDENCE = 0.9
STRONG, WEAK = "gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"


@dataclass(frozen=True)
class Population:
    scores: np.ndarray
    strong: np.ndarray
    weak: np.ndarray

    def recovered(self, threshold: float, rows: np.ndarray | slice = slice(None)) -> float:
        gains = (self.strong - self.weak)[rows]
        return float(gains[self.scores[rows] >= threshold].sum() / gains.sum())


@dataclass(frozen=True)
class Rates:
    violated: float
    violated_on_rest: float
    found: float
    share: float


def simulate(population: Population, quality: float, size: int, draws: int, *, replace: bool = False) -> Rates:
    random = np.random.default_rng(11)
    thresholds, on_rest = [], []
    everyone = np.arange(len(population.scores))
    for seed in range(draws):
        rows = random.choice(everyone, size, replace=replace)
        scores, strong, weak = population.scores[rows], population.strong[rows], population.weak[rows]
        found = calibrate_quality_floor(scores, strong, weak, quality=quality, confidence=CONFIDENCE, seed=seed).policy
        if found is not None:
            thresholds.append(found.threshold)
            on_rest.append(population.recovered(found.threshold, np.setdiff1d(everyone, rows)))
    recovered = np.array([population.recovered(threshold) for threshold in thresholds])
    share = float(np.mean([(population.scores >= threshold).mean() for threshold in thresholds] or [math.nan]))
    return Rates(
        float((recovered < quality).sum()) / draws,
        float((np.array(on_rest) < quality).sum()) / draws,
        len(thresholds) / draws,
        share,
    )


def allowed(draws: int) -> float:
    return 1 - CONFIDENCE + 2 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / draws)


@pytest.fixture(scope="module")
def synthetic() -> Population:
    """Two models that are right and wrong together more or less, and a score that knows a little of it."""
    random = np.random.default_rng(5)
    size = 20_000
    difficulty = random.random(size)
    strong = random.random(size) < 0.95 - 0.25 * difficulty
    weak = random.random(size) < 0.95 - 0.65 * difficulty
    scores = np.clip(0.5 * difficulty + 0.25 + random.normal(0, 0.1, size), 0, 1).astype(np.float32)
    return Population(scores, strong.astype(float), weak.astype(float))


@pytest.fixture(scope="module")
def mmlu(data_pack) -> Population:
    folder = data_pack / "routellm_evals" / "mmlu"
    listed = (folder / "contaminated_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    contaminated = {json.loads(line)["eval_prompt"] for line in listed}
    rows = []
    for file in sorted((folder / "responses").glob("*.csv")):
        with file.open(newline="", encoding="utf-8") as opened:
            rows += [row for row in csv.DictReader(opened) if row["prompt"] not in contaminated]
    assert len(rows) > 7000
    quality = {model: np.array([row[model] == "True" for row in rows], float) for model in (STRONG, WEAK)}
    scores = fastroute.load("mf").score([row["prompt"] for row in rows])
    return Population(scores, quality[STRONG], quality[WEAK])


@pytest.mark.parametrize("quality", [0.5, 0.8])
def test_synthetic_prompts(synthetic, quality):
    draws = 300
    rates = simulate(synthetic, quality, 400, draws, replace=True)
    assert rates.violated <= allowed(draws)
    assert rates.found > 0.95
    assert rates.share < (0.75 if quality == 0.5 else 0.95)  # it is no guarantee of always calling the strong model


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("quality", [0.5, 0.8])
def test_mmlu_in_1000_splits(mmlu, quality):
    draws = 1000
    rates = simulate(mmlu, quality, 1000, draws)
    print(f"\nMMLU, PGR >= {quality}: {rates}")
    assert rates.violated <= allowed(draws)
    assert rates.found > 0.9
    assert rates.share < 0.95


p_value = quality_floor.betting_p_value


def no_margin(values, bound, level) -> float:
    """Take the sample's word for the population's."""
    return 0.0 if values.mean() > 0 else 1.0


def no_losses(values, bound, level) -> float:
    """Forget that the weak model is sometimes the better one."""
    return p_value(np.maximum(values, -0.1 * bound), bound, level)


def generous_level(values, bound, level) -> float:
    """Reject what a test at level .8 rejects."""
    return p_value(values, bound, 0.8) / 8


MISTAKES = [no_margin, no_losses, generous_level]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_weakened_bound_is_caught(synthetic, monkeypatch, mistake: Callable[..., float]):
    monkeypatch.setattr(quality_floor, "betting_p_value", mistake)
    draws = 150
    assert simulate(synthetic, 0.5, 400, draws, replace=True).violated > allowed(draws)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("quality", [0.5, 0.8])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_weakened_bound_is_caught_on_mmlu(mmlu, monkeypatch, mistake: Callable[..., float], quality):
    monkeypatch.setattr(quality_floor, "betting_p_value", mistake)
    rates = simulate(mmlu, quality, 1000, 150)
    print(f"\nMMLU, PGR >= {quality}, {mistake.__name__}: {rates}")
    assert rates.violated > allowed(150)
