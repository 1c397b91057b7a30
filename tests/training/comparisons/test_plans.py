"""Plans: what a file says, and everything it may say wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.training.comparisons.plan import BUILT_IN_PLANS, Plan, check_prior, parse_plan, read_plan


def test_built_in_plans_are_whole() -> None:
    for name in BUILT_IN_PLANS:
        plan = read_plan(name)
        assert plan.prior == {"chat": 0.5}
        assert plan.weak_only == {"chat"}
        assert len(plan.domains) == 11
        for strong, weak in plan.tiers.values():
            assert strong
            assert weak
            assert not set(strong) & set(weak)
        assert plan.domain_of("llmrouter:gsm8k") == "grade-school maths"
        assert plan.domain_of("routerarena:MathQA") is None


def test_the_first_pattern_that_matches_counts(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({"domains": {"maths": ["*math*"], "rest": ["*"]}}))
    plan = read_plan(tmp_path / "plan.json")
    assert [plan.domain_of(task) for task in ("x-math-1", "math", "code", "MATH")] == ["maths", "maths", "rest", "rest"]
    assert Plan().domain_of("anything") == "anything"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ([], "found list, allowed: a JSON object"),
        ({"tier": {}}, "found the member 'tier', allowed: domains, prior, weak_only, tiers"),
        ({"domains": []}, "domains: found list, allowed: an object"),
        ({"domains": {"a": "x"}}, "domains.a: found 'x', allowed: a list of names"),
        ({"domains": {"a": [1]}}, r"domains.a: found \[1\], allowed"),
        ({"domains": {"a": [""]}}, "domains.a"),
        ({"prior": {"a": 0}}, "prior.a: found 0, allowed: a number above 0, at most 1"),
        ({"prior": {"a": float("nan")}}, "prior.a: found nan"),
        ({"prior": {"a": True}}, "prior.a: found True"),
        ({"prior": {"a": "half"}}, "prior.a: found 'half'"),
        ({"prior": {"a": 0.6, "b": 0.6}}, "the shares add up to 1.2, allowed: at most 1"),
        ({"weak_only": "chat"}, "weak_only: found 'chat', allowed: a list of names"),
        ({"tiers": {"t": {"strong": ["a"]}}}, "tiers.t: found .*, allowed: an object of 'strong' and 'weak'"),
        ({"tiers": {"t": {"strong": ["a"], "weak": "b"}}}, "tiers.t.weak: found 'b'"),
    ],
)
def test_what_is_wrong_is_named(raw: object, says: str) -> None:
    with pytest.raises(DataError, match=rf"^here: .*{says}"):
        parse_plan(raw, "here")


def test_files_that_are_no_plans(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such plan; allowed: open-data, or the path of a JSON file"):
        read_plan(tmp_path / "absent.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="broken JSON"):
        read_plan(tmp_path / "broken.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="broken JSON"):
        read_plan(tmp_path / "deep.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="can't be read"):
        read_plan(tmp_path / "bytes.json")
    with pytest.raises(DataError, match="can't be read"):
        read_plan(tmp_path)


def test_a_prior_of_a_domain_that_is_not_there() -> None:
    with pytest.raises(InvalidArgumentError, match=r"prior names the domain 'law', .* the data have a, b"):
        check_prior(Plan(prior={"law": 0.5}), ("a", "b"))
