"""``fastroute cascade``: a fast router that asks a careful one where it has to."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.exits import DONE
from fastroute.cli.parsing import add_command, printable, unit_interval, whole_number

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import CascadeRouter

_DESCRIPTION = """\
Put two routers of one pair of models behind each other: FIRST, a fast one, decides where its score is clear, and
SECOND, a careful one, everywhere else. What is clear is found on unlabelled prompts like those to come, which
neither router was trained on: with probability --confidence at most the share --disagreement of decisions differ
from those that SECOND takes alone.

Half of the prompts shape what FIRST may decide, the other half check it. The report says which share of prompts
reaches SECOND, how often the cascade agrees with it, what a prompt costs, and the curve of the one against the
other. Routers are built-in names or artifacts; both go into DIR.
"""

_EXAMPLES = """
fastroute cascade mf my-bert --prompts log.jsonl -o my-cascade
fastroute cascade experts mf --prompts log.parquet --column question --disagreement 0.05 --plot curve.png -o my-cascade
fastroute cascade mf my-bert --prompts log.csv --threshold 0.4 --json -o my-cascade
fastroute route --router my-cascade --explain "What is 2 + 2?"
"""

_FORMATS = ("jsonl", "csv", "tsv", "parquet")
_IMAGES = {".png": "png", ".svg": "svg"}
_SHOWN_POINTS = 4  # every so many of the curve


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "cascade",
        run,
        summary="let a fast router decide where it agrees with a careful one",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
    )
    parser.add_argument("first", metavar="FIRST", help="fast router: built-in name or artifact")
    parser.add_argument("second", metavar="SECOND", help="careful router: built-in name or artifact")
    parser.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    pair = parser.add_argument_group("models")
    pair.add_argument("--strong", metavar="MODEL", help="strong model of the pair (default: the routers')")
    pair.add_argument("--weak", metavar="MODEL", help="weak model of the pair (default: the routers')")
    data = parser.add_argument_group("prompts")
    data.add_argument("--prompts", metavar="P", required=True, help=".jsonl, .csv, .tsv or .parquet; - for stdin")
    data.add_argument("--column", default="prompt", metavar="NAME", help="prompts (default: %(default)s)")
    data.add_argument("--format", choices=_FORMATS, help="format of P (default: by the file's extension)")
    goal = parser.add_argument_group("calibration")
    at = goal.add_mutually_exclusive_group()
    at.add_argument("--strong-fraction", type=unit_interval, metavar="F", help="share of strong calls (default: 0.5)")
    at.add_argument("--threshold", type=unit_interval, metavar="T", help="threshold of SECOND's scores instead")
    goal.add_argument(
        "--disagreement",
        type=unit_interval,
        default=0.02,
        metavar="D",
        help="share of decisions that may differ from SECOND's (default: %(default)s)",
    )
    goal.add_argument(
        "--confidence",
        type=unit_interval,
        default=0.9,
        metavar="C",
        help="probability that no more do (default: %(default)s)",
    )
    goal.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of the split (default: 0)")
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print one JSON object")
    output.add_argument("--plot", metavar="FILE", help="draw the curve: .png or .svg (needs fastroute[eval])")


def run(args: argparse.Namespace) -> int:
    """Calibrate, write, report."""
    import fastroute
    from fastroute.artifact import atomic_file
    from fastroute.calibration import read_prompts
    from fastroute.errors import DataError
    from fastroute.routers import CascadeRouter
    from fastroute.training.progress import progress_bar

    image = None if args.plot is None else _image(args.plot)
    pair = {role: getattr(args, role) for role in ("strong", "weak") if getattr(args, role) is not None}
    first, second = (fastroute.load(name, **pair) for name in (args.first, args.second))
    cascade = CascadeRouter(first, second)
    prompts = [p for batch in read_prompts(args.prompts, column=args.column, format=args.format) for p in batch]
    if not prompts:
        raise DataError(f"{args.prompts}: holds no prompts")
    with progress_bar("score") as progress:
        cascade.calibrate(
            prompts,
            threshold=args.threshold,
            strong_fraction=args.strong_fraction,
            disagreement=args.disagreement,
            confidence=args.confidence,
            seed=args.seed,
            progress=progress,
        )
    drawn = None if image is None else _drawn(cascade, args, image)
    sha256 = cascade.save(args.output)
    if drawn is not None:
        with atomic_file(args.plot) as stream:
            stream.write(drawn)
    if args.json:
        import json

        report = {**cascade.calibration, "band": cascade.band, "curve": cascade.metrics["curve"]}
        print(json.dumps({**report, "saved": args.output, "sha256": sha256}, allow_nan=False))
    else:
        print("\n".join(_report(cascade, _name(args.first), _name(args.second))))
    _note(cascade)
    print(f"{args.output}: cascade, threshold {cascade.threshold:.4f}, sha256 {sha256}", file=sys.stderr)
    return DONE


def _report(cascade: CascadeRouter, first: str, second: str) -> Iterator[str]:
    found: dict[str, Any] = dict(cascade.calibration)
    yield f"{_share(found, 'escalated')} of prompts reach {second}; {first} decides the others"
    if found["checked"]:
        yield f"{_share(found, 'agreement')} of decisions are those of {second} alone, on {found['checked']:,} prompts"
        yield (
            f"with probability {found['confidence']:.4g} at most {found['bound']:.2%} of decisions differ "
            f"(asked for: {found['disagreement']:.2%})"
        )
        yield f"{found['strong_share']:.1%} of prompts go to {printable(cascade.strong)}"
    if cascade.band is None:
        yield f"no score of {first} reaches {second} at threshold {cascade.threshold:.4g}"
    else:
        low, high = cascade.band
        yield f"at threshold {cascade.threshold:.4g}, scores of {first} from {low:.4g} to {high:.4g} reach {second}"
    times = found["microseconds"]
    yield (
        f"microseconds per prompt: {first} {times['first']:.1f}, {second} {times['second']:.1f}, "
        f"cascade {times['cascade']:.1f}"
    )
    curve = cascade.metrics["curve"]
    if curve:
        yield "curve: reach the second  agreement"
    for escalated, agreement in curve[::_SHOWN_POINTS]:
        yield f"{escalated:23.1%} {agreement:10.1%}"


def _note(cascade: CascadeRouter) -> None:
    """Say what would surprise: a cascade that saves nothing."""
    found = cascade.calibration
    if found["reason"]:
        print(f"fastroute: note: {found['reason']}", file=sys.stderr)
    if found["microseconds"]["cascade"] >= found["microseconds"]["second"]:
        print("fastroute: note: the cascade takes no less time than the second router alone", file=sys.stderr)


def _share(found: dict[str, Any], name: str) -> str:
    ends = found[f"{name}_interval"]
    interval = "" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
    return f"{found[name]:.1%}{interval}"


def _drawn(cascade: CascadeRouter, args: argparse.Namespace, image: str) -> bytes:
    from fastroute.calibration.cascade_plot import plot_cascade

    target = io.BytesIO()
    names = _name(args.first), _name(args.second)
    plot_cascade(cascade.metrics["curve"], cascade.calibration, target, names=names, image=image)
    return target.getvalue()


def _name(router: str) -> str:
    return printable(Path(router).name or router)


def _image(path: str) -> str:
    from fastroute.errors import InvalidArgumentError, MissingDependencyError

    suffix = Path(path).suffix.lower()
    if suffix not in _IMAGES:
        raise InvalidArgumentError(f"--plot: found {path!r}; allowed: a name that ends in {', '.join(_IMAGES)}")
    try:
        import matplotlib as mpl  # noqa: F401 - asked for before minutes of work, not after
    except ImportError as error:
        raise MissingDependencyError("--plot needs matplotlib: pip install 'fastroute[eval]'") from error
    return _IMAGES[suffix]
