"""``fastroute train``: a router from battles and outcomes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastroute.cli.parsing import Parser, add_command

if TYPE_CHECKING:
    import argparse

    from fastroute.cli.parsing import Subparsers
    from fastroute.training.battles import Battles

_EXAMPLES = """
fastroute train mf --preferences preferences.parquet --outcomes outcomes.parquet -o my-router
fastroute train mf --preferences votes.parquet --strong my-large --weak my-small -o my-router --seed 7
fastroute route --router my-router 'What is 2 + 2?'
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(
        subparsers,
        "train",
        run,
        summary="train a router on battles and outcomes",
        description="Train a router and write its artifact. Needs pip install 'fastroute[train]'.",
        examples=_EXAMPLES,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="ROUTER", title="routers", required=True, parser_class=Parser)
    mf = kinds.add_parser(
        "mf",
        help="matrix factorization",
        description=(
            "Matrix factorization of battles (RouteLLM, arXiv 2406.18665, section 4.1).\n\n"
            "Preferences have the columns model_a, model_b, winner (model_a, model_b or tie) and\n"
            "prompt; outcomes have prompt, model and score (0 to 1). Also read where they are there:\n"
            "prompt_id (prompts are split by it), source, benchmark, and overlap (rows that name an\n"
            "evaluation set there are left out)."
        ),
        epilog="examples:\n" + "".join(f"  {line}\n" for line in _EXAMPLES.strip().splitlines()),
    )
    _add_mf_options(mf)


def _add_mf_options(parser: argparse.ArgumentParser) -> None:
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
    data.add_argument("--preferences", metavar="P", help="battles, .parquet")
    data.add_argument("--outcomes", metavar="O", help="scores of models on prompts, .parquet")
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
    from fastroute.training.battles import mix_battles
    from fastroute.training.outcomes import OUTCOME_COLUMNS, battles_from_outcomes
    from fastroute.training.preferences import PREFERENCE_COLUMNS, battles_from_preferences
    from fastroute.training.tables import read_table

    preferences = outcomes = None
    if args.preferences is not None:
        table = read_table(args.preferences, PREFERENCE_COLUMNS)
        preferences = battles_from_preferences(table, name=args.preferences)
    if args.outcomes is not None:
        table = read_table(args.outcomes, OUTCOME_COLUMNS)
        outcomes = battles_from_outcomes(table, seed=args.seed, name=args.outcomes)
    return mix_battles(preferences, outcomes)


def _provenance(args: argparse.Namespace) -> dict[str, Any]:
    """Say for the artifact how it was made: enough to repeat it, and no path of this machine."""
    from importlib.metadata import version

    from fastroute.training.provenance import describe_data

    files = {
        option: Path(value) for option in ("preferences", "outcomes") if (value := getattr(args, option)) is not None
    }
    options = {f"--{option}": path.name for option, path in files.items()}
    options |= {"--strong": args.strong, "--weak": args.weak, "--encoder": Path(args.encoder).name}
    options |= {f"--{name.replace('_', '-')}": getattr(args, name) for name in _SETTINGS}
    words = [str(word) for pair in options.items() for word in pair]
    return {
        "command": shlex.join(["fastroute", "train", "mf", *words, "-o", Path(args.output).name]),
        "data": [describe_data(path) for path in files.values()],
        "versions": {package: version(package) for package in ("fastroute", "numpy", "numba")},
    }


def _say(message: str) -> None:
    print(message, file=sys.stderr)
