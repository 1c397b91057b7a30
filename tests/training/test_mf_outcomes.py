"""Matrix factorization on scores: gradients, what it learns, degenerate data, and that it repeats."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.training import mf_outcome_loops
from fastroute.training.mf_outcomes import centred_on_sources, fit_outcome_factorization
from fastroute.training.preferences import battles_from_preferences
from fastroute.training.scores import scores_from_outcomes, scores_with_battles
from fastroute.training.splits import held_out
from fastroute.training.strengths import right_answers

PROMPTS, WIDTH, GUESS = 600, 5, 0.25


def _table(right_of, models=4, prompts=PROMPTS, sources=2, seed=0):
    """One score for each prompt and model; `right_of(prompt, model)` is a logit."""
    generator = np.random.default_rng(seed)
    prompt, model = np.repeat(np.arange(prompts), models), np.tile(np.arange(models), prompts)
    logit = np.array([right_of(p, m) for p, m in zip(prompt, model, strict=True)], dtype=np.float64)
    score = generator.random(len(prompt)) < GUESS + (1 - GUESS) / (1 + np.exp(-logit))
    return {
        "prompt": [f"prompt {p:04}" for p in prompt],
        "prompt_id": [f"p{p:04}" for p in prompt],
        "model": [f"m{m}" for m in model],
        "score": score,
        "guess": np.full(len(prompt), GUESS),
        "source": [f"s{p % sources}" for p in prompt],
    }


@pytest.fixture(scope="module")
def embeddings():
    return (np.random.default_rng(9).standard_normal((PROMPTS, WIDTH)) * 0.1 + 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def planted(embeddings):
    """Column 0 makes prompts easy for all; on column 1 the strong m0 and m1 do well, m2 and m3 badly."""
    x = (embeddings - 0.3) / 0.1

    def logit(p, m):
        return 0.8 + 1.5 * x[p, 0] + (1 if m < 2 else -1) * (0.7 + 1.5 * x[p, 1])

    return scores_from_outcomes(_table(logit))


def _fit(embeddings, scores, **arguments):
    return fit_outcome_factorization(
        embeddings,
        scores,
        **{"rank": 2, "epochs": 60, "learning_rate": 1e-2, "weight_decay": 0.01, **arguments},
    )


def _delta(fit, embeddings):
    """delta(m, e) of all models, as the router computes it."""
    return (embeddings @ fit.projection.T * fit.classifier) @ fit.model_embedding.T + fit.model_bias


def _random_problem(seed, guess=True):
    generator = np.random.default_rng(seed)
    units, scores, models, rank, sources = 7, 60, 5, 3, 2
    unit = np.sort(generator.integers(0, units, scores))
    columns = (
        unit,
        generator.integers(0, models, scores),
        generator.integers(0, sources, scores),
        generator.choice([0.0, 0.3, 0.5, 1.0], scores),
        generator.choice([0.0, 0.1, 0.5], scores) if guess else np.zeros(scores),
        generator.random(scores) + 0.1,
        generator.standard_normal((sources, models)),
    )
    shapes = ((models, rank), (WIDTH, rank), (WIDTH,), (models,), (sources, models), (WIDTH,), (sources,))
    parameters = tuple(generator.standard_normal(shape) for shape in shapes)
    return generator.standard_normal((units, WIDTH)), columns, parameters


def _native(features, scores, parameters):
    gradients = tuple(np.zeros_like(parameter) for parameter in parameters)
    units = np.arange(len(features))
    packed = (np.searchsorted(scores[0], np.arange(len(features) + 1)), *scores[1:])
    sums = mf_outcome_loops.outcome_gradient(units, features, packed, parameters, gradients)
    assert sums == mf_outcome_loops.outcome_loss(units, features, packed, parameters)
    return sums, gradients


@pytest.mark.parametrize("guess", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_loss_and_gradient_equal_the_reference(mf_outcome_reference, seed, guess):
    problem = _random_problem(seed, guess)
    (loss, right, decided), gradients = _native(*problem)
    assert loss == pytest.approx(mf_outcome_reference.loss(*problem), rel=1e-11)
    for found, expected in zip(gradients, mf_outcome_reference.gradient(*problem), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    score, _, weight = problem[1][3:6]
    correct = (mf_outcome_reference.probabilities(*problem)[0] > 0.5) == (score > 0.5)
    assert decided == pytest.approx(weight[score != 0.5].sum())
    assert right == pytest.approx(weight[(score != 0.5) & correct].sum())


def test_the_reference_gradient_is_the_slope_of_the_loss(mf_outcome_reference):
    features, scores, parameters = _random_problem(11)
    gradient = mf_outcome_reference.gradient(features, scores, parameters)
    step = 1e-6
    for which, parameter in enumerate(parameters):
        for index in np.ndindex(parameter.shape):
            values = []
            for sign in (1, -1):
                moved = [p.copy() for p in parameters]
                moved[which][index] += sign * step
                values.append(mf_outcome_reference.loss(features, scores, tuple(moved)))
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(gradient[which][index], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("guess", [False, True])
def test_logits_of_any_size_stay_finite(guess):
    features, scores, parameters = _random_problem(3, guess)
    (loss, _, _), gradients = _native(features, scores, tuple(1e4 * parameter for parameter in parameters))
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_the_start_is_the_fit_without_prompts():
    """Two models in two sources: what is right of the guess rate is the logit."""
    model, source = np.tile([0, 1], 2000), np.repeat([0, 1], 2000)
    chance = np.array([[0.8, 0.4], [0.6, 0.3]])[source, model]
    guess = np.full(4000, 0.2)
    strength, level, offset = right_answers(
        3, 2, model, source, score=chance, guess=guess, weight=np.ones(4000), penalty=1e-9
    )
    found = 0.2 + 0.8 / (1 + np.exp(-(strength[model] + level[source] + offset[source, model])))
    np.testing.assert_allclose(found, chance, atol=1e-6)
    assert strength[2] == 0
    always = right_answers(1, 1, model[:9] * 0, source[:9] * 0, score=np.ones(9), guess=guess[:9], weight=np.ones(9))
    assert all(np.isfinite(array).all() for array in always)


def test_ease_and_strength_are_told_apart(embeddings, planted):
    fit = _fit(embeddings, planted)
    x = (embeddings - 0.3) / 0.1
    delta = _delta(fit, embeddings)
    gap, mean = delta[:, 0] - delta[:, 3], delta.mean(axis=1)
    assert np.corrcoef(gap, x[:, 1])[0, 1] > 0.9
    assert np.corrcoef(mean, x[:, 0])[0, 1] > 0.9
    assert 0.5 < gap.mean() < 1.6  # 1.4 was planted; what is left unlearned of prompts blurs it
    assert min(fit.metrics["validation_loss"]) < 0.95 * fit.metrics["validation_loss"][0]


def test_delta_is_the_logit_of_knowing(embeddings, planted):
    """h + (1 - h) sigmoid(delta) is right on average, model by model: the guess rate was allowed for."""
    fit = _fit(embeddings, planted)
    found = GUESS + (1 - GUESS) / (1 + np.exp(-_delta(fit, embeddings)))
    for model in range(4):
        assert found[:, model].mean() == pytest.approx(planted.score[planted.model == model].mean(), abs=0.03)


def test_shapes_and_types_of_a_fit(embeddings, planted):
    fit = _fit(embeddings, planted, epochs=2, rank=3)
    shapes = {"model_embedding": (4, 4), "projection": (4, WIDTH), "classifier": (4,), "model_bias": (4,)}
    for name, shape in shapes.items():
        array = getattr(fit, name)
        assert (array.shape, array.dtype) == (shape, np.float32)
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
    assert (fit.model_embedding[:, -1] == 1).all()
    assert set(fit.metrics) == {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy"}
    assert list(fit.validation) == list(np.flatnonzero(held_out(planted.prompt_keys, 0.1, 0)))


def test_the_same_seed_gives_the_same_bits(embeddings, planted):
    fits = [_fit(embeddings, planted, seed=seed, epochs=3) for seed in (5, 5, 6)]
    arrays = [
        [getattr(fit, name).tobytes() for name in ("model_embedding", "projection", "model_bias")] for fit in fits
    ]
    assert arrays[0] == arrays[1]
    assert fits[0].metrics == fits[1].metrics
    assert arrays[0] != arrays[2]


def test_noise_stops_early_and_the_best_epoch_is_kept(embeddings):
    noise = scores_from_outcomes(_table(lambda p, m: 0.0))
    long = _fit(embeddings, noise, patience=3)
    assert len(long.metrics["validation_loss"]) == long.best_epoch + 3
    short = _fit(embeddings, noise, patience=3, epochs=long.best_epoch)
    assert short.model_embedding.tobytes() == long.model_embedding.tobytes()


def test_held_out_prompts_do_not_reach_the_parameters(embeddings, planted):
    hidden = held_out(planted.prompt_keys, 0.1, 0)[planted.prompt]
    altered = dataclasses.replace(planted, score=np.where(hidden, 1 - planted.score, planted.score))
    moved = embeddings + held_out(planted.prompt_keys, 0.1, 0)[:, None].astype(np.float32)
    one, other = (_fit(rows, scores, epochs=1) for rows, scores in ((embeddings, planted), (moved, altered)))
    assert one.model_embedding.tobytes() == other.model_embedding.tobytes()
    assert one.model_bias.tobytes() == other.model_bias.tobytes()
    assert one.metrics["validation_loss"] != other.metrics["validation_loss"]


def test_features_are_centred_on_the_training_prompts_of_their_source():
    features, source = np.arange(12.0).reshape(6, 2), np.array([0, 0, 1, 1, 2, 2])
    found = centred_on_sources(features, source, np.array([0, 1, 2]))
    np.testing.assert_array_equal(found[:4], [[-1, -1], [1, 1], [0, 0], [2, 2]])
    np.testing.assert_array_equal(found[4:], features[4:])  # of a source without training prompts nothing is known
    np.testing.assert_array_equal(features, np.arange(12.0).reshape(6, 2))


def test_what_only_sources_differ_in_is_not_learned_of_prompts():
    """m0 is good in one source and bad in the other; within a source nothing depends on the prompt."""
    embeddings = np.random.default_rng(1).standard_normal((PROMPTS, WIDTH)).astype(np.float32)
    embeddings[:, 0] = np.arange(PROMPTS) % 2
    table = _table(lambda p, m: 2.0 if (m == 0) == (p % 2 == 0) else -2.0, models=2)
    spread = []
    for names in (table["source"], ["all"] * len(table["source"])):
        delta = _delta(_fit(embeddings, scores_from_outcomes({**table, "source": names}), epochs=10), embeddings)
        spread.append(float((delta[:, 0] - delta[:, 1]).std()))
    assert spread[0] < spread[1] / 2


@pytest.mark.parametrize(
    ("name", "alter"),
    [
        ("one model", lambda t: {k: np.asarray(v)[np.asarray(t["model"]) == "m0"] for k, v in t.items()}),
        ("one is always right", lambda t: {**t, "score": np.where(np.asarray(t["model"]) == "m1", 1.0, t["score"])}),
        ("all are always right", lambda t: {**t, "score": np.ones(len(t["score"]))}),
        ("none ever is", lambda t: {**t, "score": np.zeros(len(t["score"])), "guess": np.zeros(len(t["score"]))}),
        ("every score is one half", lambda t: {**t, "score": np.full(len(t["score"]), 0.5)}),
        ("hardly better than a guess", lambda t: {**t, "guess": np.full(len(t["score"]), 0.999)}),
    ],
)
@pytest.mark.parametrize("constant", [False, True])
def test_degenerate_data_give_finite_parameters(embeddings, name, alter, constant):
    rows = np.full_like(embeddings, 0.3) if constant else embeddings
    fit = _fit(rows, scores_from_outcomes(alter(_table(lambda p, m: 0.5 - m))), epochs=5)
    for array in (fit.model_embedding, fit.projection, fit.model_bias, _delta(fit, rows)):
        assert np.isfinite(array).all()
    assert all(np.isfinite(figures).all() for figures in fit.metrics.values())


def test_one_prompt_can_not_be_split():
    one = scores_from_outcomes({"prompt": ["p", "p"], "model": ["x", "y"], "score": [1.0, 0.0]})
    with pytest.raises(DataError, match="scores: 1 prompts to train on and 0 to validate on"):
        _fit(np.ones((1, 3), np.float32), one)


def test_battles_are_learned_from_besides(embeddings, planted):
    """A model that only fought gets its strength from its battles."""
    fights = {
        "prompt": [f"prompt {p:04}" for p in range(PROMPTS)],
        "prompt_id": [f"p{p:04}" for p in range(PROMPTS)],
        "model_a": ["champion"] * PROMPTS,
        "model_b": [f"m{p % 4}" for p in range(PROMPTS)],
        "winner": ["model_b" if p % 10 == 0 else "model_a" for p in range(PROMPTS)],
    }
    scores = scores_with_battles(planted, battles_from_preferences(fights))
    fit = _fit(embeddings, scores, epochs=10)
    delta = dict(zip(fit.models, _delta(fit, embeddings).T, strict=True))
    assert fit.models == ("champion", "m0", "m1", "m2", "m3")
    assert (delta["champion"] - delta["m0"]).mean() > 0.5
    without = dict(zip(planted.models, _delta(_fit(embeddings, planted, epochs=10), embeddings).T, strict=True))
    gaps = [(d["m0"] - d["m3"]).mean() for d in (delta, without)]
    assert gaps[0] == pytest.approx(gaps[1], abs=0.3)


def test_progress_counts_epochs(embeddings, planted):
    calls = []
    _fit(embeddings, planted, epochs=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"rank": 0}, "rank: 0"),
        ({"weight_decay": 1e3}, "weight_decay: 1000"),
        ({"validation_fraction": 0.0}, "validation_fraction: 0"),
        ({"learning_rate": 1e300, "weight_decay": 0}, "diverge in epoch 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_bad_arguments_are_named(embeddings, planted, arguments, says):
    with pytest.raises(InvalidArgumentError) as caught:
        _fit(embeddings, planted, **arguments)
    assert says in str(caught.value)


def test_as_many_embeddings_as_prompts(embeddings, planted):
    with pytest.raises(InvalidArgumentError, match="599 rows given; the scores have 600 prompts"):
        _fit(embeddings[:-1], planted)
