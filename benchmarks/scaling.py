"""How costs grow with battles, models, tokens and threads, against what this machine can do at best.

``python benchmarks/scaling.py -o benchmarks/results/scaling.json [--quick]``, from the checkout, in an environment
that has fastroute (``pip install '.[bench]'``). With 10 million battles it takes two minutes and 9 GB of memory;
``--quick`` takes seconds, measures small sizes and shows that it works. `benchmarks/scaling_plots.py` draws the result.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

# Before NumPy and FAISS are loaded: limits and baselines are of one thread too.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:] = [str(CHECKOUT), *(entry for entry in sys.path if Path(entry or ".").resolve() != CHECKOUT / "benchmarks")]

SECTIONS = ("battles", "models", "prompts", "threads")


def main() -> int:
    """Measure; return 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repetitions")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="some of the plots")
    args = parser.parse_args()

    from benchmarks.curves import battles, core_count, measuring, models, prompt_length

    load = os.getloadavg()
    clock = measuring.Clock(quick=args.quick)
    reader = measuring.Reader(clock)
    sections = {
        "battles": lambda: battles.measure(clock, reader),
        "models": lambda: models.measure(clock, reader),
        "prompts": lambda: prompt_length.measure(clock, reader),
        "threads": lambda: core_count.measure(clock),
    }
    plots = [sections[name]() for name in SECTIONS if name in args.only]
    command = f"python benchmarks/scaling.py -o {args.output.name}{' --quick' if args.quick else ''}"
    document = measuring.document(plots, command=command, load=load, quick=args.quick)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    part = args.output.with_name(args.output.name + ".part")
    part.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    part.replace(args.output)
    clock.say(f"written: {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
