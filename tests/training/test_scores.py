"""Tables of scores as checked arrays, guess rates, judges' scores, and tables of both kinds."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from fastroute.errors import DataError, InvalidArgumentError
from fastroute.tables import read_table
from fastroute.training.guessing import guess_rates, lettered_options
from fastroute.training.outcomes import OUTCOME_COLUMNS
from fastroute.training.preferences import battles_from_preferences
from fastroute.training.scores import (
    JUDGEMENT_COLUMNS,
    as_outcomes,
    join_scores,
    scores_from_outcomes,
    scores_with_battles,
)
from fastroute.training.together import battles_of_both, scores_of_both

CHOICE = "Which?\nA. this\nB. that\nC. neither\nD. both"
SCORES = {
    "prompt": [CHOICE, CHOICE, "two", "two", "three"],
    "model": ["y", "x", "x", "y", "z"],
    "score": [True, "false", 0.25, "1", 0],
}
BATTLES = {"prompt": ["two", "four"], "model_a": ["x", "w"], "model_b": ["y", "x"], "winner": ["model_a", "tie"]}


def _listed(scores):
    """Scores as readable tuples."""
    prompts = scores.prompts or scores.rows.tolist()
    columns = (scores.prompt, scores.model, scores.score, scores.guess)
    return sorted((prompts[p], scores.models[m], float(y), float(h)) for p, m, y, h in zip(*columns, strict=True))


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        (CHOICE, 4),
        ("Which?\n(A) this\n(B) that", 2),
        ("Which?\n  A) this\n  B) that\n  C) more", 3),
        ("A: a\nB: b", 2),
        ("Example:\nA. 1\nB. 2\nC. 3\nNow you:\nA. 1\nB. 2", 2),
        ("A. only one", 0),
        ("B. from the middle\nC. on", 0),
        ("A. one\nC. three", 0),
        ("A. one\nB. two\nD. four", 2),
        ("Plan A. and B. are in a line", 0),
        ("A.\nB.", 0),
        ("a. small\nb. letters", 0),
        ("", 0),
    ],
)
def test_options_are_counted(prompt, options):
    assert lettered_options(prompt) == options
    assert guess_rates([prompt]).tolist() == [1 / options if options else 0.0]


def test_scores_of_a_table():
    scores = scores_from_outcomes(SCORES)
    assert _listed(scores) == [
        (CHOICE, "x", 0.0, 0.25),
        (CHOICE, "y", 1.0, 0.25),
        ("three", "z", 0.0, 0.0),
        ("two", "x", 0.25, 0.0),
        ("two", "y", 1.0, 0.0),
    ]
    assert scores.guess_rule == "1 / lettered options"
    assert (np.diff(scores.prompt) >= 0).all()
    assert list(scores.prompt_keys) == sorted(scores.prompt_keys)
    assert scores.counts() == {"scores": 5}


def test_a_column_of_guesses_has_the_last_word():
    scores = scores_from_outcomes({**SCORES, "guess": ["0", "0.5", 0, 0, 0.1]})
    assert scores.guess_rule == "column guess"
    assert [row[3] for row in _listed(scores)] == [0.5, 0.0, 0.1, 0.0, 0.0]
    for bad in (1, -0.1, "x"):
        with pytest.raises(DataError, match=r"outcomes: column 'guess', row 1"):
            scores_from_outcomes({**SCORES, "guess": [0, bad, 0, 0, 0]})


def test_rows_have_no_text_to_count_options_in():
    table = {name: values for name, values in SCORES.items() if name != "prompt"} | {"row": [4, 4, 0, 0, 2]}
    scores = scores_from_outcomes(table)
    assert scores.guess_rule == "0"
    assert _listed(scores)[0] == (0, "x", 0.25, 0.0)


def test_every_prompt_of_a_source_weighs_the_same():
    """Three models on one prompt of source a, one on each of two prompts of source b."""
    table = {"prompt": list("pppqr"), "model": list("xyzxx"), "score": [1] * 5, "source": list("aaabb")}
    scores = scores_from_outcomes(table)
    assert np.bincount(scores.source, scores.weight).tolist() == pytest.approx([1, 2])


def test_rows_are_left_out_for_the_same_reasons_as_battles():
    scores = scores_from_outcomes({**SCORES, "overlap": ["mmlu", "", None, "", ""]})
    assert scores.dropped == {"overlap with an evaluation set": 1}
    assert len(scores) == 4


def test_judges_scores_are_brought_to_0_and_1():
    judged = {"prompt": [CHOICE, "two"], "model": ["x", "y"], "score": ["1", 5.5], "judge": ["gpt", None]}
    scores = scores_from_outcomes(as_outcomes(judged), name="judged")
    assert _listed(scores) == [(CHOICE, "x", 0.0, 0.0), ("two", "y", 0.5, 0.0)]
    assert scores.sources == ("gpt", "judge_scores")
    for bad in (0, 11, True, ""):
        with pytest.raises(DataError, match=r"judge_scores: column 'score', row 1: .* from 1 to 10 is needed"):
            as_outcomes({**judged, "score": [1, bad]})


def test_joining_keeps_every_score():
    first, second = scores_from_outcomes(SCORES, name="one"), scores_from_outcomes({**SCORES, "guess": [0.5] * 5})
    joined = join_scores(first, second)
    assert _listed(joined) == sorted(_listed(first) + _listed(second))
    assert joined.sources == ("one", "outcomes")
    assert len(joined.prompts) == 3
    assert joined.guess_rule == "1 / lettered options, column guess"
    rows = {name: values for name, values in SCORES.items() if name != "prompt"} | {"row": [4, 4, 0, 0, 2]}
    with pytest.raises(InvalidArgumentError, match="one form"):
        join_scores(first, scores_from_outcomes(rows))


def test_battles_on_the_same_prompts_and_models():
    scores = scores_from_outcomes(SCORES)
    both = scores_with_battles(scores, battles_from_preferences(BATTLES), factor=0.5)
    assert _listed(both) == _listed(scores)
    assert both.models == both.battles.models == ("w", "x", "y", "z")
    assert both.prompt_keys == both.battles.prompt_keys
    assert len(both.prompts) == 4
    fights = zip(both.battles.prompt, both.battles.model_a, both.battles.model_b, both.battles.outcome, strict=True)
    assert sorted((both.prompts[p], both.models[a], both.models[b], float(y)) for p, a, b, y in fights) == [
        ("four", "w", "x", 0.5),
        ("two", "x", "y", 1.0),
    ]
    assert both.battles.weight.sum() == pytest.approx(0.5 * 2)
    assert both.counts() == {"scores": 5, "battles": 2}
    none = battles_from_preferences({name: [] for name in BATTLES})
    assert _listed(scores_with_battles(scores, none)) == _listed(scores)
    for factor in (0.0, float("nan"), float("inf")):
        with pytest.raises(InvalidArgumentError, match="factor"):
            scores_with_battles(scores, none, factor=factor)
    for again in (lambda: scores_with_battles(both, none), lambda: join_scores(scores, both)):
        with pytest.raises(InvalidArgumentError, match="battles"):
            again()


def test_tables_of_both_kinds():
    assert battles_of_both(BATTLES, None).sources == ("battles",)
    assert battles_of_both(None, SCORES).sources == ("outcomes",)
    assert battles_of_both(pa.table(BATTLES), SCORES).sources == ("battles", "outcomes")
    assert scores_of_both(None, SCORES).battles is None
    assert scores_of_both(BATTLES, SCORES).battles.sources == ("battles",)
    with pytest.raises(InvalidArgumentError, match="neither given"):
        battles_of_both(None, None)
    with pytest.raises(InvalidArgumentError, match="outcomes: found none"):
        scores_of_both(BATTLES, None)


@pytest.mark.data
def test_the_data_pack_becomes_scores(data_pack):
    scores = scores_from_outcomes(read_table(data_pack / "outcomes.parquet", OUTCOME_COLUMNS))
    assert len(scores.prompts) == 25862
    by_source = {name: scores.guess[scores.source == code] for code, name in enumerate(scores.sources)}
    assert 0.1 <= by_source["mmlu_pro"].mean() < 0.12
    assert (by_source["piqa"] == 0.5).all()
    assert (by_source["cruxeval_o"] == 0).all()
    judged = scores_from_outcomes(as_outcomes(read_table(data_pack / "judge_scores.parquet", JUDGEMENT_COLUMNS)))
    assert (len(judged.models), len(judged.prompts)) == (15, 299)
    assert (judged.guess == 0).all()
