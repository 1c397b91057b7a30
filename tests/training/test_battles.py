"""Tables of battles and of scores as checked arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.tables import read_table, text_key
from fastroute.training.battles import balance_sources, gather_embeddings, join_battles, mix_battles
from fastroute.training.outcomes import OUTCOME_COLUMNS, battles_from_outcomes
from fastroute.training.preferences import PREFERENCE_COLUMNS, battles_from_preferences
from fastroute.training.splits import held_out

BATTLES = {
    "model_a": ["x", "y", "z", "x", "x"],
    "model_b": ["y", "x", "x", "z", "y"],
    "winner": ["model_a", "tie", "model_b", "tie (bothbad)", "model_b"],
    "prompt": ["two", "two", "one", "one", "three"],
}
SCORES = {
    "model": ["x", "y", "z", "x", "y", "x"],
    "score": [1.0, 0.0, 0.25, 1.0, 1.0, 0.0],
    "prompt": ["one", "one", "one", "two", "two", "three"],
}


def _as(form, columns, tmp_path):
    if form == "parquet":
        path = tmp_path / "table.parquet"
        pq.write_table(pa.table(columns), path)
        return read_table(path, PREFERENCE_COLUMNS)
    return {
        "dict": lambda: columns,
        "arrays": lambda: {name: np.array(values) for name, values in columns.items()},
        "pyarrow": lambda: pa.table(columns),
        "dictionary": lambda: pa.table(
            {name: pa.array(values).dictionary_encode() for name, values in columns.items()}
        ),
        "pandas": lambda: pd.DataFrame(columns),
        "categories": lambda: pd.DataFrame(columns).astype("category"),
        "polars": lambda: pl.DataFrame(columns),
    }[form]()


def _listed(battles):
    """Battles as readable tuples."""
    prompts = battles.prompts or battles.rows.tolist()
    return [
        (prompts[p], battles.models[a], battles.models[b], float(y))
        for p, a, b, y in zip(battles.prompt, battles.model_a, battles.model_b, battles.outcome, strict=True)
    ]


@pytest.mark.parametrize(
    "form", ["dict", "arrays", "pyarrow", "dictionary", "pandas", "categories", "polars", "parquet"]
)
def test_battles_from_any_kind_of_table(form, tmp_path):
    battles = battles_from_preferences(_as(form, BATTLES, tmp_path))
    assert battles.models == ("x", "y", "z")
    assert sorted(_listed(battles)) == [
        ("one", "x", "z", 0.75),  # a win and a tie
        ("three", "x", "y", 0.0),
        ("two", "x", "y", 0.75),
    ]
    assert (np.diff(battles.prompt) >= 0).all()
    assert list(battles.prompt_keys) == sorted(battles.prompt_keys)
    assert battles.dropped == {}


def test_both_orders_of_a_pair_are_averaged_within_a_source_only():
    table = {
        "model_a": ["x", "y", "y"],
        "model_b": ["y", "x", "x"],
        "winner": ["model_a", "model_a", "model_a"],
        "prompt": ["p", "p", "p"],
        "source": ["judge", "judge", "people"],
    }
    battles = battles_from_preferences(table)
    assert sorted(zip(battles.source.tolist(), battles.outcome.tolist(), strict=True)) == [(0, 0.5), (1, 0.0)]
    assert battles.sources == ("judge", "people")


def test_rows_that_touch_an_evaluation_set_are_dropped():
    table = {**BATTLES, "overlap": ["", "mmlu", None, "", "gsm8k"]}
    battles = battles_from_preferences(pd.DataFrame(table))
    assert battles.dropped == {"overlap with an evaluation set": 2}
    assert sorted(_listed(battles)) == [("one", "x", "z", 0.75), ("two", "x", "y", 1.0)]
    scores = {**SCORES, "overlap": ["mt_bench", "", "", "", "", ""]}
    assert ("one", "x", "y", 1.0) not in _listed(battles_from_outcomes(scores))


def test_prompts_are_joined_by_prompt_id():
    table = {**BATTLES, "prompt_id": ["b", "a", "a", "a", "b"]}
    battles = battles_from_preferences(table)
    assert battles.prompt_keys == ("a", "b")
    assert battles.prompts == ("two", "two")  # the text of the first row with the id


def test_rows_of_an_embedding_matrix():
    table = {name: values for name, values in BATTLES.items() if name != "prompt"} | {"row": [7, 7, 2, 2, 0]}
    battles = battles_from_preferences(table)
    assert battles.prompts == ()
    assert sorted(_listed(battles)) == [(0, "x", "y", 0.0), (2, "x", "z", 0.75), (7, "x", "y", 0.75)]
    matrix = np.arange(16, dtype=np.float32).reshape(8, 2)
    np.testing.assert_array_equal(gather_embeddings(battles, matrix), matrix[battles.rows])
    with pytest.raises(DataError, match=r"7 found; embeddings has rows 0 to 6"):
        gather_embeddings(battles, matrix[:7])
    with pytest.raises(InvalidArgumentError, match="prompts as text"):
        gather_embeddings(battles_from_preferences(BATTLES), matrix)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"winner": ["model_a", "x", "tie", "tie", "tie"]}, "column 'winner', row 1: 'x' found"),
        ({"winner": ["model_a", None, "tie", "tie", "tie"]}, "column 'winner', row 1: None found"),
        ({"model_a": ["x", "y", 3, "x", "x"]}, "column 'model_a', row 2: 3 found"),
        ({"model_a": ["x", "y", ["z"], "x", "x"]}, "column 'model_a', row 2: ['z'] found"),
        ({"model_b": ["y", "x", "z", "z", "y"]}, "column 'model_b', row 2: 'z' found"),
        ({"prompt": ["a", "b", "c", float("nan"), "e"]}, "column 'prompt', row 3: None found"),
        ({"prompt": ["a"]}, "different lengths"),
        ({"row": [0, 1, 2, 3, 4]}, "both of the columns 'prompt' and 'row'"),
        ({"prompt": None}, "neither of the columns 'prompt' and 'row'"),
        ({"prompt": None, "row": [0, 1, 2, -3, 4]}, "column 'row', row 3: -3"),
        ({"prompt": None, "row": [0, 1, 2, 3.5, 4]}, "column 'row', row 3: 3.5"),
        ({"prompt": None, "row": ["0", "1", "2", "x", "4"]}, "column 'row', row 3: 'x' found"),
        ({"prompt": None, "row": [0, 1, None, 3, 4]}, "column 'row', row 2: None"),
        ({"winner": None}, "no column 'winner'"),
    ],
)
def test_bad_cells_are_named(change, says):
    table = {name: values for name, values in {**BATTLES, **change}.items() if values is not None}
    with pytest.raises(DataError) as caught:
        battles_from_preferences(table, name="my-battles")
    assert says in str(caught.value)
    assert str(caught.value).startswith("my-battles: ")


def test_an_arrow_dictionary_may_repeat_values_and_hold_nulls():
    repeated = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1, 0]), pa.array(["x", "y", "x"]))
    battles = battles_from_preferences(pa.table({**BATTLES, "model_a": repeated, "model_b": list("zzzzz")}))
    assert battles.models == ("x", "y", "z")
    missing = pa.DictionaryArray.from_arrays(pa.array([0, None, 2, 1, 0]), pa.array(["x", "y", "x"]))
    with pytest.raises(DataError, match="column 'model_a', row 1: None found"):
        battles_from_preferences(pa.table({**BATTLES, "model_a": missing}))


@pytest.mark.parametrize("table", [None, 3, "table.parquet", [1, 2], {"model_a": "xyz"}, {"model_a": 3}])
def test_what_is_no_table_is_refused(table):
    with pytest.raises(InvalidTypeError, match="preferences"):
        battles_from_preferences(table)


def test_outcomes_become_battles_with_the_gain():
    battles = battles_from_outcomes(SCORES)
    assert sorted(_listed(battles)) == [
        ("one", "x", "y", 1.0),
        ("one", "x", "z", 0.875),
        ("one", "y", "z", 0.375),
        ("two", "x", "y", 0.5),
    ]
    assert battles.prompts == tuple(prompt for prompt in battles.prompts if prompt != "three")


def test_pairs_are_drawn_with_the_seed():
    table = {"model": [f"m{i:02}" for i in range(20)], "score": [0.0, 1.0] * 10, "prompt": ["p"] * 20}
    few = [battles_from_outcomes(table, pairs_per_prompt=30, seed=seed) for seed in (1, 1, 2)]
    assert [len(battles) for battles in few] == [30, 30, 30]
    assert _listed(few[0]) == _listed(few[1]) != _listed(few[2])
    assert len(set(_listed(few[0]))) == 30
    assert len(battles_from_outcomes(table, pairs_per_prompt=190)) == 190


def test_models_fight_within_a_benchmark_only():
    table = {**SCORES, "benchmark": ["b1", "b1", "b2", "b1", "b1", "b1"]}
    assert sorted(_listed(battles_from_outcomes(table))) == [("one", "x", "y", 1.0), ("two", "x", "y", 0.5)]


def test_small_benchmarks_are_pooled_under_their_source():
    prompts = [f"p{i}" for i in range(120)]
    table = {
        "model": ["x"] * 120 + ["y"] * 120,
        "score": [1.0] * 120 + [0.0] * 120,
        "prompt": prompts * 2,
        "source": ["s"] * 240,
        "benchmark": (["large"] * 105 + ["small"] * 15) * 2,
    }
    battles = battles_from_outcomes(table)
    assert battles.sources == ("large", "s")
    assert np.bincount(battles.source).tolist() == [105, 15]


def _noisy(source):
    means = {"a": 1.0, "b": 0.8, "c": 0.3, "d-chatqa": 1.0}
    rows = [(m, float(i < 10 * mean), f"p{i}") for m, mean in means.items() for i in range(10)]
    model, score, prompt = (list(column) for column in zip(*rows, strict=True))
    return {
        "model": model, "score": score, "prompt": prompt,
        "source": [source] * 40, "benchmark": [f"{source}:gsm8k"] * 40,
    }  # fmt: skip


def test_format_failures_are_dropped_where_they_are_known():
    battles = battles_from_outcomes(_noisy("llmrouter"))
    assert battles.models == ("a", "b")
    assert battles.dropped == {"format failures": 20}
    assert battles_from_outcomes(_noisy("elsewhere")).models == ("a", "b", "c", "d-chatqa")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"score": [1.0, 0.0, 1.5, 1.0, 1.0, 0.0]}, "column 'score', row 2: 1.5"),
        ({"score": [1.0, 0.0, float("nan"), 1.0, 1.0, 0.0]}, "column 'score', row 2: nan"),
        ({"score": ["1", "0", "", "1", "1", "0"]}, "column 'score', row 2: '' found; a number from 0 to 1, true"),
        ({"score": np.zeros((6, 2))}, "column 'score' holds float64 of shape (6, 2)"),
        ({"model": None}, "no column 'model'"),
    ],
)
def test_bad_scores_are_named(change, says):
    table = {name: values for name, values in {**SCORES, **change}.items() if values is not None}
    with pytest.raises(DataError) as caught:
        battles_from_outcomes(table)
    assert says in str(caught.value)


def test_pairs_per_prompt_is_checked():
    with pytest.raises(InvalidArgumentError, match="pairs_per_prompt: 0"):
        battles_from_outcomes(SCORES, pairs_per_prompt=0)


def test_joining_keeps_every_battle():
    one, other = battles_from_preferences(BATTLES, name="first"), battles_from_outcomes(SCORES, name="second")
    joined = join_battles(one, other)
    assert sorted(_listed(joined)) == sorted(_listed(one) + _listed(other))
    assert joined.sources == ("first", "second")
    assert len(joined.prompts) == len(joined.prompt_keys) == 3
    assert (np.diff(joined.prompt) >= 0).all()
    assert np.bincount(joined.source).tolist() == [len(one), len(other)]


def test_texts_and_rows_do_not_mix():
    rows = {name: values for name, values in SCORES.items() if name != "prompt"} | {"row": [0, 0, 0, 1, 1, 2]}
    with pytest.raises(InvalidArgumentError, match="one form"):
        join_battles(battles_from_preferences(BATTLES), battles_from_outcomes(rows))
    joined = join_battles(battles_from_outcomes(rows), battles_from_outcomes(rows))
    assert joined.rows.tolist() == [0, 1]


def _two_sources():
    """Source a: 4 prompts, 1 battle each; source b: 1 prompt, 3 battles."""
    return battles_from_outcomes(
        {
            "model": ["x", "y"] * 4 + ["x", "y", "z"],
            "score": [1.0, 0.0] * 4 + [1.0, 0.5, 0.0],
            "prompt": [f"p{i // 2}" for i in range(8)] + ["q"] * 3,
            "source": ["a"] * 8 + ["b"] * 3,
        }
    )


@pytest.mark.parametrize(("power", "factors", "ratio"), [(0, {}, 1), (0.5, {}, 2), (1, {}, 4), (0.5, {"b": 0.1}, 20)])
def test_sources_are_balanced_by_prompts(power, factors, ratio):
    battles = balance_sources(_two_sources(), power=power, factors=factors)
    total = np.bincount(battles.source, battles.weight)
    assert total[0] / total[1] == pytest.approx(ratio)
    assert battles.weight.mean() == pytest.approx(1)


def test_bad_factors_are_refused():
    with pytest.raises(InvalidArgumentError, match=r"unknown sources \['c'\]"):
        balance_sources(_two_sources(), factors={"c": 1})
    for factor in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidArgumentError, match="finite and above 0"):
            balance_sources(_two_sources(), factors={"b": factor})


def test_mixing_weighs_judged_battles_down():
    judged, scored = (
        battles_from_preferences(BATTLES, name="judged"),
        battles_from_outcomes(SCORES, name="scored"),
    )
    mixed = mix_battles(judged, scored, preference_factor=0.5)
    total = np.bincount(mixed.source, mixed.weight)
    assert total[0] / total[1] == pytest.approx(0.5 * (3 / 2) ** 0.5)
    assert mix_battles(judged, None).sources == ("judged",)
    with pytest.raises(InvalidArgumentError, match="neither given"):
        mix_battles(None, None)


def test_the_split_goes_by_key_and_seed():
    keys = tuple(f"key{i}" for i in range(4000))
    side = held_out(keys, 0.25, 3)
    assert 0.22 < side.mean() < 0.28
    np.testing.assert_array_equal(held_out(keys[::-1], 0.25, 3)[::-1], side)
    assert (held_out(keys, 0.25, 4) != side).any()
    assert not (side & ~held_out(keys, 0.5, 3)).any()


def test_scores_may_be_words():
    spelled = {**SCORES, "score": ["True", "0", "0.25", "1.0", "TRUE", "false"]}
    assert _listed(battles_from_outcomes(spelled)) == _listed(battles_from_outcomes(SCORES))


def test_a_row_without_a_benchmark_is_of_its_source_or_of_the_table():
    prompts = [f"p{i // 2}" for i in range(8)]
    table = {"model": ["x", "y"] * 4, "score": [1, 0] * 4, "prompt": prompts}
    table |= {"benchmark": ["b", "b", None, "", None, None, "b", "b"]}
    assert battles_from_outcomes(table, name="mine").sources == ("b", "mine")
    table |= {"source": ["s", "s", "s", "s", None, "", "s", "s"]}
    battles = battles_from_outcomes(table, name="mine")  # four prompts: benchmarks go together by source
    assert {battles.prompts[p]: battles.sources[g] for p, g in zip(battles.prompt, battles.source, strict=True)} == {
        "p0": "s", "p1": "s", "p2": "mine", "p3": "s",
    }  # fmt: skip


def test_a_row_without_a_prompt_id_has_that_of_its_prompt():
    """Else a prompt could fall on both sides of the split."""
    table = {**BATTLES, "prompt_id": ["two's id", None, "", None, ""]}
    battles = battles_from_preferences(table)
    assert battles.prompt_keys == tuple(sorted(["two's id", text_key("one"), text_key("three")]))
    rows = {name: values for name, values in table.items() if name != "prompt"} | {"row": [7, 7, 2, 2, 0]}
    assert battles_from_preferences(rows).prompt_keys == ("0", "2", "two's id")


@pytest.mark.data
def test_the_data_pack_becomes_battles(data_pack):
    judged = battles_from_preferences(read_table(data_pack / "preferences.parquet", PREFERENCE_COLUMNS))
    assert len(judged.prompts) == 2107
    assert judged.dropped == {"overlap with an evaluation set": 234}
    assert {"gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"} <= set(judged.models)
    scored = battles_from_outcomes(read_table(data_pack / "outcomes.parquet", OUTCOME_COLUMNS), pairs_per_prompt=4)
    assert len(scored.prompts) == 25862
    assert not any("chatqa" in model for model in scored.models)
