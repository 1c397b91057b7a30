"""``fastroute train knn``: how the models did on the nearest scored prompts."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import printable
from fastroute.cli.train.recorded import as_written, recorded
from fastroute.cli.train.scored_data import FILES, USUAL_RANGE, add_scored_data, read_scored_data

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import KnnRouter

_DESCRIPTION = """\
Index scores of models on prompts. A prompt is scored by how much better the strong model did on
its nearest neighbours.

Outcomes have the columns prompt, model and score: benchmark results, or your own labels (thumbs,
grades, pass or fail). Scores are 0 to 1, true and false, or what --score-range says; any number of
models. Judge scores are marks from 1 to 10 of answers in chats. Files are .jsonl, .csv, .tsv or
.parquet. Also read where they are there: prompt_id (prompts are split by it), source, benchmark,
and overlap (rows that name an evaluation set there are left out).

Of several values of an option the ones are taken under which held-out prompts are ranked best; the
artifact says how all did. The artifact holds the prompts, which --explain shows, unless --keep
says otherwise.
"""

_EXAMPLES = """
fastroute train knn --outcomes graded.csv --strong my-large --weak my-small -o my-router
fastroute train knn --outcomes graded.csv --strong a --weak b --neighbours 30 100 300 --guard 0 1 -o my-router
fastroute route --router my-router --explain "What is 17 * 23?"
"""
_TUNED = ("neighbours", "base", "shrinkage", "guard")
_PACKAGES = ("fastroute", "numpy")
_SHOWN = 10


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    from inspect import signature

    from fastroute.cli.parsing import positive_number, whole_number
    from fastroute.routers import KnnRouter
    from fastroute.routers.knn import KEEP
    from fastroute.routers.neighbour_search import SEARCHES

    defaults = {name: p.default for name, p in signature(KnnRouter).parameters.items()}
    parser = kinds.add_parser(
        "knn",
        help="quality on the nearest scored prompts",
        description=_DESCRIPTION,
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    data = parser.add_argument_group("data (one of them at least)")
    add_scored_data(data)
    data.add_argument("--most-prompts", type=positive_number, metavar="N", help="draw this many (default: all)")
    router = parser.add_argument_group("router")
    router.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    for role in ("strong", "weak"):
        router.add_argument(
            f"--{role}", metavar="MODEL", default=defaults[role], help=f"{role} model (default: %(default)s)"
        )
    router.add_argument(
        "--encoder", metavar="NAME|PATH", default=defaults["encoder"], help="static encoder (default: %(default)s)"
    )
    router.add_argument(
        "--search", choices=SEARCHES, default=defaults["search"], help="how neighbours are found (default: %(default)s)"
    )
    router.add_argument(
        "--keep",
        choices=(*KEEP, "nothing"),
        default="prompts",
        help="what the artifact has for --explain (default: %(default)s)",
    )
    training = parser.add_argument_group("training (several values: the best on held-out prompts)")
    for name, kind, described in (
        ("neighbours", int, "how many prompts count"),
        ("base", float, "how much more the most similar one weighs than one at a right angle"),
        ("shrinkage", float, "average prompts that are added to them"),
        ("guard", float, "standard errors by which their gain must differ from the average to count"),
    ):
        training.add_argument(
            f"--{name}", type=kind, nargs="+", metavar="X", help=f"{described} (default: {defaults[name]})"
        )
    training.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of folds and lists (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    from fastroute.errors import InvalidArgumentError
    from fastroute.routers import KnnRouter
    from fastroute.training.progress import progress_bar

    if all(getattr(args, name) is None for name in FILES):
        raise InvalidArgumentError("--outcomes, --judge-scores: found neither; at least one is needed")
    given = {name: getattr(args, name) for name in _TUNED if getattr(args, name) is not None}
    grid = [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())]
    router = KnnRouter(args.strong, args.weak, encoder=args.encoder, search=args.search, seed=args.seed)
    with progress_bar("train") as progress:
        router.fit(
            **read_scored_data(args),
            plan=args.plan,
            domain_column=args.domain_column,
            score_range=(args.score_range[0], args.score_range[1]),
            most_prompts=args.most_prompts,
            keep=None if args.keep == "nothing" else args.keep,
            among=grid,
            provenance=_provenance(args),
            progress=progress,
        )
    sha256 = router.save(args.output)
    _report(router)
    if router.constant:
        _say("  note: all prompts are neighbours and weigh alike: every prompt has one score")
    _say(f"{args.output}: {router.prompts:,} prompts, threshold {router.threshold:.4f}, sha256 {sha256}")
    return 0


def _report(router: KnnRouter) -> None:
    tried = sorted(router.metrics.get("tried", ()), key=lambda one: -(one["held_out_apgr"] or 0.0))
    for one in tried[:_SHOWN]:
        settings = ", ".join(f"{name} {as_written([one[name]])[0]}" for name in _TUNED)
        _say(f"  {settings}: {_area(one)}")
    if len(tried) > _SHOWN:
        _say(f"  and {len(tried) - _SHOWN} worse ones")
    _say(_area(router.metrics))


def _area(figures: Any) -> str:
    area = figures.get("held_out_apgr")
    return "nothing can be gained on held-out prompts" if area is None else f"held-out APGR {area:.4f} (random: 0.5)"


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    files = {name: getattr(args, name) for name in FILES}
    options: dict[str, object] = {
        "score_range": args.score_range if args.score_range != USUAL_RANGE else None,
        "plan": args.plan if args.plan is None else Path(args.plan).name,
        "domain_column": args.domain_column,
        "most_prompts": args.most_prompts,
        "strong": args.strong,
        "weak": args.weak,
        "encoder": Path(args.encoder).name,
        "search": args.search,
        "keep": args.keep,
        **{name: as_written(getattr(args, name)) for name in _TUNED},
        "seed": args.seed,
    }
    return recorded("knn", files, options, args.output, packages=_PACKAGES)


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)
