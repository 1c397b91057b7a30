"""``fastroute leaderboard``: ratings of models from battles."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.exits import DONE
from fastroute.cli.parsing import add_command

if TYPE_CHECKING:
    from fastroute.cli.parsing import Subparsers
    from fastroute.leaderboard import Entry, Leaderboard

_DESCRIPTION = """\
Rank models by their battles: Bradley-Terry ratings on the Elo scale, by maximum likelihood, a tie half a win
each way, as in Chatbot Arena. PREFERENCES (.parquet, .jsonl, .csv or .tsv) has the columns model_a, model_b and
winner (model_a, model_b or tie); every row counts once, rows with an `overlap` too. Models that no chain of
wins and losses joins can't be compared: each group of models is ranked on its own, and models that won or lost
everything are listed without a rating.
"""

_EXAMPLES = """
fastroute leaderboard preferences.parquet
fastroute leaderboard votes.csv --anchor mixtral-8x7b-instruct-v0.1=1114 --csv ranking.csv --plot ranking.svg
fastroute leaderboard votes.jsonl --json --resamples 5000 --seed 7
"""

_IMAGES = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
_RIGHT = {"rank", "rating", "interval", "ranks", "battles", "win rate", "tier"}


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "leaderboard",
        run,
        summary="rank models by battles between them",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("preferences", metavar="PREFERENCES", help="battles: .parquet, .jsonl, .csv or .tsv")
    rating = parser.add_argument_group("ratings")
    rating.add_argument(
        "--anchor",
        type=_anchor,
        metavar="MODEL=RATING",
        help="give this model this rating (default: the mean of a group is 1000)",
    )
    rating.add_argument("--resamples", type=int, default=1000, metavar="N", help="of the bootstrap (default: 1000)")
    rating.add_argument("--confidence", type=float, default=0.95, metavar="C", help="of intervals (default: 0.95)")
    rating.add_argument("--seed", type=int, default=0, metavar="N", help="of the bootstrap (default: 0)")
    rating.add_argument("--tiers", type=int, default=10, metavar="N", help="at most (default: 10)")
    rating.add_argument(
        "--penalty",
        type=float,
        default=0.0,
        metavar="P",
        help="above 0: pull ratings to the mean, so that every model gets one (default: 0)",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print JSON instead of a table")
    output.add_argument("--csv", metavar="FILE", help="write the table to this file too")
    output.add_argument("--plot", metavar="FILE", help="draw the ratings: .png, .svg or .pdf (needs fastroute[eval])")


def run(args: argparse.Namespace) -> int:
    """Rate, then write the files and print."""
    from fastroute.artifact import atomic_file
    from fastroute.leaderboard import rank_models, read_votes

    image = None if args.plot is None else _image(args.plot)
    anchor, rating = args.anchor or (None, 1000.0)
    board = rank_models(
        read_votes(args.preferences),
        anchor=anchor,
        anchor_rating=rating,
        resamples=args.resamples,
        seed=args.seed,
        tiers=args.tiers,
        confidence=args.confidence,
        penalty=args.penalty,
    )
    if image is not None:
        from fastroute.leaderboard.plot import plot_leaderboard

        drawn = io.BytesIO()
        plot_leaderboard(board, drawn, image=image)
        with atomic_file(args.plot) as stream:
            stream.write(drawn.getvalue())
    if args.csv is not None:
        with atomic_file(args.csv) as stream:
            stream.write(_as_csv(board).encode())
    print(json.dumps(_as_json(board), indent=2, ensure_ascii=False) if args.json else _as_text(board))
    for model in board.unrated:
        battles = f"{model.battles:,} battle{'' if model.battles == 1 else 's'}"
        print(f"no rating: {model.model} ({model.reason}; {battles})", file=sys.stderr)
    if len(board.groups) > 1:
        print("ratings of different groups can't be compared", file=sys.stderr)
    return DONE


def _anchor(text: str) -> tuple[str, float]:
    model, _, number = text.rpartition("=")
    try:
        rating = float(number)
    except ValueError:
        rating = math.nan
    if not model or not math.isfinite(rating):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form MODEL=RATING")
    return model, rating


def _image(path: str) -> str:
    from fastroute.errors import InvalidArgumentError

    suffix = Path(path).suffix.lower()
    if suffix not in _IMAGES:
        raise InvalidArgumentError(f"--plot: found {path!r}; allowed: a name that ends in {', '.join(_IMAGES)}")
    return _IMAGES[suffix]


def _as_text(board: Leaderboard) -> str:
    tables = []
    for number, group in enumerate(board.groups, start=1):
        cells = [
            ["rank", "model", "rating", "interval", "ranks", "battles", "win rate", "tier"],
            *(_cells(entry) for entry in group.entries),
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if title in _RIGHT else cell.ljust(width)
                for cell, width, title in zip(row, widths, cells[0], strict=True)
            ).rstrip()
            for row in cells
        ]
        if len(board.groups) > 1:
            where = f", {group.relation} group 1" if group.relation in ("above", "below") else ""
            where = ", apart from group 1" if group.relation == "apart" else where
            lines.insert(0, f"group {number}{where}: {len(group.entries)} models, {group.battles:,} battles")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _cells(entry: Entry) -> list[str]:
    return [
        str(entry.rank),
        entry.model,
        f"{entry.rating:.1f}",
        f"{_end(entry.low)} to {_end(entry.high):>6}",
        f"{entry.best_rank}-{entry.worst_rank}",
        f"{entry.battles:,}",
        f"{entry.win_rate:.1%}",
        str(entry.tier),
    ]


def _end(value: float) -> str:
    return f"{value:.1f}"


def _as_json(board: Leaderboard) -> dict[str, Any]:
    """Plain values; an end without a bound is null, as JSON has no infinity."""
    found = asdict(board)
    for group in found["groups"]:
        for entry in group["entries"]:
            for end in ("low", "high"):
                if not math.isfinite(entry[end]):
                    entry[end] = None
    return found


def _as_csv(board: Leaderboard) -> str:
    text = io.StringIO()
    rows = [
        {"group": number, **asdict(entry)}
        for number, group in enumerate(board.groups, start=1)
        for entry in group.entries
    ]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
