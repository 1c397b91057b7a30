"""``fastroute train sw_ranking``: similarity-weighted Elo."""

from __future__ import annotations

import itertools
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import printable
from fastroute.cli.train.recorded import as_written, recorded

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from fastroute.cli.parsing import Subparsers
    from fastroute.routers import SimilarityWeightedRouter
    from fastroute.tables import Table
    from fastroute.training.battles import Battles

_EXAMPLES = """
fastroute train sw_ranking --preferences preferences.parquet --outcomes outcomes.parquet -o my-router
fastroute train sw_ranking --outcomes graded.csv --strong my-large --weak my-small --base 10 1e3 1e6 -o my-router
fastroute train sw_ranking --append my-router --preferences new-votes.jsonl
"""
_FILES = ("preferences", "outcomes", "judge_scores")
_TUNED = ("base", "normaliser", "neighbours", "shrinkage")
_PACKAGES = ("fastroute", "numpy")
_NOT_APPENDED = ("keep", "strong", "weak", "encoder", "tiers", *_TUNED, "compat", "moments", "search")


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    parser = kinds.add_parser(
        "sw_ranking",
        help="similarity-weighted Elo",
        description=(
            "Elo ratings of tiers of models from the battles on similar prompts (RouteLLM,\n"
            "arXiv 2406.18665, section 4.1).\n\n"
            "Preferences have the columns model_a, model_b, winner (model_a, model_b or tie) and\n"
            "prompt; outcomes have prompt, model and score (0 to 1, or true and false); judge scores have\n"
            "prompt, model and score (1 to 10). Files are .parquet, .jsonl, .csv or .tsv. Models that were\n"
            "scored on one prompt fight by the difference. Also read where they are there: prompt_id,\n"
            "source, benchmark, judge, and overlap (rows that name an evaluation set there are left out).\n\n"
            "Of several values of base, normaliser, neighbours and shrinkage those are taken under which\n"
            "held-out prompts are ranked best; the artifact says how all did."
        ),
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from inspect import signature

    from fastroute.routers import SimilarityWeightedRouter
    from fastroute.routers.elo_settings import COMPAT, NORMALISERS
    from fastroute.routers.neighbour_search import SEARCHES
    from fastroute.routers.similarity_weighted import KEEP

    defaults = {name: p.default for name, p in signature(SimilarityWeightedRouter).parameters.items()}
    data = parser.add_argument_group("data (one of them at least)")
    data.add_argument("--preferences", metavar="P", help="battles")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts")
    data.add_argument("--judge-scores", metavar="J", help="scores of models on prompts by judges, 1 to 10")
    data.add_argument("--pairs", type=int, default=32, metavar="N", help="battles per scored prompt (default: 32)")
    data.add_argument(
        "--judged-factor",
        type=float,
        default=0.1,
        metavar="X",
        help="what preferences and judge scores count next to outcomes (default: %(default)s)",
    )
    data.add_argument("--most-prompts", type=int, metavar="N", help="draw this many prompts (default: all)")
    router = parser.add_argument_group("router")
    router.add_argument("-o", "--output", metavar="DIR", help="artifact to write")
    router.add_argument("--append", metavar="DIR", help="add to this artifact; -o is this one unless given")
    router.add_argument("--strong", metavar="MODEL", help=f"strong model of the pair (default: {defaults['strong']})")
    router.add_argument("--weak", metavar="MODEL", help=f"weak model of the pair (default: {defaults['weak']})")
    router.add_argument("--encoder", metavar="NAME|PATH", help=f"static encoder (default: {defaults['encoder']})")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--tiers", type=int, metavar="N", help=f"tiers of models, at most (default: {defaults['tiers']})"
    )
    training.add_argument(
        "--base",
        type=float,
        nargs="+",
        metavar="X",
        help="how much more the most similar battle weighs than one at a right angle (default: 10)",
    )
    training.add_argument(
        "--normaliser", choices=NORMALISERS, nargs="+", help="what similarities are divided by (default: best)"
    )
    training.add_argument(
        "--neighbours",
        type=int,
        nargs="+",
        metavar="N",
        help="count battles on the N most similar prompts, 0 for all (default); below 1,000 with --shrinkage",
    )
    training.add_argument(
        "--shrinkage",
        type=float,
        nargs="+",
        metavar="X",
        help="battles of all prompts alike to add to them (default: 0)",
    )
    training.add_argument(
        "--moments",
        type=int,
        metavar="RANK",
        help="keep moments of this rank for with_moments() in Python (needs --normaliser none, no --neighbours)",
    )
    router.add_argument("--search", choices=SEARCHES, help=f"how neighbours are found (default: {defaults['search']})")
    router.add_argument(
        "--keep",
        choices=(*KEEP, "nothing"),
        help="what the artifact has for --explain: battles with their prompts' texts, or with keys (default: prompts)",
    )
    training.add_argument("--compat", choices=COMPAT, help="count battles within a tier as RouteLLM's code does")
    training.add_argument("--seed", type=int, default=0, metavar="N", help="of draws and of the held-out prompts")


def run(args: argparse.Namespace) -> int:
    """Train and write, or add battles to what is there."""
    from fastroute.errors import InvalidArgumentError

    if all(getattr(args, name) is None for name in _FILES):
        options = ", ".join(f"--{name.replace('_', '-')}" for name in _FILES)
        raise InvalidArgumentError(f"{options}: found none; at least one is needed")
    output = args.output or args.append
    if output is None:
        raise InvalidArgumentError("-o, --append: found neither; at least one is needed")
    routers = [] if args.append is not None else _routers(args)
    appended = None if args.append is None else _to_append_to(args)
    data = _battles(args)
    dropped = "".join(f", {count:,} rows left out: {reason}" for reason, count in data.dropped.items() if count)
    _say(f"{len(data):,} battles of {len(data.models)} models on {len(data.prompt_keys):,} prompts{dropped}")
    provenance = _provenance(args, output)
    if appended is None:
        router = _trained(args, routers, data, provenance)
    else:
        router = appended.with_battles(data, provenance=provenance)
    if router.constant:
        _say(f"  note: nothing tells {router.strong} and {router.weak} apart by prompt: every prompt has one score")
    sha256 = router.save(output)
    _say(f"{output}: {router.prompts:,} prompts, threshold {router.threshold:.4f}, sha256 {sha256}")
    return 0


def _routers(args: argparse.Namespace) -> list[tuple[dict[str, Any], SimilarityWeightedRouter]]:
    """Make a router for each combination of settings, before any data are read."""
    from fastroute.errors import InvalidArgumentError
    from fastroute.routers import SimilarityWeightedRouter

    if args.search is not None and args.neighbours is None:
        raise InvalidArgumentError("--search: goes with --neighbours")
    given: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("strong", "weak", "encoder", "tiers", "compat", "moments", "search")
        if getattr(args, name) is not None
    }
    options = {name: values for name in _TUNED if (values := getattr(args, name)) is not None}
    combinations = [dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())]
    grid: list[dict[str, Any]] = []
    for settings in combinations:
        of_all = settings.get("neighbours") == 0 and "shrinkage" in settings  # to which nothing is added
        wanted = {**settings, "shrinkage": 0.0} if of_all else settings
        if wanted not in grid:
            grid.append(wanted)
    return [(settings, SimilarityWeightedRouter(seed=args.seed, **given, **settings)) for settings in grid]


def _trained(
    args: argparse.Namespace,
    routers: Sequence[tuple[dict[str, Any], SimilarityWeightedRouter]],
    data: Battles,
    provenance: Mapping[str, Any],
) -> SimilarityWeightedRouter:
    from fastroute.training.progress import progress_bar

    keep = None if args.keep == "nothing" else args.keep or "prompts"
    if len(routers) == 1:
        return routers[0][1].fit(data, keep=keep, provenance=provenance)
    tried: list[dict[str, Any]] = []
    with progress_bar("train") as progress:
        for settings, router in routers:
            tried.append({**settings, **_areas(router.fit(data, keep=None).metrics)})
            if progress is not None:
                progress(len(tried), len(routers))
    for (settings, _), one in zip(routers, tried, strict=True):
        area = one.get("validation_apgr")
        shown = "too few held-out battles" if area is None else f"held-out APGR {area:.4f}"
        named = ", ".join(f"{name} {as_written([value])[0]}" for name, value in settings.items())
        _say(f"  {named}: {shown}")
    best = max(range(len(routers)), key=lambda place: tried[place].get("validation_apgr", 0.0))
    return routers[best][1].fit(data, keep=keep, provenance={**provenance, "tried": tried})


def _to_append_to(args: argparse.Namespace) -> SimilarityWeightedRouter:
    from fastroute import load
    from fastroute.errors import InvalidArgumentError, UnknownRouterError
    from fastroute.routers import SimilarityWeightedRouter

    fixed = [name for name in _NOT_APPENDED if getattr(args, name) is not None]
    if fixed:
        raise InvalidArgumentError(f"--{fixed[0]}: not allowed with --append, where the artifact has it")
    try:
        router = load(args.append)
    except UnknownRouterError as error:
        raise UnknownRouterError(str(error).replace("router:", "--append:", 1)) from None
    if not isinstance(router, SimilarityWeightedRouter):
        raise InvalidArgumentError(f"--append: found a router of kind {router.kind!r}, allowed: sw_ranking")
    return router


def _areas(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: metrics[name] for name in ("validation_apgr", "validation_loss") if name in metrics}


def _battles(args: argparse.Namespace) -> Battles:
    """Take all as battles. Judges say, next to answer keys, what preferences do."""
    from fastroute.tables import read_table
    from fastroute.training.battles import fewer_prompts, join_battles, mix_battles
    from fastroute.training.outcomes import OUTCOME_COLUMNS, battles_from_outcomes
    from fastroute.training.preferences import PREFERENCE_COLUMNS, battles_from_preferences
    from fastroute.training.scores import JUDGEMENT_COLUMNS, as_outcomes

    def table(path: str, columns: Sequence[str]) -> Table:
        # Its name is that of a source where no column tells one, and the artifact has those.
        return replace(read_table(path, columns), name=Path(path).name)

    judged = scored = None
    draw: dict[str, Any] = {"pairs_per_prompt": args.pairs, "seed": args.seed}
    if args.preferences is not None:
        judged = battles_from_preferences(
            table(args.preferences, PREFERENCE_COLUMNS), merge_repeats=args.compat is None
        )
    if args.judge_scores is not None:
        fought = battles_from_outcomes(as_outcomes(table(args.judge_scores, JUDGEMENT_COLUMNS)), **draw)
        judged = fought if judged is None else join_battles(judged, fought)
    if args.outcomes is not None:
        scored = battles_from_outcomes(table(args.outcomes, OUTCOME_COLUMNS), **draw)
    battles = mix_battles(judged, scored, preference_factor=args.judged_factor)
    return battles if args.most_prompts is None else fewer_prompts(battles, args.most_prompts, seed=args.seed)


def _provenance(args: argparse.Namespace, output: str) -> dict[str, Any]:
    files = {name: getattr(args, name) for name in _FILES}
    options: dict[str, object] = {
        "append": args.append if args.append is None else Path(args.append).name,
        "pairs": args.pairs,
        "judged_factor": args.judged_factor,
        "most_prompts": args.most_prompts,
        "strong": args.strong,
        "weak": args.weak,
        "encoder": args.encoder if args.encoder is None else Path(args.encoder).name,
        "tiers": args.tiers,
        **{name: as_written(getattr(args, name)) for name in _TUNED},
        "compat": args.compat,
        "moments": args.moments,
        "search": args.search,
        "keep": args.keep,
        "seed": args.seed,
    }
    return recorded("sw_ranking", files, options, output, packages=_PACKAGES)


def _say(message: str) -> None:
    print(printable(message), file=sys.stderr)
