"""What a run measured, as plain values for JSON: machine, versions, commit, and groups by question."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fastroute

CHECKOUT = Path(__file__).resolve().parents[1]
FORMAT = 1
FASTROUTE = "fastroute"
BASELINE = "baseline"

# Each file of the suite answers one question; in the order in which they are told.
QUESTIONS = {
    "test_single_prompt": "single prompt",
    "test_experts": "single prompt",
    "test_overhead": "overhead",
    "test_batch": "batch",
    "test_embeddings": "embeddings",
    "test_routellm_mf": "embeddings",
    "test_weighted_elo": "similarity-weighted Elo",
    "test_large_index": "similarity-weighted Elo",
    "test_neighbours": "neighbours",
    "test_bert": "bert",
    "test_bert_torch": "bert",
    "test_cascade": "cascade",
    "test_cold_start": "cold start",
    "test_memory": "memory",
}
PACKAGES = ("numpy", "tokenizers", "faiss-cpu", "onnxruntime", "pytest-benchmark")
# pytest-benchmark's names of what is kept, all in seconds but the last.
STATISTICS = ("median", "min", "iqr", "rounds")


def question_of(test: str) -> str:
    """Question of a test's node id; a file that is not listed is a question of its own."""
    name = Path(test.split("::", maxsplit=1)[0]).stem
    return QUESTIONS.get(name, name.removeprefix("test_").replace("_", " "))


def groups_of(benchmarks: Iterable[Any]) -> list[dict[str, Any]]:
    """What pytest-benchmark timed, by group, with the ratio of medians, baseline to fastroute."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for bench in benchmarks:
        if bench.has_error or not bench.stats.data:
            continue  # it failed, or was not timed
        info = dict(bench.extra_info)
        row = {"test": bench.fullname, "role": info.pop("role", None)}
        row |= {name: getattr(bench.stats, name) for name in STATISTICS}
        groups.setdefault((question_of(bench.fullname), bench.group or bench.name), []).append(row | {"info": info})
    order = list(dict.fromkeys(QUESTIONS.values()))
    found = [
        {"question": question, "group": name, "ratio": _ratio(rows), "rows": rows}
        for (question, name), rows in groups.items()
    ]
    return sorted(found, key=lambda group: order.index(group["question"]) if group["question"] in order else 99)


def _ratio(rows: list[dict[str, Any]]) -> float | None:
    medians = {row["role"]: row["median"] for row in rows}
    if not {FASTROUTE, BASELINE} <= medians.keys():
        return None
    return float(medians[BASELINE] / medians[FASTROUTE])


def document(
    groups: list[dict[str, Any]], figures: list[dict[str, Any]], *, command: str, load: tuple[float, ...], failed: int
) -> dict[str, Any]:
    """The whole of a result file; `load` is what `os.getloadavg` gave before the run."""
    return {
        "format": FORMAT,
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "command": command,
        "commit": commit(),
        "failed": failed,
        "machine": {**machine(), "load": [round(each, 2) for each in (load[0], os.getloadavg()[0])]},
        "versions": _versions(groups),
        "groups": groups,
        "figures": figures,
    }


def commit() -> dict[str, Any]:
    """The commit, and whether files of it had been changed; None outside a checkout of git."""

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", *args], cwd=CHECKOUT, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"id": git("rev-parse", "HEAD"), "changed": None if changed is None else bool(changed)}


def machine() -> dict[str, Any]:
    info = fastroute.info()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _from_proc("cpuinfo", "model name") or platform.processor() or platform.machine(),
        "family": _from_proc("cpuinfo", "cpu family"),
        "model": _from_proc("cpuinfo", "model"),
        "cores": cores,
        "simd": info.simd,
        "memory": _from_proc("meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _from_proc(file: str, name: str) -> str | None:
    path = Path("/proc") / file
    found = re.search(rf"^{name}\s*:\s*(.*)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1] if found else None


def _versions(groups: list[dict[str, Any]]) -> dict[str, str]:
    """Of what was imported here, and of what other processes said they had."""
    versions = {"python": platform.python_version(), "fastroute": fastroute.__version__}
    versions |= {name: found for name in PACKAGES if (found := _version(name)) is not None}
    for group in groups:
        for row in group["rows"]:
            peers: Mapping[str, str] = row["info"].pop("versions", {})
            versions |= {f"{name} (another process)": text for name, text in peers.items()}
    return versions


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def seconds(value: float) -> str:
    """A time with three digits that count, in its unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 1 or unit == "us":
            number = value * scale
            places = 0 if number >= 100 else 1 if number >= 10 else 2
            return f"{number:,.{places}f} {unit}"
    raise AssertionError(value)


def times(ratio: float) -> str:
    """A ratio; below 1 the baseline was faster."""
    return f"{ratio:,.0f}x" if ratio >= 20 else f"{ratio:.1f}x" if ratio >= 1.05 else f"{ratio:.2f}x"
