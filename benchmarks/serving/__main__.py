"""``python -m benchmarks.serving {speed,overload,soak} -o FILE [--quick]``."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.instructions.prompts import LONG, MIDDLE, SHORT
from benchmarks.results import commit, machine
from benchmarks.serving import overload, pauses, soak, speed
from benchmarks.serving.traffic import ScriptedModel
from fastroute.artifact import atomic_file

SEED = 20240626
EXAMPLES = """examples:
  FASTROUTE_LITELLM_PYTHON=... FASTROUTE_ROUTELLM_PYTHON=... \\
    python -m benchmarks.serving speed -o benchmarks/results/serving-speed.json
  python -m benchmarks.serving overload -o benchmarks/results/serving-overload.json
  python -m benchmarks.serving soak -o benchmarks/results/serving-soak.json     (ten minutes)

FASTROUTE_LITELLM_PYTHON names a Python with 'litellm[proxy]', FASTROUTE_ROUTELLM_PYTHON one with 'routellm[serve]';
what has no Python is left out.
"""


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving",
        description="What a proxy costs, under load and over time.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("speed", "overload", "soak"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="rounds of a fraction of a second, to see that it works")
    args = parser.parse_args()
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        parser.error("cores: found 1, needed: 2, one for the server and one for its clients")
    known = machine()
    os.sched_setaffinity(0, {max(cores)})
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        measured = run(args.what, Path(folder), quick=args.quick)
    made = {
        "format": f"fastroute.serving-{args.what}/1",
        "command": f"python -m benchmarks.serving {args.what} -o {args.output}{' --quick' if args.quick else ''}",
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "commit": commit(),
        "machine": {**known, "load": [round(each, 2) for each in (load, os.getloadavg()[0])]},
        **measured,
    }
    with atomic_file(args.output) as stream:
        stream.write((json.dumps(made, indent=1) + "\n").encode())
    json.dump(measured, sys.stdout, indent=1)
    print()
    return 0


def run(what: str, folder: Path, *, quick: bool) -> dict[str, Any]:
    """Measure one of the three within an event loop of its own."""
    import uvloop

    async def within() -> dict[str, Any]:
        model = await ScriptedModel().start()
        prompts = chat_prompts()
        if what == "overload":
            return await overload.measure(folder, model, prompts, *((0.5, 1) if quick else (5.0, 3)))
        if what == "soak":
            return await soak.measure(folder, model, prompts, seconds=3.0 if quick else 600.0)
        measured = await speed.measure(folder, model, prompts, *((0.8, 2) if quick else (3.0, 5)))
        return {**measured, "pauses": await pauses.measure(folder, model, prompts, 0.5 if quick else 20.0)}

    if sys.version_info >= (3, 12):
        return asyncio.run(within(), loop_factory=uvloop.new_event_loop)
    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(within())
    finally:
        loop.close()


def chat_prompts(count: int = 500) -> list[str]:
    """Prompts of 5 to 400 words, most of them near 60; generated, always the same."""
    rng = random.Random(SEED)
    words = f"{SHORT} {MIDDLE} {LONG}".split()
    return [" ".join(rng.choices(words, k=min(400, max(5, int(rng.lognormvariate(4.1, 0.7)))))) for _ in range(count)]


if __name__ == "__main__":
    sys.exit(main())
