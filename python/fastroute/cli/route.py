"""``fastroute route``: which model should answer one prompt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fastroute.cli.parsing import add_command, printable
from fastroute.cli.routers import add_router_options, load_router
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    import argparse

    from fastroute import Decision
    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import Explanation, Router

_LEAST_WEIGHT = 0.005  # of a domain that is shown
_FEATURES_SHOWN = 6

_EXAMPLES = """
fastroute route "Prove that the square root of 2 is irrational"
fastroute route --threshold 0.3 "What is the capital of France?"
fastroute route --explain "What is 17 * 23?"
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
    add_router_options(parser)


def run(args: argparse.Namespace) -> int:
    """Print the decision."""
    router = load_router(args)
    prompt = _read_prompt() if args.prompt == "-" else args.prompt
    decision = router.route(prompt, threshold=args.threshold)
    explanation = _explained(router, prompt) if args.explain else None
    if args.json:
        print(_as_json(decision, explanation))
    else:
        print(_as_text(decision, router.strong, router.weak))
        if explanation is not None:
            print(_explanation_text(explanation))
    return 0


def _explained(router: Router, prompt: str) -> Explanation:
    explain = getattr(router, "explain", None)
    if explain is None:
        raise InvalidArgumentError(f"--explain: a router of kind {router.kind!r} can't say; experts can")
    explanation: Explanation = explain(prompt)
    return explanation


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
        f"score {score} {relation} threshold {decision.threshold:g}  "
        f"(router {decision.router}: {printable(strong)} or {printable(weak)})"
    )


def _explanation_text(explanation: Explanation) -> str:
    lines = [f"\nexpected gain {explanation.gain:+.4f}, from", "  weight    gain  domain"]
    lines += [
        f"  {share.weight:6.1%} {share.gain:+.4f}  {printable(share.domain)}"
        for share in explanation.domains
        if share.weight >= _LEAST_WEIGHT
    ]
    lines += ["what moved it most", "  effect   feature"]
    for feature in explanation.features[:_FEATURES_SHOWN]:
        value = "" if feature.value is None else f" = {feature.value:.4g}"
        lines.append(f"  {feature.effect:+.4f}  {feature.feature}{value}")
    return "\n".join(lines)


def _as_json(decision: Decision, explanation: Explanation | None) -> str:
    import dataclasses
    import json

    fields = dataclasses.asdict(decision) | {"score": _shortest(decision.score)}
    if explanation is not None:
        fields["explanation"] = dataclasses.asdict(explanation)
    return json.dumps(fields)


def _shortest(score: float) -> float:
    """Return the score with no more digits than a float32 has."""
    import numpy as np

    return float(str(np.float32(score)))
