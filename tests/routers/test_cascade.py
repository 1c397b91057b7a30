"""A cascade of routers that ship, of tiny ones and of a third party's."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import fastroute
from fastroute import Budget, Decision, QualityFloor, Threshold
from fastroute.errors import ArtifactError, EncoderMismatchError, FastrouteError, InvalidArgumentError, InvalidTypeError
from fastroute.routers import CascadeRouter, RandomRouter, Router

WORDS = ["prove", "that", "the", "sum", "of", "two", "odd", "numbers", "is", "even", "say", "hello", "why", "2", "def"]


def texts(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, 40))) for _ in range(count)]


class Scripted:
    """A third party's router: a score is in the prompt; counts what it was asked."""

    kind = "scripted"
    strong, weak = "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"
    threshold = 0.5
    calibration: dict[str, object] = {}  # noqa: RUF012
    artifact = ""
    encoder = None

    def __init__(self, place: int) -> None:
        self.place, self.calls = place, []

    def score(self, prompts: str | Iterable[str]) -> object:
        self.calls.append(prompts)
        if isinstance(prompts, str):
            return float(prompts.split()[self.place])
        return np.array([float(prompt.split()[self.place]) for prompt in prompts], np.float32)

    def route(self, prompts: object, threshold: object = None, policy: object = None) -> object:
        raise NotImplementedError

    def with_threshold(self, threshold: float, calibration: object = None) -> Scripted:
        raise NotImplementedError

    def save(self, path: object) -> str:
        raise NotImplementedError


def scripted_prompts(count: int, noise: float = 0.3, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(count)
    y = x + noise * rng.standard_normal(count)
    one, two = (1 / (1 + np.exp(-v)) for v in (x, y))
    return [f"{a!r} {b!r}" for a, b in zip(one.tolist(), two.tolist(), strict=True)]


@pytest.fixture(scope="module")
def scripted() -> CascadeRouter:
    return CascadeRouter(Scripted(0), Scripted(1)).calibrate(scripted_prompts(4000), disagreement=0.05)


@pytest.fixture(scope="module", params=[("experts", "mf"), ("mf", "experts")], ids="-".join)
def built_in(request: pytest.FixtureRequest) -> CascadeRouter:
    first, second = (fastroute.load(name) for name in request.param)
    return CascadeRouter(first, second).calibrate(texts(1000), disagreement=0.1)


def test_decisions_are_the_second_routers_but_for_few(built_in: CascadeRouter) -> None:
    prompts = texts(4000, seed=1)
    strong = built_in.second.score(prompts).astype(float) >= built_in.threshold
    routed = [decision.model == built_in.strong for decision in built_in.route(prompts)]
    assert np.mean(strong != routed) <= 0.1
    assert built_in.calibration["bound"] <= 0.1
    assert 0 < built_in.calibration["escalated"] <= 1
    assert built_in.escalated == pytest.approx(built_in.calibration["escalated"], abs=0.08)


def test_one_score_serves_every_threshold(built_in: CascadeRouter) -> None:
    prompts = texts(500, seed=2)
    scores = built_in.score(prompts).astype(float)
    for threshold in [0.0, 1.0, built_in.threshold, *scores[:20].tolist(), *np.nextafter(scores[:5], 2).tolist()]:
        routed = [decision.model == built_in.strong for decision in built_in.route(prompts, threshold=threshold)]
        np.testing.assert_array_equal(routed, scores >= threshold)
        for policy in (Threshold(threshold), QualityFloor(0.5, 0.9, threshold, 10, 0.5, 0.5)):
            assert [d.model for d in built_in.route(prompts, policy=policy)] == [
                d.model for d in built_in.route(prompts, threshold=threshold)
            ]
        moved = built_in.with_threshold(threshold)
        np.testing.assert_array_equal(moved.score(prompts), built_in.score(prompts))
        assert moved.band == built_in.band_at(threshold)
    budget, again = Budget(0.3), Budget(0.3)
    expected = [again.choose(score) for score in scores.tolist()]
    assert [(d.model == built_in.strong, d.threshold) for d in built_in.route(prompts, policy=budget)] == expected


def test_the_score_is_the_seconds_within_the_bounds(scripted: CascadeRouter) -> None:
    prompts = scripted_prompts(2000, seed=1)
    first, second = (np.asarray(Scripted(place).score(prompts), np.float64) for place in (0, 1))
    scores, stopped = scripted.score(prompts).astype(float), scripted.score_at(prompts, 0.4).astype(float)
    band = scripted.band_at(0.4)
    assert band is not None
    inside = (first >= band[0]) & (first <= band[1])
    np.testing.assert_array_equal(stopped[inside], scores[inside])
    np.testing.assert_array_equal(scores[inside] >= 0.4, second[inside] >= 0.4)
    assert (stopped[first < band[0]] < 0.4).all()
    assert (stopped[first > band[1]] >= 0.4).all()
    for prompt, low_or_score in zip(prompts[:300], stopped.tolist(), strict=False):
        explained = scripted.with_threshold(0.4).explain(prompt)
        assert explained.score == low_or_score
        assert (explained.second is not None) == (explained.low < 0.4 <= explained.high)
        assert explained.low <= scripted.score(prompt) <= explained.high


def test_the_second_router_is_asked_once_and_only_for_the_band() -> None:
    first, second = Scripted(0), Scripted(1)
    cascade = CascadeRouter(first, second).calibrate(scripted_prompts(2000), disagreement=0.05)
    prompts = scripted_prompts(500, seed=3)
    band = cascade.band
    assert band is not None
    expected = [prompt for prompt in prompts if band[0] <= np.float32(prompt.split()[0]) <= band[1]]
    assert 0 < len(expected) < 300
    first.calls.clear()
    second.calls.clear()
    cascade.route(iter(prompts))
    assert second.calls == [expected]
    assert first.calls == [prompts]
    for prompt in prompts[:50]:
        second.calls.clear()
        cascade.route(prompt)
        assert second.calls == ([prompt] if prompt in expected else [])


def test_a_band_moves_with_the_threshold(scripted: CascadeRouter) -> None:
    lower, own, higher = (scripted.band_at(t) for t in (0.3, scripted.threshold, 0.7))
    assert lower is not None
    assert own == scripted.band
    assert own is not None
    assert higher is not None
    assert lower[0] < own[0] < higher[0]
    assert lower[1] < own[1] < higher[1]
    # The promise is for the own threshold; the same width is about as good at others.
    prompts = scripted_prompts(4000, seed=4)
    second = np.asarray(Scripted(1).score(prompts), np.float64)
    for threshold in (0.3, 0.7):
        routed = [decision.model == scripted.strong for decision in scripted.route(prompts, threshold=threshold)]
        assert np.mean(routed != (second >= threshold)) < 0.08


def test_identical_routers_never_ask(tmp_path: Path) -> None:
    router = fastroute.load("mf")
    cascade = CascadeRouter(router, router).calibrate(texts(600))
    assert cascade.band is None
    assert cascade.escalated == 0
    prompts = texts(500, seed=1)
    assert [d.model for d in cascade.route(prompts)] == [
        d.model for d in router.route(prompts, threshold=cascade.threshold)
    ]
    np.testing.assert_array_equal(cascade.score(prompts), router.score(prompts))


def test_one_prompt_asks_for_everything() -> None:
    cascade = CascadeRouter(fastroute.load("experts"), fastroute.load("mf")).calibrate(["hello"])
    assert "too few" in cascade.calibration["reason"]
    assert cascade.escalated == 1
    prompts = texts(100)
    np.testing.assert_array_equal(cascade.score(prompts), cascade.second.score(prompts))
    assert cascade.metrics["curve"] == []


def test_what_the_artifact_keeps(built_in: CascadeRouter, tmp_path: Path) -> None:
    before = built_in.first.artifact, built_in.second.artifact
    sha256 = built_in.save(tmp_path / "it")
    assert (built_in.first.artifact, built_in.second.artifact) == before
    loaded = fastroute.load(tmp_path / "it")
    assert isinstance(loaded, CascadeRouter)
    assert (loaded.artifact, loaded.calibration, loaded.band) == (sha256, built_in.calibration, built_in.band)
    assert loaded.first.artifact == built_in.first.artifact
    assert set(loaded.calibration["microseconds"]) == {"first", "second", "cascade"}
    assert all(0 < value < 1e6 for value in loaded.calibration["microseconds"].values())
    assert loaded.route("why") == built_in.route("why")
    other = loaded.with_threshold(0.9)
    assert other.calibration == {}
    other.save(tmp_path / "other")
    again = fastroute.load(tmp_path / "other")
    assert again.band == loaded.band_at(0.9)
    assert again.metrics == loaded.metrics


def test_saving_leaves_its_routers_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (fastroute.load(name).with_threshold(0.3) for name in ("mf", "experts"))
    cascade = CascadeRouter(first, second).calibrate(texts(300))
    sha256 = cascade.save(tmp_path / "it")
    assert (first.artifact, second.artifact, cascade.artifact) == ("", "", sha256)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(ArtifactError, match="a temporary folder can't be used: No such file"):
        cascade.save(tmp_path / "it")
    assert fastroute.load(tmp_path / "it").artifact == cascade.artifact == sha256
    assert [path.name for path in tmp_path.iterdir()] == ["it"]


def test_alone_and_in_a_batch_it_stops_at_the_same_place(scripted: CascadeRouter) -> None:
    prompts = scripted_prompts(200, seed=6)
    explained = [scripted.explain(prompt) for prompt in prompts[:40]]
    for threshold in [each.low for each in explained] + [each.high for each in explained]:
        alone = np.array([scripted.score_at(prompt, threshold) for prompt in prompts], np.float32)
        np.testing.assert_array_equal(scripted.score_at(prompts, threshold), alone)


def test_another_pair_leaves_everything_to_the_second_router(built_in: CascadeRouter, tmp_path: Path) -> None:
    built_in.save(tmp_path / "it")
    other = fastroute.load(tmp_path / "it", strong="gpt-4-turbo-2024-04-09")
    assert isinstance(other, CascadeRouter)
    assert (other.strong, other.threshold, dict(other.calibration)) == ("gpt-4-turbo-2024-04-09", 0.5, {})
    assert other.first.strong == other.second.strong == other.strong
    prompts = texts(50)
    np.testing.assert_array_equal(other.score(prompts), other.second.score(prompts))
    with pytest.raises(fastroute.errors.UnknownModelError, match="strong: found 'nobody'"):
        fastroute.load(tmp_path / "it", strong="nobody")


def test_an_encoder_that_none_of_them_reads_with(
    built_in: CascadeRouter, tmp_path: Path, tiny_encoder_folder: Path
) -> None:
    built_in.save(tmp_path / "it")
    fastroute.load(tmp_path / "it", encoder="static-minilm-l6")
    with pytest.raises(EncoderMismatchError, match="none of its routers was trained with encoder"):
        fastroute.load(tmp_path / "it", encoder=tiny_encoder_folder)


def test_cascades_inside_each_other() -> None:
    router: Router = RandomRouter()
    for depth in range(1, 4):
        router = CascadeRouter(router, RandomRouter(seed=depth)).calibrate(texts(300), disagreement=0.4)
    with tempfile.TemporaryDirectory() as folder:
        router.save(Path(folder) / "deep")
        loaded = fastroute.load(Path(folder) / "deep")
    prompts = texts(200, seed=1)
    np.testing.assert_array_equal(loaded.score(prompts), router.score(prompts))
    with pytest.raises(InvalidArgumentError, match="first, second: found cascades 4 deep, allowed: 3"):
        CascadeRouter(RandomRouter(), router)


def test_progress_and_the_same_artifact_from_the_same_prompts(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make = lambda: CascadeRouter(fastroute.load("mf"), fastroute.load("experts"))  # noqa: E731
    one = make().calibrate(iter(texts(1500)), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1024, 3000), (1500, 3000), (2524, 3000), (3000, 3000)]
    other = make().calibrate(texts(1500))
    timeless = [{k: v for k, v in each.calibration.items() if k != "microseconds"} for each in (one, other)]
    assert timeless[0] == timeless[1]
    assert one.metrics == other.metrics


def test_threads_share_it(built_in: CascadeRouter) -> None:
    prompts = texts(300, seed=5)
    expected = built_in.route(prompts)
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: built_in.route(prompts) == expected, range(20)))


def test_gold_prompts_of_either_router_count() -> None:
    class Gold(Scripted):
        gold_keys = np.array([3, 1], np.uint64)

    assert CascadeRouter(Gold(0), Scripted(1)).gold_keys.tolist() == [1, 3]
    assert CascadeRouter(Scripted(0), Scripted(1)).gold_keys.dtype == np.uint64


def test_before_calibration_nothing_works(tmp_path: Path) -> None:
    cascade = CascadeRouter(fastroute.load("mf"), fastroute.load("experts"))
    for call in (
        lambda: cascade.score("a"),
        lambda: cascade.score(["a"]),
        lambda: cascade.route("a"),
        lambda: cascade.explain("a"),
        lambda: cascade.save(tmp_path / "it"),
        lambda: cascade.band,
        lambda: cascade.escalated,
    ):
        with pytest.raises(InvalidArgumentError, match="not calibrated yet; call calibrate"):
            call()


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        (("mf", None), InvalidTypeError, "first: found str, allowed: a Router"),
        ((None, 5), InvalidTypeError, "second: found int"),
        ((Scripted, None), InvalidTypeError, "first: found type"),
        ((RandomRouter("a", "b"), None), InvalidArgumentError, "first: found 'a' and 'b', allowed: the pair 'gpt-4"),
    ],
)
def test_what_is_no_cascade(parts, error, message) -> None:
    given = [fastroute.load("mf") if part is None else part for part in parts]
    with pytest.raises(FastrouteError, match=message) as caught:
        CascadeRouter(*given)
    assert isinstance(caught.value, error)


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ("one", {}, "prompts: found str, allowed: an iterable of str"),
        ([], {}, "prompts: found none"),
        (None, {}, "prompts: found NoneType"),
        ({"a": 1}, {}, "prompts: found dict"),
        (b"ab", {}, "prompts: found bytes"),
        (["a", 5], {}, r"prompts\[1\]: found int"),
        (["a"], {"threshold": 0.5, "strong_fraction": 0.5}, "threshold, strong_fraction: found both"),
        (["a"], {"disagreement": 1}, "disagreement: found 1"),
        (["a"], {"confidence": "x"}, "confidence: found str"),
        (["a"], {"seed": -1}, "seed: found -1"),
    ],
)
def test_bad_calibrations_leave_the_cascade_as_it_was(prompts, settings, message) -> None:
    first, second = Scripted(0), Scripted(1)
    cascade = CascadeRouter(first, second).calibrate(scripted_prompts(300))
    first.calls.clear()
    band, calibration = cascade.band, cascade.calibration
    with pytest.raises((InvalidTypeError, InvalidArgumentError), match=message):
        cascade.calibrate(prompts, **settings)
    assert first.calls == []
    assert (cascade.band, cascade.calibration) == (band, calibration)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.5, math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_a_routers_score_that_is_none(scripted: CascadeRouter, bad: float, place: int) -> None:
    prompt = f"{bad} 0.5" if place == 0 else f"0.5 {bad}"
    role = ("first", "second")[place]
    with pytest.raises(InvalidArgumentError, match=f"{role}: its score is {bad}"):
        scripted.score(prompt)
    with pytest.raises(InvalidArgumentError, match=f"{role}: a score is outside 0 to 1 or NaN"):
        scripted.score([prompt])


def test_scores_of_another_shape() -> None:
    class Short(Scripted):
        def score(self, prompts):
            return np.zeros(1, np.float32)

    with pytest.raises(InvalidArgumentError, match=r"first: its scores of 2 prompts have shape \(1,\)"):
        CascadeRouter(Short(0), Scripted(1)).calibrate(["0 0", "0 0"])


def test_decisions_say_that_a_cascade_took_them(scripted: CascadeRouter) -> None:
    decision = scripted.route("0.99 0.01")
    assert isinstance(decision, Decision)
    assert (decision.model, decision.router) == (scripted.strong, "cascade")
    assert decision.score >= decision.threshold


def held_out_prompts(folder: Path) -> list[str]:
    pq = pytest.importorskip("pyarrow.parquet")
    table = pq.read_table(folder / "outcomes.parquet", columns=["prompt", "prompt_id", "overlap"])
    rows = zip(*(table[name].to_pylist() for name in ("prompt_id", "prompt", "overlap")), strict=True)
    return list({key: prompt for key, prompt, overlap in rows if not overlap}.values())


@pytest.mark.data
@pytest.mark.parametrize("names", [("experts", "mf"), ("mf", "experts")], ids="-".join)
def test_on_the_data_pack(data_pack: Path, names: tuple[str, str]) -> None:
    prompts = held_out_prompts(data_pack)
    order = np.random.default_rng(0).permutation(len(prompts))
    prompts = [prompts[row] for row in order]
    first, second = (fastroute.load(name) for name in names)
    cascade = CascadeRouter(first, second).calibrate(prompts[:6000], disagreement=0.05, confidence=0.95)
    others = prompts[6000:16000]
    strong = second.score(others).astype(float) >= cascade.threshold
    routed = np.array([decision.model == cascade.strong for decision in cascade.route(others)])
    assert np.mean(strong != routed) < 0.06
    assert cascade.escalated < 0.85
