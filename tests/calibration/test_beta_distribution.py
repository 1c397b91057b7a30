"""The beta distribution against SciPy."""

from __future__ import annotations

import math

import pytest

from fastroute.calibration.beta import beta_cdf, beta_quantile, proportion_interval

special = pytest.importorskip("scipy.special", reason="SciPy is the reference here")

SHAPES = [(1, 1), (0.5, 0.5), (1, 30), (30, 1), (2, 3), (50, 950), (500, 501), (7000, 3), (50_000, 50_000), (1, 10**6)]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_cdf_and_quantile(a, b):
    for p in (1e-6, 0.025, 0.3, 0.5, 0.9, 0.975, 1 - 1e-6):
        x = float(special.betaincinv(a, b, p))
        assert beta_cdf(x, a, b) == pytest.approx(float(special.betainc(a, b, x)), rel=1e-8, abs=1e-12)
        assert beta_quantile(p, a, b) == pytest.approx(x, rel=1e-7, abs=1e-12)


def test_ends():
    assert (beta_cdf(0.0, 2, 3), beta_cdf(1.0, 2, 3)) == (0.0, 1.0)
    assert (beta_cdf(-1.0, 2, 3), beta_cdf(2.0, 2, 3)) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 50), (25, 50), (333, 1000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_proportion_interval(k, n, confidence):
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    assert proportion_interval(k, n, confidence) == pytest.approx((wanted.low, wanted.high), abs=1e-9)
    assert all(math.isfinite(end) for end in proportion_interval(k, n, confidence))
