"""``fastroute route``: which model should answer one prompt."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

from fastroute.cli.explanations import as_text, explained
from fastroute.cli.parsing import add_command, positive_number, printable
from fastroute.cli.routers import add_router_options, load_router
from fastroute.errors import DataError

if TYPE_CHECKING:
    import argparse

    from fastroute import Decision
    from fastroute.cli.parsing import Subparsers

_EXAMPLES = """
fastroute route "Prove that the square root of 2 is irrational"
fastroute route --threshold 0.3 "What is the capital of France?"
fastroute route --explain "What is 17 * 23?"
fastroute route --router sw_ranking --nearest 3 "What is 17 * 23?"
fastroute route --json - < prompt.txt
fastroute route -- "-1 or 1?"
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "route",
        run,
        summary="choose the model for one prompt",
        description="Choose the model that should answer PROMPT. The first line of the output is its name.",
        examples=_EXAMPLES,
    )
    parser.add_argument("prompt", metavar="PROMPT", help="the prompt, or - to read it from stdin")
    parser.add_argument("--json", action="store_true", help="print the decision as one JSON object")
    parser.add_argument("--explain", action="store_true", help="say what the score is made of")
    parser.add_argument(
        "--nearest", metavar="K", type=positive_number, help="explain by the K nearest battles or prompts (default: 5)"
    )
    add_router_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the decision."""
    router = load_router(args)
    prompt = _read_prompt() if args.prompt == "-" else args.prompt
    decision = router.route(prompt, threshold=args.threshold)
    explanation = explained(router, prompt, args.nearest) if args.explain or args.nearest is not None else None
    if args.json:
        print(_as_json(decision, explanation))
    else:
        print(_as_text(decision, router.strong, router.weak))
        if explanation is not None:
            print(as_text(explanation))
    return 0


def _read_prompt() -> str:
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"stdin: expected UTF-8 text, found an invalid byte at {error.start + 1}") from None


def _as_text(decision: Decision, strong: str, weak: str) -> str:
    relation = ">=" if decision.model == strong else "<"
    score = _shortest(decision.score)
    return (
        f"{printable(decision.model)}\n"
        f"score {score} {relation} threshold {_shortest(decision.threshold)}  "
        f"(router {decision.router}: {printable(strong)} or {printable(weak)})"
    )


def _as_json(decision: Decision, explanation: Any) -> str:
    import dataclasses
    import json

    fields = dataclasses.asdict(decision) | {"score": _shortest(decision.score)}
    if explanation is not None:
        fields["explanation"] = _finite(dataclasses.asdict(explanation))
    return json.dumps(fields, allow_nan=False)


def _finite(value: Any) -> Any:
    """JSON has no infinity: a standard error of one neighbour is null."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shortest(score: float) -> float:
    """Return the score with no more digits than a float32 has."""
    import numpy as np

    return float(str(np.float32(score)))
