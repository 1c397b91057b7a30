"""Options of the experts head: the scale of scores, and what sorts prompts into domains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import positive_number

if TYPE_CHECKING:
    import argparse

__all__ = ["add_domains", "add_score_range", "outcome_tables"]


def add_score_range(data: argparse._ArgumentGroup) -> None:
    """Add --score-range."""
    data.add_argument(
        "--score-range",
        metavar=("LOW", "HIGH"),
        nargs=2,
        type=float,
        default=[0.0, 1.0],
        help="worst and best score of the outcomes (default: 0 1)",
    )


def add_domains(parser: argparse.ArgumentParser) -> None:
    """Add --plan, --domain-column and --clusters, of which at most one may be given."""
    domains = parser.add_argument_group("domains (default: the column benchmark or source, else clusters)")
    chosen = domains.add_mutually_exclusive_group()
    chosen.add_argument("--plan", metavar="NAME|FILE", help="domains, priors and tiers: open-data, or a JSON file")
    chosen.add_argument("--domain-column", metavar="NAME", help="column of the outcomes that names the domain")
    chosen.add_argument(
        "--clusters",
        metavar="K",
        type=positive_number,
        nargs="?",
        const=0,
        help="find domains (K of them) by clustering",
    )


def outcome_tables(args: argparse.Namespace) -> dict[str, Any]:
    """Read --outcomes, --judge-scores and --preferences; None for those that were not given."""
    from fastroute.tables import read_table
    from fastroute.training.outcomes import OUTCOME_COLUMNS
    from fastroute.training.preferences import PREFERENCE_COLUMNS
    from fastroute.training.scores import JUDGEMENT_COLUMNS

    columns = {
        "outcomes": (*OUTCOME_COLUMNS, *([args.domain_column] if args.domain_column else ())),
        "judge_scores": JUDGEMENT_COLUMNS,
        "preferences": PREFERENCE_COLUMNS,
    }
    return {
        name: None if getattr(args, name) is None else read_table(getattr(args, name), wanted)
        for name, wanted in columns.items()
    }
