"""`rank_models`: ratings, intervals, rank ranges, groups, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError, UnknownModelError
from fastroute.leaderboard import rank_models, read_votes
from fastroute.leaderboard.ratings import strengths

CYCLE = [("a", "b", "model_a"), ("b", "c", "model_a"), ("c", "a", "model_a")]


def table(battles):
    return {name: [battle[i] for battle in battles] for i, name in enumerate(("model_a", "model_b", "winner"))}


def drawn_battles(seed: int, models: int, count: int):
    random = np.random.default_rng(seed)
    strength = random.normal(0, 1, models)
    battles = []
    for _ in range(count):
        a, b = random.choice(models, 2, replace=False)
        chance = 1 / (1 + math.exp(strength[b] - strength[a]))
        winner = "tie" if random.random() < 0.2 else "model_a" if random.random() < chance else "model_b"
        battles.append((f"m{a}", f"m{b}", winner))
    return battles


def rated(board) -> dict[str, float]:
    return {entry.model: entry.rating for group in board.groups for entry in group.entries}


class TestRatings:
    def test_two_models(self):
        # 3 of 4 points: odds of 3 to 1
        board = rank_models(table([("a", "b", "model_a")] * 5 + [("b", "a", "model_a")] + [("a", "b", "tie")] * 2))
        gap = 400 * math.log10(3)
        assert rated(board) == pytest.approx({"a": 1000 + gap / 2, "b": 1000 - gap / 2}, abs=1e-9)
        first, second = board.groups[0].entries
        assert (first.rank, first.battles, first.win_rate) == (1, 8, 0.75)
        assert (second.rank, second.battles, second.win_rate) == (2, 8, 0.25)

    def test_both_bad_is_a_tie(self):
        one = table([*CYCLE, ("a", "b", "tie")])
        other = table([*CYCLE, ("a", "b", "tie (bothbad)")])
        assert rank_models(one) == rank_models(other)

    def test_a_cycle_is_even(self):
        assert rated(rank_models(table(CYCLE))) == pytest.approx(dict.fromkeys("abc", 1000.0), abs=1e-9)

    def test_long_odds(self):
        battles = [("a", "b", "model_a")] * 100_000 + [("b", "a", "model_a")]
        board = rank_models(table(battles), resamples=0)
        assert rated(board)["a"] - rated(board)["b"] == pytest.approx(2000, abs=1e-6)

    @pytest.mark.parametrize("seed", range(20))
    def test_the_gradient_is_zero(self, seed):
        """At the maximum every model has won as much as its rating expects."""
        battles = drawn_battles(seed, 8, 300)
        points = rated(rank_models(table(battles), resamples=0))
        surplus = dict.fromkeys(points, 0.0)
        for a, b, winner in battles:
            expected = 1 / (1 + 10 ** ((points[b] - points[a]) / 400))
            score = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}[winner]
            surplus[a] += score - expected
            surplus[b] -= score - expected
        assert len(points) == 8
        assert max(map(abs, surplus.values())) < 1e-10

    @pytest.mark.parametrize("seed", range(5))
    def test_agrees_with_scipy(self, seed):
        pytest.importorskip("scipy")
        from tests.reference.bradley_terry_reference import ratings

        battles = drawn_battles(seed, 12, 800)
        expected = ratings(battles, sorted({m for battle in battles for m in battle[:2]}))
        assert rated(rank_models(table(battles), resamples=0)) == pytest.approx(expected, abs=0.01)

    def test_the_fit_converges_from_afar(self):
        wins = np.array([[0, 30, 5], [2, 0, 8], [1, 3, 0]], float)
        afar = strengths(wins, start=np.array([12.0, -20.0, 8.0]))
        np.testing.assert_allclose(afar, strengths(wins), atol=1e-12)

    def test_the_order_of_rows_and_sides_does_not_matter(self):
        battles = drawn_battles(3, 6, 200)
        turned = {"model_a": "model_b", "model_b": "model_a", "tie": "tie"}
        swapped = [(b, a, turned[winner]) for a, b, winner in reversed(battles)]
        assert rank_models(table(battles)) == rank_models(table(swapped))

    def test_an_anchor(self):
        battles = table(drawn_battles(4, 6, 200))
        free, fixed = rated(rank_models(battles)), rank_models(battles, anchor="m2", anchor_rating=1114)
        assert rated(fixed)["m2"] == 1114
        moved = {model: rating - free["m2"] + 1114 for model, rating in free.items()}
        assert rated(fixed) == pytest.approx(moved, abs=1e-9)
        (anchored,) = (entry for entry in fixed.groups[0].entries if entry.model == "m2")
        assert anchored.low == anchored.high == 1114

    def test_a_penalty_is_the_maximum_of_its_own_objective(self):
        board = rank_models(table([("a", "b", "model_a")] * 3), penalty=0.5, resamples=0)
        s = (rated(board)["a"] - 1000) * math.log(10) / 400
        assert 3 / (1 + math.exp(2 * s)) == pytest.approx(0.5 * s, abs=1e-12)
        assert not board.unrated


class TestGroups:
    def test_undefeated_and_winless_models_are_listed_without_a_rating(self):
        battles = [*CYCLE, ("top", "a", "model_a"), ("top", "b", "model_a"), ("c", "bottom", "model_a")]
        board = rank_models(table(battles))
        assert [(u.model, u.reason, u.battles) for u in board.unrated] == [
            ("bottom", "never won", 1),
            ("top", "never lost", 2),
        ]
        # the fit is the limit of the fit with them
        assert rated(board) == pytest.approx(rated(rank_models(table(CYCLE))), abs=1e-9)
        assert board.groups[0].battles == 3
        assert {entry.model: entry.battles for entry in board.groups[0].entries} == {"a": 3, "b": 3, "c": 3}

    def test_a_model_between_two_groups(self):
        upper = [(a.upper(), b.upper(), winner) for a, b, winner in CYCLE]
        board = rank_models(table([*CYCLE, *upper, ("A", "x", "model_a"), ("x", "a", "model_a")]))
        assert [u.reason for u in board.unrated] == ["no chain of wins and losses to other models"]

    @pytest.mark.parametrize(
        ("link", "relation"), [([], "apart"), ([("x", "a", "model_a")], "above"), ([("a", "x", "model_a")], "below")]
    )
    def test_each_group_has_its_own_mean(self, link, relation):
        pair = [("x", "y", "model_a"), ("x", "y", "model_a"), ("y", "x", "model_a")]
        board = rank_models(table([*CYCLE, *pair, *link]), anchor="x", anchor_rating=1500)
        first, second = board.groups
        assert ([e.model for e in first.entries], first.relation) == (["a", "b", "c"], "")
        assert ([e.model for e in second.entries], second.relation) == (["x", "y"], relation)
        assert np.mean([e.rating for e in first.entries]) == pytest.approx(1000)
        assert second.entries[0].rating == 1500
        assert second.entries[1].rating == pytest.approx(1500 - 400 * math.log10(2))

    def test_a_penalty_puts_all_into_one(self):
        board = rank_models(table([*CYCLE, ("x", "y", "model_a")]), penalty=0.1)
        (group,) = board.groups
        assert len(group.entries) == 5
        assert all(math.isfinite(end) for entry in group.entries for end in (entry.low, entry.high))

    @pytest.mark.parametrize(
        "battles", [[("a", "b", "model_a")], [("a", "b", "model_a"), ("b", "c", "model_a"), ("a", "c", "model_a")]]
    )
    def test_nobody_to_rate(self, battles):
        with pytest.raises(DataError, match=r"preferences: no two models .*--penalty"):
            rank_models(table(battles))

    def test_large_rings_are_one_group(self):
        ring = [(f"m{i}", f"m{(i + 1) % 37}", "model_a") for i in range(37)]
        assert len(rank_models(table(ring), resamples=0).groups[0].entries) == 37


class TestIntervals:
    def test_the_seed_decides(self):
        battles = table(drawn_battles(5, 6, 300))
        assert rank_models(battles, seed=1) == rank_models(battles, seed=1)
        assert rank_models(battles, seed=1) != rank_models(battles, seed=2)

    def test_two_models_against_the_binomial_distribution(self):
        battles = [("a", "b", "model_a")] * 60 + [("a", "b", "model_b")] * 40
        top = rank_models(table(battles), resamples=4000).groups[0].entries[0]
        wins = np.sort(np.random.default_rng(1).binomial(100, 0.6, 100_000))
        low, high = (1000 + 200 * math.log10(w / (100 - w)) for w in wins[[2_500, 97_500]])
        assert top.low == pytest.approx(low, abs=5)  # one battle more is up to 4.1 points
        assert top.high == pytest.approx(high, abs=5)

    def test_coverage(self):
        """Of 95% intervals for the gap between two models about that many hold the truth."""
        random = np.random.default_rng(0)
        held = 0
        for trial in range(200):
            wins = int(random.binomial(200, 10 / 11))
            board = rank_models(
                table([("a", "b", "model_a")] * wins + [("a", "b", "model_b")] * (200 - wins)),
                resamples=300,
                seed=trial,
                anchor="b",
            )
            (a,) = (entry for entry in board.groups[0].entries if entry.model == "a")
            held += a.low <= 1400 <= a.high
        assert 0.89 <= held / 200 <= 0.99

    def test_more_battles_are_narrower(self):
        battles = drawn_battles(6, 5, 200)
        wide, narrow = (rank_models(table(battles * times)).groups[0].entries for times in (1, 16))
        ratio = [(w.high - w.low) / (n.high - n.low) for w, n in zip(wide, narrow, strict=True)]
        assert np.mean(ratio) == pytest.approx(4, rel=0.15)

    def test_ends_without_a_bound(self):
        """With one loss, over a third of the resamples have none."""
        board = rank_models(table([("a", "b", "model_a")] * 20 + [("a", "b", "model_b")]))
        first, second = board.groups[0].entries
        assert first.high == math.inf
        assert second.low == -math.inf
        assert math.isfinite(first.low)
        assert first.low > second.high
        assert (first.best_rank, first.worst_rank, second.best_rank, second.worst_rank) == (1, 1, 2, 2)

    def test_only_the_weakly_joined_model_is_without_a_bound(self):
        strong = drawn_battles(8, 4, 400)
        link = [("top", "m0", "model_a")] * 20 + [("m0", "top", "model_a")]
        entries = {e.model: e for e in rank_models(table(strong + link)).groups[0].entries}
        assert entries["top"].high == math.inf
        assert math.isfinite(entries["top"].low)
        assert all(math.isfinite(end) for m in ("m0", "m1", "m2", "m3") for end in (entries[m].low, entries[m].high))
        low = [("m0", "low", "model_a")] * 20 + [("low", "m0", "model_a")]
        assert rank_models(table(strong + low)).groups[0].entries[-1].low == -math.inf

    def test_no_resamples(self):
        entries = rank_models(table(CYCLE), resamples=0).groups[0].entries
        assert {(e.low, e.high, e.best_rank, e.worst_rank) for e in entries} == {(-math.inf, math.inf, 1, 3)}

    def test_rank_ranges_follow_from_the_intervals(self):
        entries = rank_models(table(drawn_battles(7, 9, 900))).groups[0].entries
        for entry in entries:
            assert entry.low <= entry.rating <= entry.high
            assert entry.best_rank == 1 + sum(other.low > entry.high for other in entries)
            assert entry.worst_rank == len(entries) - sum(other.high < entry.low for other in entries)
            assert entry.best_rank <= entry.rank <= entry.worst_rank
        assert {entry.best_rank for entry in entries} != {1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchor_rating": math.nan}, "anchor_rating: nan given"),
        ({"resamples": -1}, "resamples: -1 given; at least 0"),
        ({"seed": -1}, "seed: -1 given"),
        ({"tiers": 0}, "tiers: 0 given; at least 1"),
        ({"confidence": 1.0}, "confidence: 1.0 given"),
        ({"penalty": -0.1}, "penalty: -0.1 given"),
        ({"penalty": math.inf}, "penalty: inf given"),
        ({"anchor": "aa"}, "anchor: 'aa' has no battle in preferences; the nearest are 'a'"),
        ({"anchor": "top"}, "anchor: 'top' has no finite rating"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(InvalidArgumentError) as caught:
        rank_models(table([*CYCLE, ("top", "a", "model_a")]), **options)
    assert message in str(caught.value)
    assert isinstance(caught.value, UnknownModelError) == ("anchor" in options)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model_a": ["a"], "model_b": ["b"]}, "preferences: no column 'winner'"),
        ({"model_a": [], "model_b": [], "winner": []}, "preferences: no battles"),
        ({"model_a": ["a"], "model_b": ["b"], "winner": ["a"]}, "column 'winner', row 0: 'a' found; one of model_a"),
        ({"model_a": ["a"], "model_b": ["a"], "winner": ["tie"]}, "column 'model_b', row 0: 'a' found; a model other"),
        ({"model_a": ["a", None], "model_b": ["b"] * 2, "winner": ["tie"] * 2}, "column 'model_a', row 1: None found"),
        ({"model_a": ["a"], "model_b": ["b"], "winner": [float("nan")]}, "column 'winner', row 0: None found"),
    ],
)
def test_wrong_tables(columns, message):
    with pytest.raises(DataError) as caught:
        rank_models(columns)
    assert message in str(caught.value)


def test_no_table():
    with pytest.raises(InvalidTypeError, match="preferences: int given"):
        rank_models(3)


@pytest.mark.data
def test_the_data_pack_agrees_with_scipy(data_pack):
    """Every row counts, overlap or not; the five models of one source never met the others, in both fits."""
    pytest.importorskip("scipy")
    pq = pytest.importorskip("pyarrow.parquet")
    from tests.reference.bradley_terry_reference import connected_groups, ratings

    columns = pq.read_table(data_pack / "preferences.parquet", columns=["model_a", "model_b", "winner"]).to_pydict()
    battles = list(zip(*columns.values(), strict=True))
    board = rank_models(read_votes(data_pack / "preferences.parquet"), resamples=0)
    groups = connected_groups(battles)
    assert [sorted(e.model for e in group.entries) for group in board.groups] == groups
    assert (board.battles, board.unrated, [len(group) for group in groups]) == (len(battles), (), [44, 5])
    for group, models in zip(board.groups, groups, strict=True):
        expected = ratings(battles, models)
        assert {e.model: e.rating for e in group.entries} == pytest.approx(expected, abs=0.1)
