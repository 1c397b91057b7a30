"""Gains and scores of domain experts against plain NumPy: random weights, degenerate ones, the router that ships."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reference.experts_reference import gain_of, score_of
from tests.reference.tiny_artifacts import EXPERT_DOMAINS, random_experts, write_experts

import fastroute
from fastroute import _core, builtin
from fastroute.encoders import StaticEncoder, load_encoder
from fastroute.routers import ExpertsRouter

TEXTS = st.lists(st.text(max_size=60) | st.sampled_from(["how many?", "A. x\nB. y", "```code```", ""]), max_size=6)


@pytest.fixture(scope="module")
def encoder(tiny_encoder_folder: Path) -> StaticEncoder:
    return load_encoder(tiny_encoder_folder)


def compare(weights: dict[str, np.ndarray], encoder: StaticEncoder, prompts: list[str], tolerance: float) -> None:
    native = _core.DomainExperts(encoder.native, **weights)
    surface = _core.surface_features(prompts).astype(np.float64)
    embeddings = encoder.embed(prompts)
    expected = np.array([gain_of(weights, s, e) for s, e in zip(surface, embeddings.astype(np.float64), strict=True)])
    found = native.gain(prompts)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=tolerance)
    np.testing.assert_allclose(native.gain(prompts, embeddings), expected, atol=tolerance)
    scores = np.array([score_of(gain) for gain in expected])
    np.testing.assert_allclose(native.score(prompts), scores, atol=tolerance)


@settings(deadline=None, max_examples=150)
@given(texts=TEXTS, seed=st.integers(0, 2**32 - 1), domains=st.integers(1, 20), gold=st.integers(0, 3))
def test_random_weights(encoder: StaticEncoder, texts: list[str], seed: int, domains: int, gold: int) -> None:
    compare(random_experts(encoder.dim, domains=domains, gold=gold, seed=seed), encoder, texts, 1e-5)


def test_degenerate_weights(encoder: StaticEncoder) -> None:
    prompts = ["", "a", "how many apples?", "the sum " * 50]
    nothing = {name: np.zeros_like(values) for name, values in random_experts(encoder.dim).items()}
    compare(nothing, encoder, prompts, 0)
    assert _core.DomainExperts(encoder.native, **nothing).score(prompts).tolist() == [0.5] * 4
    steep = random_experts(encoder.dim, spread=50.0)
    compare(steep, encoder, prompts, 1e-2)
    scores = _core.DomainExperts(encoder.native, **steep).score(prompts)
    assert ((scores > 0) & (scores < 1)).all()
    certain = random_experts(encoder.dim)
    certain["classifier_bias"] = np.array([1e4, -1e4, 0], np.float32)
    compare(certain, encoder, prompts, 1e-5)


def test_a_score_is_strictly_increasing_in_the_gain(encoder: StaticEncoder) -> None:
    """Also far out, where a clipped score would tie."""
    weights = {name: np.zeros_like(values) for name, values in random_experts(encoder.dim, domains=1).items()}
    gains = np.linspace(-5, 5, 2001)
    scores = []
    for gain in gains:
        weights["expert_bias"] = np.array([gain], np.float32)
        scores.append(_core.DomainExperts(encoder.native, **weights).score("a"))
    assert (np.diff(scores) > 0).all()
    assert 0 < scores[0] < scores[-1] < 1
    middle = np.abs(gains) < 0.9
    np.testing.assert_allclose(np.array(scores)[middle], (1 + gains[middle]) / 2, atol=1e-7)


def test_where_the_gate_is_shut_gold_changes_no_bit(encoder: StaticEncoder) -> None:
    with_gold = random_experts(encoder.dim, gold=2, seed=4)
    with_gold["density_ramp"][:] = (-1.0, -2.0)  # no distance is that small
    without = {
        name: values[:3] if name.startswith("expert_") else np.zeros((0, *values.shape[1:]), np.float32)
        if name.startswith(("gate_", "density_")) else values
        for name, values in with_gold.items()
    }  # fmt: skip
    prompts = ["", "a b c", "prove that the sum is 2?", "x\nA. 1\nB. 2"]
    shut, absent = (_core.DomainExperts(encoder.native, **weights) for weights in (with_gold, without))
    np.testing.assert_array_equal(shut.gain(prompts), absent.gain(prompts))


def test_explanations_add_up(encoder: StaticEncoder, tmp_path: Path) -> None:
    write_experts(tmp_path / "it", random_experts(encoder.dim, gold=1), encoder=encoder, gold=("exam",))
    router = fastroute.load(tmp_path / "it")
    assert isinstance(router, ExpertsRouter)
    for prompt in ("", "prove that the sum is 2?", "how many apples, A. 1\nB. 2", "x" * 500):
        why = router.explain(prompt)
        assert why.score == router.score(prompt)
        assert why.gain == router.gain(prompt)
        assert math.fsum(share.weight * share.gain for share in why.domains) == pytest.approx(why.gain, abs=1e-12)
        assert math.fsum(feature.effect for feature in why.features) == pytest.approx(why.gain, abs=1e-12)
        assert {share.domain for share in why.domains} == {*EXPERT_DOMAINS, "gold: exam"}
        assert len(why.features) == 30
        effects = [abs(feature.effect) for feature in why.features]
        assert effects == sorted(effects, reverse=True)
        # Each effect is what the feature's own term of the formula says.
        w = {name: values.astype(np.float64) for name, values in router.parameters_.items()}
        shares = {share.domain: share.weight for share in why.domains}
        weights = np.array([shares[name] for name in (*EXPERT_DOMAINS, "gold: exam")])
        surface = _core.surface_features([prompt])[0].astype(np.float64)
        z = np.clip((surface - w["surface_mean"]) * w["surface_scale"], -6, 6)
        by_name = {feature.feature: feature.effect for feature in why.features}
        for j, name in enumerate(_core.surface_names()):
            y = np.clip((z[j] - w["expert_mean"][:, j]) * w["expert_scale"][:, j], -4, 4)
            assert by_name[name] == pytest.approx(float(weights @ (w["expert_surface"][:, j] * y)), abs=1e-5)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif("experts" not in builtin.routers(), reason="experts is not built in")
def test_the_router_that_ships_on_every_prompt_of_the_data_pack(data_pack: Path) -> None:
    import pyarrow.parquet as pq

    router = fastroute.load("experts")
    assert isinstance(router, ExpertsRouter)
    texts: set[str] = set()
    for name in ("outcomes", "judge_scores", "preferences"):
        texts |= set(pq.read_table(data_pack / f"{name}.parquet", columns=["prompt"])["prompt"].to_pylist())
    prompts = sorted(texts)
    assert len(prompts) > 30_000
    surface = _core.surface_features(prompts).astype(np.float64)
    embeddings = router.encoder.embed(prompts).astype(np.float64)
    expected = np.array(
        [gain_of(router.parameters_, s, e) for s, e in zip(surface, embeddings, strict=True)], np.float64
    )
    np.testing.assert_allclose(router.gain(prompts), expected, atol=1e-5)
    np.testing.assert_allclose(router.score(prompts), [score_of(gain) for gain in expected], atol=1e-5)
