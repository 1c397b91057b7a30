"""Training of the matrix factorization: gradients, what it learns, and that it repeats."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.training import mf_loops
from fastroute.training.battles import Battles
from fastroute.training.mf import MatrixFactorizationFit, fit_matrix_factorization
from fastroute.training.strengths import bradley_terry

PROMPTS, WIDTH = 400, 6


def _battles(outcome_of, seed=0, per_prompt=6, models=4, prompts=PROMPTS):
    """Random pairs on random prompts; `outcome_of(generator, prompt, a, b)` decides."""
    generator = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(prompts), per_prompt)
    a = generator.integers(0, models, len(prompt))
    b = (a + generator.integers(1, models, len(prompt))) % models
    outcome = np.array([outcome_of(generator, *row) for row in zip(prompt, a, b, strict=True)], dtype=np.float64)
    return Battles(
        models=tuple(f"m{i}" for i in range(models)),
        prompt_keys=tuple(f"p{i:04}" for i in range(prompts)),
        prompts=tuple(f"prompt {i}" for i in range(prompts)),
        rows=np.empty(0, np.int64),
        prompt=prompt,
        model_a=a,
        model_b=b,
        outcome=outcome,
        weight=np.ones(len(prompt)),
        source=prompt % 2,
        sources=("even", "odd"),
    )


@pytest.fixture(scope="module")
def embeddings():
    return (np.random.default_rng(9).standard_normal((PROMPTS, WIDTH)) * 0.1 + 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def planted(embeddings):
    """Models 0 and 1 differ only in what they are good at, column 2; model 3 beats model 2 everywhere."""
    taste = (embeddings[:, 2] - 0.3) / 0.1
    ability = np.zeros((4, PROMPTS))
    ability[0], ability[1], ability[3] = 2 * taste, -2 * taste, 2

    def outcome(generator, prompt, a, b):
        win = 1 / (1 + np.exp(ability[b, prompt] - ability[a, prompt]))
        return float(generator.random() < win)

    return _battles(outcome, per_prompt=12)


def _fit(embeddings, battles, **arguments):
    return fit_matrix_factorization(
        embeddings,
        battles,
        **{"rank": 3, "epochs": 40, "learning_rate": 1e-2, "weight_decay": 0.01, **arguments},
    )


def _gap(fit: MatrixFactorizationFit, embeddings, a, b):
    """delta(a, e) - delta(b, e) as the router computes it."""
    vector = (fit.classifier * (fit.model_embedding[a] - fit.model_embedding[b])) @ fit.projection
    return embeddings @ vector + fit.model_bias[a] - fit.model_bias[b]


def _random_problem(seed):
    generator = np.random.default_rng(seed)
    prompts, battles, models, rank, sources = 7, 40, 5, 3, 2
    prompt = np.sort(generator.integers(0, prompts, battles))
    a = generator.integers(0, models, battles)
    b = (a + generator.integers(1, models, battles)) % models
    outcome = generator.choice([0.0, 0.25, 0.5, 1.0], battles)
    columns = (
        prompt,
        a,
        b,
        generator.integers(0, sources, battles),
        outcome,
        generator.random(battles) + 0.1,
    )
    shapes = ((models, rank), (WIDTH, rank), (WIDTH,), (models,), (sources, models))
    parameters = tuple(generator.standard_normal(shape) for shape in shapes)
    return generator.standard_normal((prompts, WIDTH)), columns, parameters


def _native(features, battles, parameters):
    gradients = tuple(np.zeros_like(parameter) for parameter in parameters)
    prompts = np.arange(len(features))
    packed = (np.searchsorted(battles[0], np.arange(len(features) + 1)), *battles[1:])
    sums = mf_loops.loss_and_gradient(prompts, features, packed, parameters, gradients)
    assert sums == mf_loops.loss_only(prompts, features, packed, parameters)
    return sums, gradients


@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_equal_the_reference(mf_reference, seed):
    problem = _random_problem(seed)
    (loss, right, decided), gradients = _native(*problem)
    assert loss == pytest.approx(mf_reference.loss(*problem), rel=1e-12)
    for found, expected in zip(gradients, mf_reference.gradient(*problem), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    outcome, weight = problem[1][4:]
    correct = (mf_reference.margins(*problem) > 0) == (outcome > 0.5)
    assert decided == pytest.approx(weight[outcome != 0.5].sum())
    assert right == pytest.approx(weight[(outcome != 0.5) & correct].sum())


def test_the_reference_gradient_is_the_slope_of_the_loss(mf_reference):
    features, battles, parameters = _random_problem(11)
    gradient = mf_reference.gradient(features, battles, parameters)
    step = 1e-6
    for which, parameter in enumerate(parameters):
        for index in np.ndindex(parameter.shape):
            values = []
            for sign in (1, -1):
                moved = [p.copy() for p in parameters]
                moved[which][index] += sign * step
                values.append(mf_reference.loss(features, battles, tuple(moved)))
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(gradient[which][index], rel=1e-6, abs=1e-6)


def test_margins_of_any_size_stay_finite(mf_reference):
    features, battles, parameters = _random_problem(3)
    (loss, _, _), gradients = _native(features, battles, tuple(1e4 * parameter for parameter in parameters))
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_adam_follows_its_definition():
    generator = np.random.default_rng(0)
    parameter, first, second = generator.standard_normal(4), np.zeros(4), np.zeros(4)
    expected, m, v = parameter.copy(), np.zeros(4), np.zeros(4)
    for step in range(1, 4):
        gradient = generator.standard_normal(4)
        m, v = 0.9 * m + 0.1 * gradient / 2, 0.999 * v + 0.001 * (gradient / 2) ** 2
        update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        expected = expected - 0.01 * (update + 0.3 * expected)
        mf_loops.adam_step((parameter, gradient, first, second), step, 0.5, 0.01, 0.3)
        assert not gradient.any()
        np.testing.assert_allclose(parameter, expected, rtol=1e-12)


def test_strengths_are_the_log_odds():
    a, b = np.zeros(1000, np.int64), np.ones(1000, np.int64)
    outcome = np.repeat([1.0, 0.0], [800, 200])
    strength = bradley_terry(3, a, b, outcome, np.ones(1000), penalty=1e-9)
    assert strength[0] - strength[1] == pytest.approx(np.log(4), abs=1e-6)
    assert strength[2] == 0
    more = bradley_terry(3, a, b, outcome, np.ones(1000), offset=np.array([0.5, 0.2, 0]), penalty=1e-9)
    assert more[0] - more[1] == pytest.approx(np.log(4) - 0.3, abs=1e-6)
    one = bradley_terry(2, a[:1], b[:1], np.ones(1), np.ones(1), penalty=0.7)
    assert 0.7 * one[0] == pytest.approx(1 - 1 / (1 + np.exp(one[1] - one[0])), abs=1e-9)
    undefeated = bradley_terry(2, a, b, np.ones(1000), np.full(1000, 1e6))
    assert np.isfinite(undefeated).all()
    assert undefeated[0] > undefeated[1]


def test_a_planted_taste_is_learned(embeddings, planted):
    fit = _fit(embeddings, planted)
    taste = (embeddings[:, 2] - 0.3) / 0.1
    assert np.corrcoef(_gap(fit, embeddings, 0, 1), taste)[0, 1] > 0.95
    assert np.abs(_gap(fit, embeddings, 0, 1) - 4 * taste).mean() < 1.2
    assert (_gap(fit, embeddings, 3, 2) > 0.5).mean() > 0.95
    assert min(fit.metrics["validation_loss"]) < 0.95 * np.log(2)
    assert max(fit.metrics["validation_accuracy"]) > 0.75


def test_shapes_and_types_of_a_fit(embeddings, planted):
    fit = _fit(embeddings, planted, epochs=2)
    assert fit.models == planted.models
    shapes = {"model_embedding": (4, 3), "projection": (3, WIDTH), "classifier": (3,), "model_bias": (4,)}
    for name, shape in shapes.items():
        array = getattr(fit, name)
        assert (array.shape, array.dtype) == (shape, np.float32)
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
    assert {len(figures) for figures in fit.metrics.values()} == {2}
    assert set(fit.metrics) == {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}


def test_rank_one_is_strength_alone(embeddings, planted):
    fit = _fit(embeddings, planted, rank=1, epochs=3)
    assert fit.model_embedding.shape == (4, 1)
    assert _gap(fit, embeddings, 3, 2).mean() > 0.5


def test_the_same_seed_gives_the_same_bits(embeddings, planted):
    fits = [_fit(embeddings, planted, seed=seed, epochs=3) for seed in (5, 5, 6)]
    arrays = [
        [getattr(fit, name).tobytes() for name in ("model_embedding", "projection", "model_bias")] for fit in fits
    ]
    assert arrays[0] == arrays[1]
    assert fits[0].metrics == fits[1].metrics
    assert arrays[0] != arrays[2]


def test_neither_scale_nor_shift_of_embeddings_matters(embeddings, planted):
    plain = _fit(embeddings, planted, epochs=4)
    moved = (embeddings * np.float32(8) + np.float32(2)).astype(np.float32)
    other = _fit(moved, planted, epochs=4)
    np.testing.assert_allclose(_gap(other, moved, 0, 1), _gap(plain, embeddings, 0, 1), atol=2e-3)


def test_a_constant_column_is_harmless(embeddings, planted):
    padded = np.column_stack([embeddings, np.full(PROMPTS, 0.7, np.float32)])
    fit = _fit(padded, planted, epochs=4)
    plain = _fit(embeddings, planted, epochs=4, rank=1)
    assert np.isfinite(fit.projection).all()
    assert np.isfinite(plain.projection).all()


def test_noise_stops_early_and_the_best_epoch_is_kept(embeddings):
    noise = _battles(lambda generator, *_: float(generator.integers(0, 2)))
    long = _fit(embeddings, noise, patience=3, epochs=100)
    assert len(long.metrics["validation_loss"]) == long.best_epoch + 3
    assert np.argmin(long.metrics["validation_loss"]) + 1 == long.best_epoch
    short = _fit(embeddings, noise, patience=3, epochs=long.best_epoch)
    assert short.model_embedding.tobytes() == long.model_embedding.tobytes()


def test_held_out_prompts_do_not_reach_the_parameters(embeddings, planted):
    from fastroute.training.splits import held_out

    hidden = held_out(planted.prompt_keys, 0.1, 0)[planted.prompt]
    altered = dataclasses.replace(planted, outcome=np.where(hidden, 1 - planted.outcome, planted.outcome))
    one, other = (_fit(embeddings, battles, epochs=1, seed=0) for battles in (planted, altered))
    assert one.model_embedding.tobytes() == other.model_embedding.tobytes()
    assert one.metrics["train_loss"] == other.metrics["train_loss"]
    assert one.metrics["validation_loss"] != other.metrics["validation_loss"]


def test_a_battle_of_weight_three_counts_thrice(embeddings):
    """Model 0 always wins where it is named first, never where it is named second."""
    even = _battles(lambda generator, prompt, a, b: 1.0, models=2)
    even = dataclasses.replace(even, source=even.source * 0, sources=("all",))
    weighted = dataclasses.replace(even, weight=np.where(even.model_a == 0, 3.0, 1.0))
    gaps = [float(_gap(_fit(embeddings, battles, epochs=1), embeddings, 0, 1).mean()) for battles in (even, weighted)]
    assert gaps[0] == pytest.approx(0, abs=0.15)
    assert gaps[1] == pytest.approx(np.log(3), abs=0.15)


def test_offsets_take_up_what_only_sources_differ_in():
    """In one source model 0 wins, in the other it loses; within a source nothing depends on the prompt."""
    generator = np.random.default_rng(1)
    embeddings = generator.standard_normal((PROMPTS, WIDTH)).astype(np.float32)
    embeddings[:, 0] = np.arange(PROMPTS) % 2
    battles = _battles(lambda g, p, a, b: float(g.random() < (0.9 if (a == 0) == (p % 2 == 0) else 0.1)), models=2)
    apart = _fit(embeddings, battles, epochs=3)
    together = _fit(embeddings, dataclasses.replace(battles, source=battles.source * 0, sources=("all",)), epochs=3)
    spread = [float(_gap(fit, embeddings, 0, 1).std()) for fit in (apart, together)]
    assert spread[0] < spread[1] / 2


def test_progress_counts_epochs(embeddings, planted):
    calls = []
    _fit(embeddings, planted, epochs=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"rank": 0}, InvalidArgumentError, "rank: 0"),
        ({"rank": 2.0}, InvalidTypeError, "rank: float"),
        ({"epochs": 0}, InvalidArgumentError, "epochs: 0"),
        ({"patience": 0}, InvalidArgumentError, "patience: 0"),
        ({"seed": -1}, InvalidArgumentError, "seed: -1"),
        ({"seed": None}, InvalidTypeError, "seed: NoneType"),
        ({"learning_rate": 0.0}, InvalidArgumentError, "learning_rate: 0"),
        ({"learning_rate": float("nan")}, InvalidArgumentError, "learning_rate: nan"),
        ({"learning_rate": "fast"}, InvalidTypeError, "learning_rate: str"),
        ({"weight_decay": -1.0}, InvalidArgumentError, "weight_decay: -1"),
        ({"weight_decay": 100.0}, InvalidArgumentError, "weight_decay: 100"),
        ({"validation_fraction": 0.0}, InvalidArgumentError, "validation_fraction: 0"),
        ({"validation_fraction": 1.0}, InvalidArgumentError, "validation_fraction: 1"),
        ({"validation_fraction": 1e-9}, DataError, "0 to validate on"),
        ({"learning_rate": 1e300, "weight_decay": 0}, InvalidArgumentError, "diverge in epoch 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_arguments_are_named(embeddings, planted, arguments, error, says):
    with pytest.raises(error) as caught:
        _fit(embeddings, planted, **arguments)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("alter", "error", "says"),
    [
        (lambda e: e.tolist(), InvalidTypeError, "list given"),
        (lambda e: e.astype(np.float64), InvalidTypeError, "float64"),
        (lambda e: e[0], InvalidArgumentError, "shape (6,)"),
        (lambda e: e[:, :0], InvalidArgumentError, "shape (400, 0)"),
        (lambda e: e[:-1], InvalidArgumentError, "399 rows given; the battles have 400"),
        (
            lambda e: np.where(np.arange(400)[:, None] == 17, np.float32("nan"), e),
            InvalidArgumentError,
            "row 17",
        ),
    ],
)
def test_bad_embeddings_are_named(embeddings, planted, alter, error, says):
    with pytest.raises(error) as caught:
        _fit(alter(embeddings), planted)
    assert says in str(caught.value)


def test_nothing_to_train_on_is_a_data_error(embeddings, planted):
    empty = {
        name: getattr(planted, name)[:0] for name in ("prompt", "model_a", "model_b", "outcome", "weight", "source")
    }
    with pytest.raises(DataError, match="0 prompts to train on"):
        _fit(embeddings, dataclasses.replace(planted, **empty))
