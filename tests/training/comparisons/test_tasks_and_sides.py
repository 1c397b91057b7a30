"""From tables to a matrix per task, and from a matrix to its strong and weak side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastroute.errors import DataError, InvalidTypeError
from fastroute.training.comparisons.plan import Plan
from fastroute.training.comparisons.sides import sides_of, split_in_two
from fastroute.training.comparisons.tasks import Task, tasks_from_judge_scores, tasks_from_outcomes


def test_a_matrix_for_each_task() -> None:
    tasks, dropped = tasks_from_outcomes(
        {
            "prompt": ["p", "p", "q", "p", "p", "r"],
            "model": ["b", "a", "a", "a", "b", "a"],
            "score": [1, 0, True, 1, 0.5, 0],
            "benchmark": ["x", "x", "x", "x", "y", "y"],
            "overlap": ["", "", "", "", "", "mmlu"],
        }
    )
    assert [task.name for task in tasks] == ["x", "y"]
    assert dropped == {"overlap with an evaluation set": 1}
    x = tasks[0]
    assert x.models == ("a", "b")
    by_prompt = dict(zip(x.prompts, x.scores.tolist(), strict=True))
    assert by_prompt["p"] == [0.5, 1.0]  # the mean of two scores of one model
    assert by_prompt["q"][0] == 1
    assert np.isnan(by_prompt["q"][1])
    assert x.keys == tuple(sorted(x.keys))
    assert tasks[1].scores.tolist() == [[0.5]]


def test_a_column_names_the_tasks() -> None:
    data = {"prompt": ["p", "q"], "model": ["a", "a"], "score": [0, 1], "team": ["red", "blue"], "source": ["s", "s"]}
    assert [task.name for task in tasks_from_outcomes(data, column="team")[0]] == ["blue", "red"]
    assert [task.name for task in tasks_from_outcomes(data)[0]] == ["s"]
    del data["source"]
    assert [task.name for task in tasks_from_outcomes(data, name="log.csv")[0]] == ["outcomes"]
    with pytest.raises(DataError, match="no column 'nobody'"):
        tasks_from_outcomes(data, column="nobody")


def test_stars_and_marks_become_shares() -> None:
    data = {"prompt": ["p", "q", "r"], "model": ["a"] * 3, "score": [1, 3, 5]}
    (stars,), _ = tasks_from_outcomes(data, score_range=(1, 5))
    assert sorted(stars.scores.ravel().tolist()) == [0, 0.5, 1]
    (chat,), _ = tasks_from_judge_scores({**data, "score": [1, 5.5, 10]})
    assert chat.name == "chat"
    assert sorted(chat.scores.ravel().tolist()) == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"score": [0.5, 2]}, DataError, "column 'score', row 1: 2 found; a number from 0 to 1, true or false"),
        ({"score": [0.5, None]}, DataError, "column 'score', row 1: None found"),
        ({"score": [0.5, float("nan")]}, DataError, "column 'score', row 1: nan found"),
        ({"score": [0.5, "good"]}, DataError, "column 'score', row 1: 'good' found"),
        ({"model": ["a", None]}, DataError, "column 'model', row 1: None found; text is needed"),
        ({"prompt": ["p", 5]}, DataError, "column 'prompt', row 1: 5 found; text is needed"),
        ({"overlap": ["mmlu", "gsm8k"]}, DataError, "no rows to train on are left"),
        ({"prompt": [], "model": [], "score": []}, DataError, "no rows to train on"),
    ],
)
def test_bad_tables(change: dict[str, list[object]], error: type[Exception], says: str) -> None:
    data: dict[str, list[object]] = {"prompt": ["p", "q"], "model": ["a", "a"], "score": [0.0, 1.0]}
    with pytest.raises(error, match=rf"^table: .*{says}"):
        tasks_from_outcomes({**data, **change}, name="table")
    with pytest.raises(InvalidTypeError, match=r"^outcomes: list given"):
        tasks_from_outcomes([1, 2])


def task(scores: list[list[float]], models: str = "abcd", name: str = "t") -> Task:
    matrix = np.array(scores, np.float64)
    keys = tuple(f"{i:03}" for i in range(len(matrix)))
    return Task(name, keys, keys, tuple(models[: matrix.shape[1]]), matrix)


def test_the_pair_itself_where_a_task_has_it() -> None:
    sides = sides_of(task([[1, 0, 0.5], [0, 1, 0.5]]), Plan(), ("c", "a"))
    assert sides is not None
    assert (sides.strong_models, sides.weak_models) == (("c",), ("a",))
    assert sides.strong.tolist() == [0.5, 0.5]
    assert sides.weak.tolist() == [1, 0]


def test_named_tiers_and_missing_scores() -> None:
    plan = Plan(tiers={"t": (("a", "z", "b"), ("d",))})
    sides = sides_of(task([[1, 0, 0, 1], [np.nan, 1, 0, np.nan], [np.nan, np.nan, 1, 0]]), plan, ("a", "b"))
    assert sides is not None
    assert sides.strong_models == ("a", "b")
    np.testing.assert_array_equal(sides.strong, [0.5, 1, np.nan])
    np.testing.assert_array_equal(sides.weak, [1, np.nan, 0])
    with pytest.raises(DataError, match=r"tiers.t.weak: none of its models is in the data, which have a, b"):
        sides_of(task([[1, 0]]), Plan(tiers={"t": (("a",), ("y",))}), ("a", "b"))


def test_one_model_has_no_sides() -> None:
    assert sides_of(task([[1], [0]]), Plan(), ("x", "y")) is None


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_the_split_has_the_least_variance_of_all(means: list[float]) -> None:
    values = np.array(means)
    upper, lower = split_in_two(values)
    assert sorted(upper + lower) == list(range(len(values)))
    assert upper
    assert lower
    assert values[upper].min() >= values[lower].max()

    def spread(part: tuple[int, ...] | list[int]) -> float:
        return float(((values[list(part)] - values[list(part)].mean()) ** 2).sum())

    best = min(
        spread(part) + spread([i for i in range(len(values)) if i not in part])
        for size in range(1, len(values))
        for part in itertools.combinations(range(len(values)), size)
    )
    assert spread(upper) + spread(lower) <= best + 1e-9
