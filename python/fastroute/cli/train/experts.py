"""``fastroute train experts``: what the strong model gains, domain by domain."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import positive_number, printable, whole_number
from fastroute.cli.train.recorded import recorded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

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

_LEFT = 2  # columns of text
_NAMED = 3  # tasks that were left out
_PACKAGES = ("fastroute", "numpy", "scikit-learn", "scipy")


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    from fastroute.encoders.static import DEFAULT_ENCODER
    from fastroute.routers.base import STRONG, WEAK

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
    data.add_argument(
        "--score-range",
        metavar=("LOW", "HIGH"),
        nargs=2,
        type=float,
        default=[0.0, 1.0],
        help="worst and best score of the outcomes (default: 0 1)",
    )
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
    from fastroute.tables import read_table
    from fastroute.training.comparisons.tasks import JUDGE_SCORE_COLUMNS
    from fastroute.training.outcomes import OUTCOME_COLUMNS
    from fastroute.training.preferences import PREFERENCE_COLUMNS
    from fastroute.training.progress import progress_bar

    if args.gold_size is not None and not args.gold:
        raise InvalidArgumentError("--gold-size: goes with --gold")
    router = ExpertsRouter(args.strong, args.weak, encoder=args.encoder, seed=args.seed)
    columns = {
        "outcomes": (*OUTCOME_COLUMNS, *([args.domain_column] if args.domain_column else ())),
        "judge_scores": JUDGE_SCORE_COLUMNS,
        "preferences": PREFERENCE_COLUMNS,
    }
    tables = {
        name: None if getattr(args, name) is None else read_table(getattr(args, name), wanted)
        for name, wanted in columns.items()
    }
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
        print(_as_text(metrics), file=sys.stderr)
    print(f"{args.output}: threshold {router.threshold:.4f}, sha256 {sha256}", file=sys.stderr)
    return 0


def _as_text(metrics: Mapping[str, Any]) -> str:
    """Lay the figures on held-out prompts out as a table."""
    lines = [("task", "domain", "prompts", "weak", "strong", "APGR, held out")]
    for task in (*metrics["tasks"], *metrics["gold"]):
        domain = task["domain"] if "acts_on" not in task else f"gold, acts on {task['acts_on']:.0%}"
        numbers = f"{task['prompts']:,}", f"{task['weak']:.3f}", f"{task['strong']:.3f}"
        lines.append((printable(task["task"]), printable(domain), *numbers, _apgr(task)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(
            cell.ljust(width) if column < _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    mean = metrics["held_out_apgr"]
    table.append(
        f"mean APGR of the tasks {'-' if mean is None else f'{mean:.3f}'} (random: 0.5); "
        f"the domain is recognised for {metrics['domain_accuracy']:.0%} of held-out prompts"
    )
    left_out = metrics["tasks_left_out"]
    if left_out:
        more = f" and {len(left_out) - _NAMED:,} more (--json lists them)" if len(left_out) > _NAMED else ""
        table.append(f"tasks left out: {printable(', '.join(left_out[:_NAMED]))}{more}")
    return "\n".join(table)


def _apgr(task: Mapping[str, Any]) -> str:
    if task["apgr"] is None:
        return "- (nothing can be gained)"
    if task["apgr_low"] is None:
        return f"{task['apgr']:.3f} [too few]"
    return f"{task['apgr']:.3f} [{task['apgr_low']:.3f}, {task['apgr_high']:.3f}]"


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
