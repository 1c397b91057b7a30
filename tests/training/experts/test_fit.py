"""The whole fit: against the plain recipe, and on data that are too little, lopsided or wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.reference.experts_reference import fit_and_predict

from fastroute import _core
from fastroute.encoders import StaticEncoder
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownModelError
from fastroute.routers import ExpertsRouter
from fastroute.training.comparisons import Plan, tasks_from_outcomes
from fastroute.training.experts import fit_experts
from fastroute.training.experts.gold import GoldLabels
from fastroute.training.splits import fold_of

from .conftest import outcome_rows


def gold_exam(count: int = 400, seed: int = 5) -> GoldLabels:
    """An exam with a format of its own, in which the weak model fails where the prompt says "prove"."""
    rng = np.random.default_rng(seed)
    hard = rng.integers(0, 2, count).astype(bool)
    words = ["the", "sum", "of", "that", "why"]
    prompts = tuple(
        f"Exam {i}: {' '.join(rng.choice(words, 8))} {'prove' if h else 'is'} it\nA. yes\nB. no\nC. 1\nD. 2"
        for i, h in enumerate(hard)
    )
    strong = (rng.random(count) < 0.9).astype(np.float64)
    weak = (rng.random(count) < np.where(hard, 0.3, 0.9)).astype(np.float64)
    return GoldLabels("exam", tuple(f"g{i}" for i in range(count)), prompts, strong, weak)


@pytest.mark.parametrize("comparable", [True, False])
def test_gains_are_those_of_the_plain_recipe(encoder: StaticEncoder, comparable: bool) -> None:
    """Folded weights in the core against a recipe that folds nothing; two domains, one of them weak-only."""
    (sums, talk), _ = tasks_from_outcomes(outcome_rows(400))
    weak = "small" if comparable else "medium"  # of the second task
    tiers = {"sums": (("large",), ("small",)), "talk": (("large",), (weak,))}
    plan = Plan(prior={"sums": 0.7}, weak_only=frozenset({"talk"}), tiers=tiers)
    fitted = fit_experts([sums, talk], encoder.embed, pair=("large", "small"), plan=plan, seed=3)
    assert fitted.comparable is comparable
    prompts = [*sums.prompts, *talk.prompts]
    native = _core.DomainExperts(encoder.native, **fitted.parameters)
    large = sums.models.index("large")
    expected = fit_and_predict(
        _core.surface_features(prompts).astype(np.float64),
        encoder.embed(prompts).astype(np.float64),
        ["sums"] * len(sums.prompts) + ["talk"] * len(talk.prompts),
        np.concatenate([sums.scores[:, large], talk.scores[:, large]]),
        np.concatenate([sums.scores[:, sums.models.index("small")], talk.scores[:, talk.models.index(weak)]]),
        folds=fold_of((*sums.keys, *talk.keys), 3),
        prior={"sums": 0.7, "talk": 0.3},
        weak_only=frozenset({"talk"}),
        comparable=comparable,
    )
    assert expected.std() > 0.03
    np.testing.assert_allclose(native.gain(prompts), expected, atol=1e-5)


def test_a_domain_that_needs_the_strong_model_gets_it(encoder: StaticEncoder) -> None:
    """Where domains can be compared, their means count: here nothing else tells the prompts apart."""
    rows: dict[str, list[Any]] = {"prompt": [], "model": [], "score": [], "benchmark": []}
    rng = np.random.default_rng(0)
    for i in range(300):
        name, text = ("law", "appeal court statute") if i % 2 else ("small talk", "hello nice weather")
        for model, right in (("large", 0.9), ("small", 0.2 if i % 2 else 0.9)):
            rows["prompt"].append(f"{text} {i}")
            rows["model"].append(model)
            rows["score"].append(float(rng.random() < right))
            rows["benchmark"].append(name)
    for options in ({}, {"clusters": 2}):
        router = ExpertsRouter("large", "small", encoder=encoder).fit(rows, **options)
        gains = router.gain(["statute court appeal 999", "nice weather hello 999"])
        assert gains[0] == pytest.approx(0.7, abs=0.2)
        assert gains[1] == pytest.approx(0.0, abs=0.2)


def test_it_learns_what_the_data_say(encoder: StaticEncoder) -> None:
    router = ExpertsRouter("large", "small", encoder=encoder).fit(outcome_rows(600))
    fresh = outcome_rows(200, seed=1)
    prompts = fresh["prompt"][::3]
    hard = np.array([len(prompt) > 80 for prompt in prompts])
    gain = router.gain(prompts)
    assert gain[hard].mean() > gain[~hard].mean() + 0.2
    tasks = {task["task"]: task for task in router.metrics["tasks"]}
    assert set(tasks) == {"sums", "talk", "all together"}
    assert all(task["apgr_low"] > 0.5 for task in tasks.values())
    assert np.mean(router.score(prompts) >= router.threshold) == pytest.approx(0.5, abs=0.15)
    assert router.domains_ == ("sums", "talk")


def test_same_seed_same_bits(encoder: StaticEncoder) -> None:
    first, again, other = (
        ExpertsRouter("large", "small", encoder=encoder, seed=seed).fit(outcome_rows(200)).parameters_
        for seed in (1, 1, 2)
    )
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    assert any((first[name] != other[name]).any() for name in first)


def test_a_single_task_is_clustered(encoder: StaticEncoder) -> None:
    rows = outcome_rows(500)
    del rows["benchmark"]
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    assert len(router.domains_) == 2
    assert all(name.startswith("cluster ") for name in router.domains_)
    assert len(ExpertsRouter("large", "small", encoder=encoder).fit(rows, clusters=4).domains_) == 4
    with pytest.raises(InvalidArgumentError, match="clusters: not allowed beside a plan that names domains"):
        ExpertsRouter("large", "small", encoder=encoder).fit(rows, clusters=4, plan=Plan(domains={"a": ("*",)}))


def test_battles_teach_what_chat_looks_like(encoder: StaticEncoder) -> None:
    battles = {
        "prompt": [f"tell me a story about cats, number {i}" for i in range(40)],
        "model_a": ["x"] * 40,
        "model_b": ["y"] * 40,
        "winner": ["tie"] * 40,
    }
    router = ExpertsRouter("large", "small", encoder=encoder).fit(outcome_rows(100), preferences=battles)
    assert router.domains_ == ("chat", "sums", "talk")
    why = router.explain("tell me a story about dogs")
    assert why.domains[0].domain == "chat"
    overall = np.mean([task["strong"] - task["weak"] for task in router.metrics["tasks"]])
    assert why.domains[0].gain == pytest.approx(overall, abs=1e-6)  # nobody scored a chat


def test_judge_scores_become_chat(encoder: StaticEncoder) -> None:
    rows = outcome_rows(100, benchmarks=("any",))
    marks = {**rows, "score": [1 + 9 * score for score in rows["score"]]}
    router = ExpertsRouter("large", "small", encoder=encoder).fit(judge_scores=marks)
    assert router.metrics["tasks"][0]["task"] == "chat"
    with pytest.raises(DataError, match="outcomes: has a task 'chat'"):
        ExpertsRouter("large", "small").fit(outcome_rows(100, benchmarks=("chat",)), judge_scores=marks)


def test_domains_that_are_lopsided(encoder: StaticEncoder) -> None:
    """A task of two prompts, and one where everybody is always right: finite weights, and no gain to speak of."""
    rows = outcome_rows(100)
    for model in ("large", "small"):
        rows["prompt"] += ["law one", "law two", *(f"easy {i}" for i in range(30))]
        rows["model"] += [model] * 32
        rows["score"] += [1.0] * 32
        rows["benchmark"] += ["law"] * 2 + ["easy"] * 30
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    assert set(router.domains_) == {"easy", "other", "sums", "talk"}
    gains = router.gain(["law one", "easy 5", *rows["prompt"][:30]])
    assert np.isfinite(gains).all()
    easy = next(task for task in router.metrics["tasks"] if task["task"] == "easy")
    assert easy["apgr"] is None  # nothing can be gained


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({}, InvalidArgumentError, "outcomes, judge_scores: found neither"),
        ({"outcomes": outcome_rows(5)}, DataError, "outcomes: found 5 prompts with scores of both sides, needed: 20"),
        (
            {"outcomes": {"prompt": ["p"] * 2, "model": ["large", "small"], "score": [0, 1]}},
            DataError,
            "found 1 prompts with scores",
        ),
        ({"outcomes": outcome_rows(30), "score_range": (1, 1)}, InvalidArgumentError, "score_range: found 1 to 1"),
        ({"outcomes": outcome_rows(30), "score_range": (0, float("inf"))}, InvalidArgumentError, "score_range"),
        ({"outcomes": outcome_rows(30), "plan": Plan(prior={"law": 0.1})}, InvalidArgumentError, "prior names"),
        (
            {"outcomes": outcome_rows(30), "plan": Plan(tiers={"sums": (("a",), ("small",))})},
            DataError,
            "tiers.sums.strong: none of its models",
        ),
        (
            {"outcomes": outcome_rows(30), "plan": Plan(domains={"a": ("law",)})},
            DataError,
            "none of its domains has a pattern",
        ),
        ({"outcomes": outcome_rows(30), "plan": "no-such"}, DataError, "no such plan"),
        ({"judge_scores": outcome_rows(30)}, DataError, "column 'score', row 2.* from 1 to 10"),
        (
            {"outcomes": outcome_rows(30), "gold": {"exam": {"prompt": ["p"], "strong": [1], "weak": [0]}}},
            DataError,
            "gold exam: found 1 labelled prompts, needed: 50",
        ),
        ({"outcomes": outcome_rows(30), "gold": {"exam": {"prompt": ["p"]}}}, DataError, "no column 'strong'"),
        ({"judge_scores": outcome_rows(3), "domain_column": "x"}, InvalidArgumentError, "domain_column: a column of"),
    ],
)
def test_what_is_wrong_is_named(
    encoder: StaticEncoder, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ExpertsRouter("large", "small", encoder=encoder).fit(**given)


def test_models_that_nobody_scored() -> None:
    with pytest.raises(UnknownModelError, match=r"weak: found 'tiny'.*nearest of its 3 models"):
        ExpertsRouter("large", "tiny").fit(outcome_rows(30))


def test_gold_acts_on_its_set_and_nowhere_else(encoder: StaticEncoder) -> None:
    rows = outcome_rows(600)
    gold = gold_exam()
    without = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows, gold=[gold])
    # The training prompts, and prompts with options that neither set knows: not a bit changes.
    far = [
        *rows["prompt"][::3],
        *(f"{'word ' * 40} {i}?\n" + "".join(f"{c}. x\n" for c in "ABCDEFGHIJ") for i in range(50)),
    ]
    changed = router.gain(far) != without.gain(far)
    assert changed.mean() <= 0.01
    # Its own set: the gate is open for most, and the gold expert knows what to look for.
    fresh = gold_exam(200, seed=6)
    hard = np.array(["prove" in prompt for prompt in fresh.prompts])
    gain = router.gain(list(fresh.prompts))
    assert gain[hard].mean() > gain[~hard].mean() + 0.2
    assert gain[hard].mean() - gain[~hard].mean() > 4 * abs(
        np.subtract(*[without.gain(list(fresh.prompts))[h].mean() for h in (hard, ~hard)])
    )
    assert np.mean([router.explain(prompt).domains[0].domain == "gold: exam" for prompt in fresh.prompts]) > 0.6
    assert router.gold_ == ("exam",)
    (report,) = router.metrics["gold"]
    assert report["task"] == "exam"
    assert report["apgr_low"] > 0.5
    assert report["acts_on"] > 0.6
    assert router.metrics["held_out_apgr"] == without.metrics["held_out_apgr"]


def test_gold_that_is_in_the_outcomes_too(encoder: StaticEncoder) -> None:
    """Its prompts are no negatives of its own gate, which would shut it."""
    gold = gold_exam()
    rows = outcome_rows(200)
    for model, scores in (("large", gold.strong), ("small", gold.weak)):
        rows["prompt"] += gold.prompts
        rows["model"] += [model] * len(gold.prompts)
        rows["score"] += scores.tolist()
        rows["benchmark"] += ["exam"] * len(gold.prompts)
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows, gold=[gold])
    assert router.metrics["gold"][0]["acts_on"] > 0.6


@pytest.mark.parametrize("gain", [1.0, -1.0, 0.0])
def test_the_threshold_is_on_the_scale_of_scores(encoder: StaticEncoder, gain: float) -> None:
    """Also where gains are so large that scores are bent: half of the prompts reach it, and one at least."""
    prompts = [f"prompt {i} {'word ' * (i % 7)}" for i in range(60)]
    scores = [0.5 + gain / 2, 0.5 - gain / 2]
    rows = {
        "prompt": prompts * 2,
        "model": ["large"] * 60 + ["small"] * 60,
        "score": [scores[0]] * 60 + [scores[1]] * 60,
    }
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    assert np.mean(router.score(prompts) >= router.threshold) >= 0.5


@pytest.mark.parametrize("count", [40, 100, 300])
def test_half_of_fresh_prompts_reach_the_threshold(encoder: StaticEncoder, count: int) -> None:
    """However weak the signal: the rows of folds with other levels don't decide it."""
    rng = np.random.default_rng(count)
    words = ["sum", "of", "prove", "that", "why", "apples", "story", "code"]

    def prompts(n: int) -> list[str]:
        return [" ".join(rng.choice(words, 12)) + f" {rng.integers(1000)}" for _ in range(n)]

    known = prompts(count)
    rows = {
        "prompt": known * 2,
        "model": ["large"] * count + ["small"] * count,
        "score": (rng.random(2 * count) < np.repeat([0.8, 0.5], count)).tolist(),
    }
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    assert np.mean(router.score(prompts(2000)) >= router.threshold) == pytest.approx(0.5, abs=0.25)


def test_rare_domains_spoil_nothing(encoder: StaticEncoder) -> None:
    rows = outcome_rows(300, benchmarks=("any",))
    plain = ExpertsRouter("large", "small", encoder=encoder).fit(rows, clusters=1)
    rows["benchmark"] = [f"rare {i // 3}" if i // 3 < 5 else "any" for i in range(900)]
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    assert router.domains_ == ("any", "other")
    figures = {task["task"]: task["apgr"] for task in router.metrics["tasks"]}
    assert figures["any"] == pytest.approx(plain.metrics["tasks"][0]["apgr"], abs=0.05)
    assert np.mean(router.score(rows["prompt"]) >= router.threshold) == pytest.approx(0.5, abs=0.1)
    # A plan may insist on a domain of one prompt: folds without it are trained all the same.
    plan = Plan(domains={"one": ("rare 0",), "rest": ("*",)})
    insisted = ExpertsRouter("large", "small", encoder=encoder).fit(rows, plan=plan)
    assert insisted.domains_ == ("one", "rest")
    figures = {task["task"]: task["apgr"] for task in insisted.metrics["tasks"]}
    assert figures["any"] == pytest.approx(plain.metrics["tasks"][0]["apgr"], abs=0.05)


def test_tasks_that_can_not_be_compared_are_left_out(encoder: StaticEncoder) -> None:
    rows = outcome_rows(60, benchmarks=("sums",))
    for i in range(10):
        rows["prompt"].append(f"law {i}")
        rows["model"].append("large" if i % 2 else "small")
        rows["score"].append(1.0)
        rows["benchmark"].append("law")
    router = ExpertsRouter("large", "small", encoder=encoder).fit(rows)
    assert router.metrics["tasks_left_out"] == ["law"]


def test_prompts_of_one_id_stay_prompts(encoder: StaticEncoder) -> None:
    rows = outcome_rows(120, benchmarks=("any",))
    rows["prompt_id"] = [f"conversation {i // 30}" for i in range(360)]
    (task,), _ = tasks_from_outcomes(rows)
    assert len(task.prompts) == len(set(task.prompts)) == 120
    assert len(set(task.keys)) == 12
    folds = fold_of(task.keys, 0)
    assert all(len({fold for key, fold in zip(task.keys, folds, strict=True) if key == one}) == 1 for one in task.keys)
    assert ExpertsRouter("large", "small", encoder=encoder).fit(rows).metrics["tasks"][0]["prompts"] == 120


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ({"plan": 5}, InvalidTypeError, "plan: found int"),
        ({"clusters": -1}, InvalidArgumentError, "clusters: found -1"),
        ({"clusters": 1.5}, InvalidTypeError, "clusters: found float"),
        ({"clusters": True}, InvalidTypeError, "clusters: found bool"),
        ({"clusters": 7}, InvalidArgumentError, "clusters: found 7, allowed: at most 6 for 120 prompts"),
        ({"clusters": 2, "domain_column": "benchmark"}, InvalidArgumentError, "clusters, domain_column: found both"),
        ({"clusters": 2, "plan": Plan(prior={"a": 0.5})}, InvalidArgumentError, "clusters: not allowed beside a plan"),
        ({"domain_column": 5}, InvalidTypeError, "domain_column: found int"),
        ({"score_range": 5}, InvalidTypeError, "score_range: found 5"),
        ({"score_range": ("a", "b")}, InvalidTypeError, "score_range: found"),
        ({"gold": 5}, InvalidTypeError, "gold: found int"),
        ({"gold": [1]}, InvalidTypeError, "gold: found int, allowed: GoldLabels"),
        ({"gold": {5: {"prompt": ["p"], "strong": [1], "weak": [0]}}}, InvalidTypeError, "gold: found the name 5"),
        ({"gold": {"": {"prompt": ["p"], "strong": [1], "weak": [0]}}}, InvalidTypeError, "gold: found the name ''"),
        ({"gold": [gold_exam(60), gold_exam(60)]}, InvalidArgumentError, "gold: found the names exam, exam"),
        (
            {"gold": [replace(gold_exam(60), strong=np.full(60, 5.0))]},
            InvalidArgumentError,
            "strong: found a score out",
        ),
        ({"gold": [replace(gold_exam(60), weak=np.full(60, np.nan))]}, InvalidArgumentError, "weak: found a score out"),
        ({"gold": [replace(gold_exam(60), weak=np.zeros(3))]}, InvalidTypeError, "weak: found no array with one"),
        ({"plan": Plan(tiers={"sums": (("large",), ("large", "small"))})}, DataError, "found 'large' on both sides"),
    ],
)
def test_arguments_of_a_wrong_kind(
    encoder: StaticEncoder, given: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        ExpertsRouter("large", "small", encoder=encoder).fit(outcome_rows(120), **given)


def test_weights_can_not_be_changed(encoder: StaticEncoder) -> None:
    router = ExpertsRouter("large", "small", encoder=encoder).fit(outcome_rows(60))
    with pytest.raises(ValueError, match="read-only"):
        router.parameters_["expert_surface"][:] = 0


def test_figures_are_of_what_the_encoder_has_not_seen(encoder: StaticEncoder) -> None:
    rows = outcome_rows(300)

    def unseen(keys: tuple[str, ...]) -> np.ndarray:
        return np.array([int(key[0], 16) < 6 for key in keys], np.bool_)

    router = ExpertsRouter("large", "small", encoder=encoder)
    every = {task["task"]: task["prompts"] for task in router.fit(rows).metrics["tasks"]}
    counted = {task["task"]: task["prompts"] for task in router.fit(rows, unseen=unseen).metrics["tasks"]}
    assert every["all together"] == 300
    assert 50 < counted["all together"] < 200
    assert counted["sums"] + counted["talk"] == counted["all together"]
    none = router.fit(rows, unseen=lambda keys: np.zeros(len(keys), np.bool_)).metrics
    assert none["tasks"] == []
    assert none["held_out_apgr"] is None


@pytest.mark.parametrize(
    "found", [lambda n: np.ones(n, np.int64), lambda n: [True] * n, lambda n: np.ones(n - 1, np.bool_)]
)
def test_a_mask_is_a_mask(encoder: StaticEncoder, found: Any) -> None:
    with pytest.raises(InvalidTypeError, match=r"^unseen: found "):
        ExpertsRouter("large", "small", encoder=encoder).fit(outcome_rows(60), unseen=lambda keys: found(len(keys)))


@pytest.mark.parametrize(
    ("embed", "message"),
    [
        (lambda prompts: np.zeros((len(prompts), 7), np.float32), "found 7 dimensions, allowed: the encoder's 256"),
        (lambda prompts: np.zeros((len(prompts) - 1, 256), np.float32), r"found shape \(\d+, 256\) for \d+ prompts"),
        (lambda prompts: np.full((len(prompts), 256), np.nan, np.float32), "row 0 holds NaN"),
        (lambda prompts: None, "found NoneType"),
    ],
)
def test_bad_embeddings_leave_the_router_as_it_was(encoder: StaticEncoder, embed: Any, message: str) -> None:
    router = ExpertsRouter("large", "small", encoder=encoder).fit(outcome_rows(60))
    before, parameters = router.score("prove it"), router.parameters_
    with pytest.raises(InvalidArgumentError, match=f"^embed: {message}"):
        router.fit(outcome_rows(80, seed=1), embed=embed)
    assert router.parameters_ is parameters
    assert router.score("prove it") == before
