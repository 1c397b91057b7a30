"""Metrics against a plain reference, their properties and their edges."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference import evaluation_reference as reference
from tests.reference.evaluation_reference import Question

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.evaluation import Outcomes, curve_of, measure
from fastroute.evaluation.metrics import apgr_10, oracle_scores

OWN = 1e-3


def random_case(rng: np.random.Generator) -> tuple[np.ndarray, Outcomes]:
    """Many ties, small and large; right and wrong, or marks; one price for all, or one each."""
    n = int(rng.integers(1, 60))
    scores = rng.integers(0, int(rng.choice([1, 2, 5, 20, 1000])) + 1, n) / 7
    marks = int(rng.choice([1, 9]))
    weak, strong = rng.integers(0, marks + 1, n) / 2, rng.integers(0, marks + 2, n) / 2
    prices = (rng.random(n), rng.random(n) * 20) if rng.random() < 0.5 else (0.25, 3.0)
    return scores, Outcomes.of(weak, strong, weak_dollars=prices[0], strong_dollars=prices[1])


def questions_of(scores: np.ndarray, outcomes: Outcomes) -> list[Question]:
    columns = scores, outcomes.weak, outcomes.strong, outcomes.weak_dollars, outcomes.strong_dollars
    return [Question(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def close(value: float | None) -> object:
    return None if value is None else pytest.approx(value, rel=1e-9, abs=1e-9)


def test_every_metric_equals_the_plain_reference_on_a_thousand_cases_with_ties() -> None:
    rng = np.random.default_rng(3)
    undefined = tied = 0
    for _ in range(1000):
        scores, outcomes = random_case(rng)
        questions = questions_of(scores, outcomes)
        threshold, keep = float(rng.choice(scores)), float(rng.choice([0.5, 0.95, 1.0]))
        found = measure(scores, outcomes, threshold=threshold, keep=keep, router_dollars=OWN)
        cuts = reference.cuts(questions, OWN)
        curve = curve_of(scores, outcomes, router_dollars=OWN)
        assert curve.share.tolist() == close([cut.share for cut in cuts])
        assert curve.quality.tolist() == close([cut.quality for cut in cuts])
        assert curve.dollars.tolist() == close([cut.dollars for cut in cuts])
        assert found.apgr == close(reference.apgr(questions))
        assert found.auc == close(reference.area([(cut.share, cut.quality) for cut in cuts]))
        weak, strong = cuts[0], cuts[-1]
        for part, cpt, saving, dollar_saving in (
            (0.5, found.cpt_50, found.saving_50, found.dollar_saving_50),
            (0.8, found.cpt_80, found.saving_80, found.dollar_saving_80),
        ):
            expected = reference.cpt(questions, part)
            assert cpt == close(expected)
            if expected is None:
                assert (saving, dollar_saving) == (None, None)
                continue
            at = next(cut for cut in cuts if cut.share == expected)
            random = weak.dollars - OWN + part * (strong.dollars - weak.dollars)
            assert saving == close(part / expected)
            assert dollar_saving == close(random / at.dollars)
        share, dollars = reference.kept(questions, keep, OWN)
        assert (found.keep_share, found.keep_dollars) == (close(share), close(dollars))
        assert found.keep_reduction == close(1 - dollars / (strong.dollars - OWN))
        at = reference.cut_at(questions, [q.score >= threshold for q in questions], OWN)
        assert (found.threshold_share, found.threshold_quality) == (close(at.share), close(at.quality))
        assert found.threshold_dollars == close(at.dollars)
        undefined += found.apgr is None
        tied += len(cuts) < len(questions)
    assert undefined > 50
    assert tied > 500


def test_apgr_10_equals_routellms_formula_on_continuous_scores() -> None:
    """Where a quantile is a score, RouteLLM's rounding decides which side that question is on: not compared."""
    rng = np.random.default_rng(4)
    checked = 0
    for _ in range(1000):
        n = int(rng.integers(11, 400))
        scores = rng.random(n)
        outcomes = Outcomes.of(rng.random(n) < 0.6, rng.random(n) < 0.8)
        if outcomes.strong.mean() > outcomes.weak.mean() and math.gcd(n - 1, 10) == 1:
            expected = reference.routellm_apgr(questions_of(scores, outcomes))
            assert apgr_10(scores, outcomes) == pytest.approx(expected, abs=1e-9)
            checked += 1
    assert checked > 300


def test_apgr_10_by_hand_with_ties() -> None:
    """11 questions: quantiles are the scores themselves; the three highest are equal."""
    scores = [0, 1, 2, 3, 4, 5, 6, 7, 9, 9, 9]
    outcomes = Outcomes.of([0] * 11, [0] * 8 + [1, 1, 1])
    # at thresholds 10%..90%: 10, 9, .., 4 and then 3 (twice) sent; all gained at 3
    assert apgr_10(scores, outcomes) == pytest.approx((3 / 11) / 2 + 8 / 11)


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), min_size=1, max_size=30),
    seed=st.integers(0, 99),
)
@settings(max_examples=200, deadline=None)
def test_properties(rows: list[tuple[int, bool, bool]], seed: int) -> None:
    scores, weak, strong = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    outcomes = Outcomes.of(weak, strong)
    found = measure(scores, outcomes, threshold=2.5)
    oracle = measure(oracle_scores(outcomes), outcomes)
    order = np.random.default_rng(seed).permutation(len(rows))
    assert asdict(measure(scores[order], outcomes.take(order), threshold=2.5)) == {
        key: close(value) for key, value in asdict(found).items()
    }
    monotone = measure(np.exp(scores), outcomes)
    assert (monotone.apgr, monotone.cpt_50) == (close(found.apgr), found.cpt_50)
    assert oracle.auc >= found.auc - 1e-9
    assert oracle.keep_share <= found.keep_share
    assert found.keep_dollars <= found.keep_share * 0.00887 + (1 - found.keep_share) * 0.0000862 + 1e-8
    if found.apgr is None:
        assert strong.mean() <= weak.mean()
        return
    reversed_ = measure(-scores, outcomes)
    assert found.apgr + reversed_.apgr == pytest.approx(1)
    assert 0 < found.cpt_50 <= found.cpt_80 <= 1
    assert found.auc == pytest.approx(weak.mean() + found.apgr * (strong.mean() - weak.mean()))


def test_a_curve_that_is_not_monotone_gives_the_first_cut_that_qualifies() -> None:
    """PGR goes 0, 1, 0, 1: interpolation over sorted quality would give something else."""
    outcomes = Outcomes.of([0, 1, 0], [1, 0, 1])
    found = measure([3, 2, 1], outcomes)
    assert (found.cpt_50, found.cpt_80) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.apgr == pytest.approx(0.5 * 1 / 3 * 3)


def test_keeping_part_of_the_quality_takes_the_cheapest_cut_not_the_smallest_share() -> None:
    outcomes = Outcomes.of([0, 1], [1, 1], weak_dollars=[1, 5], strong_dollars=[2, 1])
    found = measure([2, 1], outcomes, router_dollars=0)
    assert (found.keep_share, found.keep_dollars) == (0.5, 1.5)
    assert found.keep_reduction == 0


def test_nothing_to_recover_is_none() -> None:
    for weak, strong in (([1, 0], [0, 1]), ([1, 1], [0, 1]), ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1])):
        found = measure(np.arange(len(weak)), Outcomes.of(weak, strong), threshold=0.5)
        missing = {key for key, value in asdict(found).items() if value is None}
        assert missing == {
            "apgr", "apgr_10", "cpt_50", "cpt_80", "saving_50", "saving_80",
            "dollar_saving_50", "dollar_saving_80", "threshold_pgr",
        }  # fmt: skip
        assert found.keep_share == 0


def test_equal_scores_are_one_cut() -> None:
    found = measure([0.3] * 4, Outcomes.of([0, 0, 1, 0], [1, 1, 1, 0]))
    assert (found.apgr, found.apgr_10, found.cpt_50, found.saving_50) == (0.5, 0.5, 1, 0.5)


def test_one_question() -> None:
    found = measure([0.3], Outcomes.of([0], [1]), threshold=0.3)
    assert (found.apgr, found.apgr_10, found.cpt_80, found.threshold_share, found.threshold_pgr) == (0.5, 0.5, 1, 1, 1)


def test_negative_quality_has_no_floor() -> None:
    found = measure([1, 2], Outcomes.of([-3, -3], [-1, -1]))
    assert (found.keep_share, found.keep_dollars, found.keep_reduction) == (None, None, None)
    assert found.apgr == 0.5


@pytest.mark.parametrize(
    ("scores", "weak", "strong", "message"),
    [
        ([0.1, np.nan], [0, 0], [1, 1], r"scores: question 1: found nan"),
        ([0.1, 0.2], [0, np.inf], [1, 1], r"weak: question 1: found inf"),
        ([0.1], [0, 0], [1, 1], r"scores: found 1, and 2 questions"),
        ([0.1], [0, 0], [1], r"strong: found 1 questions, and 2 in weak"),
        ([], [], [], r"strong: found 0 questions"),
    ],
)
def test_bad_numbers(scores, weak, strong, message) -> None:
    with pytest.raises(DataError, match=message):
        measure(scores, Outcomes.of(weak, strong))


def test_bad_arguments() -> None:
    outcomes = Outcomes.of([0], [1])
    with pytest.raises(InvalidTypeError, match="scores: found list"):
        measure(["a"], outcomes)
    with pytest.raises(InvalidTypeError, match=r"weak: found shape \(1, 1\)"):
        Outcomes.of([[0]], [1])
    with pytest.raises(InvalidArgumentError, match=r"keep: found 1\.5, allowed: 0 to 1"):
        measure([1], outcomes, keep=1.5)
    with pytest.raises(InvalidArgumentError, match="keep: found nan"):
        measure([1], outcomes, keep=float("nan"))
    with pytest.raises(DataError, match=r"strong_dollars: question 0: found -1\.0"):
        Outcomes.of([0], [1], strong_dollars=-1)
