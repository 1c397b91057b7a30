"""``fastroute train``: one module per kind of router, each with ``add_parser(kinds)`` and ``run(args)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastroute.cli.parsing import Parser, add_command
from fastroute.cli.train import bert, causal_llm, experts, knn, mf, sw_ranking

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers

# By the name on the command line, in the order of the help text.
KINDS = {
    "experts": experts,
    "knn": knn,
    "mf": mf,
    "sw_ranking": sw_ranking,
    "bert": bert,
    "causal_llm": causal_llm,
}

_EXAMPLES = """
fastroute train experts --outcomes graded.csv --strong my-large --weak my-small -o my-router
fastroute train mf --preferences preferences.parquet --outcomes outcomes.parquet -o my-mf
fastroute train sw_ranking --preferences votes.jsonl --strong my-large --weak my-small -o my-ranking
fastroute train knn --outcomes graded.csv --strong my-large --weak my-small -o my-neighbours
fastroute train bert --model all-MiniLM-L6-v2/ --outcomes graded.csv --strong my-large --weak my-small -o my-bert
fastroute route --router my-router 'What is 2 + 2?'
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "train",
        run,
        summary="train a router on scores or battles",
        description="Train a router and write its artifact. Needs pip install 'fastroute[train]'.",
        examples=_EXAMPLES,
    )

    def fill() -> None:
        kinds = parser.add_subparsers(
            dest="kind", metavar="ROUTER", title="routers", required=True, parser_class=Parser
        )
        for kind in KINDS.values():
            kind.add_parser(kinds)

    parser.fill_when_used(fill)


def run(args: argparse.Namespace) -> int:
    """Train a router of the kind that was asked for."""
    code: int = KINDS[args.kind].run(args)
    return code
