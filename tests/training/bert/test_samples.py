"""What is drawn, and what the loss compares it with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastroute.errors import DataError
from fastroute.training.bert.samples import CLASSES, samples_from_battles, samples_from_scores, scores_of_tables
from fastroute.training.preferences import battles_from_preferences


def rows(*cells: tuple[str, str, float, str]) -> dict[str, Any]:
    return dict(zip(("prompt", "model", "score", "benchmark"), map(list, zip(*cells, strict=True)), strict=True))


def test_a_sample_counts_once_however_many_models_answered() -> None:
    table = rows(("p", "a", 1, "x"), ("p", "b", 0, "x"), ("p", "c", 0.5, "x"), ("q", "a", 0, "y"), ("p", "a", 0, "y"))
    samples = samples_from_scores(*scores_of_tables(table, None), judged_factor=3)
    found = {
        (samples.prompts[i], samples.sources[samples.source[i]]): (
            [samples.columns[c] for c in samples.column[samples.begin[i] : samples.begin[i + 1]]],
            samples.target[samples.begin[i] : samples.begin[i + 1]].tolist(),
            samples.weight[samples.begin[i] : samples.begin[i + 1]].tolist(),
        )
        for i in range(len(samples))
    }
    third = pytest.approx([1 / 3] * 3)
    assert found == {
        ("p", "x"): (["a", "b", "c"], [1, 0, 0.5], third),
        ("p", "y"): (["a"], [0], [1]),
        ("q", "y"): (["a"], [0], [1]),
    }


def test_judged_prompts_count_by_their_factor() -> None:
    judged = {"prompt": ["p", "p"], "model": ["a", "b"], "score": [10, 1], "judge": ["j", "j"]}
    samples = samples_from_scores(*scores_of_tables(rows(("p", "a", 1, "x")), judged), judged_factor=3)
    assert samples.sources == ("j", "x")
    assert samples.weight.tolist() == [1.5, 1.5, 1]
    assert samples.target.tolist() == [1, 0, 1]


def test_a_source_is_drawn_by_the_root_of_its_size() -> None:
    cells = [(f"{name} {i}", "a", 1.0, name) for name, size in (("big", 3600), ("small", 400)) for i in range(size)]
    samples = samples_from_scores(*scores_of_tables(rows(*cells), None), judged_factor=3)
    everything = np.arange(len(samples))
    counts = np.zeros(2)
    for seed in range(20):
        drawn = samples.draw(everything, 200, np.random.default_rng(seed))
        assert len(np.unique(drawn)) == 200
        counts += np.bincount(samples.source[drawn], minlength=2)
    # 60 : 20 for the first of them; without replacement the small source runs dry a little.
    assert counts[0] / counts.sum() == pytest.approx(0.75, abs=0.03)
    assert sorted(samples.draw(everything[:50], 200, np.random.default_rng(0)).tolist()) == list(range(50))


def battles(*cells: tuple[str, str, str, str]) -> Any:
    columns = dict(zip(("prompt", "model_a", "model_b", "winner"), map(list, zip(*cells, strict=True)), strict=True))
    return battles_from_preferences(columns)


def test_classes_are_the_mean_over_a_prompts_battles_whatever_their_order() -> None:
    cells = [(f"p{i}", "large", "small", "model_a") for i in range(30)]
    cells += [("q", "large", "small", "tie"), ("r", "small", "large", "model_a"), ("p0", "small", "large", "tie")]
    samples, strong, weak = samples_from_battles(battles(*cells), "large", "small")
    shares = dict(zip(samples.prompts, samples.target.reshape(-1, 3).tolist(), strict=True))
    assert samples.columns == CLASSES
    assert (strong, weak) == (("large",), ("small",))
    assert shares["p1"] == [1, 0, 0]
    assert shares["q"] == [0, 1, 0]
    assert shares["r"] == [0, 0, 1]
    assert shares["p0"] == [0.5, 0.5, 0]  # a win and a tie of one pair are one battle, half won


def test_battles_within_a_tier_are_left_out_and_counted() -> None:
    cells = [(f"p{i}", a, b, "model_a") for i in range(20) for a, b in (("top", "mid"), ("mid", "low"), ("top", "low"))]
    samples, strong, weak = samples_from_battles(battles(*cells), "top", "low")
    assert (strong, weak) == (("top",), ("low",))
    assert len(samples) == 20
    assert samples.dropped["not between the two tiers"] == 40


def test_a_pair_that_is_no_pair_is_refused() -> None:
    cells = [(f"p{i}", "large", "small", "model_a") for i in range(5)]
    with pytest.raises(DataError, match=r"strong: found 'huge', which has no battle"):
        samples_from_battles(battles(*cells), "huge", "small")
    with pytest.raises(DataError, match=r"'small' in tier 2 and 'large' in tier 1"):
        samples_from_battles(battles(*cells), "small", "large")


def test_no_data_are_refused() -> None:
    with pytest.raises(DataError, match="found neither"):
        scores_of_tables(None, None)
    with pytest.raises(DataError, match="both have a source 'j'"):
        scores_of_tables(rows(("p", "a", 1, "j")), {"prompt": ["p"], "model": ["a"], "score": [10], "judge": ["j"]})
    with pytest.raises(DataError, match="column 'prompt' is needed"):
        samples_from_scores(*scores_of_tables({"row": [0], "model": ["a"], "score": [1]}, None), judged_factor=3)
