"""Logs that `fastroute score` wrote: columns of several routers, and manifests that say what made the scores."""

from __future__ import annotations

import gzip
import json
import os

import pytest

import fastroute
from fastroute.batch import score_log
from fastroute.errors import DataError
from fastroute.reporting import ScoredBy, html_page, report

PROMPTS = [f"Explain {word} in {n} words." for n in range(3, 9) for word in ("rain", "integrals", "a lease")]


@pytest.fixture(scope="module")
def router():
    return fastroute.load("mf")


@pytest.fixture
def prompts(tmp_path):
    """A folder of two files of prompts."""
    for day in ("2026-11-01", "2026-11-02"):
        path = tmp_path / "logs" / f"day={day}" / "part.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    return tmp_path / "logs"


@pytest.fixture
def scored(prompts, tmp_path, router):
    """A folder that two routers scored in one pass."""
    target = tmp_path / "scored"
    score_log(prompts, target, {"mf": router, "coin": fastroute.load("random")})
    return target


class TestSeveralRouters:
    def test_each_has_its_report(self, scored, router):
        found = report(scored, score_column="score_mf", by="day")
        assert (found.rows, found.files, found.score_column) == (36, 2, "score_mf")
        assert (found.routed.strong, found.routed.weak) == (router.strong, router.weak)
        assert [group.value for group in found.grouping.groups] == ["2026-11-01", "2026-11-02"]
        coin = report(scored, score_column="score_coin")
        assert coin.mean != found.mean

    def test_the_models_can_be_named(self, scored):
        assert report(scored, score_column="score_mf", model_column="model_coin").routed is None
        assert report(scored, score_column="score_mf", model_column="none").routed is None

    @pytest.mark.parametrize("name", ["log.jsonl", "log.csv", "log.parquet"])
    def test_without_a_choice_they_are_listed(self, written, tmp_path, name):
        path = written(name, [0.5], score_mf=[0.5], score_experts=[0.25])
        if name == "log.parquet":
            pq = pytest.importorskip("pyarrow.parquet")
            pq.write_table(pq.read_table(path).drop_columns(["score"]), path)
        else:
            path.write_text(path.read_text().replace('"score"', '"x"').replace(",score\n", ",x\n"))
        listed = "'score_mf', 'score_experts'; choose one with --score-column"
        with pytest.raises(DataError, match=rf"column 'score'.*but there is {listed}"):
            report(path)


class TestManifests:
    def made(self, router, files):
        return (ScoredBy("mf", router.artifact, fastroute.__version__, files),)

    def test_of_a_folder(self, scored, router):
        found = report(scored, score_column="score_mf")
        assert found.scored_by == self.made(router, 2)
        assert report(scored, score_column="score_coin").scored_by[0].kind == "random"
        one = scored / "day=2026-11-02" / "part.jsonl"
        assert report(one, score_column="score_mf").scored_by == self.made(router, 1)
        assert report(scored / "day=*" / "*", score_column="score_mf", against=one).calibration.scored_by == self.made(
            router, 1
        )

    @pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
    def test_of_a_file(self, prompts, tmp_path, router, name, monkeypatch):
        source = prompts / "day=2026-11-01" / "part.jsonl"
        given = tmp_path / name.replace("out", "in")
        given.write_bytes(gzip.compress(source.read_bytes()) if name.endswith(".gz") else source.read_bytes())
        score_log(given, tmp_path / name, router)
        assert report(tmp_path / name).scored_by == self.made(router, 1)
        monkeypatch.chdir(tmp_path)
        assert report(name).scored_by == self.made(router, 1)

    def test_files_of_several_runs(self, scored, tmp_path, prompts, router):
        more = tmp_path / "more"
        score_log(prompts, more, {"mf": router.with_threshold(0.5)})
        manifest = json.loads((more / "_manifest.json").read_text())
        manifest["routers"][0]["artifact"] = "f" * 64
        (more / "_manifest.json").write_text(json.dumps(manifest))
        (tmp_path / "y.jsonl").write_text('{"score_mf": 0.5}\n')
        found = report([scored, more, tmp_path / "y.jsonl"], score_column="score_mf")
        assert {(made.artifact, made.files) for made in found.scored_by} == {(router.artifact, 2), ("f" * 64, 2)}
        assert "unknown (1 file)" in html_page(found)

    def test_a_file_that_the_run_did_not_write(self, scored):
        with (scored / "day=2026-11-01" / "part.jsonl").open("a") as file:
            file.write('{"score_mf": 0.5}\n')
        (scored / "new.jsonl").write_text('{"score_mf": 0.5}\n')
        assert [made.files for made in report(scored, score_column="score_mf").scored_by] == [1]

    def test_a_column_that_the_run_did_not_write(self, written):
        log = written("log.csv", [0.5])
        manifest = {
            "format": "fastroute.scored/1",
            "fastroute": "1",
            "outputs": [{"name": "x", "bytes": log.stat().st_size}],
            "options": {"columns": [["other", "model"]]},
            "routers": [{"kind": "mf", "artifact": "a"}],
        }
        beside = log.with_name("log.csv.manifest.json")
        beside.write_text(json.dumps(manifest))
        assert report(log).scored_by == ()
        manifest["options"]["columns"] = [["score", "model"]]
        beside.write_text(json.dumps(manifest))
        assert report(log).scored_by == (ScoredBy("mf", "a", "1", 1),)
        log.write_text(log.read_text() + "0.25\n")  # another log under the old name
        assert report(log).scored_by == ()

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "another"},
            {"fastroute": 7},
            {"fastroute": "x" * 10_000},
            {"options": None},
            {"options": {"columns": {"score_mf": 1}}},
            {"options": {"columns": [7, [], [["score_mf"]]]}},
            {"routers": []},
            {"routers": ["mf", "coin"]},
            {"routers": [{"kind": "mf"}]},
            {"outputs": "x"},
            {"outputs": [1, {"name": 1, "bytes": 1}, {"name": "day=2026-11-01/part.jsonl", "bytes": "9"}]},
        ],
    )
    def test_one_that_is_not_as_it_should_be(self, scored, change):
        path = scored / "_manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        found = report(scored, score_column="score_mf")
        assert (found.rows, found.scored_by) == (36, ())

    @pytest.mark.parametrize(
        "raw", [b"", b"{", b"[]", b"\xff", b'{"format": NaN}', b"[" * 100_000, b'{"a": "\\ud800"}', b" " * (17 << 20)]
    )
    def test_damage(self, scored, raw):
        (scored / "_manifest.json").write_bytes(raw)
        assert report(scored, score_column="score_mf").scored_by == ()

    def test_what_is_no_file(self, scored):
        (scored / "_manifest.json").unlink()
        os.mkfifo(scored / "_manifest.json")
        assert report(scored, score_column="score_mf").scored_by == ()
        (scored / "_manifest.json").unlink()
        (scored / "_manifest.json").mkdir()
        assert report(scored, score_column="score_mf").scored_by == ()

    def test_of_many_files(self, tmp_path, router):
        logs = tmp_path / "logs"
        logs.mkdir()
        for number in range(900):  # more than the strict parser takes of an artifact's manifest
            (logs / f"{number}.jsonl").write_text('{"prompt": "hi"}\n')
        score_log(logs, tmp_path / "scored", router)
        assert (tmp_path / "scored" / "_manifest.json").stat().st_size > 256 << 10
        assert report(tmp_path / "scored").scored_by == self.made(router, 900)
        assert score_log(logs, tmp_path / "scored", router, resume=True).resumed_rows == 900

    def test_the_page_shows_them_as_text(self, scored):
        path = scored / "_manifest.json"
        manifest = json.loads(path.read_text())
        manifest["routers"][0] |= {"kind": "<b>\x1b", "artifact": "<script>"}
        path.write_text(json.dumps(manifest))
        page = html_page(report(scored, score_column="score_mf", against=scored / "day=2026-11-01"))
        assert page.count("scored by &lt;b&gt;\\x1b &lt;script&gt; of fastroute") == 2
        assert "<script>" not in page
