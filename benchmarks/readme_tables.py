"""The tables of speed in README.md and docs: ``python -m benchmarks.readme_tables [RESULTS.json]``.

Made of a file that ``pytest benchmarks --results FILE`` wrote, for docs/batch.md of the one that
``python -m benchmarks.large_logs`` wrote, and for the server of those of ``python -m benchmarks.serving``, between the
markers ``<!-- NAME -->`` and ``<!-- /NAME -->``. A test holds the files and the results together.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

from benchmarks.results import BASELINE, FASTROUTE, FORMAT, seconds, times
from benchmarks.serving import tables as serving
from fastroute.artifact import atomic_file
from fastroute.evaluation.paper import PAPER_OVERHEAD
from fastroute.overhead import Cost, Prices
from fastroute.overhead.costs import published

CHECKOUT = Path(__file__).resolve().parents[1]
REPORTED = CHECKOUT / "benchmarks" / "results" / "amd-epyc-zen5-2-cores.json"
LOGS = CHECKOUT / "benchmarks" / "results" / "large-logs.json"
SERVING = {what: CHECKOUT / "benchmarks" / "results" / f"serving-{what}.json" for what in ("speed", "overload", "soak")}
ZEN = {"25": "Zen 3 or 4", "26": "Zen 5"}  # families of AMD's processors

# Groups of the two tables: what it is called, and the group of the results.
STATIC = (
    ("one prompt of 20 tokens, string in, score out", "one prompt, 20 tokens"),
    ("100 tokens", "one prompt, 100 tokens"),
    ("400 tokens", "one prompt, 400 tokens"),
    ("10,000 mixed prompts", "10,000 prompts, one thread"),
    ("200,000 embeddings, against only reading their memory", "score 200,000 embeddings against reading them"),
)
OTHERS = (
    (
        "Elo of 65,000 battles, d = 1536, a query, against RouteLLM's own router",
        "win rate over 65,000 battles, d = 1536, one query, against RouteLLM",
    ),
    (
        "64 queries, against RouteLLM one by one",
        "win rates over 65,000 battles, d = 1536, 64 queries, against RouteLLM",
    ),
    ("a query, against NumPy with the same solve", "win rate over 65,000 battles, d = 1536, one query"),
    ("64 queries, against NumPy's batch", "win rates over 65,000 battles, d = 1536, 64 queries"),
    (
        "a query of a million rows, d = 384, against reading them",
        "1,000,000 rows, d = 384: one query against reading them",
    ),
    ("10 nearest of 57,000 x 384, against FAISS Flat", "10 nearest of 57,000 x 384, 1 at a time, against FAISS Flat"),
    (
        "`mf` of RouteLLM's size on 64 vectors, against RouteLLM's without its embedding call",
        "mf on 64 vectors of 1,536, a call each, against RouteLLM's mf without its embedding call",
    ),
)
MILLION = "1,000,000 rows, d = 384: 64 queries, against one at a time"
LOADING = "loading an index of 65,000 battles, d = 1536: a process"
COLD = "cold start: a process that imports, loads and scores once"


class Results:
    """A result file, by the names of its groups."""

    def __init__(self, read: dict[str, Any]) -> None:
        if read.get("format") != FORMAT:
            raise ValueError(f"format: found {read.get('format')!r}, allowed: {FORMAT}")
        if read["failed"]:
            raise ValueError(f"failed: found {read['failed']}, allowed: a run in which nothing failed")
        self.read = read
        self.groups: dict[str, dict[str, Any]] = {group["group"]: group for group in read["groups"]}

    def group(self, name: str) -> dict[str, Any]:
        if name not in self.groups:
            raise ValueError(f"groups: no {name!r}: run all benchmarks, with RouteLLM's Python named")
        return self.groups[name]

    def row(self, name: str, role: str) -> dict[str, Any]:
        (row,) = (row for row in self.group(name)["rows"] if row["role"] == role)
        return row

    def median(self, name: str, role: str = FASTROUTE) -> float:
        return float(self.row(name, role)["median"])

    def figures(self, question: str) -> list[dict[str, Any]]:
        return [figure["values"] for figure in self.read["figures"] if figure["question"] == question]

    @property
    def cpu(self) -> str:
        machine = self.read["machine"]
        kind = f" ({ZEN[machine['family']]})" if machine["cpu"].startswith("AMD") and machine["family"] in ZEN else ""
        return f"{machine['cpu']}{kind}"

    @property
    def busy(self) -> str:
        """Whether others wanted the machine too: a run alone leaves a load of about 1."""
        machine = self.read["machine"]
        return ", on a busy machine," if max(machine["load"]) > machine["cores"] else ""

    @property
    def simd(self) -> str:
        return {"avx512": "AVX-512", "avx2": "AVX2"}.get(self.read["machine"]["simd"], "scalar")


def speed(results: Results) -> str:
    """README's two tables and what is said of them, in 22 lines."""
    pairs = {
        n: [results.median(f"experts (left) and mf, {n} tokens", role) for role in (FASTROUTE, BASELINE)]
        for n in (20, 100, 400)
    }
    slower = {n: ours / theirs for n, (ours, theirs) in pairs.items()}
    cold = results.group(COLD)["rows"][0]["info"]
    dearest = max(results.figures("overhead"), key=lambda figure: figure["of_strong"])
    loading = results.row(LOADING, FASTROUTE)["info"]["load"]
    commit = results.read["commit"]["id"][:7]
    lines = [
        f"| router `mf` on one core of an {results.cpu}, {results.simd} | fastroute | "
        "`tokenizers` + NumPy, same artifact | |",
        "|---|---|---|---|",
        *(_row(results, *each) for each in STATIC),
        "",
        "| one thread, the same run | fastroute | the other | |",
        "|---|---|---|---|",
        *(_row(results, *each) for each in OTHERS),
        "",
        f"`experts`, the default, takes {seconds(pairs[20][0])} at 20 tokens, {slower[20]:.1f} times as long as "
        f"`mf`, {slower[100]:.1f} times at 100 and {slower[400]:.1f} at 400. The dearest built-in decision",
        f"(`{dearest['router']}`) costs {percent(dearest['of_strong'])} of a GPT-4 answer at ${Prices().core_hour:g} "
        f"per core-hour. `import fastroute` takes {cold['import']:.0f} ms, {cold['numpy']:.0f} of them NumPy's; "
        "loading `mf`",
        f"{cold['load']:.0f} ms, and {cold['resident']:.0f} MiB resident. Elo's win rates are within 2e-5 of float64; "
        f"64 queries of a million rows take {seconds(results.median(MILLION) / 64)} each; 65,000 battles load in "
        f"{seconds(loading)}.",
        f"Medians of {_link(results)} at {commit}; [docs/benchmarks.md](docs/benchmarks.md) has the commands and "
        "the rest.",
    ]
    return "\n".join(lines)


def _link(results: Results) -> str:
    name = REPORTED.relative_to(CHECKOUT).as_posix()
    return f"[one run]({name}) of {results.read['date']}{results.busy}"


def _row(results: Results, title: str, group: str) -> str:
    ours, theirs = (results.median(group, role) for role in (FASTROUTE, BASELINE))
    return f"| {title} | {seconds(ours)} | {seconds(theirs)} | {times(theirs / ours)} |"


def overhead(results: Results) -> str:
    """The table of `fastroute bench --overhead`, which `benchmarks/test_overhead.py` ran."""
    lines = [
        "| router | tokens | median | p99 | of a core | $ per million | of a GPT-4 answer | of a weak answer | "
        "requests/s and core |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for figure in results.figures("overhead"):
        spent = (seconds(figure[name]) for name in ("median", "p99", "core"))
        cost = Cost(**{name: figure[name] for name in Cost.__slots__})
        lines.append(f"| `{figure['router']}` | {figure['tokens']} | {' | '.join(spent)} | {_cost(cost)} |")
    for row in PAPER_OVERHEAD:
        cost = published(row.dollars_per_million, row.per_second)
        lines.append(f"| paper: {row.router} | | | | | {_cost(cost)} |")
    return "\n".join(lines)


def _cost(cost: Cost) -> str:
    rate = f"{cost.per_second:,.0f}" if cost.per_second >= 1000 else f"{cost.per_second:g}"
    return f"{digits(cost.dollars_per_million)} | {percent(cost.of_strong)} | {percent(cost.of_weak)} | {rate}"


def percent(share: float) -> str:
    return f"{digits(100 * share)}%"


def digits(number: float) -> str:
    """Two digits that count, or two places, never an exponent."""
    places = 2 if number == 0 else max(2 if number >= 0.1 else 1 - math.floor(math.log10(number)), 0)
    return f"{number:.{places}f}"


def measured(results: Results) -> str:
    """Every group of the run with a baseline, by question; below 1 the baseline was faster."""
    lines = ["| | fastroute | the other | |", "|---|---|---|---|"]
    question = ""
    for group in results.read["groups"]:
        if group["question"] != question:
            question = group["question"]
            lines.append(f"| **{question}** | | | |")
        if group["ratio"] is not None:
            lines.append(_row(results, group["group"], group["group"]))
        alone = [row for row in group["rows"] if group["ratio"] is None or row["role"] is None]
        lines += [_alone(group["group"], row) for row in alone]
    return "\n".join(lines)


def _alone(group: str, row: dict[str, Any]) -> str:
    info = row["info"]
    if "theirs" in info:  # both sides were asked by turns
        return f"| {group} | {seconds(info['ours'])} | {seconds(info['theirs'])} | {times(info['ratio'])} |"
    name = row["test"].rpartition("::")[2]
    return f"| {group} (`{name}`) | {seconds(row['median'])} | | |"


def memory(results: Results) -> str:
    """Resident memory, beside the size of files."""
    lines = ["| router | files, MiB | loading takes, MiB | scoring takes, MiB |", "|---|---|---|---|"]
    for figure in results.figures("memory"):
        values = (f"{figure[name]:.1f}" for name in ("files", "grown_by_loading", "by_scoring"))
        lines.append(f"| `{figure['router']}` | {' | '.join(values)} |")
    return "\n".join(lines)


def machine(results: Results) -> str:
    """Where, when and with what."""
    read = results.read
    where, commit = read["machine"], read["commit"]
    changed = ", with changes that are not in it" if commit["changed"] else ""
    before, after = where["load"]
    versions = ", ".join(f"{name} {text}" for name, text in read["versions"].items())
    return (
        f"`{read['command']}` on {read['date']}, commit `{commit['id'][:12]}`{changed}; {results.cpu}, "
        f"{where['cores']} cores, {results.simd}, {where['system']}; load average {before:g} before and "
        f"{after:g} after (the run makes 1).\n{versions}."
    )


def large_logs(read: dict[str, Any]) -> str:
    """Logs of gigabytes: time, and memory above that of a process that has scored a few rows."""
    where = read["machine"]
    before, after = where["load"]
    lines = [
        "### Measured",
        "",
        f"`{read['command']}` on {read['date']}; {where['cpu']}, {where['cores']} cores, load average {before:g} "
        f"before and {after:g} after; {read['prompts']:,} prompts of {read['mean_bytes']:.0f} bytes on average. "
        "Memory is the peak above that of",
        "the same process after a log of 100 rows, with `--memory` at its default.",
        "",
        "| log | GB | router | rows | seconds | rows/s | base, MiB | above it, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for log in read["logs"]:
        rate = log["rows"] / log["seconds"]
        above = log["peak_mib"] - log["base_mib"]
        lines.append(
            f"| {log['log']} | {log['bytes'] / 1e9:.2f} | {', '.join(log['routers'])} | {log['rows']:,} | "
            f"{log['seconds']:.1f} | {rate:,.0f} | {log['base_mib']:.0f} | {above:.0f} |"
        )
    return "\n".join(lines)


# What is between which markers of which file.
BLOCKS = {
    "README.md": {"speed": speed},
    "docs/benchmarks.md": {"run": machine, "overhead": overhead, "measured": measured, "memory": memory},
}


def replaced(text: str, name: str, block: str) -> str:
    """The text with another block between its markers."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the markers {begin.strip()} and {end} are needed, once and in this order")
    return f"{text[: text.index(begin) + len(begin)]}{block}\n{text[text.index(end) :]}"


def rewritten(text: str, file: str, results: Results) -> str:
    """The text of a file with the blocks that the results give."""
    for name, block in BLOCKS[file].items():
        text = replaced(text, name, block(results))
    return text


def alone() -> list[tuple[str, str, str]]:
    """Blocks that come from files of their own: the file that they are in, their name, and what they say."""
    speed_read, overload, soak = (json.loads(path.read_text(encoding="utf-8")) for path in SERVING.values())
    return [
        ("docs/batch.md", "large-logs", large_logs(json.loads(LOGS.read_text(encoding="utf-8")))),
        ("docs/serving.md", "measured", serving.measured(speed_read, overload, soak)),
        ("README.md", "serving", serving.summary(speed_read)),
    ]


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else REPORTED
    results = Results(json.loads(path.read_text(encoding="utf-8")))
    for file in BLOCKS:
        _write(file, rewritten((CHECKOUT / file).read_text(encoding="utf-8"), file, results))
    for file, name, block in alone():
        _write(file, replaced((CHECKOUT / file).read_text(encoding="utf-8"), name, block))


def _write(file: str, text: str) -> None:
    with atomic_file(CHECKOUT / file) as stream:
        stream.write(text.encode())


if __name__ == "__main__":
    main()
