"""The command ``fastroute``: one module per command, each with ``add_parser(subparsers)`` and ``run(args)``.

Data goes to stdout and everything else to stderr. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fastroute.cli import (
    augment,
    bench,
    calibrate,
    cascade,
    decontaminate,
    distill,
    export_bert,
    import_routellm,
    inspect,
    leaderboard,
    report,
    route,
    score,
    serve,
    train,
)
from fastroute.cli import eval as eval_command
from fastroute.cli.exits import USAGE, exit_code_of
from fastroute.cli.parsing import EXIT_CODES, Parser, ShowVersion

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

__all__ = ["main"]

# In the order of the help text.
COMMANDS = (
    route,
    score,
    serve,
    report,
    train,
    eval_command,
    calibrate,
    cascade,
    leaderboard,
    augment,
    decontaminate,
    distill,
    export_bert,
    import_routellm,
    bench,
    inspect,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; `sys.argv` by default.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong usage; 130 or 143 interrupted or terminated, 141 nobody reads the output.
    """
    parser = _parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as leave:
        return leave.code if isinstance(leave.code, int) else USAGE
    if args.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    return exit_code_of(lambda: args.run(args))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="fastroute",
        description="Decide per prompt which LLM should answer it.",
        epilog=f"{EXIT_CODES}\n'fastroute COMMAND --help' shows a command's options and examples.",
    )
    parser.add_argument("--version", action=ShowVersion, help="show the version and leave")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
