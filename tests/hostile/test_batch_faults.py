"""Scorecard 17 for scored logs: the k-th call that changes the disk fails, for every k; then the run goes on."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.batch import interrupted_runs
from tests.batch.interrupted_runs import CALLS, MOST_CALLS, SCENARIOS, Scenario, contents, outputs, told

from fastroute.artifact import atomic
from fastroute.batch import rows
from fastroute.errors import FastrouteError

KINDS = ["EIO", "disk stays full", "short write", "short write, then full", "interrupt"]
NEEDS_SPACE = ("open", "mkdir", "write", "fsync")


class Fault:
    """Counts the calls that change the disk and lets the k-th one fail, or all that need space from there."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at, self.calls, self.struck = kind, at, 0, ""

    def strikes(self, name: str) -> bool:
        self.calls += 1
        if self.kind == "disk stays full" and self.calls > self.at:
            return name in NEEDS_SPACE
        return self.calls == self.at

    def wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **keywords: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return call(*arguments, **keywords)
            if not self.strikes(name):
                return None if name == "fsync" else call(*arguments, **keywords)
            self.struck = self.struck or name
            if self.kind == "interrupt":
                raise KeyboardInterrupt
            if name == "write" and self.kind.startswith("short write"):
                written = call(arguments[0], bytes(arguments[1])[: max(1, len(arguments[1]) // 2)])
                if self.kind == "short write":
                    return written
            elif self.kind == "short write":
                return None if name == "fsync" else call(*arguments, **keywords)
            code = errno.EIO if self.kind == "EIO" else errno.ENOSPC
            raise OSError(code, os.strerror(code))

        return run


def inject(patch: pytest.MonkeyPatch, fault: Fault) -> None:
    for name in CALLS:
        patch.setattr(os, name, fault.wrapped(name, getattr(os, name)))
    patch.setattr(atomic, "exchange_names", fault.wrapped("exchange", atomic.exchange_names))


def held() -> tuple[int, set[str]]:
    """How many files this process has open, and which threads of runs there are."""
    return len(list(Path("/proc/self/fd").iterdir())), {
        t.name for t in threading.enumerate() if t.name.startswith("fastroute")
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rows, "MAX_BATCH_ROWS", interrupted_runs.BATCH_ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)  # the disk is not under test
        yield


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files")
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("overwriting a file", kind) for kind in KINDS),
        *(("jsonl.gz", kind) for kind in ("EIO", "disk stays full")),
        *(("parquet", kind) for kind in ("EIO", "interrupt")),
        ("parquet, decoded", "short write, then full"),
        ("overwriting a folder", "EIO"),
    ],
)
def test_a_fault_at_every_call(tmp_path: Path, name: str, kind: str) -> None:
    if "parquet" in name or "folder" in name:
        pytest.importorskip("pyarrow", reason="Parquet needs pyarrow")
    scenario = SCENARIOS[name]
    for folder in ("in", "whole", "before"):
        (tmp_path / folder).mkdir()
    source = scenario.make(tmp_path / "in")
    if scenario.older is not None:
        scenario.older(source, tmp_path / "before")
        shutil.copytree(tmp_path / "before", tmp_path / "whole", dirs_exist_ok=True)
    summary = told(scenario.run(source, tmp_path / "whole"))
    before, whole = contents(tmp_path / "before"), contents(tmp_path / "whole")
    allowed = [outputs(before, scenario.target), outputs(whole, scenario.target)]
    failures = 0
    for at in range(1, MOST_CALLS):
        place = tmp_path / str(at)
        shutil.copytree(tmp_path / "before", place)
        fault, holding = Fault(kind, at), held()
        with pytest.MonkeyPatch.context() as patch:
            inject(patch, fault)
            error = attempt(scenario, source, place)
        if held() != holding:
            gc.collect()  # an error that is its own cause's keeper
        assert held() == holding, (at, fault.struck, error)
        if fault.calls < at:
            break
        found = contents(place)
        assert outputs(found, scenario.target) in allowed, (at, fault.struck)
        if error is None:
            # What can't be cleaned up any more is no failure, nor is a folder that is there already.
            assert kind == "short write" or fault.struck in ("unlink", "rmdir", "mkdir"), (at, fault.struck)
        else:
            failures += 1
            published = outputs(found, scenario.target) == allowed[1]
            check_failure(error, kind, place / scenario.target, found, published=published)
        assert told(scenario.run(source, place, resume=True)) == summary, (at, fault.struck)
        assert contents(place) == whole, (at, fault.struck)
        shutil.rmtree(place)
    else:
        pytest.fail("more calls than expected: raise MOST_CALLS")
    assert at > 50
    assert failures == 0 if kind == "short write" else failures > at // 2


def attempt(scenario: Scenario, source: Path, place: Path) -> str | None:
    """What a run failed with. Not the error itself, which keeps alive, and open, what was under way."""
    try:
        scenario.run(source, place)
    except FastrouteError as error:
        return str(error)
    except KeyboardInterrupt:
        return "interrupt"
    return None


def check_failure(error: str, kind: str, target: Path, found: dict[str, bytes], *, published: bool) -> None:
    """An error that names the output, and nothing left but a run that can be gone on with."""
    assert error == "interrupt" if kind == "interrupt" else error.startswith(str(target)), error
    if target.with_name(f"{target.name}.partial").exists() and not published:
        assert found[f"{target.name}.partial/journal"], "no checkpoint was made"
    known = (f"{target.name}.partial", f"{target.name}.rejects.jsonl", f"{target.name}.manifest.json", target.name)
    assert {name.partition("/")[0] for name in found} <= set(known)
