"""What the kinds of router that learn from scores of models take: outcomes and judge scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

__all__ = ["FILES", "USUAL_RANGE", "add_scored_data", "read_scored_data"]

FILES = ("outcomes", "judge_scores")
USUAL_RANGE = [0.0, 1.0]


def add_scored_data(data: argparse._ArgumentGroup) -> None:
    """Add the options for the tables, and for what stands for the pair in them."""
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts, or your own labels")
    data.add_argument("--judge-scores", metavar="J", help="marks from 1 to 10 that a judge gave")
    data.add_argument(
        "--score-range",
        metavar=("LOW", "HIGH"),
        nargs=2,
        type=float,
        default=USUAL_RANGE,
        help="worst and best score of the outcomes (default: 0 1)",
    )
    chosen = data.add_mutually_exclusive_group()
    chosen.add_argument(
        "--plan", metavar="NAME|FILE", help="which models stand for the pair: open-data, or a JSON file"
    )
    chosen.add_argument("--domain-column", metavar="NAME", help="column of the outcomes that names the task")


def read_scored_data(args: argparse.Namespace) -> dict[str, Any]:
    """Read the tables that were given, by the names of `fit`'s arguments."""
    from fastroute.tables import read_table
    from fastroute.training.comparisons.tasks import JUDGE_SCORE_COLUMNS
    from fastroute.training.outcomes import OUTCOME_COLUMNS

    columns = {
        "outcomes": (*OUTCOME_COLUMNS, *([args.domain_column] if args.domain_column else ())),
        "judge_scores": JUDGE_SCORE_COLUMNS,
    }
    return {
        name: None if getattr(args, name) is None else read_table(getattr(args, name), wanted)
        for name, wanted in columns.items()
    }
