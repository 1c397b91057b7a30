"""``fastroute report``: what a scored log would have cost, and how its scores have drifted."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fastroute.cli.exits import DONE, FAILURE
from fastroute.cli.parsing import add_command, positive_number, printable, unit_interval, whole_number
from fastroute.errors import InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastroute.cli.parsing import Subparsers
    from fastroute.reporting import Group, Prices, PriceTable, Report

_DESCRIPTION = """\
Tell what the log SCORED, an output of fastroute score, would have cost at other thresholds: the share of strong
answers and the dollars by threshold, the threshold for a budget or a share, and what is saved against the strong
model alone. --against compares the scores with those of another scored log, the calibration set: PSI and KS with
95% intervals. --by and --by-day do all that for each value of a column, or each day of a timestamp.

Prices are dollars per 1,000 answers. A price table is JSON, an object of model to price, or CSV with the columns
model and per_1000_answers; or input_per_million and output_per_million, dollars per million tokens, for which an
answer has --input-tokens and --output-tokens. The pair is the entries strong and weak, else the log's models.

Memory stays bounded whatever the size of the file; with --by and --by-day it is read twice.
"""

_EXAMPLES = """
fastroute report scored.parquet
fastroute report scored.parquet --budget 500 --strong-price 10 --weak-price 0.3
fastroute report scored.jsonl --prices prices.json --strong gpt-4 --weak mixtral-8x7b --strong-fraction 0.3
fastroute report november.parquet --against october.parquet --by-day time --html november.html
fastroute report scored.csv --by tenant --top 10 --json
"""

_EXIT_CODES = """\
exit codes:
  0  done
  1  failed, rows were left out (--on-error skip), or no threshold keeps the budget
  2  wrong usage
"""

_FORMATS = ("jsonl", "csv", "tsv", "parquet")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "report",
        run,
        summary="what a scored log would have cost, and how its scores have drifted",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        exit_codes=_EXIT_CODES,
    )
    parser.add_argument(
        "scored",
        metavar="SCORED",
        help="scored log: .jsonl, .csv, .tsv (also .gz, .zst, .bz2, .xz) or .parquet; - for stdin",
    )
    _add_price_options(parser)
    threshold = parser.add_argument_group("thresholds")
    threshold.add_argument("--budget", type=_dollars, metavar="D", help="dollars that the whole log may cost")
    threshold.add_argument("--strong-fraction", type=unit_interval, metavar="F", help="share of strong answers, 0 to 1")
    threshold.add_argument("--threshold", type=unit_interval, metavar="T", help="report what this threshold does")
    drift = parser.add_argument_group("drift")
    drift.add_argument("--against", metavar="CALIBRATION", help="scored log to compare the scores with")
    drift.add_argument("--resamples", type=positive_number, default=2000, metavar="N", help="for PSI (default: 2000)")
    drift.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of the resamples (default: 0)")
    groups = parser.add_argument_group("groups").add_mutually_exclusive_group()
    groups.add_argument("--by", metavar="COLUMN", help="a line per value of this column")
    groups.add_argument("--by-day", metavar="COLUMN", help="a line per day of this column's timestamps")
    parser.add_argument("--top", type=positive_number, metavar="N", help="groups shown (default: 20, or 100 days)")
    _add_row_options(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    output.add_argument("--html", metavar="FILE", help="write a page with charts, which needs nothing else")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress bar, no notes on stderr")


def run(args: argparse.Namespace) -> int:
    """Read the log, then write the page and print."""
    from fastroute.batch import TerminalProgress
    from fastroute.reporting import html_page, report

    found = report(
        args.scored,
        score_column=args.score_column,
        model_column=args.model_column,
        prices=_prices(args),
        strong=args.strong,
        weak=args.weak,
        threshold=args.threshold,
        budget=args.budget,
        strong_fraction=args.strong_fraction,
        against=args.against,
        by=args.by,
        by_day=args.by_day,
        top=args.top,
        resamples=args.resamples,
        seed=args.seed,
        format=args.format,
        on_error=args.on_error,
        progress=None if args.quiet else TerminalProgress(sys.stderr),
    )
    if args.html is not None:
        from fastroute.artifact import atomic_file

        with atomic_file(args.html) as stream:
            stream.write(html_page(found).encode())
    if args.json:
        import json

        print(json.dumps(found.record(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(_as_text(found))
    skipped = found.skipped + (found.calibration.skipped if found.calibration else 0)
    _name_skipped(found, skipped)
    missing = [target for target in found.targets if target.cut is None]
    for target in missing:
        print(f"fastroute: {target.kind}: no threshold keeps it; {target.reason}", file=sys.stderr)
    return FAILURE if skipped or missing else DONE


def _add_price_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("prices")
    group.add_argument("--prices", metavar="FILE", help="price table: .json or .csv")
    group.add_argument("--strong", metavar="MODEL", help="strong model, as the price table calls it")
    group.add_argument("--weak", metavar="MODEL", help="weak model, as the price table calls it")
    group.add_argument("--strong-price", type=_dollars, metavar="D", help="per 1,000 answers (default: 8.87)")
    group.add_argument("--weak-price", type=_dollars, metavar="D", help="per 1,000 answers (default: 0.0862)")
    group.add_argument("--input-tokens", type=_dollars, metavar="N", help="mean of a prompt (default: 95)")
    group.add_argument("--output-tokens", type=_dollars, metavar="N", help="mean of an answer (default: 264)")


def _add_row_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rows")
    group.add_argument("--score-column", default="score", metavar="NAME", help="scores (default: %(default)s)")
    group.add_argument(
        "--model-column", default="model", metavar="NAME", help="models, if there are (default: %(default)s)"
    )
    group.add_argument("--format", choices=_FORMATS, help="format of SCORED (default: by the file's extension)")
    group.add_argument(
        "--on-error",
        choices=("fail", "skip"),
        default="fail",
        help="a row without a usable score ends the run, or is left out and named on stderr (default: fail)",
    )


def _prices(args: argparse.Namespace) -> Prices | PriceTable | None:
    from fastroute.reporting import Prices, read_prices
    from fastroute.reporting.prices import INPUT_TOKENS, OUTPUT_TOKENS

    single = args.strong_price, args.weak_price
    if args.prices is None:
        for option, value in (
            ("--strong", args.strong),
            ("--weak", args.weak),
            ("--input-tokens", args.input_tokens),
            ("--output-tokens", args.output_tokens),
        ):
            if value is not None:
                raise InvalidArgumentError(f"{option}: goes with --prices")
        if single == (None, None):
            return None
        if None in single:
            raise InvalidArgumentError("--strong-price and --weak-price: found one of them, allowed: both or none")
        return Prices(*single)
    if single != (None, None):
        raise InvalidArgumentError("--prices: not with --strong-price and --weak-price")
    return read_prices(
        args.prices,
        input_tokens=INPUT_TOKENS if args.input_tokens is None else args.input_tokens,
        output_tokens=OUTPUT_TOKENS if args.output_tokens is None else args.output_tokens,
    )


def _dollars(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return value


def _as_text(report: Report) -> str:
    from fastroute.reporting.words import amount, money, percent, short_threshold, target_words

    skipped = f", {report.skipped:,} left out" if report.skipped else ""
    lines = [
        f"{printable(report.source)}: {amount(report.rows, 'row')}{skipped}, "
        f"scores {report.least:.6g} to {report.most:.6g}, mean {report.mean:.6g}",
        f"strong alone {money(report.strong_dollars)}, weak alone {money(report.weak_dollars)}  "
        f"(per 1,000 answers {money(report.prices.strong)} and {money(report.prices.weak)})",
        "",
    ]
    rows = [["", "threshold", "to strong", "95% interval", "cost", "saved", ""]]
    for target in report.targets:
        cut = target.cut
        if cut is None:
            rows.append([target_words(target), "none", "", "", "", "", ""])
            continue
        interval = f"{percent(cut.low)} to {percent(cut.high)}"
        figures = [repr(cut.threshold), percent(cut.share), interval, money(cut.dollars), money(cut.saved)]
        rows.append([target_words(target), *figures, percent(cut.saved_share)])
    lines += [*_table(rows), ""]
    curve = [["threshold", "to strong", "cost", "saved"]]
    curve += [
        [short_threshold(cut.threshold), percent(cut.share), money(cut.dollars), money(cut.saved)]
        for cut in report.tenths()
    ]
    lines += _table(curve, right_of=0)
    return "\n".join([*lines, *_drift_lines(report), *_group_lines(report)])


def _drift_lines(report: Report) -> list[str]:
    from fastroute.reporting.words import amount, drift_words

    if report.calibration is None:
        return []
    calibration = report.calibration
    drift = calibration.drift
    psi, ks = drift_words(drift)
    return [
        "",
        f"against {printable(calibration.source)}: {amount(calibration.rows, 'row')}, mean {calibration.mean:.6g}",
        f"  PSI {psi}, no sign of drift up to {drift.psi_chance:.4f}; drift: {drift.verdict}",
        f"  KS  {ks}",
    ]


def _group_lines(report: Report) -> list[str]:
    from fastroute.reporting.words import amount, more_groups, value_words

    grouping = report.grouping
    if grouping is None:
        return []
    what = f"{'day of ' if grouping.by_day else ''}{printable(grouping.column)}"
    rows = [["", "rows", "mean score", "to strong", "95% interval", "cost", "saved"]]
    if report.calibration is not None:
        rows[0] += ["PSI", "95% interval", "KS", "drift"]
    rows += [_group_cells(group, _cut_short(value_words(group.value))) for group in grouping.groups]
    if grouping.rest is not None:
        rows.append(_group_cells(grouping.rest, more_groups(report)))
    lines = ["", f"by {what}, at threshold {report.cut.threshold!r}", *_table(rows)]
    if grouping.overlooked:
        lines.append(
            "more values than are counted at once: one that is not listed may have up to "
            f"{amount(grouping.overlooked, 'row')} more than the smallest that is"
        )
    return lines


def _group_cells(group: Group, name: str) -> list[str]:
    from fastroute.reporting.words import money, percent, psi_interval

    cut = group.cut
    cells = [name, f"{group.rows:,}", f"{group.mean:.4f}", percent(cut.share)]
    cells += [f"{percent(cut.low)} to {percent(cut.high)}", money(cut.dollars), money(cut.saved)]
    if group.drift is not None:
        drift = group.drift
        cells += [f"{drift.psi:.3f}", psi_interval(drift, "{:.3f} to {:.3f}"), f"{drift.ks:.3f}", drift.verdict]
    return cells


def _cut_short(name: str, letters: int = 40) -> str:
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


def _table(rows: Sequence[Sequence[str]], right_of: int = 1) -> list[str]:
    """Lines of a table; columns from `right_of` on are aligned to the right, but not one of words."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place >= right_of and rows[0][place] != "drift" else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _name_skipped(report: Report, skipped: int) -> None:
    for row in report.first_skipped:
        print(f"fastroute: skipped {printable(str(row))}", file=sys.stderr)
    left = skipped - len(report.first_skipped)
    if left > 0:
        print(f"fastroute: skipped {left:,} more row{'' if left == 1 else 's'}", file=sys.stderr)
