"""``fastroute calibrate``: a threshold from the user's own prompts."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastroute.cli.exits import DONE, FAILURE, complain
from fastroute.cli.parsing import add_command, printable, unit_interval
from fastroute.cli.routers import load_router
from fastroute.errors import DataError, InvalidArgumentError

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from fastroute.calibration import LabelledPrompts, QualityFloorSearch, StrongFraction
    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import Router

_DESCRIPTION = """\
Find a threshold on your own prompts.

--strong-fraction F gives the one that sends the share F of PROMPTS to the strong model, and an interval for the
share that it sends of future prompts like these.

--quality Q --labels FILE gives the cheapest one that recovers the share Q of the quality gap between the models
with probability --confidence, over the draw of the labelled prompts. FILE has a row per prompt with the columns
strong and weak (or columns named as the two models), or a row per prompt and model with the columns model and
score; scores are 0 to 1, or true and false. With PROMPTS, which must be other prompts than the labelled ones,
the thresholds tested are 1,000 quantiles of theirs, and the share that the threshold sends of them is reported.

The first line of the output is the threshold. --save writes the router with it: route and score then use it
where no threshold is given.
"""

_EXAMPLES = """
fastroute calibrate log.jsonl --strong-fraction 0.3
fastroute calibrate log.parquet --column question --strong-fraction 0.3 --save my-router
fastroute calibrate --quality 0.8 --confidence 0.9 --labels graded.csv --save my-router
fastroute route --router my-router "What is 2 + 2?"
"""

_EXIT_CODES = """\
exit codes:
  0  done
  1  failed, or a prompt has no answer of an endpoint, or no threshold qualifies; then nothing is saved
  2  wrong usage
"""

_FORMATS = ("jsonl", "csv", "tsv", "parquet")
_QUANTILES = 1000
_SHARE_CONFIDENCE = 0.95
_QUALITY_CONFIDENCE = 0.9


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "calibrate",
        run,
        summary="find a threshold on your own prompts, with a guarantee",
        description=_DESCRIPTION,
        examples=_EXAMPLES,
        exit_codes=_EXIT_CODES,
    )
    parser.add_argument(
        "prompts",
        metavar="PROMPTS",
        nargs="?",
        help=".jsonl, .csv, .tsv (also .gz, .zst, .bz2, .xz) or .parquet; - for stdin",
    )
    goal = parser.add_mutually_exclusive_group(required=True)
    goal.add_argument("--strong-fraction", type=unit_interval, metavar="F", help="share of strong calls, 0 to 1")
    goal.add_argument("--quality", type=unit_interval, metavar="Q", help="share of the quality gap, 0 to 1")
    parser.add_argument(
        "--confidence",
        type=unit_interval,
        metavar="C",
        help=f"of the interval (default: {_SHARE_CONFIDENCE}) or the guarantee (default: {_QUALITY_CONFIDENCE})",
    )
    parser.add_argument("--labels", metavar="FILE", help="labelled prompts: .jsonl, .csv, .tsv or .parquet")
    parser.add_argument("--column", default="prompt", metavar="NAME", help="prompts (default: %(default)s)")
    parser.add_argument("--format", choices=_FORMATS, help="format of PROMPTS (default: by the file's extension)")
    parser.add_argument("--save", metavar="DIR", help="write the router with the threshold as an artifact")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    group = parser.add_argument_group("router")
    group.add_argument(
        "--router", default="mf", metavar="NAME|PATH", help="built-in router or artifact (default: %(default)s)"
    )
    group.add_argument("--strong", metavar="MODEL", help="strong model of the pair (default: the router's)")
    group.add_argument("--weak", metavar="MODEL", help="weak model of the pair (default: the router's)")


def run(args: argparse.Namespace) -> int:
    """Find the threshold, print it, save it."""
    _check(args)
    router = load_router(args)
    if args.quality is None:
        return _for_share(args, router)
    return _for_quality(args, router)


def _check(args: argparse.Namespace) -> None:
    if args.quality is None and args.labels is not None:
        raise InvalidArgumentError("--labels: goes with --quality; --strong-fraction needs no labels")
    if args.quality is None and args.prompts is None:
        raise InvalidArgumentError("PROMPTS: missing; --strong-fraction needs a file of prompts")
    if args.quality is not None and args.labels is None:
        raise InvalidArgumentError("--labels: missing; --quality needs labelled prompts")


def _for_share(args: argparse.Namespace, router: Router) -> int:
    from fastroute.calibration import calibrate_strong_fraction

    confidence = _SHARE_CONFIDENCE if args.confidence is None else args.confidence
    scores = _scores_of_file(args, router)
    found = calibrate_strong_fraction(scores, args.strong_fraction, confidence=confidence)
    record = {**found.record(), **_pair(router)}
    saved = _save(args, router, found.threshold, record)
    _print(args, record | saved, [repr(found.threshold), *_share_lines(found, router)])
    return DONE


def _for_quality(args: argparse.Namespace, router: Router) -> int:
    from fastroute.calibration import calibrate_quality_floor, read_labels
    from fastroute.routers.answered import answered_scores

    confidence = _QUALITY_CONFIDENCE if args.confidence is None else args.confidence
    labels = _not_gold(read_labels(args.labels, strong=router.strong, weak=router.weak, column=args.column), router)
    scores, others = answered_scores(router, labels.prompts, _named(args)), None
    if args.prompts is not None:
        others = _scores_of_file(args, router)
    search = calibrate_quality_floor(
        scores,
        labels.strong,
        labels.weak,
        quality=args.quality,
        confidence=confidence,
        thresholds=None if others is None else _quantiles(others),
    )
    if search.policy is None:
        if args.json:
            _print(args, {"threshold": None, "reason": search.reason} | _facts(search, labels), [])
        complain(search.reason)
        return FAILURE
    record = {**search.policy.record(), **_pair(router)}
    saved = _save(args, router, search.policy.threshold, record)
    on_prompts = {} if others is None else _share_on_prompts(others, search.policy.threshold)
    facts = _facts(search, labels)
    _print(
        args,
        facts | record | on_prompts | saved,
        [repr(search.policy.threshold), *_quality_lines(search, facts | on_prompts, router)],
    )
    return DONE


def _scores_of_file(args: argparse.Namespace, router: Router) -> NDArray[np.float32]:
    import numpy as np

    from fastroute.calibration import read_prompts
    from fastroute.routers.answered import answered_scores

    batches = [
        answered_scores(router, batch, _named(args))
        for batch in read_prompts(args.prompts, column=args.column, format=args.format)
    ]
    if not batches:
        raise DataError(f"{args.prompts}: holds no prompts")
    return np.concatenate(batches)


def _named(args: argparse.Namespace) -> str:
    return f"router {args.router!r}"


def _quantiles(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    ranks = np.unique(np.linspace(0, len(scores) - 1, _QUANTILES).round().astype(np.int64))
    quantiles: NDArray[np.float64] = np.sort(scores.astype(np.float64))[ranks]
    return quantiles


def _share_on_prompts(scores: NDArray[np.float32], threshold: float) -> dict[str, Any]:
    import numpy as np

    from fastroute.calibration.strong_fraction import share_at, tied_at

    values = np.sort(scores.astype(np.float64))
    share, low, high = share_at(values, threshold, _SHARE_CONFIDENCE, atoms=tied_at(values, threshold) != 1)
    facts = {"share": share, "low": low, "high": high, "confidence": _SHARE_CONFIDENCE, "prompts": len(scores)}
    return {"on_prompts": facts}


def _pair(router: Router) -> dict[str, str]:
    """Say what the calibration holds for: a router can be loaded with other models."""
    return {"strong": router.strong, "weak": router.weak}


def _not_gold(labels: LabelledPrompts, router: Router) -> LabelledPrompts:
    """Leave out what the router was trained on as gold: the guarantee is of prompts that it did not see."""
    import numpy as np

    from fastroute.tables import prompt_hashes

    gold = getattr(router, "gold_keys", None)
    if gold is None or not len(gold):
        return labels
    hashes = np.array([prompt_hashes([prompt])[0] for prompt in labels.prompts], np.uint64)
    kept = np.flatnonzero(~np.isin(hashes, gold))
    if len(kept) == len(hashes):
        return labels
    if not len(kept):
        raise DataError("--labels: every labelled prompt is a gold prompt of the router; others are needed")
    print(f"{len(hashes) - len(kept):,} gold prompts of the router left out", file=sys.stderr)
    prompts = tuple(labels.prompts[row] for row in kept)
    return replace(labels, prompts=prompts, strong=labels.strong[kept], weak=labels.weak[kept])


def _facts(search: QualityFloorSearch, labels: LabelledPrompts) -> dict[str, Any]:
    return {
        "quality": search.quality,
        "confidence": search.confidence,
        "prompts": search.prompts,
        "strong_quality": search.strong_quality,
        "weak_quality": search.weak_quality,
        "thresholds_tested": len(search.steps),
        "dropped": labels.dropped,
        "repeated": labels.repeated,
    }


def _save(args: argparse.Namespace, router: Router, threshold: float, record: dict[str, Any]) -> dict[str, str]:
    if args.save is None:
        return {}
    if not hasattr(router, "with_threshold"):
        raise InvalidArgumentError(f"--save: the router {args.router!r} can't take another threshold")
    sha256 = router.with_threshold(threshold, record).save(args.save)
    print(f"{args.save}: router {router.kind!r} with threshold {threshold:g}, sha256 {sha256}", file=sys.stderr)
    return {"saved": args.save, "sha256": sha256}


def _print(args: argparse.Namespace, record: dict[str, Any], lines: list[str]) -> None:
    if args.json:
        import json

        print(json.dumps(record, allow_nan=False))
    else:
        print("\n".join(lines))


def _share_lines(found: StrongFraction, router: Router) -> list[str]:
    lines = [
        f"{found.share:.1%} of {found.prompts:,} prompts to {printable(router.strong)}, "
        f"{1 - found.share:.1%} to {printable(router.weak)}",
        f"{found.confidence:.0%} interval for prompts like these: {found.low:.1%} to {found.high:.1%}",
    ]
    if found.tied > 1:
        lines.append(f"{found.tied:,} prompts have this very score and go to the strong model together")
    return lines


def _quality_lines(search: QualityFloorSearch, facts: dict[str, Any], router: Router) -> list[str]:
    policy = search.policy
    assert policy is not None
    lines = [
        f"with probability {policy.confidence:.4g} at least {policy.quality:.1%} of the gap between {router.strong} "
        f"and {router.weak} is recovered (Learn then Test, {len(search.steps):,} thresholds tested)",
        f"on {search.prompts:,} labelled prompts: {policy.recovered:.1%} recovered with {policy.strong_fraction:.1%} "
        f"strong calls; {router.strong} scores {search.strong_quality:.4g}, {router.weak} {search.weak_quality:.4g}",
    ]
    if "on_prompts" in facts:
        share = facts["on_prompts"]
        lines.append(
            f"{share['share']:.1%} of {share['prompts']:,} other prompts are strong calls; "
            f"{share['confidence']:.0%} interval: {share['low']:.1%} to {share['high']:.1%}"
        )
    if facts["dropped"]:
        lines.append(f"{facts['dropped']:,} prompts left out: no score of one of the two models")
    if facts["repeated"]:
        lines.append(f"{facts['repeated']:,} rows repeat a prompt: their scores were averaged")
    return lines
