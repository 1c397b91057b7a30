"""``fastroute score``: score every prompt of a log."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fastroute.cli.exits import DONE, FAILURE, complain
from fastroute.cli.parsing import add_command, byte_size
from fastroute.cli.routers import add_pair_options, given_pair
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    import argparse

    from fastroute.batch import RouterSummary, ScoreSummary
    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import Router

_DESCRIPTION = """\
Score every prompt of INPUT: a file, a folder, a pattern such as 'logs/**/*.parquet', or several of these. OUTPUT gets
the input's rows, columns and order, and for each router two columns more: the score and the model that it chooses. It
is a file for a file, and a folder with a file for each input for anything else. Memory stays bounded whatever the
size of the log.

OUTPUT appears once it is complete. Until then it grows in OUTPUT.partial; a run that is killed leaves that, and the
same command with --resume goes on with it. OUTPUT.manifest.json, or _manifest.json in a folder, says what was scored
with which artifact, and how many rows.
"""

_EXAMPLES = """
fastroute score prompts.jsonl -o scored.jsonl
fastroute score november/ -o scored/ --resume              # all files below a folder, partitions kept
fastroute score 'logs/day=*/*.parquet' -o scored/ --router experts --router mf
fastroute score chats.jsonl.gz -o scored.jsonl.gz --messages --turn first-user
fastroute score log.parquet -o scored.parquet --column question --threshold 0.4
fastroute score dirty.csv -o scored.csv --on-error skip --rejects rejects.jsonl
tail -n 1000 log.jsonl | fastroute score - -o - --format jsonl
"""

_EXIT_CODES = """\
exit codes:
  0  done, every row is in the output
  1  failed, or rows or files were left out (--on-error skip), or an endpoint answered none
  2  wrong usage
"""

_TURNS = ("last-user", "first-user", "users", "all")
_FORMATS = ("jsonl", "csv", "tsv", "parquet")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "score",
        run,
        summary="score every prompt of a log: files, folders, patterns",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        exit_codes=_EXIT_CODES,
    )
    parser.add_argument(
        "input",
        nargs="+",
        metavar="INPUT",
        help=".jsonl, .ndjson, .csv, .tsv, each also with .gz, .zst, .bz2 or .xz, or .parquet; a folder or a pattern "
        "of these; - for stdin",
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUTPUT", help="file or folder to write; - for stdout")
    parser.add_argument("--overwrite", action="store_true", help="replace OUTPUT, or an unfinished run, if it exists")
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished run, if there is one")
    _add_row_options(parser)
    _add_router_options(parser)
    _add_resource_options(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress bar and no summary")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Score the log and say on stderr what was done."""
    from fastroute.batch import TerminalProgress, score_log

    if args.turn is not None and not args.messages:
        raise InvalidArgumentError("--turn: chooses a turn of a chat; it goes with --messages")
    routers = _load_routers(args)
    quiet = args.quiet or args.no_progress
    try:
        summary = score_log(
            args.input,
            args.output,
            routers if len(routers) > 1 else next(iter(routers.values())),
            column=args.column,
            turn=(args.turn or _TURNS[0]) if args.messages else None,
            score_column=args.score_column,
            model_column=args.model_column,
            threshold=args.threshold,
            format=args.format,
            on_error=args.on_error,
            rejects=args.rejects,
            overwrite=args.overwrite,
            resume=args.resume,
            memory=args.memory,
            checkpoint=args.checkpoint,
            progress=None if quiet else TerminalProgress(sys.stderr),
        )
    except InvalidArgumentError:
        raise
    except BaseException:
        partial = Path(f"{os.path.realpath(args.output)}.partial")  # without a slash at its end
        if partial.is_dir() and not args.quiet:
            print(f"fastroute: what was done is kept in {partial}; --resume goes on with it", file=sys.stderr)
        raise
    _report_skipped(summary)
    if not args.quiet:
        print(_described(summary), file=sys.stderr)
    unanswered = [router for router in summary.routers if 0 < summary.rows <= router.fallbacks]
    for router in unanswered:
        label = router.label or next(iter(routers))
        complain(f"{label}: no prompt has an answer of the endpoint; every score is the router's fallback")
    return FAILURE if summary.skipped or summary.lost or unanswered else DONE


def _add_row_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows")
    group.add_argument("--column", metavar="NAME", help="prompts (default: prompt, or messages with --messages)")
    group.add_argument(
        "--messages",
        action="store_true",
        help="the column holds chats: lists of OpenAI's messages, or JSON text of them",
    )
    group.add_argument(
        "--turn",
        choices=_TURNS,
        help="what of a chat is scored: the last or first message of the user, all of the user's, or all messages "
        "(default: last-user)",
    )
    group.add_argument(
        "--score-column", default="score", metavar="NAME", help="new column of scores (default: %(default)s)"
    )
    group.add_argument(
        "--model-column", default="model", metavar="NAME", help="new column of models (default: %(default)s)"
    )
    group.add_argument("--format", choices=_FORMATS, help="format of INPUT and OUTPUT (default: by the file's name)")
    group.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="a row without a usable prompt, or a file that can't be read, ends the run, or is left out and named in "
        "the rejects file (default: fail)",
    )
    group.add_argument(
        "--rejects", metavar="FILE", help="rows that were left out, as JSON Lines (default: OUTPUT.rejects.jsonl)"
    )


def _add_router_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("router")
    group.add_argument(
        "--router",
        action="append",
        metavar="[LABEL=]NAME|PATH",
        help="built-in router or artifact (default: experts); may be given several times, with columns named "
        "score_LABEL and model_LABEL (default label: the name, or the path's last part)",
    )
    add_pair_options(group)


def _add_resource_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("resources")
    group.add_argument(
        "--memory",
        type=byte_size,
        default=256 << 20,
        metavar="SIZE",
        help="most that rows under way may take, such as 512MiB, on top of Python, pyarrow and the router "
        "(default: 256MiB, at least 32MiB)",
    )
    group.add_argument(
        "--checkpoint",
        type=byte_size,
        default=64 << 20,
        metavar="SIZE",
        help="output after which a killed run can go on (default: 64MiB; in Parquet, the end of the row group)",
    )


def _load_routers(args: argparse.Namespace) -> dict[str, Router]:
    import fastroute

    given = given_pair(args)
    routers: dict[str, Router] = {}
    for text in args.router or ["experts"]:
        label, _, name = text.partition("=")
        if not name or Path(text).exists():  # a path may hold the sign
            label, name = Path(text).name or text, text
        if not label:
            raise InvalidArgumentError(f"--router: found {text!r}, expected a label before the sign: LABEL={name}")
        if label in routers:
            raise InvalidArgumentError(f"--router: two are called {label!r}; name them: --router LABEL={name}")
        routers[label] = fastroute.load(name, **given)
    return routers


def _report_skipped(summary: ScoreSummary) -> None:
    for row in summary.first_skipped:
        print(f"fastroute: skipped {row}", file=sys.stderr)
    left = summary.skipped + summary.lost - len(summary.first_skipped)
    if left > 0:
        print(f"fastroute: skipped {left:,} more {_plural('row', left)}", file=sys.stderr)
    if summary.rejects is not None:
        print(f"fastroute: all that was left out is in {summary.rejects}", file=sys.stderr)


def _described(summary: ScoreSummary) -> str:
    rows = summary.rows
    what = f"scored {rows:,} {_plural('row', rows)}"
    if summary.files > 1:
        what += f" of {summary.files:,} files"
    parts = [f"{what} in {summary.seconds:.1f} s"]
    if summary.resumed_rows:
        parts.append(f"{summary.resumed_rows:,} of them in earlier runs")
    if summary.skipped:
        parts.append(f"skipped {summary.skipped:,}")
    if summary.lost:
        parts.append(f"{summary.lost:,} {_plural('file', summary.lost)} not read to the end")
    if len(summary.routers) == 1:
        parts += _shares(summary, summary.routers[0])
    done = rows + summary.skipped - summary.resumed_rows
    if rows and done > 0:
        parts.append(f"{done / max(summary.seconds, 1e-9):,.0f} rows/s")
    lines = [", ".join(parts)]
    if len(summary.routers) > 1:
        lines += [f"  {router.label}: {', '.join(_shares(summary, router))}" for router in summary.routers if rows]
    return "\n".join(lines)


def _shares(summary: ScoreSummary, router: RouterSummary) -> list[str]:
    parts = []
    if router.fallbacks:
        parts.append(f"{router.fallbacks:,} without an answer got the fallback score")
    if summary.rows:
        share = router.strong_rows / summary.rows
        parts.append(f"{share:.1%} to {router.strong}, {1 - share:.1%} to {router.weak}")
    return parts


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"
