"""``fastroute report``: options, tables, JSON, the page, exit codes."""

from __future__ import annotations

import gzip
import json
import re

import pytest

import fastroute
from fastroute.batch import score_log


@pytest.fixture
def scored(tmp_path):
    path = tmp_path / "scored.csv"
    rows = [f"{n / 10},{'large' if n >= 4 else 'small'},{'ab'[n % 2]},2026-11-0{1 + n // 6}" for n in range(1, 10)]
    path.write_text("score,model,team,time\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_tables(run, scored):
    ended = run("report", scored, "--strong-price", "1000", "--weak-price", "100", "--budget", "4.5")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.decode().splitlines()
    assert lines[0] == f"{scored}: 9 rows, scores 0.1 to 0.9, mean 0.5"
    assert lines[1] == "strong alone $9.00, weak alone $0.90  (per 1,000 answers $1,000 and $100.00)"
    assert lines[3].split() == ["threshold", "to", "strong", "95%", "interval", "cost", "saved"]
    assert lines[4].startswith("budget of $4.50")
    assert lines[4].endswith("44.4%  18.9% to 73.3%  $4.50  $4.50  50.0%")
    assert lines[5].startswith("as the log was routed  0.4000000059604645      66.7%")
    assert lines[7].split() == ["threshold", "to", "strong", "cost", "saved"]
    assert lines[8].split() == ["0.0999994", "100.0%", "$9.00", "$0.00"]
    assert lines[-1].split() == ["0.900001", "0.0%", "$0.90", "$8.10"]


def test_json(run, scored, tmp_path):
    ended = run("report", scored, "--json", "--by", "team", "--against", scored, "--strong-fraction", "0.3")
    assert ended.code == 0
    found = json.loads(ended.out)
    assert [target["kind"] for target in found["targets"]] == ["strong_fraction", "logged"]
    assert found["calibration"]["drift"]["psi"] == 0
    assert [group["value"] for group in found["grouping"]["groups"]] == ["b", "a"]
    assert found["routed"]["strong"] == "large"


def test_groups_and_drift(run, scored, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("score\n" + "0.95\n" * 40)
    ended = run("report", scored, "--by-day", "time", "--top", "1", "--against", other, "--threshold", "0.5")
    lines = ended.out.decode().splitlines()
    drift = next(at for at, line in enumerate(lines) if line.startswith("against "))
    assert lines[drift] == f"against {other}: 40 rows, mean 0.95"
    assert lines[drift + 1].endswith("; drift: large")
    assert lines[drift + 2].startswith("  KS  1.0000 [")
    table = lines[drift + 4 :]
    assert table[0] == "by day of time, at threshold 0.5"
    assert table[2].split()[:4] == ["2026-11-01", "5", "0.3000", "20.0%"]
    assert table[3].split()[:5] == ["1", "other", "day", "4", "0.7500"]


def test_values_can_t_drive_the_terminal(run, tmp_path):
    path = tmp_path / "scored.jsonl"
    path.write_text(json.dumps({"score": 0.5, "team": "\x1b[2J\r\n", "model": "\x07"}) + "\n")
    out = run("report", path, "--by", "team").out
    assert b"\\x1b[2J\\r\\n" in out
    assert b"\x1b" not in out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_half_a_surrogate_pair(run, tmp_path, options):
    path = tmp_path / "scored.jsonl"
    path.write_text('{"score": 0.5, "team": "\\ud800", "model": "\\udc00"}\n')
    page = tmp_path / "page.html"
    ended = run("report", path, "--by", "team", "--html", page, *options)
    assert ended.code == 0
    assert "\\ud800" in ended.out.decode()
    assert "\\ud800" in page.read_text()


def test_a_page(run, scored, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    ended = run("report", scored, "--html", page)
    assert ended.code == 0
    assert ended.out.startswith(str(scored).encode())
    assert page.read_text().startswith("<!DOCTYPE html>")
    ended = run("report", scored, "--html", tmp_path / "none" / "page.html")
    assert ended.code == 1
    assert "does not exist; create it first" in ended.err


def test_a_failed_run_leaves_the_old_page(run, tmp_path):
    scored, page = tmp_path / "scored.csv", tmp_path / "page.html"
    scored.write_text("score\n0.5\nx\n")
    page.write_text("old")
    ended = run("report", scored, "--html", page)
    assert ended.code == 1
    assert ended.err == (
        f"fastroute: error: {scored}: row 2 (line 3): column 'score': expected a number from 0 to 1, found 'x'\n"
    )
    assert page.read_text() == "old"


def test_skipped_rows_are_named(run, tmp_path):
    scored = tmp_path / "scored.csv"
    scored.write_text("score\n" + "x\n" * 12 + "0.5\n")
    ended = run("report", scored, "--on-error", "skip")
    assert ended.code == 1
    assert ended.out.decode().startswith(f"{scored}: 1 row, 12 rows left out, scores 0.5 to 0.5")
    lines = ended.err.splitlines()
    assert lines[0].startswith(f"fastroute: skipped {scored}: row 1 (line 2): column 'score'")
    assert lines[10:] == ["fastroute: skipped 2 more rows"]


def test_a_budget_that_nothing_keeps(run, scored):
    ended = run("report", scored, "--budget", "0.0000001")
    assert ended.code == 1
    assert ended.err == ("fastroute: budget: no threshold keeps it; the cheapest cut costs $0.000776, 0.0% strong\n")
    assert b"budget of $1.00e-07" in ended.out


def test_from_a_pipe(run):
    ended = run("report", "-", "--format", "jsonl", "--by", "t", stdin=b'{"score": 0.5, "t": 1}\n' * 3)
    assert ended.code == 0
    assert ended.out.startswith(b"stdin: 3 rows")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--strong-price", "1"], "--strong-price and --weak-price: found one of them, allowed: both or none"),
        (["--strong", "a"], "--strong: goes with --prices"),
        (["--input-tokens", "5"], "--input-tokens: goes with --prices"),
        (["--strong-price", "1", "--weak-price", "2"], "strong_price: found 1, below weak_price, 2"),
        (["--prices", "p.txt"], "p.txt: the format can't be told by its name; allowed: .json or .csv"),
        (["--prices", "p.csv", "--weak-price", "2"], "--prices: not with --strong-price and --weak-price"),
        (["--top", "101"], "top: found 101, allowed: 1 to 100"),
        (["--weak-price", "-1"], "argument --weak-price: '-1' is not a number, 0 or more"),
        (["--budget", "nan"], "argument --budget: 'nan' is not a number, 0 or more"),
        (["--threshold", "2"], "argument --threshold: '2' is not a number from 0 to 1"),
        (["--by", "a", "--by-day", "b"], "argument --by-day: not allowed with argument --by"),
    ],
)
def test_wrong_usage(run, scored, options, message):
    ended = run("report", scored, *options)
    assert (ended.code, ended.out) == (2, b"")
    assert message in ended.err


def test_prices_from_a_table(run, scored, tmp_path):
    table = tmp_path / "prices.csv"
    table.write_text("model,input_per_million,output_per_million\nlarge,10,30\nsmall,0.24,0.24\n")
    ended = run("report", scored, "--prices", table, "--json")
    assert ended.code == 0
    prices = json.loads(ended.out)["prices"]
    assert prices == pytest.approx({"strong": 8.87, "weak": 0.08616})


@pytest.fixture(scope="module")
def routers():
    """Two of the built-in routers, loaded before `run` puts another in their place."""
    return {"mf": fastroute.load("mf"), "random": fastroute.load("random")}


class TestWhatScoreWrites:
    @pytest.fixture
    def folder(self, routers, tmp_path):
        """A folder that two routers scored, a partition a day."""
        for day, words in (("2026-11-01", 3), ("2026-11-02", 9)):
            path = tmp_path / "logs" / f"day={day}" / "part.jsonl"
            path.parent.mkdir(parents=True)
            path.write_text("".join(json.dumps({"prompt": "word " * words * n}) + "\n" for n in range(1, 5)))
        score_log(tmp_path / "logs", tmp_path / "scored", routers)
        return tmp_path / "scored"

    def test_a_folder_with_its_partitions(self, run, folder):
        ended = run("report", folder, "--score-column", "score_mf", "--by-day", "day", "--against", folder)
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.decode().splitlines()
        assert lines[0].startswith(f"{folder}: 2 files, 8 rows, score_mf ")
        made = rf"scored by mf [0-9a-f]{{12}} of fastroute {fastroute.__version__}"
        assert re.fullmatch(made, lines[1])
        against = next(at for at, line in enumerate(lines) if line.startswith("against "))
        assert lines[against].startswith(f"against {folder}: 2 files, 8 rows, mean ")
        assert re.fullmatch(f"  {made}", lines[against + 1])
        assert [line.split()[:2] for line in lines[-2:]] == [["2026-11-01", "4"], ["2026-11-02", "4"]]

    def test_as_json_and_as_a_page(self, run, folder, tmp_path):
        page = tmp_path / "page.html"
        ended = run("report", f"{folder}/day=*/*.jsonl", "--score-column", "score_mf", "--json", "--html", page)
        found = json.loads(ended.out)
        assert (found["files"], found["score_column"]) == (2, "score_mf")
        (made,) = found["scored_by"]
        assert (made["kind"], made["fastroute"], made["files"]) == ("mf", fastroute.__version__, 2)
        assert len(made["artifact"]) == 64
        assert f"2 files; column score_mf; scored by mf {made['artifact'][:12]} of fastroute" in page.read_text()

    def test_the_columns_are_listed(self, run, folder):
        ended = run("report", folder)
        assert ended.code == 1
        assert ended.err == (
            f"fastroute: error: {folder}/day=2026-11-01/part.jsonl: row 1 (line 1): column 'score' is missing, "
            "but there is 'score_mf', 'score_random'; choose one with --score-column\n"
        )

    def test_several_paths_and_calibration_sets(self, run, folder):
        days = sorted(folder.glob("day=*"))
        each = [option for day in days for option in ("--against", day)]
        ended = run("report", *each, *days, "--score-column", "score_random")
        assert ended.code == 0
        out = ended.out.decode()
        assert out.startswith(f"{days[0]}, {days[1]}: 2 files, 8 rows, score_random ")
        assert f"against {days[0]}, {days[1]}: 2 files, 8 rows" in out


def test_left_out_files_are_named(run, tmp_path):
    (tmp_path / "a.csv").write_text("score\n0.5\nx\n")
    (tmp_path / "b.csv").write_text("prompt\n0.5\n")
    ended = run("report", tmp_path, "--on-error", "skip")
    assert ended.code == 1
    assert ended.out.decode().startswith(f"{tmp_path}: 2 files, 1 row, 1 row and 1 file in whole or in part left out, ")
    first, second = ended.err.splitlines()
    assert first.startswith(f"fastroute: skipped {tmp_path}/a.csv: row 2 (line 3): ")
    assert second.startswith(f"fastroute: skipped {tmp_path}/b.csv: no column 'score'")


def test_a_compressed_file(run, tmp_path):
    path = tmp_path / "scored.csv.gz"
    path.write_bytes(gzip.compress(b"score,team\n0.5,a\n0.25,b\n"))
    ended = run("report", path, "--by", "team")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"{path}: 2 rows, ".encode())
