"""Scorecard 18: ``kill -9`` at random moments of scoring logs, of training and of saving.

Scored logs are gone on with, and killed again, until they are complete, and are then those of a run that nobody killed.
"""

from __future__ import annotations

import gzip
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.batch.interrupted_runs import contents, csv, jsonl, outputs, parquet

import fastroute

# How many kills each test makes: all that the gate asks for, and a few in the ordinary run of the tests.
ALL, FEW = {"batch": 28, "save": 12, "train": 8}, {"batch": 3, "save": 2, "train": 1}
LENGTHS = pytest.mark.parametrize("kills", [FEW, pytest.param(ALL, marks=pytest.mark.slow)], ids=["few", "all"])

SAVING = """
import sys, fastroute
routers = [fastroute.load(sys.argv[1]), fastroute.load("mf")]
while True:
    for router in routers:
        router.save(sys.argv[2])
        print(flush=True)
"""
TRAINING = """
import sys
from fastroute.routers import SimilarityWeightedRouter
while True:
    for count in (80, 120):
        prompts = [("prove" if i % 3 else "sing") + f" number {i}" for i in range(count)]
        winners = ["model_a" if i % 3 else "model_b" for i in range(count)]
        rows = {"prompt": prompts, "model_a": ["large"] * count, "model_b": ["small"] * count, "winner": winners}
        SimilarityWeightedRouter("large", "small").fit(rows).save(sys.argv[1])
        print(flush=True)
"""


def text(folder: Path) -> Path:
    (folder / "in.jsonl").write_bytes(jsonl(30_000))
    return folder / "in.jsonl"


def columns(folder: Path) -> Path:
    pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    return parquet(folder / "in.parquet", 40_000, 40, bad=7001)


def partitions(folder: Path) -> Path:
    for day, write in enumerate((jsonl, csv, jsonl)):
        place = folder / "log" / f"day={day}"
        place.mkdir(parents=True)
        name = "a.csv" if write is csv else "a.jsonl"
        data = write(12_000)
        (place / (f"{name}.gz" if day == 2 else name)).write_bytes(gzip.compress(data, mtime=0) if day == 2 else data)
    return folder / "log"


@LENGTHS
@pytest.mark.parametrize(("make", "name"), [(text, "out.jsonl"), (columns, "out.parquet"), (partitions, "out")])
def test_scoring(
    tmp_path: Path, tiny_router_folder: Path, make: Callable[[Path], Path], name: str, kills: dict[str, int]
) -> None:
    source = make(tmp_path)
    command = [sys.executable, "-m", "fastroute", "score", str(source), "--router", str(tiny_router_folder)]
    command += ["--checkpoint", "20KiB", "--on-error", "skip", "-q", "--resume", "-o"]
    whole, place = tmp_path / "whole", tmp_path / "place"
    whole.mkdir()
    process = begun([*command, str(whole / name)], whole / f"{name}.partial")
    began = time.monotonic()
    assert process.wait() == 1  # rows were left out
    took = time.monotonic() - began
    expected = contents(whole)
    rng = random.Random(7)
    done = resumed = 0
    place.mkdir()
    while done < kills["batch"]:
        process = begun([*command, str(place / name)], place / f"{name}.partial")
        time.sleep(rng.uniform(0, took * 0.8))
        process.send_signal(signal.SIGKILL)
        code = process.wait()
        if code == -signal.SIGKILL:
            done += 1
            resumed += (place / f"{name}.partial").exists()
            assert outputs(contents(place), name) in ({}, outputs(expected, name))
        elif code == 1:
            assert contents(place) == expected
            shutil.rmtree(place)
            place.mkdir()
        else:
            pytest.fail(f"exit status {code}")
    assert subprocess.run([*command, str(place / name)], check=False).returncode == 1
    assert contents(place) == expected
    assert resumed > done // 2


def begun(command: list[str], partial: Path) -> subprocess.Popen[bytes]:
    """Start a run and wait until it is at work: what comes before is Python's start."""
    journal = partial / "journal"
    size = journal.stat().st_size if journal.exists() else -1
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.stat().st_size != size:
            break
        time.sleep(0.002)
    return process


@LENGTHS
def test_saving(tmp_path: Path, tiny_router_folder: Path, kills: dict[str, int]) -> None:
    known = {fastroute.load(router).strong for router in (str(tiny_router_folder), "mf")}
    assert len(known) == 2
    out = tmp_path / "out"
    for _ in killed([SAVING, str(tiny_router_folder), str(out)], kills["save"]):
        assert fastroute.load(out).strong in known  # read whole: its checksums are right


@LENGTHS
def test_training(tmp_path: Path, kills: dict[str, int]) -> None:
    out = tmp_path / "out"
    for _ in killed([TRAINING, str(out)], kills["train"]):
        router = fastroute.load(out)
        assert router.prompts in (80, 120)  # type: ignore[attr-defined]
        assert 0 < router.score("prove number 1") < 1


def killed(arguments: list[str], times: int) -> Iterator[int]:
    """Kill a script that works for ever at random moments, once it has been round; yield after each kill."""
    rng = random.Random(7)
    for number in range(times):
        with subprocess.Popen([sys.executable, "-c", *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            time.sleep(rng.uniform(0, 0.2))
            assert process.poll() is None
            process.kill()
        yield number
