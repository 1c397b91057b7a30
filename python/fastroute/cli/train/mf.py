"""``fastroute train mf``: matrix factorization."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.train.recorded import recorded

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers
    from fastroute.training.battles import Battles

_EXAMPLES = """
fastroute train mf --preferences preferences.parquet --outcomes outcomes.parquet -o my-router
fastroute train mf --preferences votes.jsonl --strong my-large --weak my-small -o my-router --seed 7
"""


def add_parser(kinds: Subparsers) -> None:
    """Add the kind of router to ``fastroute train``."""
    parser = kinds.add_parser(
        "mf",
        help="matrix factorization",
        description=(
            "Matrix factorization of battles (RouteLLM, arXiv 2406.18665, section 4.1).\n\n"
            "Preferences have the columns model_a, model_b, winner (model_a, model_b or tie) and\n"
            "prompt; outcomes have prompt, model and score (0 to 1, or true and false). Files are\n"
            ".parquet, .jsonl, .csv or .tsv. Also read where they are there: prompt_id (prompts are\n"
            "split by it), source, benchmark, and overlap (rows that name an evaluation set there are\n"
            "left out)."
        ),
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from inspect import signature

    from fastroute.routers import MatrixFactorizationRouter

    defaults = {name: p.default for name, p in signature(MatrixFactorizationRouter).parameters.items()}

    def add(group: argparse._ArgumentGroup, name: str, metavar: str, text: str) -> None:
        default = defaults[name]
        option = f"--{name.replace('_', '-')}"
        group.add_argument(
            option,
            type=type(default),
            default=default,
            metavar=metavar,
            help=f"{text} (default: %(default)s)",
        )

    data = parser.add_argument_group("data (one of them at least)")
    data.add_argument("--preferences", metavar="P", help="battles")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts")
    router = parser.add_argument_group("router")
    router.add_argument("-o", "--output", metavar="DIR", required=True, help="artifact to write")
    add(router, "strong", "MODEL", "strong model of the pair")
    add(router, "weak", "MODEL", "weak model of the pair")
    add(router, "encoder", "NAME|PATH", "static encoder")
    training = parser.add_argument_group("training")
    add(training, "rank", "R", "length of a model's vector")
    add(training, "epochs", "N", "passes over the prompts, at most")
    add(training, "learning_rate", "X", "of AdamW")
    add(training, "weight_decay", "X", "of AdamW")
    add(training, "validation_fraction", "F", "share of prompts held out")
    add(training, "patience", "N", "epochs without progress before training stops")
    add(training, "seed", "N", "of the split, the start and the order of prompts")


_SETTINGS = ("rank", "epochs", "learning_rate", "weight_decay", "validation_fraction", "patience", "seed")


def run(args: argparse.Namespace) -> int:
    """Train and write."""
    from fastroute.errors import InvalidArgumentError
    from fastroute.routers import MatrixFactorizationRouter
    from fastroute.training.progress import progress_bar

    if args.preferences is None and args.outcomes is None:
        raise InvalidArgumentError("--preferences, --outcomes: found neither; at least one is needed")
    settings = {name: getattr(args, name) for name in _SETTINGS}
    router = MatrixFactorizationRouter(args.strong, args.weak, encoder=args.encoder, **settings)
    battles = _battles(args)
    dropped = "".join(f", {count:,} rows left out: {reason}" for reason, count in battles.dropped.items() if count)
    _say(f"{len(battles):,} battles of {len(battles.models)} models on {len(battles.prompt_keys):,} prompts{dropped}")
    with progress_bar("train") as progress:
        router.fit(battles, provenance=_provenance(args), progress=progress)
    sha256 = router.save(args.output)
    metrics = router.metrics
    _say(
        f"{args.output}: held-out loss {metrics['validation_loss']:.4f}, "
        f"accuracy {metrics['validation_accuracy']:.1%} (epoch {metrics['epoch']}), sha256 {sha256}"
    )
    return 0


def _battles(args: argparse.Namespace) -> Battles:
    from fastroute.tables import read_table
    from fastroute.training.battles import mix_battles
    from fastroute.training.outcomes import OUTCOME_COLUMNS, battles_from_outcomes
    from fastroute.training.preferences import PREFERENCE_COLUMNS, battles_from_preferences

    preferences = outcomes = None
    if args.preferences is not None:
        table = read_table(args.preferences, PREFERENCE_COLUMNS)
        preferences = battles_from_preferences(table, name=args.preferences)
    if args.outcomes is not None:
        table = read_table(args.outcomes, OUTCOME_COLUMNS)
        outcomes = battles_from_outcomes(table, seed=args.seed, name=args.outcomes)
    return mix_battles(preferences, outcomes)


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    files = {name: getattr(args, name) for name in ("preferences", "outcomes")}
    options = {"strong": args.strong, "weak": args.weak, "encoder": Path(args.encoder).name}
    options |= {name: getattr(args, name) for name in _SETTINGS}
    return recorded("mf", files, options, args.output)


def _say(message: str) -> None:
    print(message, file=sys.stderr)
