"""What the commands' parsers have in common."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction["Parser"]

EXIT_CODES = """\
exit codes:
  0  done
  1  failed
  2  wrong usage
"""


class Parser(argparse.ArgumentParser):
    """A parser that keeps examples as they are written, and takes no abbreviated options.

    An abbreviation that works today breaks on the day that a second option begins alike.
    """

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        settings.setdefault("allow_abbrev", False)
        super().__init__(**settings)
        self._fill: Callable[[], None] | None = None

    def fill_when_used(self, fill: Callable[[], None]) -> None:
        """Have arguments added by `fill` once they are parsed or shown: what it imports is loaded no sooner."""
        self._fill = fill

    def parse_known_args(self, *args: Any, **settings: Any) -> Any:
        """Parse, with all arguments added."""
        self._complete()
        return super().parse_known_args(*args, **settings)

    def format_usage(self) -> str:
        """Return the usage, with all arguments added."""
        self._complete()
        return super().format_usage()

    def format_help(self) -> str:
        """Return the help, with all arguments added."""
        self._complete()
        return super().format_help()

    def _complete(self) -> None:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill()


class ShowVersion(argparse.Action):
    """Print the version; it is looked up only when somebody asks."""

    def __init__(self, option_strings: list[str], **settings: Any) -> None:
        super().__init__(option_strings, **{**settings, "dest": argparse.SUPPRESS, "nargs": 0})

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        """Print and leave."""
        import fastroute

        print(f"fastroute {fastroute.__version__}")
        parser.exit()


def add_command(
    subparsers: Subparsers,
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    summary: str,
    description: str,
    examples: str,
    exit_codes: str = EXIT_CODES,
) -> Parser:
    """Add a command and return its parser.

    Parameters
    ----------
    subparsers
        What `main` gives to each command's ``add_parser``.
    name : str
    run : callable
        Takes the parsed arguments and returns the exit code.
    summary : str
        One line for the list of commands.
    description : str
        What the command does.
    examples : str
        Command lines, one a line.
    exit_codes : str
        What its exit codes mean, where that is more than usual.
    """
    indented = "".join(f"  {line}\n" for line in examples.strip().splitlines())
    parser = subparsers.add_parser(
        name, help=summary, description=description, epilog=f"examples:\n{indented}\n{exit_codes}"
    )
    parser.set_defaults(run=run)
    return parser


def unit_interval(text: str) -> float:
    """Parse an option's number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def printable(text: str) -> str:
    """Escape what could drive a terminal: names may come from anywhere."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def price(text: str) -> float:
    """Parse an option's price, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a price, 0 or more")
    return value


def byte_size(text: str) -> int:
    """Parse an option's size in bytes: 64MiB, 1GB, 4096."""
    number, unit = text.rstrip("kKMGTiB"), text[len(text.rstrip("kKMGTiB")) :]
    scales = {"": 1, "B": 1}
    for power, prefix in enumerate("KMGT", start=1):
        scales |= {f"{prefix}iB": 1024**power, f"{prefix}B": 1000**power, prefix: 1024**power}
    scales |= {"k": 1024, "kB": 1000}
    if unit not in scales or not (number.isascii() and number.isdigit()) or not int(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 64MiB or 1GB")
    return int(number) * scales[unit]


def whole_number(text: str) -> int:
    """Parse an option's whole number, 0 or more."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def positive_number(text: str) -> int:
    """Parse an option's whole number, 1 or more."""
    value = whole_number(text)
    if not value:
        raise argparse.ArgumentTypeError("'0' is not a whole number, 1 or more")
    return value
