"""``fastroute.reporting.report``: formats, groups, prices, targets."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import sys

import numpy as np
import pytest

import fastroute
from fastroute.batch import score_log
from fastroute.errors import DataError, InvalidArgumentError, InvalidTypeError
from fastroute.reporting import Prices, PriceTable, groups, read_prices, report

FORMATS = ("log.jsonl", "log.csv", "log.tsv", "log.parquet")
NINE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


class TestTheLog:
    @pytest.mark.parametrize("name", FORMATS)
    def test_every_format_says_the_same(self, written, name):
        random = np.random.default_rng(1)
        scores = random.random(20_000)
        models = np.where(scores >= 0.4, "large", "small").tolist()
        teams = random.choice(["a", "b", "c"], 20_000).tolist()
        found = report(written(name, scores, model=models, team=teams), by="team", strong_fraction=0.25)
        as_read = np.sort(scores.astype(np.float32).astype(np.float64))
        assert found.rows == 20_000
        assert (found.least, found.most) == (as_read[0], as_read[-1])
        target, logged = found.targets
        assert target.cut.strong_rows == np.count_nonzero(as_read >= target.cut.threshold)
        assert target.cut.share == pytest.approx(0.25, abs=1e-4)
        assert (found.routed.strong, found.routed.weak) == ("large", "small")
        assert logged.cut.strong_rows == models.count("large")
        assert found.routed.above < 0.4 <= found.routed.up_to == logged.cut.threshold
        assert found.grouping.rest is None
        assert {group.value: group.rows for group in found.grouping.groups} == {
            team: teams.count(team) for team in ("a", "b", "c")
        }
        for group in found.grouping.groups:
            own = as_float32(scores)[np.array(teams) == group.value]
            assert group.mean == pytest.approx(own.mean(), abs=1e-9)
            assert group.cut.strong_rows == np.count_nonzero(own >= found.cut.threshold)

    def test_what_score_wrote(self, tmp_path):
        source, scored = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
        prompts = [f"Explain {word} in {n} words." for n in range(3, 9) for word in ("rain", "integrals", "a lease")]
        source.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
        router = fastroute.load()
        summary = score_log(source, scored, router)
        found = report(scored)
        assert found.rows == len(prompts)
        assert [target.cut.strong_rows for target in found.targets if target.kind == "logged"] == [
            summary.routers[0].strong_rows
        ]
        assert (found.routed.strong, found.routed.weak) == (router.strong, router.weak)
        again = report(scored, threshold=router.threshold)
        assert again.targets[0].cut.strong_rows == summary.routers[0].strong_rows

    def test_scores_of_another_name(self, written, tmp_path):
        (tmp_path / "log.csv").write_text("p\n0.25\n0.5\n")
        assert report(tmp_path / "log.csv", score_column="p").rows == 2

    def test_standard_input_read_twice(self, monkeypatch):
        class Pipe(io.BytesIO):
            def seekable(self) -> bool:
                return False

        text = "".join(f'{{"score": {score}, "team": "{"ab"[n % 2]}"}}\n' for n, score in enumerate(NINE))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Pipe(text.encode())))
        found = report("-", format="jsonl", by="team")
        assert found.source == "stdin"
        assert [(group.value, group.rows) for group in found.grouping.groups] == [("a", 5), ("b", 4)]

    def test_models_that_one_threshold_does_not_part(self, written):
        log = written("log.csv", NINE, model=["small", "large"] * 4 + ["small"])
        found = report(log)
        assert found.routed is None
        assert [target.kind for target in found.targets] == ["half"]

    def test_three_models(self, written):
        assert report(written("log.csv", NINE, model=list("aaabbbccc"))).routed is None

    def test_a_mark_and_windows_line_ends(self, tmp_path):
        (tmp_path / "log.csv").write_bytes(b"\xef\xbb\xbfscore,model\r\n0.5,a\r\n\r\n0.25,b\r\n")
        assert report(tmp_path / "log.csv").rows == 2

    def test_the_same_bytes_every_time(self, written):
        log = written("log.csv", NINE, team=list("aabbccaab"))
        against = written("other.csv", NINE[:5])
        first, second = (report(log, against=against, by="team") for _ in range(2))
        assert first == second
        json.dumps(first.record(), allow_nan=False)


def as_float32(scores):
    return np.asarray(scores).astype(np.float32).astype(np.float64)


class TestTargets:
    def test_a_budget(self, written):
        log = written("log.csv", NINE)
        found = report(log, prices=Prices(1000.0, 0.0), budget=3.5)
        assert found.targets[0].cut.strong_rows == 3
        assert found.targets[0].cut.dollars == 3

    def test_a_budget_that_nothing_keeps(self, written):
        found = report(written("log.csv", NINE), prices=Prices(1000.0, 1.0), budget=0.001)
        budget, half = found.targets
        assert budget.cut is None
        assert budget.reason == "the cheapest cut costs $0.009, 0.0% strong"
        assert (half.kind, found.cut) == ("half", half.cut)

    def test_scores_of_one_can_t_be_cut_off(self, written):
        found = report(written("log.csv", [1.0, 1.0, 0.5]), strong_fraction=0.0)
        assert (found.cut.threshold, found.cut.strong_rows) == (1.0, 2)

    def test_the_first_target_is_the_report_s(self, written):
        log = written("log.csv", NINE)
        found = report(log, threshold=0.65, strong_fraction=0.1, budget=1.0)
        assert [target.kind for target in found.targets] == ["threshold", "budget", "strong_fraction"]
        assert found.cut is found.targets[0].cut
        assert found.cut.strong_rows == 3


class TestPrices:
    def test_the_paper_s(self, written):
        found = report(written("log.csv", NINE))
        assert (found.prices.strong, found.prices.weak) == pytest.approx((8.87, 0.0862))
        assert found.strong_dollars == pytest.approx(9 * 0.00887)

    def test_a_table_of_the_log_s_models(self, written, tmp_path):
        (tmp_path / "prices.json").write_text('{"large": 5, "small": {"per_1000_answers": 1}, "x": 9}')
        log = written("log.csv", NINE, model=["small"] * 4 + ["large"] * 5)
        assert report(log, prices=read_prices(tmp_path / "prices.json")).prices == Prices(5.0, 1.0)

    def test_named_models(self, written):
        table = PriceTable("table", {"a": 4.0, "b": 2.0, "strong": 9.0, "weak": 1.0})
        assert report(written("log.csv", NINE), prices=table).prices == Prices(9.0, 1.0)
        assert report(written("log.csv", NINE), prices=table, strong="a", weak="b").prices == Prices(4.0, 2.0)

    def test_a_pair_that_can_t_be_told(self, written):
        with pytest.raises(InvalidArgumentError, match=r"strong: which price .* can't be told .* one of 'a', 'b'"):
            report(written("log.csv", NINE), prices=PriceTable("table", {"a": 4.0, "b": 2.0}))
        with pytest.raises(DataError, match="table: no price of the strong model 'c'; it has 'a', 'b'"):
            report(written("log.csv", NINE), prices=PriceTable("table", {"a": 4.0, "b": 2.0}), strong="c", weak="b")

    def test_tokens(self, tmp_path):
        path = tmp_path / "prices.csv"
        path.write_text("model,per_1000_answers,input_per_million,output_per_million\ngpt,,10,30\nmix,0.5,,\n")
        assert read_prices(path).models == pytest.approx({"gpt": 8.87, "mix": 0.5})
        assert read_prices(path, input_tokens=1000, output_tokens=0).models["gpt"] == pytest.approx(10.0)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("p.json", "{", "broken JSON"),
            ("p.json", "[1]", "expected a JSON object"),
            ("p.json", "{}", "no prices"),
            ("p.json", '{"a": -1}', r"model 'a': per_1000_answers: found '-1', allowed: a number, 0 or more"),
            ("p.json", '{"a": NaN}', "found 'nan'"),
            ("p.json", '{"a": 1, "a": 2}', "the model 'a' is there twice"),
            ("p.json", '{"a": {"input_per_million": 1}}', r"found input_per_million, allowed: per_1000_answers, or"),
            ("p.csv", "name,price\na,1\n", "no column 'model'"),
            ("p.csv", "model,per_1000_answers\na,x\n", "line 2: per_1000_answers: found 'x'"),
            ("p.csv", "model,per_1000_answers\na\n", "line 2: expected 2 fields"),
            ("p.csv", "model,per_1000_answers\na,\n", "line 2: found no price"),
        ],
    )
    def test_bad_tables(self, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=message):
            read_prices(tmp_path / name)

    def test_files_that_are_none(self, tmp_path):
        with pytest.raises(InvalidArgumentError, match=r"allowed: \.json or \.csv"):
            read_prices(tmp_path / "p.txt")
        with pytest.raises(DataError, match="can't be read: No such file"):
            read_prices(tmp_path / "p.json")

    def test_bad_prices(self):
        with pytest.raises(InvalidArgumentError, match="weak_price: found -1, allowed: a number, 0 or more"):
            Prices(1.0, -1.0)
        with pytest.raises(InvalidArgumentError, match="strong_price: found 1, below weak_price, 2"):
            Prices(1.0, 2.0)
        with pytest.raises(InvalidTypeError, match="strong_price: found str"):
            Prices("1", 2.0)  # type: ignore[arg-type]


class TestGroups:
    @pytest.mark.parametrize("name", FORMATS)
    def test_the_largest_and_the_rest(self, written, name):
        teams = list("aaabbcccd")
        found = report(written(name, NINE, team=teams), by="team", top=2, threshold=0.35).grouping
        assert [(group.value, group.rows, group.cut.strong_rows) for group in found.groups] == [
            ("a", 3, 0),
            ("c", 3, 3),
        ]
        assert (found.rest.value, found.rest.rows, found.rest.cut.strong_rows) == (None, 3, 3)
        assert (found.values, found.overlooked) == (4, 0)

    @pytest.mark.parametrize("name", ["log.jsonl", "log.parquet"])
    def test_values_that_are_no_texts(self, written, name):
        found = report(written(name, NINE, n=[1, 1, 1, 2, 2, None, None, None, None]), by="n").grouping
        assert [(group.value, group.rows) for group in found.groups] == [(None, 4), ("1", 3), ("2", 2)]

    def test_long_values_stay_apart(self, written):
        long = "x" * 5000
        found = report(written("log.jsonl", NINE, t=[long + "a"] * 5 + [long + "b"] * 4), by="t").grouping
        assert [group.rows for group in found.groups] == [5, 4]
        assert all(len(group.value) < 130 for group in found.groups)

    def test_more_values_than_are_counted(self, written, monkeypatch):
        monkeypatch.setattr(groups.ValueCounts.__init__, "__defaults__", (50,))
        random = np.random.default_rng(2)
        users = [f"u{n}" for n in random.integers(0, 2000, 5000)]
        users[100:2100] = ["big"] * 2000
        found = report(written("log.csv", random.random(5000), user=users), by="user", top=1).grouping
        assert found.values is None
        assert [(group.value, group.rows) for group in found.groups] == [("big", 2000)]
        assert found.rest.rows == 3000
        largest_other = max(users.count(user) for user in set(users) - {"big"})
        assert largest_other <= 2000 + found.overlooked

    def test_days(self, written):
        times = [
            "2026-11-02T23:59:59Z",
            "2026-11-02T23:30:00-01:00",
            "2026-11-03 00:10:00+0200",
            "2026-11-02",
            "1793664000",  # 2026-11-03, in seconds
            "1793664000000",
            "2026-11-03T00:00:00.123456",
            "2026-11-02T12:00",
            "2026-11-03 12:00:60 UTC",
        ]
        found = report(written("log.csv", NINE, time=times), by_day="time").grouping
        assert found.by_day
        assert [(group.value, group.rows) for group in found.groups] == [("2026-11-02", 4), ("2026-11-03", 5)]

    def test_days_of_parquet(self, written):
        pa = pytest.importorskip("pyarrow")
        late = dt.datetime(2026, 11, 2, 23, 30)
        for column in (
            pa.array([late] * 9, pa.timestamp("us")),
            pa.array([late] * 9, pa.timestamp("ns", "America/New_York")),
            pa.array([late.date()] * 9),
            pa.array([late.isoformat()] * 9),
            pa.array([late.isoformat()] * 9).dictionary_encode(),
            pa.array([int(late.replace(tzinfo=dt.timezone.utc).timestamp())] * 9),
        ):
            found = report(written("log.parquet", NINE, time=column), by_day="time").grouping
            assert [group.value for group in found.groups] == ["2026-11-02"], column.type

    def test_a_file_that_changes_between_the_readings(self, written):
        log = written("log.csv", NINE, team=list("aaabbcccd"))

        class Appends:
            """Adds a row when the first reading ends."""

            ends = 0

            def start(self, total, unit): ...

            def update(self, position, rows): ...

            def close(self):
                self.ends += 1
                if self.ends == 1:
                    with log.open("a") as file:
                        file.write("a,0.5\n")

        with pytest.raises(DataError, match="the file has changed while it was read"):
            report(log, by="team", progress=Appends())


class TestDrift:
    def test_the_same_scores(self, written):
        log = written("log.csv", NINE * 100)
        drift = report(log, against=log).calibration.drift
        assert (drift.psi, drift.ks, drift.ks_p, drift.verdict) == (0, 0, 1, "none")
        assert drift.psi_low == 0

    def test_another_score_for_all(self, written):
        # tenths of one score would put both into one bin
        drift = report(written("a.csv", [0.25] * 500), against=written("b.csv", [0.5] * 500)).calibration.drift
        assert drift.verdict == "large"
        assert drift.ks == 1

    def test_samples_of_one_distribution(self, written):
        random = np.random.default_rng(8)
        signs = held = 0
        for _ in range(60):
            log, other = written("a.csv", random.random(300)), written("b.csv", random.random(500))
            drift = report(log, against=other, resamples=200).calibration.drift
            held += drift.psi_low == 0
            signs += drift.verdict != "none"
        assert held >= 57  # resampling near no drift is cautious
        assert signs <= 9  # 3 expected of 60 at 5%; more than 9 has a probability of 0.001

    @pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
    def test_intervals_hold_the_truth(self, written, shift):
        # uniform on [0, 1) and a tenth .. of it moved from the lowest tenth to the highest
        random = np.random.default_rng(9)
        tenths = np.full(10, 0.1)
        moved = tenths + np.array([-shift / 4, *[0.0] * 8, shift / 4])
        psi = float(((moved - tenths) * np.log(moved / tenths)).sum())
        held = 0
        for _ in range(40):
            log = (random.choice(10, 2000, p=moved) + random.random(2000)) / 10
            found = report(written("a.csv", log), against=written("b.csv", random.random(4000)), resamples=200)
            drift = found.calibration.drift
            held += drift.psi_low <= psi <= drift.psi_high
            assert drift.ks_low <= shift / 4 <= drift.ks_high
        assert held >= 33  # fewer of 40 at 95% has a probability of 0.001

    def test_groups_have_their_own(self, written):
        random = np.random.default_rng(4)
        same, moved = random.random(3000), random.random(3000) ** 2
        log = written("log.csv", [*same, *moved], team=["same"] * 3000 + ["moved"] * 3000)
        found = report(log, against=written("other.csv", random.random(5000)), by="team").grouping
        assert {group.value: group.drift.verdict for group in found.groups} == {"same": "none", "moved": "large"}


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_compressed_logs(written, name):
    path = written(name, [0.1, 0.6, 0.9])
    zipped = path.with_name(f"{name}.gz")
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    assert report(zipped).rows == report(path).rows == 3
