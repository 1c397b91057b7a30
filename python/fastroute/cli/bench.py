"""``fastroute bench``: what a decision costs on this machine."""

from __future__ import annotations

import argparse
import json
import math
from typing import TYPE_CHECKING, Any

from fastroute.cli.exits import DONE
from fastroute.cli.parsing import add_command, positive_number, price

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastroute.cli.parsing import Subparsers
    from fastroute.overhead import Cost, Prices, Timing
    from fastroute.routers import Router
    from fastroute.training.progress import Progress

_DESCRIPTION = """\
Measure routers end to end on this machine, on one thread: one prompt in, one decision out, tokenization and
embedding included. The table has the median and the 99th percentile of single calls; the processor time of a
call, in dollars per million requests at the stated price of a core-hour; what part of the price of an answer
that is; and requests per second and core. Beside it are the figures of RouteLLM's paper (arXiv 2406.18665,
table 7), measured on other machines, at other prices.

An answer of GPT-4 is $0.00887 here (95 input and 264 output tokens at $10 and $30 per million), one of the weak
model $0.0000862. The price of a core-hour is an assumption: give yours. Prompts are fixed, ten of each length,
counted by the router's own tokenizer. Routers that can't run are listed with the reason; nothing asks an endpoint.
"""

_EXAMPLES = """
fastroute bench --overhead
fastroute bench --overhead --routers experts my-bert/ --core-hour 0.06 --seconds 5
fastroute bench --overhead --tokens 20 1000 --json > overhead.json
"""

_TOKENS = (20, 95, 400)
_ENDPOINT = "it asks an endpoint, whose time and price are not this machine's"
_NOT_BUILT_IN = {
    "causal_llm": "not built in; --routers with the path of an artifact measures one",
    "causal_llm_endpoint": f"not built in; {_ENDPOINT}",
}


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "bench",
        run,
        summary="measure what a decision costs on this machine",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--overhead", action="store_true", required=True, help="the price of decisions beside that of answers"
    )
    what.add_argument(
        "--routers", nargs="+", metavar="NAME|PATH", help="built-in routers or artifacts (default: every built-in one)"
    )
    what.add_argument(
        "--tokens",
        nargs="+",
        type=positive_number,
        default=list(_TOKENS),
        metavar="N",
        help="lengths of prompts (default: 20 95 400)",
    )
    what.add_argument(
        "--seconds", type=_above_zero, default=1.0, metavar="S", help="for each router and length (default: 1)"
    )
    prices = parser.add_argument_group("prices")
    prices.add_argument(
        "--core-hour", type=price, default=0.04, metavar="D", help="dollars for a core for an hour (default: 0.04)"
    )
    prices.add_argument("--strong-dollars", type=_above_zero, metavar="D", help="of an answer (default: 0.00887)")
    prices.add_argument("--weak-dollars", type=_above_zero, metavar="D", help="of an answer (default: 0.0000862)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Measure, then print."""
    from fastroute.overhead import Prices
    from fastroute.training.progress import progress_bar

    answers = {"strong_answer": args.strong_dollars, "weak_answer": args.weak_dollars}
    prices = Prices(args.core_hour, **{name: price for name, price in answers.items() if price is not None})
    routers, absent = _load(args.routers)
    with progress_bar("measuring") as progress:
        timings = list(_measured(routers, args.tokens, args.seconds, progress))
    if args.json:
        print(json.dumps(_as_json(timings, absent, prices, args.seconds), indent=2, ensure_ascii=False))
    else:
        print(_as_text(timings, absent, prices))
    return DONE


def _load(names: Sequence[str] | None) -> tuple[dict[str, Router], dict[str, str]]:
    """Load what can run, and say why the others can't; a name that doesn't exist is an error."""
    import fastroute
    from fastroute import builtin
    from fastroute.errors import MissingDependencyError

    routers: dict[str, Router] = {}
    absent: dict[str, str] = {}
    for name in dict.fromkeys((*builtin.routers(), "random") if names is None else names):
        try:
            router = fastroute.load(name)
        except MissingDependencyError as error:
            absent[name] = str(error)
            continue
        if _asks_an_endpoint(router):
            absent[name] = _ENDPOINT
        else:
            routers[name] = router
    if names is None:
        absent |= _NOT_BUILT_IN
    return routers, absent


def _asks_an_endpoint(router: Router) -> bool:
    from fastroute.encoders import OpenAIEncoder
    from fastroute.routers import CascadeRouter, CausalLlmEndpointRouter

    if isinstance(router, CascadeRouter):
        return _asks_an_endpoint(router.first) or _asks_an_endpoint(router.second)
    return isinstance(router, CausalLlmEndpointRouter) or isinstance(router.encoder, OpenAIEncoder)


def _measured(
    routers: dict[str, Router], tokens: Sequence[int], seconds: float, progress: Progress | None
) -> Iterator[tuple[str, Timing]]:
    from fastroute.overhead import time_router

    total = len(routers) * len(tokens)
    for number, (name, router) in enumerate(routers.items()):
        for place, length in enumerate(tokens):
            if progress is not None:
                progress(number * len(tokens) + place, total)
            yield name, time_router(router, length, seconds=seconds)


def _as_text(timings: Sequence[tuple[str, Timing]], absent: dict[str, str], prices: Prices) -> str:
    from fastroute.overhead import cost_of
    from fastroute.overhead.costs import published

    title = ["router", "tokens", "median us", "p99 us", "core us"]
    costs = ["$ per million", "of GPT-4", "of the weak", "requests/s"]
    lines = [[*title, *costs]]
    for name, timing in timings:
        times = (f"{each * 1e6:,.2f}" for each in (timing.median, timing.p99, timing.core))
        lines.append([name, f"{timing.tokens}", *times, *_cells(cost_of(timing.core, prices))])
    paper = [["RouteLLM's paper", *[""] * 4, *costs]]
    for row in _paper():
        cost = published(row.dollars_per_million, row.per_second, prices)
        paper.append([row.router, *[""] * 4, *_cells(cost)])
    widths = [max(map(len, column)) for column in zip(*lines, *paper, strict=True)]
    parts = [
        f"One prompt in, one decision out, one thread; {_machine()}.\n"
        f"Dollars are those of the processor time at ${prices.core_hour:g} per core-hour, an assumption; an answer of "
        f"GPT-4 is ${prices.strong_answer:g}, of the weak model ${prices.weak_answer:.3g}.",
        *(_table(each, widths) for each in (lines, paper)),
    ]
    if absent:
        parts.append("\n".join(f"not measured: {name}: {reason}" for name, reason in absent.items()))
    return "\n\n".join(parts)


def _paper() -> Any:
    from fastroute.evaluation.paper import PAPER_OVERHEAD

    return PAPER_OVERHEAD


def _machine() -> str:
    import fastroute

    info = fastroute.info()
    return f"fastroute {info.version}, {info.simd}"


def _cells(cost: Cost) -> list[str]:
    shares = (f"{_plain(100 * share)}%" for share in (cost.of_strong, cost.of_weak))
    rate = f"{cost.per_second:,.0f}" if cost.per_second >= 1000 else f"{cost.per_second:.2f}"
    return [_plain(cost.dollars_per_million), *shares, rate]


def _plain(number: float) -> str:
    """Two or more digits that count, never an exponent."""
    places = 2 if number == 0 else max(2 if number >= 0.1 else 1 - math.floor(math.log10(number)), 0)
    return f"{number:.{places}f}"


def _table(lines: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in lines
    )


def _as_json(
    timings: Sequence[tuple[str, Timing]], absent: dict[str, str], prices: Prices, seconds: float
) -> dict[str, Any]:
    from dataclasses import asdict

    import fastroute
    from fastroute.overhead import cost_of
    from fastroute.overhead.costs import LIMIT, published

    info = fastroute.info()
    return {
        "version": info.version,
        "simd": info.simd,
        "threads": 1,
        "seconds": seconds,
        "prices": asdict(prices),
        "limit": LIMIT,
        "routers": [
            {"router": name, **asdict(timing), **asdict(cost_of(timing.core, prices))} for name, timing in timings
        ],
        "not_measured": [{"router": name, "reason": reason} for name, reason in absent.items()],
        "paper": [
            {"router": row.router, **asdict(published(row.dollars_per_million, row.per_second, prices))}
            for row in _paper()
        ],
    }


def _above_zero(text: str) -> float:
    value = price(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
