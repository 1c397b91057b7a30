"""Counts instructions, prints them, and writes them as the baseline of this environment.

``python -m benchmarks.instructions.record [--write]``, from the checkout, in an environment that has fastroute, cmake
and ninja. Everything is counted twice; counts that differ by more than .5% are no baseline.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.instructions import measuring
from benchmarks.instructions.comparison import (
    BASELINE,
    compare,
    find_baseline,
    largest_difference,
    read_baselines,
    table,
    write_baseline,
)

REPEATABLE = 0.005


def main() -> int:
    """Record; return 1 where counts do not repeat, 2 where there is nothing to count with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {BASELINE.name}")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            programs = measuring.build(folder)
        except measuring.UnavailableError as error:
            print(error, file=sys.stderr)
            return 2
        runs = [
            (measuring.count_kernels(programs, folder), measuring.count_calls(programs, folder)[0]) for _ in range(2)
        ]
    for first, second in zip(*runs, strict=True):
        difference = largest_difference(first.counts, second.counts)
        print(f"{first.of}: {dict(first.environment)}\ntwo runs differ by at most {difference:.2%}\n\n{table(first)}\n")
        if difference > REPEATABLE:
            print(f"{first.of}: not repeatable to {REPEATABLE:.1%}, so no baseline", file=sys.stderr)
            return 1
        known = find_baseline(read_baselines(), first)
        found = known if isinstance(known, str) else str(compare(known.counts, first.counts))
        print(f"{found or 'within the limit of the baseline'}\n")
        if write:
            write_baseline(first)
    return 0


if __name__ == "__main__":
    sys.exit(main())
