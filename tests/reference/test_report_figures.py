"""``fastroute.reporting`` against the plain formulas, on random and degenerate logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.reference import report_reference as reference

from fastroute.reporting import Prices, report

PRICES = Prices(8.87, 0.0862)
FINE, TENTHS = 20, 16


def scores(kind: str, random: np.random.Generator) -> list[float]:
    n = 400
    drawn = {
        "spread": random.random(n),
        "narrow": 0.5 + random.normal(0, 1e-3, n),
        "tied": random.integers(0, 8, n) / 8,
        "alike": np.full(n, 0.3),
        "one": np.array([0.7]),
        "ends": random.integers(0, 2, n),
        "zeros": np.zeros(5),
        "ones": np.ones(5),
    }[kind]
    return [float(score) for score in np.clip(drawn, 0, 1).astype(np.float32)]


KINDS = ("spread", "narrow", "tied", "alike", "one", "ends", "zeros", "ones")


def log(folder: Path, name: str, values: list[float]) -> Path:
    path = folder / f"{name}.csv"
    path.write_text("score\n" + "".join(f"{np.float32(value)}\n" for value in values))
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_cuts(tmp_path, kind, seed):
    random = np.random.default_rng(seed)
    values = scores(kind, random)
    budget = float(random.uniform(0, 8.87 * len(values) / 1000))
    share, threshold = float(random.random()), float(random.choice(values))
    path = log(tmp_path, "log", values)
    found = report(path, prices=PRICES, threshold=threshold, budget=budget, strong_fraction=share)
    assert found.rows == len(values)
    assert (found.least, found.most) == (min(values), max(values))
    assert found.mean == pytest.approx(sum(values) / len(values), abs=1e-12)
    cuts = {target.kind: target.cut for target in found.targets}
    assert cuts["threshold"].strong_rows == reference.strong_rows(values, threshold)
    wanted = reference.threshold_within(values, budget, 8.87, 0.0862, FINE)
    assert (None if cuts["budget"] is None else cuts["budget"].threshold) == wanted
    assert abs(cuts["strong_fraction"].share - share) == pytest.approx(reference.nearest_share(values, share, FINE))
    for cut in (*found.curve, *(cut for cut in cuts.values() if cut)):
        assert 0 <= cut.threshold <= 1
        assert cut.strong_rows == reference.strong_rows(values, cut.threshold)
        assert cut.share == cut.strong_rows / len(values)
        assert cut.dollars == pytest.approx(reference.dollars(values, cut.threshold, 8.87, 0.0862))
        assert cut.saved == pytest.approx(found.strong_dollars - cut.dollars)
        assert cut.low <= cut.share <= cut.high
    shares = [cut.share for cut in found.curve]
    assert shares[0] == 1
    assert shares == sorted(set(shares), reverse=True)
    assert sum(found.shape.log) == len(values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", KINDS)
def test_drift(tmp_path, kind, other):
    random = np.random.default_rng(3)
    values, against = scores(kind, random), scores(other, random)
    found = report(log(tmp_path, "log", values), against=log(tmp_path, "other", against), resamples=50)
    assert found.calibration is not None
    drift = found.calibration.drift
    assert drift.psi == pytest.approx(reference.psi(values, against, TENTHS), abs=1e-12)
    # within a bin of the fine grid scores are alike: the distance can't be larger, and two bins' scores less
    exact = reference.ks(values, against)
    tied = max(np.unique(np.floor(np.array(side) * 2**FINE), return_counts=True)[1].max() for side in (values, against))
    assert exact - 2 * tied / min(len(values), len(against)) <= drift.ks <= exact + 1e-12
    if kind not in ("narrow",) and other not in ("narrow",):
        assert drift.ks == pytest.approx(exact, abs=1e-12)
    assert drift.ks_low <= drift.ks <= drift.ks_high
    assert sum(found.shape.calibration) == len(against)
    few = min(len(values), len(against)) < 50
    assert (drift.psi_low is None, drift.psi_high is None) == (few, few)
    assert few or 0 <= drift.psi_low <= drift.psi_high < np.inf
    assert 0 <= drift.psi_chance < np.inf
    assert 0 <= drift.ks_p <= 1


def test_the_p_value_is_kolmogorov_s(tmp_path):
    special = pytest.importorskip("scipy.special")
    random = np.random.default_rng(5)
    for shift in (0, 0.02, 0.05, 0.1, 0.4):
        values, against = random.random(500), np.clip(random.random(700) + shift, 0, 1)
        found = report(log(tmp_path, "log", values), against=log(tmp_path, "other", against), resamples=10)
        drift = found.calibration.drift
        x = drift.ks * (500 * 700 / 1200) ** 0.5
        assert drift.ks_p == pytest.approx(special.kolmogorov(x), abs=1e-9)
