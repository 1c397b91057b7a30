"""The static path end to end against the floors of its parts: ``python benchmarks/floors.py [-o FILE.json]``.

For `experts` and `mf`, a prompt of 20, 95 and 400 tokens: what `score` and `route` take, beside the sum of the native
tokenizer alone, the token table read at cache speed, one native call, and for `experts` the surface features; and where
the rest goes, layer by layer. Needs fastroute, CMake, Ninja and a C++ compiler; takes half a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":  # as a script, the checkout is where benchmarks and tests are found
    sys.path[0] = str(CHECKOUT)

import fastroute  # noqa: E402
from benchmarks.curves.measuring import Clock, document, native_call  # noqa: E402
from benchmarks.curves.native_floors import NativeFloors, Parts, UnavailableError  # noqa: E402
from benchmarks.instructions.prompts import LONG, MIDDLE, SHORT  # noqa: E402
from fastroute import Decision  # noqa: E402
from fastroute.builtin import DEFAULT_ENCODER  # noqa: E402

LENGTHS = {20: SHORT, 95: MIDDLE, 400: LONG}
ROUTERS = ("mf", "experts")
ALLOWED = 2.0  # times the sum of the floors


@dataclass(frozen=True, slots=True)
class Floors:
    """Seconds of one call, end to end, its floors, and the layers between.

    Attributes
    ----------
    router, call, tokens
        What was called, on how long a prompt.
    seconds
        Median of the call, from Python.
    floors
        What its parts need at least.
    layers
        Where the rest goes; with the floors they sum to `seconds`.
    """

    router: str
    call: str
    tokens: int
    seconds: float
    floors: Mapping[str, float]
    layers: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """How many times the sum of its floors the call is."""
        return self.seconds / sum(self.floors.values())

    @property
    def times(self) -> str:
        """The ratio as text; for `experts` the one without a floor for its features too."""
        if "features" not in self.floors:
            return f"{self.ratio:.2f}"
        fewer = sum(seconds for name, seconds in self.floors.items() if name != "features")
        return f"{self.ratio:.2f} ({self.seconds / fewer:.2f} without features)"

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Floors:
        """What `asdict` wrote, and the ratio besides."""
        return cls(**{key: value for key, value in plain.items() if key != "ratio"})

    def row(self) -> str:
        """A row of Markdown."""
        floor = sum(self.floors.values())
        parts = ", ".join(f"{name} {seconds * 1e6:.2f}" for name, seconds in self.floors.items())
        rest = ", ".join(f"{name} {seconds * 1e6:.2f}" for name, seconds in self.layers.items())
        cells = (
            f"`{self.router}.{self.call}`",
            self.tokens,
            f"{self.seconds * 1e6:.2f}",
            f"{floor * 1e6:.2f} ({parts})",
            self.times,
            rest,
        )
        return f"| {' | '.join(map(str, cells))} |"


HEADER = "| call | tokens | us | sum of floors, us | times | the rest, us |\n| --- | --- | --- | --- | --- | --- |"


def table_of_floors(found: Sequence[Floors]) -> str:
    """All rows, as Markdown."""
    return "\n".join([HEADER, *(each.row() for each in found)])


def floors_of(parts: Parts, native_call: float, *, features: bool) -> dict[str, float]:
    """The floors that one call stands on."""
    table = parts.rows if features else parts.numbers
    found = {"tokenizer": parts.tokenizer, "table": table, "native call": native_call}
    return found | ({"features": parts.features} if features else {})


def layers_of(steps: Mapping[str, float], floor: float) -> dict[str, float]:
    """What each step adds to the one before it; the first one adds what is above the floor."""
    before, found = floor, {}
    for name, seconds in steps.items():
        found[name] = seconds - before
        before = seconds
    return found


def _steps(clock: Clock, router: Any, prompt: str) -> dict[str, float]:
    """Calls from the innermost outwards, each of which contains the one before."""
    native = router._native if router.kind == "experts" else router._scorer
    calls: dict[str, Callable[[], Any]] = {
        "native scorer": partial(native.score, prompt),
        "method score": partial(router.score, prompt),
    }
    return {name: clock.time(call, 1).seconds for name, call in calls.items()}


def _to_utf8(clock: Clock, router: Any, prompt: str) -> float:
    """Seconds to write a prompt beyond ASCII as UTF-8, which ASCII needs not: a call that stops at the first token."""
    if prompt.isascii():
        return 0.0
    first = partial(router.encoder._tokenizer.encode, prompt, 1)
    ascii_first = partial(router.encoder._tokenizer.encode, prompt.encode("ascii", "replace").decode(), 1)
    return max(0.0, clock.time(first, 1).seconds - clock.time(ascii_first, 1).seconds)


def _decision(clock: Clock, router: Any) -> float:
    make = partial(Decision, router.strong, 0.5, 0.5, router.kind, router.artifact)
    return clock.time(make, 1).seconds


def measure(clock: Clock) -> list[Floors]:
    """Everything, on one thread.

    Raises
    ------
    UnavailableError
        The native floors can't be built here.
    """
    fastroute.set_num_threads(1)
    found = []
    call = native_call(clock)
    with NativeFloors() as floors:
        for name in ROUTERS:
            router: Any = fastroute.load(name)
            features = name == "experts"
            width = 2 * len(router.parameters_["expert_bias"]) if features else 1
            most = router.encoder.max_tokens
            timed = floors.time(DEFAULT_ENCODER, list(LENGTHS.values()), most=most, width=width)
            for (tokens, prompt), parts in zip(LENGTHS.items(), timed, strict=True):
                least = floors_of(parts, call, features=features)
                floor = sum(least.values())
                written = _to_utf8(clock, router, prompt)
                steps = ({"to UTF-8": floor + written} if written else {}) | _steps(clock, router, prompt)
                scored = steps["method score"]
                layers = layers_of(steps, floor)
                found.append(Floors(name, "score", tokens, scored, least, layers))
                decision = _decision(clock, router)
                routed = clock.time(partial(router.route, prompt), 1).seconds
                assert router.route(prompt).score == router.score(prompt)
                rest = {"Decision": decision, "method route": routed - scored - decision}
                found.append(Floors(name, "route", tokens, routed, least, layers | rest))
    return found


def main() -> int:
    """Measure and print; 1 where the native floors can't be built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write besides")
    parser.add_argument("--quick", action="store_true", help="few repetitions")
    args = parser.parse_args()
    load = os.getloadavg()
    try:
        found = measure(Clock(quick=args.quick))
    except UnavailableError as error:
        print(f"floors: {error}", file=sys.stderr)
        return 1
    print(table_of_floors(found))
    above = [f"{each.router}.{each.call} at {each.tokens}" for each in found if each.ratio > ALLOWED]
    print(f"\nabove {ALLOWED:g} times: {', '.join(above) or 'none'}")
    if args.output is not None:
        made = document([], command=f"python benchmarks/floors.py -o {args.output.name}", load=load, quick=args.quick)
        del made["plots"]
        made["floors"] = [asdict(each) | {"ratio": each.ratio} for each in found]
        args.output.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
