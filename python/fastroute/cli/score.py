"""``fastroute score``: score every prompt of a file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fastroute.cli.exits import DONE, FAILURE, complain
from fastroute.cli.parsing import add_command
from fastroute.cli.routers import add_router_options, load_router

if TYPE_CHECKING:
    import argparse

    from fastroute.batch import ScoreSummary
    from fastroute.cli.parsing import Subparsers

_DESCRIPTION = """\
Score every prompt of INPUT. OUTPUT gets the input's rows, columns and order, and two columns more: the score
and the model that it chooses. Memory stays bounded whatever the size of the file. A file appears under the
name OUTPUT once it is complete; a run that fails or is interrupted leaves nothing there.
"""

_EXAMPLES = """
fastroute score prompts.jsonl -o scored.jsonl
fastroute score log.parquet -o scored.parquet --column question --threshold 0.4
fastroute score dirty.csv -o scored.csv --on-error skip
zcat log.jsonl.gz | fastroute score - -o - --format jsonl | gzip > scored.jsonl.gz
"""

_EXIT_CODES = """\
exit codes:
  0  done, every row is in the output
  1  failed, or rows were left out (--on-error skip), or an endpoint answered none
  2  wrong usage
"""

_FORMATS = ("jsonl", "csv", "tsv", "parquet")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "score",
        run,
        summary="score every prompt of a .jsonl, .csv or .parquet file",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        exit_codes=_EXIT_CODES,
    )
    parser.add_argument("input", metavar="INPUT", help=".jsonl, .ndjson, .csv, .tsv or .parquet; - for stdin")
    parser.add_argument("-o", "--output", required=True, metavar="OUTPUT", help="file to write; - for stdout")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT if it exists")
    _add_row_options(parser)
    add_router_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar and no summary")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Score the file and say on stderr what was done."""
    from fastroute.batch import TerminalProgress, score_file

    router = load_router(args)
    quiet = args.quiet or args.no_progress
    summary = score_file(
        args.input,
        args.output,
        router,
        column=args.column,
        score_column=args.score_column,
        model_column=args.model_column,
        threshold=args.threshold,
        format=args.format,
        on_error=args.on_error,
        overwrite=args.overwrite,
        progress=None if quiet else TerminalProgress(sys.stderr),
    )
    _report_skipped(summary)
    if not args.quiet:
        print(_described(summary), file=sys.stderr)
    unanswered = 0 < summary.rows <= summary.fallbacks
    if unanswered:
        complain(f"{args.router}: no prompt has an answer of the endpoint; every score is the router's fallback")
    return FAILURE if summary.skipped or unanswered else DONE


def _add_row_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows")
    group.add_argument("--column", default="prompt", metavar="NAME", help="prompts (default: %(default)s)")
    group.add_argument(
        "--score-column", default="score", metavar="NAME", help="new column of scores (default: %(default)s)"
    )
    group.add_argument(
        "--model-column", default="model", metavar="NAME", help="new column of models (default: %(default)s)"
    )
    group.add_argument(
        "--format", choices=_FORMATS, help="format of INPUT and OUTPUT (default: by the file's extension)"
    )
    group.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="a row without a usable prompt ends the run, or is left out and named on stderr (default: fail)",
    )


def _report_skipped(summary: ScoreSummary) -> None:
    for row in summary.first_skipped:
        print(f"fastroute: skipped {row}", file=sys.stderr)
    left = summary.skipped - len(summary.first_skipped)
    if left:
        print(f"fastroute: skipped {left:,} more {_plural('row', left)}", file=sys.stderr)


def _described(summary: ScoreSummary) -> str:
    rows = summary.rows
    parts = [f"scored {rows:,} {_plural('row', rows)} in {summary.seconds:.1f} s"]
    if summary.skipped:
        parts.append(f"skipped {summary.skipped:,}")
    if summary.fallbacks:
        parts.append(f"{summary.fallbacks:,} without an answer got the fallback score")
    if rows:
        share = summary.strong_rows / rows
        parts.append(f"{share:.1%} to {summary.strong}, {1 - share:.1%} to {summary.weak}")
        parts.append(f"{rows / max(summary.seconds, 1e-9):,.0f} rows/s")
    return ", ".join(parts)


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
