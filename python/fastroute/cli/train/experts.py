"""``fastroute train experts``: what the strong model gains, domain by domain."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import positive_number, whole_number
from fastroute.cli.train.domains import add_domains, add_score_range, outcome_tables
from fastroute.cli.train.held_out_table import held_out_table
from fastroute.cli.train.recorded import recorded

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers

_DESCRIPTION = """\
Learn per domain what the strong model gains over the weak one, and write the router.

Outcomes have the columns prompt, model and score: benchmark results, or your own labels (thumbs,
grades, pass or fail). Scores are 0 to 1, true and false, or what --score-range says; any number of
models. Judge scores are marks from 1 to 10 of answers in chats; of battles (preferences) only the
prompts count. Files are .jsonl, .csv, .tsv or .parquet. Also read where they are there: prompt_id
(prompts are split by it), source, benchmark, and overlap (rows that name an evaluation set there
are left out).

Gold labels are scores of the very pair on prompts of one set. They teach an expert that acts only
where that set is dense; the artifact says so, and 'fastroute eval' marks the router and leaves its
gold prompts out.
"""

_EXAMPLES = """
fastroute train experts --outcomes graded.csv --strong my-large --weak my-small -o my-router
fastroute train experts --outcomes stars.jsonl --score-range 1 5 --domain-column team --strong a --weak b -o my-router
fastroute train experts --outcomes log.parquet --clusters 5 --strong a --weak b -o my-router
fastroute train experts --outcomes outcomes.parquet --judge-scores judge_scores.parquet \\
    --preferences preferences.parquet --plan open-data --gold mmlu=RouteLLM/routellm/evals --gold-size 1500 -o gold
"""

_PACKAGES = ("fastroute", "numpy", "scikit-learn", "scipy")


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    from fastroute.builtin import DEFAULT_ENCODER, STRONG, WEAK

    parser = kinds.add_parser(
        "experts",
        help="a mixture of domain experts",
        description=_DESCRIPTION,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    data = parser.add_argument_group("data (outcomes or judge scores at least)")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts, or your own labels")
    data.add_argument("--judge-scores", metavar="J", help="marks from 1 to 10 that a judge gave")
    data.add_argument("--preferences", metavar="P", help="battles, whose prompts show what chat looks like")
    data.add_argument(
        "--gold", metavar="[NAME=]G", action="append", default=[], help="labels of the very pair; may be repeated"
    )
    data.add_argument(
        "--gold-size", metavar="N", type=positive_number, help="draw N prompts of each gold set (default: all)"
    )
    add_score_range(data)
    add_domains(parser)
    router = parser.add_argument_group("router")
    router.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    router.add_argument("--strong", metavar="MODEL", default=STRONG, help="strong model (default: %(default)s)")
    router.add_argument("--weak", metavar="MODEL", default=WEAK, help="weak model (default: %(default)s)")
    router.add_argument(
        "--encoder", metavar="NAME|PATH", default=DEFAULT_ENCODER, help="static encoder (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=whole_number, default=0, help="of folds, draws and clusters (default: 0)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures on held-out prompts as JSON")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    from fastroute.cli.train.gold import read_gold
    from fastroute.errors import InvalidArgumentError
    from fastroute.routers import ExpertsRouter
    from fastroute.training.progress import progress_bar

    if args.gold_size is not None and not args.gold:
        raise InvalidArgumentError("--gold-size: goes with --gold")
    router = ExpertsRouter(args.strong, args.weak, encoder=args.encoder, seed=args.seed)
    tables = outcome_tables(args)
    gold = read_gold(args.gold, strong=args.strong, weak=args.weak, size=args.gold_size, seed=args.seed)
    with progress_bar("train") as progress:
        router.fit(
            **tables,
            gold=gold,
            plan=args.plan,
            domain_column=args.domain_column,
            clusters=args.clusters,
            score_range=(args.score_range[0], args.score_range[1]),
            provenance=_provenance(args),
            progress=progress,
        )
    sha256 = router.save(args.output)
    metrics = dict(router.metrics)
    if args.json:
        print(json.dumps(metrics, indent=2))
    else:
        print(held_out_table(metrics), file=sys.stderr)
    print(f"{args.output}: threshold {router.threshold:.4f}, sha256 {sha256}", file=sys.stderr)
    return 0


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    files = {name: getattr(args, name) for name in ("outcomes", "judge_scores", "preferences")}
    plan = args.plan if args.plan is None else Path(args.plan).name
    options: dict[str, object] = {
        "gold": None if not args.gold else [_without_folder(each) for each in args.gold],
        "gold_size": args.gold_size,
        "score_range": args.score_range if args.score_range != [0.0, 1.0] else None,
        "plan": plan,
        "domain_column": args.domain_column,
        "clusters": args.clusters,
        "strong": args.strong,
        "weak": args.weak,
        "encoder": Path(args.encoder).name,
        "seed": args.seed,
    }
    return recorded("experts", files, options, args.output, packages=_PACKAGES)


def _without_folder(given: str) -> str:
    name, separator, path = given.partition("=")
    return f"{name}={Path(path).name}" if separator else Path(given).name
