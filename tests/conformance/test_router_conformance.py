"""What every router must do (scorecard 11)."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastroute
from fastroute import Decision
from fastroute.errors import ArtifactError, InvalidArgumentError, InvalidTypeError
from fastroute.routers import Router

Same = Callable[[object, object], bool]

PROMPTS = [
    "prove that the sum is sqrt 2",
    "why",
    "",
    " \n",
    "what is the sum of 1, 2",
    "\u4e2d\u6587 \U0001f600 e\u0301",
    "a\ud800b",
    "[MASK] [CLS]",
    "x" * 5000,
    "the " * 3000,
    "\x00",
]


def test_is_a_router(router: Router) -> None:
    assert isinstance(router, Router)
    assert isinstance(router.kind, str)
    assert router.kind
    assert isinstance(router.strong, str)
    assert isinstance(router.weak, str)
    assert router.strong != router.weak
    assert isinstance(router.threshold, float)
    assert 0 <= router.threshold <= 1
    assert router.artifact == "" or (len(router.artifact) == 64 and set(router.artifact) <= set("0123456789abcdef"))


def test_one_prompt_gives_a_float(router: Router) -> None:
    for prompt in PROMPTS:
        score = router.score(prompt)
        assert type(score) is float
        assert 0 <= score <= 1


def test_a_batch_gives_an_array_in_order(router: Router, same: Same) -> None:
    scores = router.score(PROMPTS)
    assert isinstance(scores, np.ndarray)
    assert scores.dtype == np.float32
    assert scores.shape == (len(PROMPTS),)
    assert same(scores, np.array([router.score(prompt) for prompt in PROMPTS], np.float32))
    assert same(router.score(PROMPTS[::-1]), scores[::-1])
    assert len(set(scores.tolist())) > 3  # or the order would not show


def test_no_prompts_give_no_scores(router: Router) -> None:
    for nothing in ([], (), iter(())):
        scores = router.score(nothing)
        assert scores.shape == (0,)
        assert scores.dtype == np.float32
    assert router.route([]) == []


def test_equal_prompts_have_equal_scores(router: Router, same: Same) -> None:
    scores = router.score(PROMPTS * 50).reshape(50, -1)
    assert same(scores, np.tile(scores[0], (50, 1)))


def test_a_table_scores_as_its_prompts(router: Router, same: Same) -> None:
    """In place or not, by what the router says that it reads."""
    pa = pytest.importorskip("pyarrow")
    prompts = [prompt for prompt in PROMPTS if "\ud800" not in prompt]  # UTF-8 has no half of a surrogate pair
    for kind in (pa.string(), pa.large_string()):
        table = pa.table({"prompt": pa.array(prompts, kind)})
        scored = fastroute.score_table(table, router)
        assert same(scored["score"].to_numpy(), router.score(prompts))
    native = {"experts", "knn", "mf", "sw_ranking"}
    static = isinstance(router.encoder, fastroute.encoders.StaticEncoder)
    assert router.reads_arrow == (router.kind in native and static)  # type: ignore[attr-defined]


def test_scores_are_the_callers_own(router: Router) -> None:
    scores = router.score(PROMPTS)
    kept = scores.copy()
    scores[:] = -1
    np.testing.assert_array_equal(router.score(PROMPTS), kept)


def test_decisions_say_why(router: Router, same: Same) -> None:
    decisions = router.route(PROMPTS, threshold=0.25)
    assert isinstance(decisions, list)
    for prompt, decision in zip(PROMPTS, decisions, strict=True):
        score = router.score(prompt)
        model = router.strong if score >= 0.25 else router.weak
        if hasattr(router, "score_at"):  # stops where the threshold lets it: on the score's side
            score = router.score_at(prompt, 0.25)
            assert (score >= 0.25) == (model == router.strong)
        assert router.route(prompt, threshold=0.25) == Decision(model, score, 0.25, router.kind, router.artifact)
        assert same(decision.score, score)
        assert dataclasses.replace(decision, score=score) == router.route(prompt, threshold=0.25)
        assert type(decision.score) is float
        with pytest.raises(dataclasses.FrozenInstanceError):
            decision.model = "other"  # type: ignore[misc]


def test_a_score_at_the_threshold_goes_to_the_strong_model(router: Router) -> None:
    for prompt in PROMPTS:
        score = router.score(prompt)
        assert router.route(prompt, threshold=score).model == router.strong
        if score < 1:
            above = float(np.nextafter(score, 2))
            assert router.route(prompt, threshold=above).model == router.weak
        assert router.route(prompt, threshold=0).model == router.strong


def test_without_a_threshold_the_routers_own_counts(router: Router) -> None:
    for decision in (router.route(PROMPTS[0]), router.route(PROMPTS[0], threshold=None), *router.route(PROMPTS)):
        assert decision.threshold == router.threshold
    assert router.route(PROMPTS) == router.route(PROMPTS, threshold=router.threshold)


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan"), float("inf")])
def test_thresholds_outside_0_to_1(router: Router, bad: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"^threshold: "):
        router.route("a", threshold=bad)
    with pytest.raises(InvalidArgumentError, match=r"^threshold: "):
        router.route([], threshold=bad)


@pytest.mark.parametrize("bad", [None, 5, b"a", {"a": 1}, {"a"}, [5], ["a", None]])
def test_what_is_no_prompt(router: Router, bad: object) -> None:
    encoders = fastroute.encoders
    own = isinstance(router.encoder, (encoders.StaticEncoder, encoders.OnnxEncoder, encoders.OpenAIEncoder))
    if not own and router.kind not in ("bert", "causal_llm", "causal_llm_endpoint"):
        pytest.skip("a third party's encoder has errors of its own")
    for call in (router.score, router.route):
        with pytest.raises(InvalidTypeError, match=r"^prompts(\[\d\])?: found "):
            call(bad)


def test_saving_and_loading_change_nothing(router: Router, tmp_path: Path) -> None:
    scores = router.score(PROMPTS)
    sha256 = router.save(tmp_path / "saved")
    assert router.artifact == sha256
    again = fastroute.load(tmp_path / "saved", encoder=router.encoder)
    np.testing.assert_array_equal(again.score(PROMPTS), scores)
    assert again.route(PROMPTS) == router.route(PROMPTS)
    assert again.route("a").artifact == sha256
    for name in ("kind", "strong", "weak", "threshold", "artifact"):
        assert getattr(again, name) == getattr(router, name)
    # The same router gives the same bytes, from memory and from what was read back.
    assert again.save(tmp_path / "again") == sha256
    assert router.save(tmp_path / "saved") == sha256


def test_saving_over_something_else_is_refused(router: Router, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    before = router.artifact
    with pytest.raises(ArtifactError, match="mine"):
        router.save(tmp_path / "mine")
    assert router.artifact == before
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def test_several_threads_may_use_it(router: Router, same: Same) -> None:
    expected = router.score(PROMPTS)
    decisions = router.route(PROMPTS)

    def work(_: int) -> bool:
        alone = [router.score(prompt) for prompt in PROMPTS]
        return (
            np.array_equal(router.score(PROMPTS), expected)
            and same(np.array(alone, np.float32), expected)
            and router.route(PROMPTS) == decisions
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(100)))


def test_pickle_works_or_says_that_it_does_not(router: Router) -> None:
    try:
        copy = pickle.loads(pickle.dumps(router))
    except TypeError as error:
        assert "pickle" in str(error)  # noqa: PT017 - one of two good outcomes
    else:
        np.testing.assert_array_equal(copy.score(PROMPTS), router.score(PROMPTS))
