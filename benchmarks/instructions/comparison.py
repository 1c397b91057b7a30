"""Counts against a baseline that was recorded in the same environment. Pure Python, of the standard library alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 0.05
BASELINE = Path(__file__).with_name("baseline.json")
HOW_TO_RECORD = "python -m benchmarks.instructions.record --write"

_DUMP = re.compile(r"^desc: Trigger: Client Request: (?P<label>.+)$|^summary: (?P<count>\d+)$", re.MULTILINE)
_REPEATED = re.compile(r"(?P<label>.+) x (?P<times>\d+)")


@dataclass(frozen=True, slots=True)
class Measured:
    """Instruction counts, and what they depend on.

    Attributes
    ----------
    of
        "kernels" or "calls".
    environment
        Counts of two environments that differ in any of these can't be compared.
    versions
        Of what should not matter, for whoever looks for the cause of a difference.
    counts
        Label to instructions.
    """

    of: str
    environment: Mapping[str, str]
    versions: Mapping[str, str]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from the baseline by more than the limit, and what only one of both has: a line of text each.

    Attributes
    ----------
    worse, better
        More, or fewer, instructions than the limit allows.
    missing
        In the baseline, not measured.
    new
        Measured, not in the baseline: nothing guards it.
    """

    worse: tuple[str, ...]
    better: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """Whether the guard must not let this pass; fewer instructions do."""
        return bool(self.worse or self.missing or self.new)

    def __str__(self) -> str:
        parts = {
            f"more than {LIMIT:.0%} above the baseline": self.worse,
            f"more than {LIMIT:.0%} below the baseline, record it anew ({HOW_TO_RECORD})": self.better,
            "in the baseline, but not measured": self.missing,
            f"not in the baseline, record it ({HOW_TO_RECORD})": self.new,
        }
        return "\n".join(
            f"{title}:\n" + "\n".join(f"  {line}" for line in lines) for title, lines in parts.items() if lines
        )


def compare(baseline: Mapping[str, int], counts: Mapping[str, int], *, limit: float = LIMIT) -> Comparison:
    """Compare counts of one environment; a count that is exactly at the limit is within it."""
    worse, better = [], []
    for label in baseline.keys() & counts.keys():
        before, now = baseline[label], counts[label]
        line = f"{label}: {now:,}, baseline {before:,} ({(now - before) / before:+.1%})"
        if now - before > limit * before:
            worse.append(line)
        elif before - now > limit * before:
            better.append(line)
    missing, new = baseline.keys() - counts.keys(), counts.keys() - baseline.keys()
    return Comparison(*(tuple(sorted(lines)) for lines in (worse, better, missing, new)))


def largest_difference(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Largest relative difference between two runs of the same counts."""
    if first.keys() != second.keys():
        raise ValueError(f"labels: found {sorted(first.keys() ^ second.keys())} in one run alone")
    return max(abs(second[label] - count) / count for label, count in first.items())


def read_baselines(file: Path = BASELINE) -> list[Measured]:
    """Read the baselines of all environments; none where there is no file."""
    if not file.exists():
        return []
    return [Measured(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))["baselines"]]


def write_baseline(measured: Measured, file: Path = BASELINE) -> None:
    """Put a baseline in the place of the one of its environment, or beside those of others."""
    others = [known for known in read_baselines(file) if not _same(known, measured)]
    entries = [
        {
            "of": known.of,
            "environment": dict(known.environment),
            "versions": dict(known.versions),
            "counts": dict(known.counts),
        }
        for known in sorted([*others, measured], key=lambda known: (known.of, sorted(known.environment.items())))
    ]
    file.write_text(json.dumps({"baselines": entries}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def find_baseline(baselines: Sequence[Measured], measured: Measured) -> Measured | str:
    """Return the baseline of the environment, or why there is none and how to record one."""
    same_kind = [known for known in baselines if known.of == measured.of]
    for known in same_kind:
        if _same(known, measured):
            return known
    here = measured.environment
    differing = [
        ", ".join(
            f"{name} {known.environment.get(name)!r}"
            for name in sorted(known.environment.keys() | here.keys())
            if known.environment.get(name) != here.get(name)
        )
        for known in same_kind
    ]
    there = f"; baselines there are differ in: {'; or '.join(differing)}" if differing else ""
    return f"no baseline of {measured.of} for {dict(here)}{there}. To record one: {HOW_TO_RECORD}"


def read_dumps(text: str) -> dict[str, int]:
    """Read the label and the number of instructions of each dump that a client request caused.

    Labels that end in ``x N`` and ``x 2N`` become one: the instructions of one of N repetitions, rounded.

    Parameters
    ----------
    text
        A file of callgrind with all dumps in it (``--combine-dumps=yes``).
    """
    counts: dict[str, int] = {}
    repeated: dict[str, dict[int, int]] = {}
    label: str | None = None
    for found in _DUMP.finditer(text):
        if found["label"] is not None:
            label = found["label"]
        elif label is not None:
            times = _REPEATED.fullmatch(label)
            if times:
                repeated.setdefault(times["label"], {})[int(times["times"])] = int(found["count"])
            else:
                counts[label] = int(found["count"])
            label = None
    for name, of_times in repeated.items():
        (fewer, less), (more, most) = sorted(of_times.items())
        counts[name] = round((most - less) / (more - fewer))
    return counts


def table(measured: Measured) -> str:
    """Write the counts as a table in Markdown, with a column for each level or length of prompt."""
    rows: dict[str, dict[str, int]] = {}
    for label, count in measured.counts.items():
        name, column = label.rsplit(", ", 1)
        rows.setdefault(name, {})[column] = count
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [["instructions", *columns], ["---"] * (len(columns) + 1)]
    lines += [
        [f"`{name}`", *(f"{row[column]:,}" if column in row else "" for column in columns)]
        for name, row in rows.items()
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _same(one: Measured, other: Measured) -> bool:
    return one.of == other.of and dict(one.environment) == dict(other.environment)
