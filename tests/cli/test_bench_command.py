"""``fastroute bench --overhead``: tables, JSON, prices, and what can't run."""

from __future__ import annotations

import json
import re

import pytest

import fastroute
from fastroute.cli import main
from fastroute.errors import MissingDependencyError
from fastroute.overhead import Prices, cost_of
from fastroute.routers import CascadeRouter, CausalLlmEndpointRouter

SHORT = ["bench", "--overhead", "--seconds", "1e-9"]


def bench(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[str, str]:
    assert main([*SHORT, *args]) == 0
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_json_is_what_was_measured_and_what_it_costs(capsys):
    out, err = bench(capsys, "--json", "--routers", "mf", "random", "--tokens", "20", "95", "--core-hour", "0.06")
    found = json.loads(out)
    assert err == ""
    assert [(row["router"], row["tokens"], row["own_tokenizer"]) for row in found["routers"]] == [
        ("mf", 20, True),
        ("mf", 95, True),
        ("random", 20, False),
        ("random", 95, False),
    ]
    for row in found["routers"]:
        cost = cost_of(row["core"], Prices(core_hour=0.06))
        assert row["dollars_per_million"] == cost.dollars_per_million
        assert (row["of_strong"], row["of_weak"], row["per_second"]) == (cost.of_strong, cost.of_weak, cost.per_second)
    assert found["prices"] == {"core_hour": 0.06, "strong_answer": 0.00887, "weak_answer": 0.0000862}
    assert [(row["router"], row["dollars_per_million"], row["per_second"]) for row in found["paper"]] == [
        ("SW ranking", pytest.approx(39.26), 2.9),
        ("MF", pytest.approx(3.32), 155.16),
        ("BERT", pytest.approx(3.19), 69.62),
        ("causal LLM", pytest.approx(5.23), 42.46),
    ]
    assert found["not_measured"] == []
    assert found["threads"] == 1


def test_the_table_has_every_built_in_router_and_the_paper(capsys):
    out, _ = bench(capsys)
    lines = [line.split() for line in out.splitlines()]
    for name in (*fastroute.info().routers, "random"):
        assert [line[1] for line in lines if line[:1] == [name]] == ["20", "95", "400"]
    assert ["BERT", "3.19", "0.036%", "3.70%", "69.62"] in lines
    assert ["SW", "ranking", "39.26", "0.44%", "45.55%", "2.90"] in lines
    assert "at $0.04 per core-hour, an assumption" in out
    assert "not measured: causal_llm: not built in" in out
    assert not re.search(r"\de[-+]\d", out.replace("$8.62e-05", ""))  # shares are written out


def test_a_free_core_costs_nothing(capsys):
    out, _ = bench(capsys, "--routers", "random", "--tokens", "20", "--core-hour", "0")
    (row,) = (line.split() for line in out.splitlines() if line.startswith("random"))
    assert row[5:8] == ["0.00", "0.00%", "0.00%"]


def test_a_router_that_lacks_its_extra_is_listed(capsys, monkeypatch):
    load = fastroute.load

    def without_extra(name):
        if name == "my-bert":
            raise MissingDependencyError("ONNX Runtime is not installed: pip install 'fastroute[bert]'")
        return load(name)

    monkeypatch.setattr(fastroute, "load", without_extra)
    out, _ = bench(capsys, "--routers", "my-bert", "random", "--tokens", "20")
    assert "not measured: my-bert: ONNX Runtime is not installed: pip install 'fastroute[bert]'" in out
    assert "\nrandom" in out


def test_no_endpoint_is_asked(capsys, tmp_path):
    asking = CausalLlmEndpointRouter("http://localhost:1/v1", "m")
    asking.save(tmp_path / "asking")
    cascade = CascadeRouter(fastroute.load("experts"), asking)
    out, _ = bench(capsys, "--json", "--routers", str(tmp_path / "asking"), "random", "--tokens", "20")
    (absent,) = json.loads(out)["not_measured"]
    assert absent["reason"].startswith("it asks an endpoint")
    from fastroute.cli.bench import _asks_an_endpoint

    assert _asks_an_endpoint(cascade)
    assert not _asks_an_endpoint(CascadeRouter(fastroute.load("experts"), fastroute.load("mf")))


@pytest.mark.parametrize(
    "args",
    [
        ["bench"],
        [*SHORT, "--tokens", "0"],
        [*SHORT, "--tokens", "100001", "--routers", "random"],
        [*SHORT, "--core-hour", "-1"],
        [*SHORT, "--strong-dollars", "0"],
        [*SHORT, "--seconds", "nan"],
        ["bench", "--overhead", "--seconds", "0"],
        [*SHORT, "--routers", "nope"],
    ],
)
def test_wrong_usage(capsys, args):
    assert main(args) != 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
