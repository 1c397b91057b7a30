"""``fastroute decontaminate``: what a training file shares with an evaluation, and the file without it."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from fastroute.cli.exits import DONE
from fastroute.cli.parsing import add_command

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers
    from fastroute.contamination import Cleaning

_DESCRIPTION = """\
Find the prompts of TRAIN that stand in EVAL too: word for word (exact), with runs of eight words in common
(near), or with embeddings that point the same way (semantic). EVAL is a file, or a folder in the layout of
RouteLLM's evals. CLEAN gets the rows of TRAIN that are left, PAIRS what was found; both appear complete or not
at all.
"""

_EXAMPLES = """
fastroute decontaminate train.jsonl eval.csv -o clean.jsonl --pairs pairs.csv
fastroute decontaminate outcomes.parquet RouteLLM/routellm/evals -o clean.parquet --pairs pairs.jsonl
fastroute decontaminate train.csv eval.csv --column question --eval-column prompt --method exact near --json
"""

_METHODS = ("exact", "near", "semantic")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "decontaminate",
        run,
        summary="find and leave out training prompts that an evaluation has too",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument(
        "train", metavar="TRAIN", help=".jsonl, .ndjson, .csv, .tsv (also .gz, .zst, .bz2, .xz) or .parquet"
    )
    parser.add_argument("evaluation", metavar="EVAL", help="a file like TRAIN, or RouteLLM's evals folder")
    parser.add_argument("--column", default="prompt", metavar="NAME", help="prompts of TRAIN (default: %(default)s)")
    parser.add_argument(
        "--eval-column", default="prompt", metavar="NAME", help="prompts of EVAL (default: %(default)s)"
    )
    finding = parser.add_argument_group("what to find")
    finding.add_argument(
        "--method", nargs="+", choices=_METHODS, default=list(_METHODS), help="one or more (default: all)"
    )
    finding.add_argument(
        "--cosine", type=float, default=0.95, metavar="C", help="least of a semantic pair (default: %(default)s)"
    )
    finding.add_argument(
        "--containment",
        type=float,
        default=0.5,
        metavar="S",
        help="least share of a question's word runs that stand in the other text (default: %(default)s)",
    )
    finding.add_argument("--encoder", metavar="NAME|PATH", help="for semantic pairs (default: the built-in one)")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", metavar="CLEAN", help="training file to write, in TRAIN's format")
    output.add_argument("--pairs", metavar="PAIRS", help="pairs to write: .jsonl, .csv or .tsv")
    output.add_argument("--overwrite", action="store_true", help="replace CLEAN and PAIRS if they exist")
    output.add_argument("--json", action="store_true", help="print the summary as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Find, write and sum up."""
    from fastroute.contamination import decontaminate
    from fastroute.encoders import load_encoder

    started = time.perf_counter()
    cleaning = decontaminate(
        args.train,
        args.evaluation,
        output=args.output,
        pairs=args.pairs,
        column=args.column,
        eval_column=args.eval_column,
        methods=args.method,
        cosine=args.cosine,
        containment=args.containment,
        encoder=None if args.encoder is None else load_encoder(args.encoder),
        overwrite=args.overwrite,
    )
    if args.json:
        print(json.dumps(asdict(cleaning), indent=2))
    print(_described(cleaning, time.perf_counter() - started), file=sys.stderr)
    return DONE


def _described(cleaning: Cleaning, seconds: float) -> str:
    lines = [
        f"train: {cleaning.train_rows:,} rows, {cleaning.train_texts:,} distinct prompts; "
        f"eval: {cleaning.eval_rows:,} rows, {cleaning.eval_texts:,} distinct prompts"
    ]
    lines += [
        f"{method}: {cleaning.pairs[method]:,} pairs, {cleaning.removed_texts[method]:,} training prompts"
        for method in cleaning.pairs
    ]
    kept = cleaning.train_rows - cleaning.removed_rows
    lines.append(f"{cleaning.removed_rows:,} rows found, {kept:,} are clean ({seconds:.1f} s)")
    return "\n".join(lines)
